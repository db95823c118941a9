package raft

import (
	"fmt"

	"github.com/rsqld/rsqld/raft/quorum"
)

// pendingWrite is a Write that is on its way to the disk. Writes complete in order, so that durability is a queue: what
// is durable after one is what the log held when the write was made, as far as it was not cut since. This takes the
// place of messages from the disk that name terms and indexes, which must be matched against a log that has changed.
type pendingWrite struct {
	seq Seq
	// last is the newest index that the write made durable and that was not cut since. A cut at i caps it at i-1.
	last Index
	hard HardState
}

// persist makes the write for all that has changed since the last one; nil if nothing has. A change of the commit index
// alone is not worth one.
func (n *Node) persist() *Write {
	if n.hard == n.handed && n.log.written == n.log.last.Index && n.log.truncate == 0 && n.beginning == nil {
		return nil
	}
	n.seq++
	w := &Write{Seq: n.seq, HardState: n.hard, Snapshot: n.beginning, TruncateFrom: n.log.truncate, Entries: n.log.unwritten()}
	n.writes = append(n.writes, pendingWrite{seq: n.seq, last: n.log.last.Index, hard: n.hard})
	n.handed, n.beginning = n.hard, nil
	n.log.written, n.log.truncate = n.log.last.Index, 0
	return w
}

// Stable tells the node that the write seq, and with it all before, is durable. If a write fails the node must not be
// used again: what it has sent may be on other nodes, and an index is never used twice in a term.
func (n *Node) Stable(seq Seq) {
	if seq > n.seq {
		panic(fmt.Sprintf("raft: write %d is durable, but %d is the newest", seq, n.seq))
	}
	done := 0
	for done < len(n.writes) && n.writes[done].seq <= seq {
		n.log.stable = max(n.log.stable, n.writes[done].last)
		n.durable = n.writes[done].hard
		done++
	}
	if done == 0 {
		return
	}
	n.writes = append(n.writes[:0], n.writes[done:]...)
	n.log.trim()
	switch n.role {
	case Leader:
		n.advanceCommit()
	case Candidate:
		if n.durable == n.hard && n.answer(n.config.ID) != quorum.Granted {
			n.count(n.config.ID, true)
		}
	}
}

// outbox gathers what the next Ready hands out.
type outbox struct {
	send []Message
	// promised may leave once all that was written when the next Ready is made is durable.
	promised  []Message
	reads     []ReadResult
	load      []LoadRange
	snapshots []SendSnapshot
	events    []Event
}

// promise sends a message that must not be forgotten: a vote, a request for votes, an acknowledgement of entries.
func (n *Node) promise(m Message) { n.out.promised = append(n.out.promised, m) }

// send sends a message that promises no more than its sender's term. A term is told to nobody before it is durable.
func (n *Node) send(m Message) {
	if n.durable.Term < n.hard.Term {
		n.promise(m)
		return
	}
	n.out.send = append(n.out.send, m)
}

func (n *Node) emit(e Event) { n.out.events = append(n.out.events, e) }

// Ready returns everything to be done because of what has happened since the last call, and forgets it. It may be called
// while writes are in flight; when it is Empty there is nothing to do until the node is told something.
func (n *Node) Ready() Ready {
	if n.role == Leader {
		n.replicate()
	} else {
		n.askIndex()
	}
	r := Ready{Write: n.persist(), Snapshot: n.out.snapshots}
	if n.installing == nil {
		r.Commit = n.log.commitRange()
	}
	if len(n.writes) == 0 {
		n.out.send = append(n.out.send, n.out.promised...)
	} else {
		for _, m := range n.out.promised {
			r.SendAt = append(r.SendAt, AfterWrite{Seq: n.seq, Message: m})
		}
	}
	r.Send, r.Reads, r.Load, r.Events = n.out.send, n.out.reads, n.out.load, n.out.events
	n.out = outbox{}
	return r
}
