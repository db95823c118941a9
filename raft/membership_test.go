package raft

import (
	"errors"
	"reflect"
	"testing"
)

// A change must follow the commitment of the one before it, and of an entry of the leader's own term (raft-dev, 2015).
func TestChangesWait(t *testing.T) {
	cl, m := solo(t, voters(1, 2, 3), HardState{Term: 1})
	step(t, m, Heartbeat{Envelope: Envelope{2, 1, 1}, Commit: 1}) // the last configuration is committed
	cl.timeout(1)
	step(t, m, VoteAck{Envelope: Envelope{2, 1, 2}, Pre: true, Granted: true})
	run(cl)
	step(t, m, VoteAck{Envelope: Envelope{2, 1, 2}, Granted: true})
	run(cl)
	add := Membership{AddLearners: []ID{4}}
	if _, err := m.node.Change(add); !errors.Is(err, ErrChangePending) {
		t.Errorf("before an own-term commit: got %v, want ErrChangePending", err)
	}
	step(t, m, AppendAck{Envelope: Envelope{2, 1, 2}, Match: 2})
	id, err := m.node.Change(add)
	if err != nil || !m.node.configuration().Learner(4) {
		t.Fatalf("change: %v, configuration %s", err, m.node.configuration())
	}
	if _, err := m.node.Change(Membership{Remove: []ID{3}}); !errors.Is(err, ErrChangePending) {
		t.Errorf("while one is pending: got %v, want ErrChangePending", err)
	}
	run(cl)
	step(t, m, AppendAck{Envelope: Envelope{2, 1, 2}, Match: id.Index})
	id, err = m.node.Change(Membership{Remove: []ID{3}})
	if err != nil {
		t.Errorf("after its commitment: %v", err)
	}
	run(cl)
	step(t, m, AppendAck{Envelope: Envelope{2, 1, 2}, Match: id.Index})
	if got := m.node.configuration(); got.Joint() {
		t.Fatalf("configuration is %s, want that the joint one is left", got)
	}
	if _, err := m.node.Change(Membership{AddLearners: []ID{5}}); !errors.Is(err, ErrChangePending) {
		t.Errorf("before the joint configuration is left for good: got %v, want ErrChangePending", err)
	}
}

// What cannot be changed is refused by name.
func TestRefusedChanges(t *testing.T) {
	cl, m := lead(t, Configuration{Voters: []ID{1, 2}, Learners: []ID{3}, Removed: []ID{9}}, HardState{Term: 1})
	run(cl)
	step(t, m, AppendAck{Envelope: Envelope{2, 1, 2}, Match: 2})
	for _, test := range []struct {
		change Membership
		want   error
	}{
		{Membership{}, ErrUnsupportedChange},
		{Membership{AddLearners: []ID{0}}, ErrUnsupportedChange},
		{Membership{AddLearners: []ID{5, 4, 5}}, ErrUnsupportedChange},
		{Membership{Promote: []ID{3}, Remove: []ID{3}}, ErrUnsupportedChange},
		{Membership{AddLearners: []ID{2}}, ErrMember},
		{Membership{AddLearners: []ID{3}}, ErrMember},
		{Membership{AddLearners: []ID{4, 9}}, ErrReused},
		{Membership{AddLearners: tooMany()}, ErrTooManyMembers},
		{Membership{Promote: []ID{2}}, ErrNotLearner},
		{Membership{Promote: []ID{3}, Remove: []ID{2}}, ErrNotCaughtUp},
		{Membership{Demote: []ID{3}}, ErrNotVoter},
		{Membership{Demote: []ID{2}, Remove: []ID{1}}, ErrLastVoter},
		{Membership{Remove: []ID{2, 8}}, ErrNotMember},
	} {
		before := m.node.log.last
		if _, err := m.node.Change(test.change); !errors.Is(err, test.want) || m.node.log.last != before {
			t.Errorf("%+v: got %v and a log that ends at %s, want %v", test.change, err, m.node.log.last, test.want)
		}
	}
	cl, m = solo(t, voters(1), HardState{Term: 1})
	cl.settle(nil)
	if _, err := m.node.Change(Membership{Remove: []ID{1}}); !errors.Is(err, ErrLastVoter) {
		t.Errorf("removing the last voter: got %v", err)
	}
}

// tooMany returns ids of nodes that are too many beside three members.
func tooMany() (ids []ID) {
	for id := range ID(MaxMembers - 2) {
		ids = append(ids, 100+id)
	}
	return ids
}

