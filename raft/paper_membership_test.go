package raft

import (
	"errors"
	"testing"
)

// These tests take §6 of the paper, and by it §4.3 of the dissertation.

var oldToNew = Configuration{Voters: []ID{1, 4, 5}, Outgoing: []ID{1, 2, 3}}

// §6: "a server always uses the latest configuration in its log, regardless of whether the entry is committed". Applied it
// need not be either: a follower that lags with applying campaigns by the configuration in its log (etcd#7280).
func TestPaperLatestConfigurationInTheLog(t *testing.T) {
	for name, commit := range map[string]Index{"not committed": 0, "not applied": 2} {
		cl, m := solo(t, voters(1, 2, 3), HardState{Term: 1})
		step(t, m, configurationOfTwo(voters(1, 4, 5), 0))
		m.node.Ready() // nothing of it is durable or applied
		if commit > 0 {
			step(t, m, Heartbeat{Envelope: Envelope{2, 1, 1}, Commit: commit})
		}
		if got := m.node.configuration().String(); got != "voters=[1 4 5]" || m.applied != 0 {
			t.Fatalf("%s: the configuration is %s, %d is applied", name, got, m.applied)
		}
		cl.timeout(1)
		asked := map[ID]bool{}
		for _, msg := range run(cl) {
			if vote, ok := msg.(Vote); ok {
				asked[vote.To] = true
			}
		}
		if len(asked) != 2 || !asked[4] || !asked[5] {
			t.Errorf("%s: asked %v for votes, want 4 and 5", name, asked)
		}
	}
}

// configurationOfTwo is an append from 2 that makes c the configuration of entry 2.
func configurationOfTwo(c Configuration, commit Index) Append {
	app := appendOf(2, 1, EntryID{1, 1}, commit, 1)
	app.Entries[0].Kind = EntryConfiguration
	app.Entries[0].Data, _ = c.AppendBinary(nil) // never fails
	return app
}

// §6: "Log entries are replicated to all servers in both configurations."
func TestPaperJointReplication(t *testing.T) {
	cl, m := leadJoint(t)
	sent := run(cl)
	for id := ID(2); id <= 5; id++ {
		if app := only[Append](t, toNode(id, sent)); len(app.Entries) != 1 {
			t.Errorf("%d got %+v", id, app)
		}
	}
	if peers := len(m.node.Status().Peers); peers != 4 {
		t.Errorf("%d peers, want 4", peers)
	}
}

// leadJoint makes node 1 the leader of term 2 in oldToNew, by the votes of 2 and 4.
func leadJoint(t *testing.T) (*cluster, *member) {
	t.Helper()
	cl, m := solo(t, oldToNew, HardState{Term: 1})
	cl.timeout(1)
	for _, pre := range []bool{true, false} {
		for _, id := range []ID{2, 4} {
			step(t, m, VoteAck{Envelope: Envelope{id, 1, 2}, Pre: pre, Granted: true})
		}
		if pre {
			run(cl)
		}
	}
	if m.node.role != Leader {
		t.Fatalf("it is %s", m.node.role)
	}
	return cl, m
}

// §6: "Any server from either configuration may serve as leader." Those of the old one do until the joint one is left.
func TestPaperAnyServerOfEitherMayLead(t *testing.T) {
	for id := ID(1); id <= 5; id++ {
		cl := newCluster(t, 1, Config{ElectionTicks: 10, HeartbeatTicks: 3}, oldToNew)
		led := false
		cl.ready = func(m *member, _ *Ready) { led = led || m.id == id && m.node.role == Leader }
		cl.timeout(id)
		cl.settle(nil)
		if stays := contains(oldToNew.Voters, id); !led || stays != (cl.leader().id == id) {
			t.Errorf("%d led: %v, in the end %d leads", id, led, cl.leader().id)
		}
	}
}

