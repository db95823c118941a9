package raft

import (
	"fmt"
	"slices"

	"github.com/rsqld/rsqld/raft/tracker"
)

// Membership is a change of the configuration. In this version exactly one id stands in exactly one of
// AddLearners, Promote and Remove (single-server change, §4.1); anything else is ErrUnsupportedChange.
type Membership struct {
	// AddLearners are nodes that begin to receive the log.
	AddLearners []ID
	// Promote are learners that become voters.
	Promote []ID
	// Demote are voters that become learners.
	Demote []ID
	// Remove are members that leave. Their ids never come back.
	Remove []ID
}

// Change appends another configuration, which counts at once (§4.1). Old and new majorities overlap because only one node
// comes, goes or is promoted at a time, and only after the change before it is committed and the leader has committed an
// entry of its own term. Without the last condition two leaders of different terms can each begin a change from the same
// base, and their majorities need not overlap (raft-dev, 2015).
func (n *Node) Change(m Membership) (EntryID, error) {
	switch {
	case n.role != Leader:
		return EntryID{}, ErrNotLeader
	case n.lead.transferee != 0 || n.lead.leaving != 0:
		return EntryID{}, ErrTransferring
	}
	active := n.configurations.active()
	if active.Index > n.log.commit || active.Configuration.Joint() || !n.ownTermCommitted() {
		return EntryID{}, ErrChangePending
	}
	next, err := active.Configuration.change(m)
	if err != nil {
		return EntryID{}, err
	}
	if len(m.Promote) > 0 && !n.caughtUp(n.peer(m.Promote[0])) {
		return EntryID{}, fmt.Errorf("promoting %d: %w", m.Promote[0], ErrNotCaughtUp)
	}
	data, err := next.AppendBinary(nil)
	if err != nil {
		return EntryID{}, fmt.Errorf("encoding configuration %s: %w", next, err)
	}
	return n.lead.append(n, EntryConfiguration, data), nil
}

// change returns the configuration after m.
func (c Configuration) change(m Membership) (Configuration, error) {
	ids := slices.Concat(m.AddLearners, m.Promote, m.Demote, m.Remove)
	if len(ids) != 1 || len(m.Demote) > 0 || ids[0] == 0 {
		return Configuration{}, ErrUnsupportedChange
	}
	id := ids[0]
	next := Configuration{Voters: slices.Clone(c.Voters), Learners: slices.Clone(c.Learners)}
	switch {
	case len(m.AddLearners) > 0:
		if c.Member(id) {
			return Configuration{}, fmt.Errorf("adding %d: %w", id, ErrMember)
		}
		next.Learners = with(next.Learners, id)
	case len(m.Promote) > 0:
		if !c.Learner(id) {
			return Configuration{}, fmt.Errorf("promoting %d: %w", id, ErrNotLearner)
		}
		next.Learners = without(next.Learners, id)
		next.Voters = with(next.Voters, id)
	default:
		if !c.Member(id) {
			return Configuration{}, fmt.Errorf("removing %d: %w", id, ErrNotMember)
		}
		next.Learners = without(next.Learners, id)
		next.Voters = without(next.Voters, id)
		if len(next.Voters) == 0 {
			return Configuration{}, ErrLastVoter
		}
	}
	return next, nil
}

// with and without change a sorted list that belongs to the caller.
func with(ids []ID, id ID) []ID {
	at, _ := slices.BinarySearch(ids, id)
	return slices.Insert(ids, at, id)
}

func without(ids []ID, id ID) []ID {
	return slices.DeleteFunc(ids, func(other ID) bool { return other == id })
}

// caughtUp reports whether a peer follows closely enough to vote: it answers, and holds what the log held at a moment
// between T and 2T ago. This is the last round of §4.2.1, with the clock in the place of the rounds.
func (n *Node) caughtUp(p *peer) bool {
	return p.progress.State() == tracker.Replicate && p.match() >= n.lead.older &&
		n.now-p.ackedAt < uint64(n.config.ElectionTicks)
}

// configurationCommitted follows the commitment of one or more configurations, the last of which is after.
func (n *Node) configurationCommitted(before *Configuration, after *ConfigurationAt) {
	if after.Configuration.Member(n.config.ID) {
		return
	}
	switch {
	case n.role == Leader:
		// It has led without counting itself until here (§4.2.2). The others learn of the commitment while it hands over.
		n.lead.leaving = after.Index
		if n.lead.transferee == 0 && n.Transfer(0) != nil {
			n.becomeFollower(n.hard.Term, 0, "removed")
		}
	case before.Member(n.config.ID):
		// Nodes that are still being told about the time before they joined are in neither.
		n.emit(WasRemoved{Index: after.Index})
	}
}

// tellRemoved tells a node that asks for votes that it is a member no more. Of an id above all that were ever members
// nothing is known: its addition may not have arrived here.
func (n *Node) tellRemoved(id ID) {
	committed := n.configurations.at(n.log.commit)
	if committed.Configuration.Empty() || committed.Configuration.Member(id) ||
		id > n.configurations.highest(n.log.commit) {
		return
	}
	n.send(Removed{Envelope: n.to(id), Index: committed.Index})
}

// onRemoved takes the news that this node is a member no more. It is old news if the log here has a newer configuration.
func (n *Node) onRemoved(m Removed) error {
	active := n.configurations.active()
	if m.Index <= max(active.Index, n.removedAt) || !active.Configuration.Member(n.config.ID) {
		return fmt.Errorf("%w: removed by the configuration of %d, the one here is of %d", ErrStale, m.Index, active.Index)
	}
	n.removedAt = m.Index
	n.emit(WasRemoved{Index: m.Index})
	if n.role == PreCandidate || n.role == Candidate {
		n.becomeFollower(n.hard.Term, 0, "removed")
	}
	return nil
}
