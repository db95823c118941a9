package raft

import (
	"bytes"
	"slices"
	"testing"
)

// What must hold after every event of a world, whatever happened.

// checkReady checks what a node wants done: reads are not stale, leaders never cut their log.
func (w *world) checkReady(m *member, r *Ready) {
	for _, e := range r.Events {
		w.note("%d: %T%+v", m.id, e, e)
		switch e := e.(type) {
		case RoleChanged:
			if e.Role == Leader {
				w.checkLeader(m, e.Term)
			}
		case Truncated:
			w.count["truncations"]++
			if w.leaders[m.node.hard.Term] == m.id {
				w.fail("leader append-only: %d, which leads term %d, cuts its log: %+v", m.id, m.node.hard.Term, e)
			}
		case ConfigurationChanged:
			w.count["configurations"]++
			if e.Configuration.Joint() {
				w.count["joint configurations"]++
			}
			w.checkConfigurations(m.node.configurations.list)
		}
	}
	for _, read := range r.Reads {
		floor, asked := w.reads[read.ID]
		if !asked {
			w.fail("read %d answered twice or never asked", read.ID)
		}
		delete(w.reads, read.ID)
		if read.Err == nil {
			w.count["reads"]++
			if read.Index < floor {
				w.fail("stale read: %d answered with %d, but %d was committed before it began", read.ID, read.Index, floor)
			}
		}
	}
	w.count["loads"] += len(r.Load)
}

// checkConfigurations checks that the quorums of consecutive configurations intersect: that is what makes a change safe.
// And every one is valid and remembers who was removed.
func (w *world) checkConfigurations(list []ConfigurationAt) {
	for i := 1; i < len(list); i++ {
		before, after := &list[i-1].Configuration, &list[i].Configuration
		if err := after.validate(); err != nil {
			w.fail("configuration %s after %s: %v", after, before, err)
		}
		for _, id := range changed(before.Members(), before.Removed, after.Members()) {
			if !contains(after.Removed, id) {
				w.fail("configuration %s after %s: %d is forgotten", after, before, id)
			}
		}
		pair := before.String() + " then " + after.String()
		if !w.pairs[pair] && !before.Empty() {
			w.pairs[pair] = true
			if apart := disjointQuorums(before, after); apart != nil {
				w.fail("configurations %s: %v decides in one, all others in the other", pair, apart)
			}
		}
	}
}

// disjointQuorums returns a quorum of a without which b has a quorum as well, nil if there is none. It tries them all.
func disjointQuorums(a, b *Configuration) []ID {
	ids := slices.Concat(a.voters(), b.voters())
	slices.Sort(ids)
	ids = slices.Compact(ids)
	for subset := range 1 << len(ids) {
		agrees := func(side bool) func(ID) uint64 {
			return func(id ID) uint64 {
				at, _ := slices.BinarySearch(ids, id)
				if (subset>>at&1 == 1) == side {
					return 1
				}
				return 0
			}
		}
		if a.quorum().Committed(agrees(true)) == 1 && b.quorum().Committed(agrees(false)) == 1 {
			var apart []ID
			for at, id := range ids {
				if subset>>at&1 == 1 {
					apart = append(apart, id)
				}
			}
			return apart
		}
	}
	return nil
}

// checkLeader checks Election Safety and Leader Completeness.
func (w *world) checkLeader(m *member, term Term) {
	w.count["elections"]++
	if other, led := w.leaders[term]; led && other != m.id {
		w.fail("election safety: %d and %d lead term %d", other, m.id, term)
	}
	w.leaders[term] = m.id
	if len(w.chosen) > 0 {
		last := w.chosen[len(w.chosen)-1].ID
		if m.node.hard.Term > last.Term && !m.node.log.holds(last) && last.Index > m.node.log.base.Index {
			w.fail("leader completeness: %d leads term %d without committed %s", m.id, term, last)
		}
	}
}

// checkWrite checks Log Matching: an id always means the same entry after the same entry.
func (w *world) checkWrite(m *member, write *Write) {
	for _, e := range write.Entries {
		before := EntryID{}
		if at := e.ID.Index - 1; at == m.disk.base.Index {
			before = m.disk.base
		} else {
			before = m.disk.read(Range{at, at})[0].ID
		}
		seen, known := w.entries[e.ID]
		if !known {
			w.entries[e.ID] = seenEntry{e, before}
			continue
		}
		if seen.before != before || seen.entry.Kind != e.Kind || !bytes.Equal(seen.entry.Data, e.Data) {
			w.fail("log matching: %d has %s after %s, elsewhere it is after %s", m.id, e.ID, before, seen.before)
		}
	}
}