// §6: "Agreement (for elections and entry commitment) requires separate majorities from both the old and new
// configurations." All sets of servers that may agree are tried.
func TestPaperSeparateMajorities(t *testing.T) {
	for set := range 1 << 4 {
		has := func(id ID) bool { return id == 1 || set>>(id-2)&1 == 1 }
		count := func(ids []ID) (n int) {
			for _, id := range ids {
				if has(id) {
					n++
				}
			}
			return n
		}
		want := count(oldToNew.Voters) >= 2 && count(oldToNew.Outgoing) >= 2
		cl, m := solo(t, oldToNew, HardState{Term: 1})
		cl.timeout(1)
		for _, pre := range []bool{true, false} {
			for id := ID(2); id <= 5; id++ {
				if has(id) {
					_ = m.node.Step(VoteAck{Envelope: Envelope{id, 1, 2}, Pre: pre, Granted: true}) // some are late
				}
			}
			run(cl)
		}
		if led := m.node.role == Leader; led != want {
			t.Errorf("votes of %04b: it is %s", set, m.node.role)
		}
		cl, m = leadJoint(t)
		run(cl)
		for id := ID(2); id <= 5; id++ {
			if has(id) {
				step(t, m, AppendAck{Envelope: Envelope{id, 1, 2}, Match: 2})
			}
		}
		if committed := m.node.Status().Commit == 2; committed != want {
			t.Errorf("acknowledged by %04b: commit is %d", set, m.node.Status().Commit)
		}
	}
}

// §6: "Once C_old,new has been committed … it is now safe for the leader to create a log entry describing C_new". Not
// before: "In any case, C_new cannot make unilateral decisions during this period."
func TestPaperLeavingFollowsCommitment(t *testing.T) {
	cl, m := leadJoint(t)
	run(cl)
	step(t, m, AppendAck{Envelope: Envelope{4, 1, 2}, Match: 2}, AppendAck{Envelope: Envelope{5, 1, 2}, Match: 2})
	if c := m.node.configuration(); !c.Joint() || m.node.Status().Commit != 0 {
		t.Fatalf("the new servers alone: configuration %s, commit %d", c, m.node.Status().Commit)
	}
	step(t, m, AppendAck{Envelope: Envelope{3, 1, 2}, Match: 2})
	if c := m.node.configuration().String(); c != "voters=[1 4 5]" || m.node.Status().ConfigurationIndex != 3 {
		t.Errorf("the configuration is %s of %d, want that of 3, without 2 and 3", c, m.node.Status().ConfigurationIndex)
	}
}

// §6: "When the new configuration has been committed under the rules of C_new, the old configuration is irrelevant and
// servers not in the new configuration can be shut down."
func TestPaperRemovedServersCanBeShutDown(t *testing.T) {
	cl := newCluster(t, 1, Config{ElectionTicks: 10, HeartbeatTicks: 3}, oldToNew)
	cl.elect(1)
	if c := cl.member(1).node.configuration().String(); c != "voters=[1 4 5]" {
		t.Fatalf("the configuration is %s", c)
	}
	cl.member(2).node, cl.member(3).node = nil, nil
	crashed := cl.leader()
	crashed.node = nil
	cl.tick(60, nil)
	if leader := cl.leader(); leader == nil || leader.node.Status().Commit <= crashed.applied {
		t.Error("two of three new servers elect nobody")
	}
}

