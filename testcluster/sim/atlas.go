package sim

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/rsqld/rsqld/raft"
)

// Atlas keeps accounts of damage, so that every entry stays whole somewhere: what is damaged everywhere no protocol can
// bring back, and a simulator that does that finds only itself. Damage to index i of a voter's log is allowed while it is
// a minority of the voters that may have lost i, in every configuration that may count. So a cluster of one voter, or of
// two, is never damaged: its disks have only crashes.
//
// A node that was damaged stays in the accounts until it has healed, which its owner says: when it runs, has read its
// whole log since the damage, and holds again what it had acknowledged before.
type Atlas struct {
	// sets are the sets of voters that may decide: one, or two while a joint configuration may count.
	sets [][]raft.ID
	// lost are the indexes that a node may lack, by node.
	lost map[raft.ID][]raft.Range
}

// NewAtlas returns the accounts of a cluster with these voters.
func NewAtlas(voters ...raft.ID) *Atlas {
	a := &Atlas{lost: map[raft.ID][]raft.Range{}}
	a.SetVoters(voters)
	return a
}

// SetVoters says which sets of voters may decide from now on: those of every configuration that is in any log and may
// still count. It reports whether all damage so far is within bounds: a change of membership can make a minority the
// majority, and then has to wait until nodes have healed.
func (a *Atlas) SetVoters(sets ...[]raft.ID) bool {
	a.sets = sets
	return a.whole()
}

// May reports whether the log of node may lose the entries of r.
func (a *Atlas) May(node raft.ID, r raft.Range) bool {
	if r.Len() == 0 {
		return true
	}
	before := a.lost[node]
	a.lost[node] = append(slices.Clone(before), r)
	defer func() { a.lost[node] = before }()
	return a.whole()
}

// Damaged notes that the log of node may have lost the entries of r. It panics unless it May.
func (a *Atlas) Damaged(node raft.ID, r raft.Range) {
	if !a.May(node, r) {
		panic(fmt.Sprintf("sim: node %d is to lose %s, which is damaged at too many others: %v", node, r, a.lost))
	}
	a.lost[node] = append(a.lost[node], r)
}

// Healed notes that node holds again what it had lost.
func (a *Atlas) Healed(node raft.ID) { delete(a.lost, node) }

// Lost returns what node may lack.
func (a *Atlas) Lost(node raft.ID) []raft.Range { return a.lost[node] }

// whole reports whether every index is whole at a majority of every set of voters. It is enough to look where something
// begins to be lost.
func (a *Atlas) whole() bool {
	for _, voters := range a.sets {
		for _, id := range voters {
			for _, r := range a.lost[id] {
				if a.lackers(voters, r.First) > (len(voters)-1)/2 {
					return false
				}
			}
		}
	}
	return true
}

// lackers returns how many of the voters may have lost index.
func (a *Atlas) lackers(voters []raft.ID, index raft.Index) (count int) {
	for _, id := range voters {
		if slices.ContainsFunc(a.lost[id], func(r raft.Range) bool { return r.First <= index && index <= r.Last }) {
			count++
		}
	}
	return count
}

// Everything is what a node loses whose disk is replaced.
var Everything = raft.Range{First: 1, Last: math.MaxInt64}

// LostBy returns what a log may lose by damage to the file of that name: everything from the first index of the segment
// on, because what follows damage is dropped with it. Of other files it is everything.
func LostBy(name string) raft.Range {
	r := Everything
	var first, sequence uint64
	base := name[strings.LastIndexByte(name, '/')+1:]
	if _, err := fmt.Sscanf(base, "%016x-%016x.wal", &first, &sequence); err == nil {
		r.First = raft.Index(max(first, 1))
	}
	return r
}
