package raft

import (
	"fmt"
	"slices"
)

// Membership is a change of the configuration, made in one step (§4.3). Any number of nodes may come, go and change their
// part in it, each named once: promoting one and removing another replaces a voter.
type Membership struct {
	// AddLearners are nodes that begin to receive the log. A new node learns before it votes.
	AddLearners []ID
	// Promote are learners that become voters.
	Promote []ID
	// Demote are voters that become learners.
	Demote []ID
	// Remove are members that leave. Their ids never come back.
	Remove []ID
}

// Change appends another configuration, which counts at once. It returns the id of its entry. The change is done when
// the last configuration is committed and not joint: until then removed voters are needed, and must not be switched off.
//
// Whatever changes the voters goes through a joint configuration (§4.3), in which both majorities decide, and which the
// leader leaves by itself as soon as it is committed. A change of one voter needs no joint configuration (§4.1); it goes
// the same way nevertheless, for one more entry, so that there is one rule to prove and to test instead of two. Changes
// of learners alone change no majority, and are one entry.
//
// A change begins only after the one before is committed, and the leader has committed an entry of its own term.
// Without the last condition two leaders of different terms can each begin a change from the same base, and the
// majorities of what they change it to need not overlap (raft-dev, 2015).
func (n *Node) Change(m Membership) (EntryID, error) {
	switch {
	case n.role != Leader:
		return EntryID{}, ErrNotLeader
	case n.lead.transferee != 0 || n.lead.leaving != 0:
		return EntryID{}, ErrTransferring
	}
	active := n.configurations.active()
	if active.Configuration.Joint() || !n.settled(active) {
		return EntryID{}, ErrChangePending
	}
	next, err := active.Configuration.change(m)
	if err != nil {
		return EntryID{}, err
	}
	for _, id := range m.Promote {
		if !n.caughtUp(n.peer(id)) {
			return EntryID{}, fmt.Errorf("promoting %d: %w", id, ErrNotCaughtUp)
		}
	}
	return n.appendConfiguration(next), nil
}

// settled reports whether another configuration may follow active: it is committed, and so is an entry of this term.
func (n *Node) settled(active *ConfigurationAt) bool {
	return active.Index <= n.log.commit && n.ownTermCommitted()
}

func (n *Node) appendConfiguration(next Configuration) EntryID {
	data, _ := next.AppendBinary(nil) // never fails
	return n.lead.append(n, EntryConfiguration, data)
}

// change returns the configuration after m, joint if the voters change.
func (c Configuration) change(m Membership) (Configuration, error) {
	if err := c.permits(m); err != nil {
		return Configuration{}, err
	}
	leave := slices.Concat(m.Demote, m.Remove)
	next := Configuration{
		Voters:       changed(c.Voters, m.Promote, leave),
		Learners:     changed(c.Learners, m.AddLearners, slices.Concat(m.Promote, m.Remove)),
		LearnersNext: changed(nil, m.Demote, nil),
	}
	switch {
	case len(next.Voters) == 0:
		return Configuration{}, ErrLastVoter
	case !slices.Equal(next.Voters, c.Voters):
		next.Outgoing = c.Voters
	}
	if members := len(next.Members()); members > MaxMembers {
		return Configuration{}, fmt.Errorf("%w: %d, the most is %d", ErrTooManyMembers, members, MaxMembers)
	}
	next.Removed = c.removedBy(&next)
	return next, nil
}