// §6: "the new servers join the cluster as non-voting members (the leader replicates log entries to them, but they are not
// considered for majorities)".
func TestPaperNewServersDoNotVote(t *testing.T) {
	cl, m := lead(t, Configuration{Voters: []ID{1, 2, 3}, Learners: []ID{4}}, HardState{Term: 1})
	if app := only[Append](t, toNode(4, run(cl))); len(app.Entries) != 1 {
		t.Errorf("the learner got %+v", app)
	}
	step(t, m, AppendAck{Envelope: Envelope{4, 1, 2}, Match: 2})
	if commit := m.node.Status().Commit; commit != 0 {
		t.Errorf("commit is %d by a learner's acknowledgement", commit)
	}
	cl, m = solo(t, Configuration{Voters: []ID{1, 2, 3}, Learners: []ID{4}}, HardState{Term: 1})
	cl.timeout(1)
	if sent := toNode(4, run(cl)); len(sent) != 0 {
		t.Errorf("the learner is asked for a vote: %v", sent)
	}
	step(t, m, VoteAck{Envelope: Envelope{4, 1, 2}, Pre: true, Granted: true})
	if m.node.role != PreCandidate {
		t.Errorf("a learner's promise makes it %s", m.node.role)
	}
}

// §6: "the cluster leader may not be part of the new configuration. In this case, the leader steps down (returns to follower
// state) once it has committed the C_new log entry. … there will be a period of time (while it is committing C_new) when
// the leader is managing a cluster that does not include itself; it replicates log entries but does not count itself in
// majorities." (It hands over before it steps down.)
func TestPaperLeaderManagesAClusterWithoutItself(t *testing.T) {
	cl, m := lead(t, voters(1, 2, 3), HardState{Term: 1})
	run(cl)
	ack := func(match Index, from ...ID) {
		for _, id := range from {
			step(t, m, AppendAck{Envelope: Envelope{id, 1, 2}, Match: match})
		}
		run(cl)
	}
	ack(2, 2, 3)
	if _, err := m.node.Change(Membership{Remove: []ID{1}}); err != nil {
		t.Fatal(err)
	}
	run(cl)
	ack(3, 2, 3)
	if c := m.node.configuration().String(); c != "voters=[2 3]" {
		t.Fatalf("the configuration is %s", c)
	}
	ack(4, 2)
	if s := m.node.Status(); s.Commit != 3 || s.Role != Leader {
		t.Fatalf("it counts itself: %s with commit %d", s.Role, s.Commit)
	}
	ack(4, 3)
	if s := m.node.Status(); s.Commit != 4 || s.Transferring == 0 {
		t.Fatalf("commit %d, transferring to %d", s.Commit, s.Transferring)
	}
	if _, err := m.node.Propose(0, []byte("x")); !errors.Is(err, ErrTransferring) {
		t.Errorf("a proposal: got %v, want ErrTransferring", err)
	}
	for range m.config.ElectionTicks { // nobody takes over
		m.node.Tick()
		for _, id := range []ID{2, 3} {
			_ = m.node.Step(HeartbeatAck{Envelope: Envelope{id, 1, 2}}) // stale when it has stepped down
		}
	}
	if m.node.role != Follower {
		t.Errorf("it is %s", m.node.role)
	}
}

// §6: "if a server receives a RequestVote RPC within the minimum election timeout of hearing from a current leader, it does
// not update its term or grant its vote."
func TestPaperRemovedServersDoNotDisrupt(t *testing.T) {
	for ticks := range 12 {
		cl, m := follow(t)
		m.node.timeout = 19
		for range ticks {
			m.node.Tick()
		}
		run(cl)
		_ = m.node.Step(Vote{Envelope: Envelope{3, 1, 9}, Last: EntryID{8, 9}}) // refused while the leader is near
		s, want := m.node.Status(), ticks >= 10
		if granted := s.Vote == 3; granted != want || (s.Term == 9) != want {
			t.Errorf("%d ticks after the leader was heard: term %d, vote for %d", ticks, s.Term, s.Vote)
		}
	}
	_, m := lead(t, voters(1, 2, 3), HardState{Term: 1})
	_ = m.node.Step(Vote{Envelope: Envelope{3, 1, 9}, Last: EntryID{8, 9}}) // refused by the leader as well
	if s := m.node.Status(); s.Role != Leader || s.Term != 2 {
		t.Errorf("the leader is %s of term %d", s.Role, s.Term)
	}
}