// checkSent checks that nothing is promised that a crash could take back.
func (w *world) checkSent(m *member, msg Message) {
	e := msg.Header()
	durable := m.disk.hard
	switch msg := msg.(type) {
	case Vote:
		if msg.Pre {
			return
		}
		if durable.Term < e.Term || durable.Term == e.Term && durable.Vote != m.id {
			w.fail("%d asks for votes in %d with %+v on its disk", m.id, e.Term, durable)
		}
		w.checkVote(m.id, e.Term, m.id)
		return
	case VoteAck:
		if !msg.Granted || msg.Pre {
			break
		}
		if durable.Term < e.Term || durable.Term == e.Term && durable.Vote != e.To {
			w.fail("%d votes for %d in %d with %+v on its disk", m.id, e.To, e.Term, durable)
		}
		w.checkVote(m.id, e.Term, e.To)
	case AppendAck:
		if !msg.Rejected && msg.Match > m.disk.last().Index && durable.Term == e.Term {
			w.fail("%d acknowledges %d, its disk ends at %s", m.id, msg.Match, m.disk.last())
		}
	}
	if ack, ok := msg.(VoteAck); ok && ack.Pre && ack.Granted {
		return
	}
	if durable.Term < e.Term {
		w.fail("%d sends %T of term %d with %+v on its disk", m.id, msg, e.Term, durable)
	}
}

func (w *world) checkVote(node ID, term Term, vote ID) {
	if other, voted := w.votes[promise{node, term}]; voted && other != vote {
		w.fail("%d votes for %d and %d in term %d", node, other, vote, term)
	}
	w.votes[promise{node, term}] = vote
}

// checkMember checks State Machine Safety and that a leader commits only what a quorum of disks holds.
func (w *world) checkMember(m *member) {
	for len(w.chosen) < len(m.machine) {
		w.chosen = append(w.chosen, m.machine[len(w.chosen)])
		w.count["commits"]++
	}
	if n := len(m.machine); n > 0 && !sameMachine(m.machine[max(0, n-3):], w.chosen[max(0, n-3):]) {
		w.fail("state machine safety: %d applied another entry than others up to %d", m.id, n)
	}
	if m.node == nil {
		return
	}
	checkNode(w.t, m.node)
	w.checkProgress(m)
	if n := m.node; n.role == Leader && n.settled(n.configurations.active()) {
		term, _ := n.log.term(n.log.commit)
		id := EntryID{term, n.log.commit}
		held := n.configuration().quorum().Committed(func(voter ID) uint64 {
			// A damaged disk has held it, and its node votes as if it did.
			if d := &w.member(voter).disk; d.holds(id) || d.hard.Acked.Compare(id) >= 0 {
				return 1
			}
			return 0
		})
		if held != 1 && id.Index > n.log.base.Index && w.newest() == m {
			w.fail("%d commits %s, which no quorum holds durably", m.id, id)
		}
	}
}

// checkProgress checks that term and commit index of one incarnation never fall, and that a leader which may change the
// configuration has one change under way at most.
func (w *world) checkProgress(m *member) {
	now := seenProgress{m.starts, m.node.hard.Term, m.node.log.commit}
	if seen := w.progress[m.id]; seen.starts == now.starts && (now.term < seen.term || now.commit < seen.commit) {
		w.fail("%d went from %+v to %+v", m.id, seen, now)
	}
	w.progress[m.id] = now
	list := m.node.configurations.list
	open := len(list) - 2
	if open >= 0 && m.node.role == Leader && m.node.ownTermCommitted() && list[open].Index > now.commit {
		w.fail("%d has two configurations that are not committed: %+v", m.id, list)
	}
}

// newest returns the leader of the highest term: only its commitments are checked against disks, as the entries of a
// deposed one may have been replaced where they were not committed.
func (w *world) newest() *member { return w.leader() }

// checkNode checks the invariants that are written beside the fields.
func checkNode(t testing.TB, n *Node) {
	t.Helper()
	l := &n.log
	if !(l.base.Index <= l.applied && l.applied <= l.handed && l.handed <= l.commit && l.commit <= l.last.Index) {
		t.Fatalf("order of indexes: base %s applied %d handed %d commit %d last %s",
			l.base, l.applied, l.handed, l.commit, l.last)
	}
	if !(l.handed <= l.stable && l.stable <= l.written && l.written <= l.last.Index) {
		t.Fatalf("order of indexes: handed %d stable %d written %d last %s", l.handed, l.stable, l.written, l.last)
	}
	if first := l.tailFirst(); first > min(l.stable, l.commit)+1 && l.commit > l.applied && first > l.stable+1 {
		t.Fatalf("tail begins at %d, stable %d", first, l.stable)
	}
	if err := l.checkRuns(); err != nil {
		t.Fatal(err)
	}
	bytes := 0
	for i := range l.tail {
		bytes += entryBytes(&l.tail[i])
		if l.tail[i].ID.Index != l.tailFirst()+Index(i) || !l.holds(l.tail[i].ID) {
			t.Fatalf("tail entry %s", l.tail[i].ID)
		}
	}
	if bytes != l.tailBytes {
		t.Fatalf("tail has %d bytes, counted as %d", bytes, l.tailBytes)
	}
	if n.role == Leader {
		if sum := l.bytes(l.commit+1, l.last.Index); sum != n.lead.uncommitted {
			t.Fatalf("uncommitted %d bytes, counted as %d", sum, n.lead.uncommitted)
		}
	} else if len(n.lead.peers) > 0 || n.lead.transferee != 0 {
		t.Fatalf("%s has %+v", n.role, n.lead)
	}
	pending := len(n.reads.fresh) + len(n.reads.asked)
	for _, r := range n.reads.rounds {
		pending += len(r.requests)
	}
	if pending != n.reads.pending {
		t.Fatalf("%d reads are pending, counted as %d", pending, n.reads.pending)
	}
}
