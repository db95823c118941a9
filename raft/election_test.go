package raft

import (
	"errors"
	"testing"
)

// The election timeout is drawn anew at each reset, from all of [T, 2T).
func TestTimeoutIsDrawnAnew(t *testing.T) {
	_, m := solo(t, voters(1, 2, 3), HardState{Term: 1})
	seen := map[int]bool{}
	for range 500 {
		step(t, m, Heartbeat{Envelope: Envelope{2, 1, 1}})
		seen[m.node.timeout] = true
	}
	for timeout := range seen {
		if timeout < 10 || timeout >= 20 {
			t.Errorf("timeout %d is not in [10, 20)", timeout)
		}
	}
	if len(seen) != 10 {
		t.Errorf("got %d different timeouts, want 10", len(seen))
	}
}

// Term and vote are one write, and the vote leaves after it (hashicorp/raft#661).
func TestVoteWaitsForOneWrite(t *testing.T) {
	_, m := solo(t, voters(1, 2, 3), HardState{Term: 1})
	step(t, m, Vote{Envelope: Envelope{2, 1, 5}, Last: EntryID{1, 1}})
	r := m.node.Ready()
	if r.Write == nil || r.Write.HardState != (HardState{Term: 5, Vote: 2}) {
		t.Fatalf("write is %+v, want term 5 and vote 2", r.Write)
	}
	if len(r.Send) != 0 || len(r.SendAt) != 1 || r.SendAt[0].Seq != r.Write.Seq {
		t.Fatalf("got Send %v SendAt %v, want the vote after write %d", r.Send, r.SendAt, r.Write.Seq)
	}
	if r := m.node.Ready(); !r.Empty() {
		t.Errorf("second Ready is %+v, want nothing", r)
	}
}

// A repeated request for a vote passes the same log check as the first (hashicorp/raft#661).
func TestRepeatedVoteChecksTheLog(t *testing.T) {
	cl, m := solo(t, voters(1, 2, 3), HardState{Term: 7, Vote: 2}, 5, 5, 5)
	step(t, m, Vote{Envelope: Envelope{2, 1, 7}, Last: EntryID{1, 1}})
	if ack := only[VoteAck](t, run(cl)); ack.Granted {
		t.Error("the vote was granted to a candidate without the entries held here")
	}
	step(t, m, Vote{Envelope: Envelope{2, 1, 7}, Last: EntryID{5, 4}})
	if ack := only[VoteAck](t, run(cl)); !ack.Granted {
		t.Error("the vote was refused to the candidate that has it")
	}
}

// A candidate that steps down in its term keeps its vote (CCF#8094), and so does a leader that lost its quorum.
func TestStepDownKeepsTheVote(t *testing.T) {
	cl, m := lead(t, voters(1, 2, 3), HardState{Term: 1})
	run(cl)
	for range 10 {
		m.node.Tick()
	}
	if m.node.role != Follower || m.node.hard != (HardState{Term: 2, Vote: 1}) {
		t.Fatalf("got %s with %+v, want a follower with its vote", m.node.role, m.node.hard)
	}
	step(t, m, Vote{Envelope: Envelope{3, 1, 2}, Last: EntryID{1, 9}})
	if ack := only[VoteAck](t, run(cl)); ack.Granted {
		t.Error("two votes in one term")
	}
}

// A learner, and a node that knows no configuration, vote for whoever has a good log, known or not (etcd#10998).
func TestVotingNeedsNoMembership(t *testing.T) {
	learner := Configuration{Voters: []ID{2, 3}, Learners: []ID{1}}
	cl, m := solo(t, learner, HardState{Term: 1})
	step(t, m, Vote{Envelope: Envelope{9, 1, 2}, Last: EntryID{1, 1}})
	if ack := only[VoteAck](t, run(cl)); !ack.Granted {
		t.Error("a learner refused its vote")
	}
	cl = &cluster{t: t}
	cl.add(1, 1, Config{}, disk{}).start(t)
	step(t, cl.members[0], Vote{Envelope: Envelope{9, 1, 2}, Last: EntryID{1, 1}})
	if ack := only[VoteAck](t, run(cl)); !ack.Granted {
		t.Error("a node without a configuration refused its vote")
	}
}