// A cut takes away all configurations that stood behind it, not only the last (canonical/raft#250).
func TestCutTakesAllConfigurations(t *testing.T) {
	_, m := solo(t, voters(1, 2, 3), HardState{Term: 2})
	app := appendOf(2, 2, EntryID{1, 1}, 0, 2, 2, 2)
	for i, c := range []Configuration{voters(1, 2), voters(1, 2, 4), voters(1, 4)} {
		data, err := c.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		app.Entries[i].Kind, app.Entries[i].Data = EntryConfiguration, data
	}
	step(t, m, app)
	if got := m.node.Status(); got.ConfigurationIndex != 4 || !reflect.DeepEqual(got.Configuration, voters(1, 4)) {
		t.Fatalf("configuration is %s of %d", got.Configuration, got.ConfigurationIndex)
	}
	step(t, m, appendOf(3, 3, EntryID{2, 2}, 0, 3))
	if got := m.node.Status(); got.ConfigurationIndex != 2 || !reflect.DeepEqual(got.Configuration, voters(1, 2)) {
		t.Errorf("configuration is %s of %d, want that of 2", got.Configuration, got.ConfigurationIndex)
	}
}

// News of a removal is not believed against a newer configuration that is committed here, and is against one that is not:
// that may be the work of a leader that failed.
func TestOldRemovalIsNotBelieved(t *testing.T) {
	_, m := solo(t, voters(1, 2, 3), HardState{Term: 2})
	app := appendOf(2, 2, EntryID{1, 1}, 0, 2, 2, 2)
	data, err := voters(1, 2).AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	app.Entries[0].Kind, app.Entries[0].Data = EntryConfiguration, data
	app.Entries[2].Kind, app.Entries[2].Data = EntryConfiguration, data
	step(t, m, app, Heartbeat{Envelope: Envelope{2, 1, 2}, Commit: 3})
	if err := m.node.Step(Removed{Envelope: Envelope{2, 1, 2}, Index: 2}); !errors.Is(err, ErrStale) {
		t.Errorf("got %v, want ErrStale", err)
	}
	step(t, m, Removed{Envelope: Envelope{2, 1, 2}, Index: 3})
	for range 40 {
		m.node.Tick()
	}
	if m.node.role != Follower {
		t.Errorf("a removed node is %s", m.node.role)
	}
}

// An id that never was a member is not called removed: its addition may not have arrived here.
func TestUnknownIsNotRemoved(t *testing.T) {
	cl, m := solo(t, Configuration{Voters: []ID{1, 4}, Removed: []ID{2}}, HardState{Term: 1})
	step(t, m, appendOf(4, 1, EntryID{1, 1}, 1))
	run(cl)
	for id, told := range map[ID]bool{2: true, 3: false, 4: false, 5: false} {
		_ = m.node.Step(Vote{Envelope: Envelope{id, 1, 2}, Last: EntryID{1, 1}, Pre: true}) // stickiness may refuse it
		got := false
		for _, msg := range run(cl) {
			_, removed := msg.(Removed)
			got = got || removed
		}
		if got != told {
			t.Errorf("node %d is told that it is removed: %v, want %v", id, got, told)
		}
	}
}

// While a configuration is joint, an election and a commitment need both majorities, and no change begins (§4.3).
func TestJointConfigurationNeedsBothMajorities(t *testing.T) {
	joint := Configuration{Voters: []ID{1, 2, 3}, Outgoing: []ID{1, 4, 5}}
	cl, m := solo(t, joint, HardState{Term: 1})
	cl.timeout(1)
	pre := func(from ID) Message { return VoteAck{Envelope: Envelope{from, 1, 2}, Pre: true, Granted: true} }
	vote := func(from ID) Message { return VoteAck{Envelope: Envelope{from, 1, 2}, Granted: true} }
	if asked := len(run(cl)); asked != 4 {
		t.Errorf("%d nodes were asked for votes, want 4", asked)
	}
	step(t, m, pre(2), pre(3))
	if m.node.role != PreCandidate {
		t.Fatalf("one majority of two made it %s", m.node.role)
	}
	step(t, m, pre(4))
	run(cl)
	step(t, m, vote(4), vote(5))
	if m.node.role != Candidate {
		t.Fatalf("one majority of two made it %s", m.node.role)
	}
	step(t, m, vote(3))
	run(cl)
	ack := func(from ID) Message { return AppendAck{Envelope: Envelope{from, 1, 2}, Match: 2} }
	step(t, m, ack(2), ack(3))
	if m.node.role != Leader || m.node.log.commit != 0 {
		t.Fatalf("it is %s with commit %d, want a leader with 0", m.node.role, m.node.log.commit)
	}
	if _, err := m.node.Change(Membership{AddLearners: []ID{7}}); !errors.Is(err, ErrChangePending) {
		t.Errorf("a change in a joint configuration: got %v, want ErrChangePending", err)
	}
	if err := m.node.Transfer(4); !errors.Is(err, ErrNotVoter) {
		t.Errorf("a transfer to a voter that leaves: got %v, want ErrNotVoter", err)
	}
	step(t, m, ack(5))
	if m.node.log.commit != 2 {
		t.Errorf("commit is %d with both majorities, want 2", m.node.log.commit)
	}
}

