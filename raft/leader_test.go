package raft

import (
	"errors"
	"testing"
)

// A leader steps down T after the answer that last made a quorum, not up to 2T after it, and rejections are answers.
func TestCheckQuorumTakesT(t *testing.T) {
	_, m := lead(t, voters(1, 2, 3), HardState{Term: 1})
	for range 7 {
		m.node.Tick()
	}
	step(t, m, AppendAck{Envelope: Envelope{3, 1, 2}, Rejected: true, Prev: 1})
	for range 9 {
		m.node.Tick()
	}
	if m.node.role != Leader || m.node.Status().ContactTicks != 9 {
		t.Fatalf("after T-1 ticks: %s, contact %d ticks ago", m.node.role, m.node.Status().ContactTicks)
	}
	m.node.Tick()
	if m.node.role != Follower {
		t.Fatal("after T ticks it leads still")
	}
}

// A learner's answers keep no leader in office.
func TestLearnersAreNoQuorum(t *testing.T) {
	_, m := lead(t, Configuration{Voters: []ID{1, 2}, Learners: []ID{3}}, HardState{Term: 1})
	for range 10 {
		m.node.Tick()
		_ = m.node.Step(HeartbeatAck{Envelope: Envelope{3, 1, 2}}) // too late in the last round
	}
	if m.node.role == Leader {
		t.Error("a learner counts as a quorum")
	}
}

// A heartbeat's commit index is at most what the peer is known to hold: its tail may be another leader's.
func TestHeartbeatCommitIsCapped(t *testing.T) {
	cl, m := lead(t, voters(1, 2, 3), HardState{Term: 1})
	run(cl)
	step(t, m, AppendAck{Envelope: Envelope{2, 1, 2}, Match: 2})
	for range 3 {
		m.node.Tick()
	}
	for _, msg := range run(cl) {
		if beat, ok := msg.(Heartbeat); ok {
			if want := map[ID]Index{2: 2, 3: 0}[beat.To]; beat.Commit != want {
				t.Errorf("heartbeat to %d has commit %d, want %d", beat.To, beat.Commit, want)
			}
		}
	}
}

// Entries of older terms are not committed by counting (fig. 8; canonical/raft#220).
func TestOldTermsAreNotCounted(t *testing.T) {
	cl, m := lead(t, voters(1, 2, 3), HardState{Term: 3}, 2)
	run(cl)
	step(t, m, AppendAck{Envelope: Envelope{2, 1, 4}, Match: 2})
	if m.node.log.commit != 0 {
		t.Fatalf("commit is %d, want 0: entry 2/2 is of an older term", m.node.log.commit)
	}
	step(t, m, AppendAck{Envelope: Envelope{2, 1, 4}, Match: 3})
	if m.node.log.commit != 3 {
		t.Errorf("commit is %d, want 3", m.node.log.commit)
	}
}

// A leader counts itself only for what its own disk holds (§10.2.1).
func TestLeaderCountsItsDisk(t *testing.T) {
	cl, m := lead(t, voters(1, 2), HardState{Term: 1})
	m.stalled = true
	run(cl)
	step(t, m, AppendAck{Envelope: Envelope{2, 1, 2}, Match: 2})
	if m.node.log.commit != 0 {
		t.Errorf("commit is %d before the leader's own write", m.node.log.commit)
	}
	m.stalled = false
	run(cl)
	if m.node.log.commit != 2 {
		t.Errorf("commit is %d after it, want 2", m.node.log.commit)
	}
}

// The commit index reaches followers at once, not with the next proposal.
func TestCommitIsPushed(t *testing.T) {
	cl, m := lead(t, voters(1, 2, 3), HardState{Term: 1})
	run(cl)
	step(t, m, AppendAck{Envelope: Envelope{2, 1, 2}, Match: 2})
	if beat := only[Heartbeat](t, run(cl)); beat.To != 2 || beat.Commit != 2 {
		t.Errorf("got %+v, want commit 2 for node 2", beat)
	}
}

// Proposals made before one Ready leave in one append.
func TestProposalsShareAnAppend(t *testing.T) {
	cl, m := lead(t, voters(1, 2), HardState{Term: 1})
	run(cl)
	step(t, m, AppendAck{Envelope: Envelope{2, 1, 2}, Match: 2})
	run(cl)
	for i := range 5 {
		if id, err := m.node.Propose(2, []byte("a"), []byte("b")); err != nil || id != (EntryID{2, Index(3 + 2*i)}) {
			t.Fatalf("proposal %d: %s, %v", i, id, err)
		}
	}
	if app := only[Append](t, run(cl)); len(app.Entries) != 10 {
		t.Errorf("got %d entries, want 10", len(app.Entries))
	}
}

