package raft

import (
	"errors"
	"slices"
	"testing"
)

// §5.1: "In normal operation there is exactly one leader and all of the other servers are followers."
func TestPaperNormalOperation(t *testing.T) {
	cl := newCluster(t, 1, Config{ElectionTicks: 10, HeartbeatTicks: 3}, voters(1, 2, 3, 4, 5))
	cl.tick(60, nil)
	for range 20 {
		cl.tick(10, nil)
		roles := map[Role]int{}
		for _, m := range cl.members {
			roles[m.node.role]++
		}
		if roles[Leader] != 1 || roles[Follower] != 4 {
			t.Fatalf("roles are %v", roles)
		}
	}
}

// §5.1: "Current terms are exchanged whenever servers communicate": whatever is sent bears the sender's term. A promise for
// the next term, asked for and granted, bears that one, and changes no term.
func TestPaperTermsAreExchanged(t *testing.T) {
	cl := newCluster(t, 3, Config{ElectionTicks: 10, HeartbeatTicks: 3}, voters(1, 2, 3))
	cl.sent = func(m *member, msg Message) {
		promise := false
		switch msg := msg.(type) {
		case Vote:
			promise = msg.Pre
		case VoteAck:
			promise = msg.Pre && msg.Granted
		}
		if got := msg.Header().Term; got != m.node.hard.Term && !promise {
			t.Errorf("%d of term %d sends %T of term %d", m.id, m.node.hard.Term, msg, got)
		}
	}
	for range 5 {
		cl.tick(30, nil)
		lost := cl.leader().id
		cl.tick(40, func(m Message) bool { return m.Header().From == lost || m.Header().To == lost })
	}
}

// §5.1: "If a server receives a request with a stale term number, it rejects the request."
func TestPaperStaleRequestsAreRejected(t *testing.T) {
	stale := Envelope{2, 1, 4}
	for _, ask := range []Message{
		appendOf(2, 4, EntryID{1, 1}, 1, 2), Heartbeat{Envelope: stale, Commit: 1}, ReadIndex{Envelope: stale, Seq: 1},
		Vote{Envelope: stale, Last: EntryID{1, 9}}, Vote{Envelope: stale, Last: EntryID{1, 9}, Pre: true},
		TimeoutNow{Envelope: stale},
	} {
		cl, m := solo(t, voters(1, 2, 3), HardState{Term: 5})
		err := m.node.Step(ask)
		_, vote := ask.(Vote) // is answered with a refusal
		if sent := run(cl); vote && sent[0].(VoteAck).Granted || !vote && !errors.Is(err, ErrStaleTerm) {
			t.Errorf("%T: %v, answered by %v", ask, err, sent)
		}
		if s := m.node.Status(); s.Term != 5 || s.Vote != 0 || s.Leader != 0 || s.Commit != 0 || s.Last.Index != 1 {
			t.Errorf("%T changed the state: %+v", ask, s)
		}
	}
}

// §5.1: "Servers retry RPCs if they do not receive a response in a timely manner, and they issue RPCs in parallel for best
// performance." §5.5: "Raft handles these failures by retrying indefinitely".
func TestPaperRequestsAreRetried(t *testing.T) {
	cl, m := campaigning(t)
	for range 3 {
		for range m.config.HeartbeatTicks {
			m.node.Tick()
		}
		sent := run(cl)
		for _, id := range []ID{2, 3} {
			if again := only[Vote](t, toNode(id, sent)); again.Term != 2 || again.Pre {
				t.Errorf("%d is asked again by %+v", id, again)
			}
		}
	}
	cl, m = lead(t, voters(1, 2, 3), HardState{Term: 1})
	run(cl)
	step(t, m, AppendAck{Envelope: Envelope{2, 1, 2}, Match: 2})
	for range 30 { // node 3 answers heartbeats, and its appends are lost
		m.node.Tick()
		step(t, m, HeartbeatAck{Envelope: Envelope{2, 1, 2}})
		sent := toNode(3, run(cl))
		if slices.ContainsFunc(sent, func(m Message) bool { _, beat := m.(Heartbeat); return beat }) {
			step(t, m, HeartbeatAck{Envelope: Envelope{3, 1, 2}})
			if app := only[Append](t, run(cl)); len(app.Entries) != 1 || app.To != 3 {
				t.Errorf("the retry is %+v", app)
			}
		}
	}
}

// §5.2: "When servers start up, they begin as followers." (The only voter of a cluster campaigns as soon as it is up.)
func TestPaperServersStartAsFollowers(t *testing.T) {
	for _, role := range []func(*testing.T) (*cluster, *member){
		func(t *testing.T) (*cluster, *member) { return lead(t, voters(1, 2, 3), HardState{Term: 1}) }, campaigning,
	} {
		cl, m := role(t)
		run(cl)
		m.start(t)
		if s := m.node.Status(); s.Role != Follower || s.Leader != 0 || s.Term != 2 || s.Vote != 1 {
			t.Errorf("it starts as %+v", s)
		}
	}
}