// While a configuration is joint, a leader needs the answers of both majorities to lead on (CheckQuorum, §6.2), and to
// prove that it leads (ReadIndex, §6.4).
func TestJointConfigurationNeedsBothMajoritiesToLead(t *testing.T) {
	cl, m := solo(t, Configuration{Voters: []ID{1, 2, 3}, Outgoing: []ID{1, 4, 5}}, HardState{Term: 1})
	cl.timeout(1)
	term := Term(2)
	for _, from := range []ID{2, 4} {
		step(t, m, VoteAck{Envelope: Envelope{from, 1, term}, Pre: true, Granted: true})
	}
	run(cl)
	for _, from := range []ID{2, 4} {
		step(t, m, VoteAck{Envelope: Envelope{from, 1, term}, Granted: true})
	}
	alive := func(from ID) Message {
		return HeartbeatAck{Envelope: Envelope{from, 1, term}, Round: m.node.reads.round}
	}
	// An entry of its term is committed, and the joint configuration is not left because a transfer is under way.
	if err := m.node.Transfer(2); err != nil {
		t.Fatal(err)
	}
	run(cl)
	step(t, m, AppendAck{Envelope: Envelope{2, 1, term}, Match: 2}, AppendAck{Envelope: Envelope{4, 1, term}, Match: 2})
	if err := m.node.Read(1); err != nil {
		t.Fatal(err)
	}
	run(cl)
	step(t, m, alive(2), alive(3))
	if run(cl); len(m.reads) > 0 {
		t.Errorf("one majority of two confirmed a read: %+v", m.reads)
	}
	step(t, m, alive(5))
	if run(cl); len(m.reads) != 1 || m.reads[0].Err != nil {
		t.Errorf("both majorities answered, reads are %+v", m.reads)
	}
	for range 9 {
		m.node.Tick()
	}
	step(t, m, alive(2), alive(3))
	m.node.Tick()
	if m.node.role == Leader {
		t.Error("it leads on without the outgoing majority")
	}
}

// A voter whose log ends with its own removal, uncommitted, campaigns still: the others cannot win without its vote, and
// it refuses them for their shorter logs (§4.2.2).
func TestRemovedVoterMayBeNeeded(t *testing.T) {
	cl := newCluster(t, 1, Config{ElectionTicks: 10, HeartbeatTicks: 3}, voters(1, 2))
	cl.elect(1)
	one := cl.member(1)
	if _, err := one.node.Change(Membership{Remove: []ID{1}}); err != nil {
		t.Fatal(err)
	}
	for one.node.configuration().Joint() {
		cl.process(one)
		cl.finish(one)
		cl.process(cl.member(2))
		cl.finish(cl.member(2))
		mail := cl.mail
		cl.mail = nil
		for _, msg := range mail {
			_ = cl.deliver(msg) // none matters but those of the change
		}
	}
	id := one.node.log.last
	cl.process(one)
	cl.finish(one)
	cl.mail = nil
	one.start(t) // nobody else has its last entry
	for range 20 {
		cl.tick(10, nil)
	}
	if leader := cl.leader(); leader == nil || leader.id != 2 || leader.applied < id.Index {
		t.Fatalf("leader is %+v, want node 2 after the removal of node 1", leader)
	}
	if got := cl.member(2).node.configuration().String(); got != "voters=[2]" {
		t.Errorf("configuration is %s", got)
	}
}

// A leader that hands over in a joint configuration chooses among the voters that stay, whoever holds more.
func TestSuccessorStays(t *testing.T) {
	cl, m := leadJoint(t)
	run(cl)
	step(t, m, AppendAck{Envelope: Envelope{2, 1, 2}, Match: 2}, AppendAck{Envelope: Envelope{4, 1, 2}, Match: 1})
	m.node.SetFit(false)
	if to := m.node.Status().Transferring; to != 4 {
		t.Errorf("it hands over to %d, want 4: 2 leaves", to)
	}
}