// Learners, nodes without a configuration and unfit nodes never campaign.
func TestWhoNeverCampaigns(t *testing.T) {
	for name, prepare := range map[string]func() *member{
		"learner": func() *member {
			_, m := solo(t, Configuration{Voters: []ID{2}, Learners: []ID{1}}, HardState{Term: 1})
			return m
		},
		"joiner": func() *member {
			cl := &cluster{t: t}
			m := cl.add(1, 1, Config{}, disk{})
			m.start(t)
			return m
		},
		"unfit": func() *member {
			_, m := solo(t, voters(1, 2), HardState{Term: 1})
			m.node.SetFit(false)
			if err := m.node.Step(TimeoutNow{Envelope: Envelope{2, 1, 1}}); !errors.Is(err, ErrIgnored) {
				t.Errorf("TimeoutNow: got %v, want ErrIgnored", err)
			}
			return m
		},
		"unfit only voter": func() *member {
			_, m := solo(t, voters(1), HardState{Term: 1})
			m.node.SetFit(false)
			return m
		},
	} {
		m := prepare()
		for range 100 {
			m.node.Tick()
			if m.node.role != Follower {
				t.Fatalf("%s is %s", name, m.node.role)
			}
		}
	}
}

// A PreVote of a lower term is answered, with the higher term, which the asker adopts (etcd#8501).
func TestPreVoteOfALowerTermIsAnswered(t *testing.T) {
	cl, m := solo(t, voters(1, 2, 3), HardState{Term: 9})
	step(t, m, Vote{Envelope: Envelope{2, 1, 4}, Last: EntryID{3, 9}, Pre: true})
	ack := only[VoteAck](t, run(cl))
	if ack.Granted || ack.Term != 9 {
		t.Errorf("got %+v, want a refusal of term 9", ack)
	}
	cl, m = solo(t, voters(1, 2, 3), HardState{Term: 1})
	cl.timeout(1)
	step(t, m, VoteAck{Envelope: Envelope{2, 1, 9}, Pre: true})
	if m.node.hard.Term != 9 || m.node.role != Follower {
		t.Errorf("got %s of term %d, want a follower of term 9", m.node.role, m.node.hard.Term)
	}
}

// A PreVote changes nothing where it is granted: no term, no vote, no timer.
func TestPreVoteChangesNothing(t *testing.T) {
	cl, m := solo(t, voters(1, 2, 3), HardState{Term: 1})
	m.node.Tick()
	before, elapsed := m.node.hard, m.node.elapsed
	step(t, m, Vote{Envelope: Envelope{2, 1, 4}, Last: EntryID{1, 1}, Pre: true})
	if ack := only[VoteAck](t, run(cl)); !ack.Granted || ack.Term != 4 {
		t.Errorf("got %+v, want a grant for term 4", ack)
	}
	if m.node.hard != before || m.node.elapsed != elapsed {
		t.Errorf("hard state %+v timer %d, were %+v and %d", m.node.hard, m.node.elapsed, before, elapsed)
	}
}

// Who has heard a leader less than T ago neither votes nor adopts a term, unless that leader itself asked for the election.
func TestStickiness(t *testing.T) {
	ask := Vote{Envelope: Envelope{3, 1, 2}, Last: EntryID{1, 1}}
	for _, test := range []struct {
		name     string
		ticks    int
		transfer bool
		obeyed   bool
	}{
		{"just heard", 0, false, false}, {"nearly T", 9, false, false}, {"T", 10, false, true}, {"transfer", 0, true, true},
	} {
		cl, m := solo(t, voters(1, 2, 3), HardState{Term: 1})
		step(t, m, Heartbeat{Envelope: Envelope{2, 1, 1}})
		m.node.timeout = 20
		for range test.ticks {
			m.node.Tick()
		}
		run(cl)
		vote := ask
		vote.Transfer = test.transfer
		err := m.node.Step(vote)
		if got := m.node.hard.Vote == 3; got != test.obeyed || (err == nil) != test.obeyed {
			t.Errorf("%s: vote granted is %v (%v), want %v", test.name, got, err, test.obeyed)
		}
		if !test.obeyed && m.node.hard.Term != 1 {
			t.Errorf("%s: the term was adopted", test.name)
		}
	}
}