// §5.2: "Each server will vote for at most one candidate in a given term, on a first-come-first-served basis".
func TestPaperOneVoteATerm(t *testing.T) {
	cl, m := solo(t, voters(1, 2, 3), HardState{Term: 1})
	for _, test := range []struct {
		from ID
		term Term
		want bool
	}{{3, 2, true}, {2, 2, false}, {3, 2, true}, {2, 3, true}, {3, 3, false}} {
		step(t, m, Vote{Envelope: Envelope{test.from, 1, test.term}, Last: EntryID{1, 1}})
		if ack := only[VoteAck](t, run(cl)); ack.Granted != test.want {
			t.Errorf("%d in term %d: granted is %v", test.from, test.term, ack.Granted)
		}
	}
}

// §5.2: "Once a candidate wins an election, it becomes leader. It then sends heartbeat messages to … establish its authority
// and prevent new elections": who follows the leader of a term votes for nobody else in it, even if it has not voted.
func TestPaperAuthority(t *testing.T) {
	cl, m := solo(t, voters(1, 2, 3), HardState{Term: 5})
	step(t, m, Heartbeat{Envelope: Envelope{2, 1, 5}})
	run(cl)
	step(t, m, Vote{Envelope: Envelope{3, 1, 5}, Last: EntryID{4, 9}})
	if ack := only[VoteAck](t, run(cl)); ack.Granted || m.node.Status().Leader != 2 {
		t.Errorf("got %+v, leader %d", ack, m.node.Status().Leader)
	}
}

// §5.2: "Raft uses randomized election timeouts": split votes are rare and resolved, whatever the seeds. "Each candidate
// restarts its randomized election timeout at the start of an election".
func TestPaperSplitVotesAreResolved(t *testing.T) {
	for seed := range uint64(50) {
		cl := newCluster(t, seed*100, Config{ElectionTicks: 10, HeartbeatTicks: 3}, voters(1, 2, 3, 4))
		for _, m := range cl.members {
			m.node.elapsed = m.node.timeout - 1 // all at once
		}
		for ticks := 0; cl.leader() == nil; ticks += 10 {
			if ticks > 300 {
				t.Fatalf("seed %d: no leader after %d ticks", seed, ticks)
			}
			cl.tick(10, nil)
		}
	}
	_, m := campaigning(t)
	before := map[int]bool{}
	for range 30 {
		for m.node.role != PreCandidate {
			m.node.Tick()
		}
		step(t, m, VoteAck{Envelope: Envelope{2, 1, m.node.hard.Term + 1}, Pre: true, Granted: true})
		before[m.node.timeout] = true
		if m.node.elapsed != 0 || m.node.timeout < 10 || m.node.timeout >= 20 {
			t.Fatalf("the timer of a candidate is at %d of %d", m.node.elapsed, m.node.timeout)
		}
	}
	if len(before) < 5 {
		t.Errorf("30 elections had %d different timeouts", len(before))
	}
}

// §5.4.1: "the voter denies its vote if its own log is more up-to-date than that of the candidate". "If the logs have last
// entries with different terms, then the log with the later term is more up-to-date. If the logs end with the same term,
// then whichever log is longer is more up-to-date."
func TestPaperUpToDate(t *testing.T) {
	logs := [][]Term{{}, {1}, {1, 1}, {2}, {1, 2}, {2, 2}, {1, 1, 1}, {3}, {2, 3}}
	last := func(terms []Term) EntryID {
		if len(terms) == 0 {
			return EntryID{1, 1}
		}
		return EntryID{terms[len(terms)-1], Index(len(terms) + 1)}
	}
	for _, voter := range logs {
		for _, candidate := range logs {
			mine, theirs := last(voter), last(candidate)
			want := theirs.Term > mine.Term || theirs.Term == mine.Term && theirs.Index >= mine.Index
			for _, pre := range []bool{true, false} {
				cl, m := solo(t, voters(1, 2, 3), HardState{Term: 3}, voter...)
				step(t, m, Vote{Envelope: Envelope{2, 1, 4}, Last: theirs, Pre: pre})
				if ack := only[VoteAck](t, run(cl)); ack.Granted != want {
					t.Errorf("voter's log %v, candidate's %v, pre %v: granted is %v", voter, candidate, pre, ack.Granted)
				}
			}
		}
	}
}

// §5.6, "broadcastTime ≪ electionTimeout": a heartbeat interval that is not below the election timeout is refused.
func TestPaperTiming(t *testing.T) {
	for _, c := range []Config{
		{ID: 1, ElectionTicks: 5, HeartbeatTicks: 5}, {ID: 1, ElectionTicks: 3, HeartbeatTicks: 7}, {ID: 1, HeartbeatTicks: 15},
	} {
		if _, err := New(c, HardState{}, Log{}, 0); err == nil {
			t.Errorf("heartbeats every %d ticks with a timeout of %d are accepted", c.HeartbeatTicks, c.ElectionTicks)
		}
	}
}