// A conflict costs at most one probe per term of the shorter list of terms, however long the logs are.
func TestOneProbePerTerm(t *testing.T) {
	leader, follower := disk{hard: HardState{Term: 90}}, disk{hard: HardState{Term: 90}}
	first := found(voters(1, 2)).entries[0]
	leader.entries, follower.entries = []Entry{first}, []Entry{first}
	for i := range Index(3000) {
		leader.entries = append(leader.entries, Entry{EntryID{Term(2 + 2*(i/1000)), i + 2}, EntryCommand, nil})
		follower.entries = append(follower.entries, Entry{EntryID{Term(3 + 2*(i/1500)), i + 2}, EntryCommand, nil})
	}
	cl := &cluster{t: t}
	for i, d := range []disk{leader, follower} {
		cl.add(ID(i+1), 1, Config{}, d).start(t)
	}
	rejects := 0
	cl.sent = func(_ *member, m Message) {
		if ack, ok := m.(AppendAck); ok && ack.Rejected {
			rejects++
		}
	}
	cl.elect(1)
	if rejects > 3 {
		t.Errorf("%d probes were rejected, want at most one for each of 3 terms", rejects)
	}
	if !sameMachine(cl.members[0].machine, cl.members[1].machine) || cl.members[1].applied != 3002 {
		t.Errorf("the logs do not agree after it")
	}
}

// Proposals have a limit, and one always fits.
func TestBusy(t *testing.T) {
	cl := &cluster{t: t}
	m := cl.add(1, 1, Config{MaxUncommittedBytes: 1000}, found(voters(1)))
	m.start(t)
	cl.settle(nil)
	if _, err := m.node.Propose(0, make([]byte, 5000)); err != nil {
		t.Fatalf("the first: %v", err)
	}
	if _, err := m.node.Propose(0, []byte("a")); !errors.Is(err, ErrBusy) {
		t.Errorf("beyond the limit: got %v, want ErrBusy", err)
	}
	cl.settle(nil)
	for want := range 3 {
		if _, err := m.node.Propose(0, make([]byte, 300)); (err == nil) != (want < 2) {
			t.Errorf("proposal %d: %v", want, err)
		}
	}
	cl.settle(nil)
	if _, err := m.node.Propose(9, []byte("a")); !errors.Is(err, ErrTermChanged) {
		t.Errorf("another term: got %v, want ErrTermChanged", err)
	}
	if _, err := m.node.Propose(0); !errors.Is(err, ErrNoProposal) {
		t.Errorf("nothing: got %v, want ErrNoProposal", err)
	}
}

// An unfit leader hands over to the voter that holds most; without one it steps down. Fit again, a single voter leads again.
func TestUnfitLeader(t *testing.T) {
	cl := newCluster(t, 1, Config{ElectionTicks: 10, HeartbeatTicks: 3}, voters(1, 2, 3))
	cl.elect(1)
	cl.member(1).node.SetFit(false)
	cl.settle(nil)
	if leader := cl.leader(); leader == nil || leader.id == 1 {
		t.Errorf("the leader is %+v", leader)
	}
	alone := newCluster(t, 1, Config{}, voters(1))
	alone.settle(nil)
	n := alone.member(1).node
	n.SetFit(false)
	if n.role != Follower {
		t.Errorf("an unfit single voter is %s", n.role)
	}
	n.SetFit(true)
	alone.settle(nil)
	if n.role != Leader {
		t.Errorf("fit again it is %s", n.role)
	}
}

// Claims of followers that cannot be true change nothing that the leader knows.
func TestLyingFollowers(t *testing.T) {
	cl, m := lead(t, voters(1, 2, 3), HardState{Term: 1})
	run(cl)
	if err := m.node.Step(AppendAck{Envelope: Envelope{2, 1, 2}, Match: 99}); !errors.Is(err, ErrMalformed) {
		t.Errorf("acknowledging what is not there: got %v", err)
	}
	if err := m.node.Step(Heartbeat{Envelope: Envelope{2, 1, 2}}); !errors.Is(err, ErrMalformed) {
		t.Errorf("a second leader of the term: got %v", err)
	}
	if err := m.node.Step(AppendAck{Envelope: Envelope{9, 1, 2}, Match: 2}); !errors.Is(err, ErrStale) {
		t.Errorf("an answer of a stranger: got %v", err)
	}
	if m.node.role != Leader || m.node.log.commit != 0 {
		t.Errorf("it is %s with commit %d", m.node.role, m.node.log.commit)
	}
}
