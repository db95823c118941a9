package raft

import (
	"cmp"
	"fmt"
)

// ID names a node. It belongs to one disk for ever: ids are given out by the log and never reused. Zero is no node.
type ID uint64

// Term numbers elections (paper §5.1). At most one leader exists in a term.
type Term uint64

// Index numbers the entries of the log from 1. Zero is the place before the first entry.
type Index uint64

// Seq numbers the writes that a Node asks its driver for. Writes complete in the order of their numbers.
type Seq uint64

// ReadID is the driver's name for one call of Read. It never travels between nodes as the proof of a round:
// a leader counts its rounds itself.
type ReadID uint64

// EntryID is the identity of an entry: two entries with the same id are the same entry (Log Matching, paper §5.3).
// Term and index always travel together in it, so that no function takes two bare integers side by side.
type EntryID struct {
	Term  Term
	Index Index
}

// Compare orders ids as votes do (paper §5.4.1): by term, then by index.
func (id EntryID) Compare(other EntryID) int {
	return cmp.Or(cmp.Compare(id.Term, other.Term), cmp.Compare(id.Index, other.Index))
}

func (id EntryID) String() string { return fmt.Sprintf("%d/%d", id.Term, id.Index) }

// EntryKind says who understands the data of an entry.
type EntryKind uint8

const (
	// EntryCommand holds a command of the state machine, opaque to this package.
	EntryCommand EntryKind = iota
	// EntryNoop is the empty entry that a leader appends when its term begins (§6.4).
	EntryNoop
	// EntryConfiguration holds an encoded Configuration. It counts from the moment it is appended (§4.1).
	EntryConfiguration
)

func (k EntryKind) String() string {
	if k > EntryConfiguration {
		return fmt.Sprintf("EntryKind(%d)", uint8(k))
	}
	return [...]string{"command", "noop", "configuration"}[k]
}

// Entry is one place of the log. Data is shared between the core, the log on disk, the network and the state
// machine, and is never changed after the entry was made.
type Entry struct {
	ID   EntryID
	Kind EntryKind
	Data []byte
}

// HardState is what a node must not forget across a restart. It rides whole in every durable record.
type HardState struct {
	// Term is the highest term seen. It never falls.
	Term Term
	// Vote is who got this node's vote in Term, or zero. It is cleared only when Term grows.
	Vote ID
	// Acked is zero on a healthy node. After damage to the log it is the last id this node may have acknowledged:
	// candidates are compared with it until the log reaches it again.
	Acked EntryID
}

// Range is a run of indexes, both ends included. It is empty when Last < First, and when it is zero: no entry has
// index 0.
type Range struct{ First, Last Index }

// Len returns the number of indexes in the range.
func (r Range) Len() int {
	if r.First == 0 || r.Last < r.First {
		return 0
	}
	return int(r.Last-r.First) + 1
}

func (r Range) String() string { return fmt.Sprintf("[%d,%d]", r.First, r.Last) }

// Role is what a node is in its term (paper fig. 4, with the pre-candidate of §9.6).
type Role uint8

const (
	Follower Role = iota
	PreCandidate
	Candidate
	Leader
)

func (r Role) String() string {
	return [...]string{"follower", "pre-candidate", "candidate", "leader"}[r]
}