// permits reports why m cannot be done to c, which is not joint.
func (c *Configuration) permits(m Membership) error {
	named := slices.Concat(m.AddLearners, m.Promote, m.Demote, m.Remove)
	if once := changed(nil, named, nil); len(once) == 0 || once[0] == 0 || len(once) < len(named) {
		return ErrUnsupportedChange
	}
	removed := func(id ID) bool { return contains(c.Removed, id) }
	for _, rule := range []struct {
		doing   string
		ids     []ID
		are     func(ID) bool
		want    bool
		refusal error
	}{
		{"adding", m.AddLearners, c.Member, false, ErrMember},
		{"adding", m.AddLearners, removed, false, ErrReused},
		{"promoting", m.Promote, c.Learner, true, ErrNotLearner},
		{"demoting", m.Demote, c.Voter, true, ErrNotVoter},
		{"removing", m.Remove, c.Member, true, ErrNotMember},
	} {
		for _, id := range rule.ids {
			if rule.are(id) != rule.want {
				return fmt.Errorf("%s %d: %w", rule.doing, id, rule.refusal)
			}
		}
	}
	return nil
}

// changed returns ids with those of add and without those of drop, sorted, each once.
func changed(ids, add, drop []ID) []ID {
	all := slices.Concat(ids, add)
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(id ID) bool { return slices.Contains(drop, id) })
}

// leave returns the configuration after a joint one.
func (c Configuration) leave() Configuration {
	next := Configuration{Voters: c.Voters, Learners: changed(c.Learners, c.LearnersNext, nil)}
	next.Removed = c.removedBy(&next)
	return next
}

// removedBy returns who is removed once next has followed c.
func (c *Configuration) removedBy(next *Configuration) []ID {
	removed := changed(c.Removed, c.Members(), next.Members())
	return removed[max(0, len(removed)-MaxRemoved):]
}

// leaveJoint ends a joint configuration as soon as that is allowed, also one that another leader began. It waits for the
// end of a transfer: if that fails the leader goes on here, else its successor does.
func (n *Node) leaveJoint() {
	active := n.configurations.active()
	if n.role == Leader && active.Configuration.Joint() && n.settled(active) && n.lead.transferee == 0 {
		n.appendConfiguration(active.Configuration.leave())
	}
}

// configurationCommitted follows the commitment of one or more configurations, the last of which is after.
func (n *Node) configurationCommitted(before *Configuration, after *ConfigurationAt) {
	if n.role == Leader {
		// Those that left get no entries any more. If this is lost they are told when they ask for votes.
		for _, id := range changed(before.Members(), nil, after.Configuration.Members()) {
			if id != n.config.ID {
				n.tellRemoved(id)
			}
		}
	}
	switch {
	case n.role == Leader && !after.Configuration.Voter(n.config.ID):
		// It has led without counting itself until here (§4.2.2). The others learn of the commitment while it hands over.
		n.lead.leaving = after.Index
		if n.lead.transferee == 0 && n.Transfer(0) != nil {
			n.becomeFollower(n.hard.Term, 0, "votes no more")
		}
	case before.Member(n.config.ID) && !after.Configuration.Member(n.config.ID):
		// Nodes that are still being told about the time before they joined are in neither.
		n.emit(WasRemoved{Index: after.Index})
	}
}

// tellRemoved tells a node that it is a member no more, if that is so. Of an id that never was a member nothing is
// said: its addition may not have arrived here.
func (n *Node) tellRemoved(id ID) {
	committed := n.configurations.at(n.log.commit)
	if contains(committed.Configuration.Removed, id) {
		n.send(Removed{Envelope: n.to(id), Index: committed.Index})
	}
}

// onRemoved takes the news that this node is a member no more. It is not believed against a newer configuration that is
// committed here; one that is not may be the work of a leader that failed, and is no reason to doubt.
func (n *Node) onRemoved(m Removed) error {
	committed := n.configurations.at(n.log.commit).Index
	if m.Index <= max(committed, n.removedAt) || !n.configuration().Member(n.config.ID) {
		return fmt.Errorf("%w: removed by the configuration of %d, committed is that of %d", ErrStale, m.Index, committed)
	}
	n.removedAt = m.Index
	n.emit(WasRemoved{Index: m.Index})
	if n.role == PreCandidate || n.role == Candidate {
		n.becomeFollower(n.hard.Term, 0, "removed")
	}
	return nil
}