// A single voter campaigns at once, leads only once its vote is durable, and commits only what is durable (etcd#14370).
func TestSingleVoterWaitsForItsDisk(t *testing.T) {
	cl, m := solo(t, voters(1), HardState{Term: 1})
	if m.node.role != Candidate {
		t.Fatalf("it is %s, want candidate at once", m.node.role)
	}
	m.stalled = true
	cl.settle(nil)
	if m.node.role != Candidate {
		t.Fatalf("it is %s before its vote is durable", m.node.role)
	}
	m.stalled = false
	cl.settle(nil)
	m.stalled = true
	id, err := m.node.Propose(0, []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	cl.settle(nil)
	if m.node.log.commit >= id.Index {
		t.Error("committed before the write was durable")
	}
	m.stalled = false
	cl.settle(nil)
	if m.applied != id.Index {
		t.Errorf("applied %d, want %d", m.applied, id.Index)
	}
}

// Only the write that holds the vote makes it count, not one before it.
func TestOwnVoteWaitsForItsWrite(t *testing.T) {
	cl, m := solo(t, voters(1), HardState{Term: 1})
	cl.settle(nil)
	if _, err := m.node.Propose(0, []byte("a")); err != nil {
		t.Fatal(err)
	}
	older := m.node.Ready().Write
	m.node.SetFit(false)
	m.node.SetFit(true)
	vote := m.node.Ready().Write
	m.node.Stable(older.Seq)
	if m.node.role != Candidate {
		t.Fatalf("it is %s by a write that does not hold its vote", m.node.role)
	}
	m.node.Stable(vote.Seq)
	if m.node.role != Leader {
		t.Errorf("it is %s, want leader", m.node.role)
	}
}

// A node that lost what it acknowledged votes as if it still had it, does not campaign, and begins a new term, so that its
// leader learns of the loss by an election (CTRL, FAST'18).
func TestDamagedLog(t *testing.T) {
	cl, m := solo(t, voters(1, 2, 3), HardState{Term: 4, Vote: 2, Acked: EntryID{3, 9}}, 2)
	if m.node.hard.Term != 5 || m.node.hard.Vote != 0 {
		t.Errorf("hard state is %+v, want a new term", m.node.hard)
	}
	for range 40 {
		m.node.Tick()
	}
	if m.node.role != Follower {
		t.Errorf("it is %s", m.node.role)
	}
	step(t, m, Vote{Envelope: Envelope{2, 1, 6}, Last: EntryID{3, 8}})
	if ack := only[VoteAck](t, run(cl)); ack.Granted {
		t.Error("it voted for a candidate without what it acknowledged")
	}
	step(t, m, Vote{Envelope: Envelope{3, 1, 6}, Last: EntryID{3, 9}})
	if ack := only[VoteAck](t, run(cl)); !ack.Granted {
		t.Error("it refused a candidate that has what it acknowledged")
	}
	step(t, m, appendOf(3, 6, EntryID{2, 2}, 0, 3, 3, 3, 3, 3, 3, 3))
	run(cl)
	if m.disk.hard.Acked != (EntryID{}) {
		t.Errorf("acked is %s still, with a log that ends at %s", m.disk.hard.Acked, m.disk.last())
	}
	lost := HardState{Term: 4, Acked: EntryID{3, 9}}
	if _, err := New(Config{ID: 1}, lost, founded(voters(1)), 0); !errors.Is(err, ErrLost) {
		t.Errorf("a single voter: got %v, want ErrLost", err)
	}
}
