package raft

import (
	"errors"
	"testing"
)

// Fig. 2, All Servers: "If commitIndex > lastApplied: increment lastApplied, apply log[lastApplied] to state machine".
func TestPaperCommittedEntriesAreApplied(t *testing.T) {
	cl, m := follow(t, 1, 1)
	step(t, m, Heartbeat{Envelope: Envelope{2, 1, 1}, Commit: 2})
	run(cl)
	step(t, m, Heartbeat{Envelope: Envelope{2, 1, 1}, Commit: 3})
	run(cl)
	if len(m.machine) != 3 || m.applied != 3 || m.node.Status().Applied != 3 {
		t.Errorf("%d entries up to %d are applied, want 3", len(m.machine), m.applied)
	}
}

// Fig. 2, All Servers, and §5.1: "If RPC request or response contains term T > currentTerm: set currentTerm = T, convert to
// follower". "If a candidate or leader discovers that its term is out of date, it immediately reverts to follower state."
func TestPaperHigherTermMakesAFollower(t *testing.T) {
	roles := map[string]func() *member{
		"follower":  func() *member { _, m := follow(t); return m },
		"candidate": func() *member { _, m := campaigning(t); return m },
		"leader":    func() *member { _, m := lead(t, voters(1, 2, 3), HardState{Term: 1}); return m },
	}
	e := Envelope{3, 1, 7}
	for name, become := range roles {
		for _, msg := range []Message{
			Append{Envelope: e, Prev: EntryID{1, 1}}, AppendAck{Envelope: e, Match: 1}, Heartbeat{Envelope: e},
			HeartbeatAck{Envelope: e}, VoteAck{Envelope: e}, Vote{Envelope: e, Last: EntryID{1, 9}, Transfer: true},
			ReadIndex{Envelope: e, Seq: 1}, ReadIndexAck{Envelope: e},
		} {
			m := become()
			_ = m.node.Step(msg) // answers to nothing are refused, and their term counts
			if s := m.node.Status(); s.Role != Follower || s.Term != 7 {
				t.Errorf("%s after %T: %s of term %d, want a follower of 7", name, msg, s.Role, s.Term)
			}
		}
	}
}

// Fig. 2, Followers: "Respond to RPCs from candidates and leaders".
func TestPaperFollowersRespond(t *testing.T) {
	for _, ask := range []Message{
		appendOf(2, 1, EntryID{1, 1}, 0), appendOf(2, 1, EntryID{1, 7}, 0), Heartbeat{Envelope: Envelope{2, 1, 1}},
		Vote{Envelope: Envelope{2, 1, 2}, Last: EntryID{1, 1}}, Vote{Envelope: Envelope{2, 1, 2}, Last: EntryID{1, 1}, Pre: true},
		Vote{Envelope: Envelope{2, 1, 1}, Last: EntryID{0, 0}},
	} {
		cl, m := solo(t, voters(1, 2, 3), HardState{Term: 1})
		step(t, m, ask)
		if sent := run(cl); len(sent) != 1 || sent[0].Header().To != 2 {
			t.Errorf("%T%+v was answered by %v", ask, ask, sent)
		}
	}
}

// Fig. 2, Followers: "If election timeout elapses without receiving AppendEntries RPC from current leader or granting vote
// to candidate: convert to candidate".
func TestPaperFollowerTimesOut(t *testing.T) {
	for name, test := range map[string]struct {
		every Message
		stays bool
	}{
		"nothing":          {nil, false},
		"append":           {appendOf(2, 1, EntryID{1, 1}, 0), true},
		"heartbeat":        {Heartbeat{Envelope: Envelope{2, 1, 1}}, true},
		"granted vote":     {Vote{Envelope: Envelope{2, 1, 2}, Last: EntryID{1, 1}}, true},
		"refused vote":     {Vote{Envelope: Envelope{2, 1, 2}}, false},
		"promised vote":    {Vote{Envelope: Envelope{2, 1, 2}, Last: EntryID{1, 1}, Pre: true}, false},
		"append, old term": {appendOf(2, 0, EntryID{}, 0), false},
	} {
		cl, m := solo(t, voters(1, 2, 3), HardState{Term: 1})
		for range 40 {
			if test.every != nil && m.node.role == Follower {
				_ = m.node.Step(test.every) // that of no term is refused
			}
			m.node.Tick()
			run(cl)
		}
		if stays := m.node.role == Follower; stays != test.stays {
			t.Errorf("%s at each tick: it is %s", name, m.node.role)
		}
	}
}

// Fig. 2, Candidates, and §5.2: "On conversion to candidate, start election: increment currentTerm, vote for self, reset
// election timer, send RequestVote RPCs to all other servers".
func TestPaperElectionStarts(t *testing.T) {
	cl, m := solo(t, voters(1, 2, 3), HardState{Term: 1})
	cl.timeout(1)
	run(cl)
	m.node.elapsed = 5
	step(t, m, VoteAck{Envelope: Envelope{2, 1, 2}, Pre: true, Granted: true})
	asked := map[ID]bool{}
	for _, msg := range run(cl) {
		if vote, ok := msg.(Vote); ok && !vote.Pre && vote.Term == 2 && vote.Last == (EntryID{1, 1}) {
			asked[vote.To] = true
		}
	}
	if s := m.node.Status(); s.Role != Candidate || s.Term != 2 || s.Vote != 1 || m.node.elapsed != 0 {
		t.Errorf("%s of term %d, voted for %d, timer at %d", s.Role, s.Term, s.Vote, m.node.elapsed)
	}
	if len(asked) != 2 || !asked[2] || !asked[3] {
		t.Errorf("asked %v for votes, want 2 and 3", asked)
	}
}

// Fig. 2, Candidates, and §5.2: "If votes received from majority of servers: become leader". "… in the full cluster for the
// same term": not from a majority of those that answer, and not with votes of another term.
func TestPaperMajorityMakesALeader(t *testing.T) {
	for _, test := range []struct {
		size    int
		granted []ID
		refused []ID
		want    Role
	}{
		{1, nil, nil, Leader},
		{3, []ID{2}, nil, Leader}, {3, []ID{2}, []ID{3}, Leader}, {3, nil, nil, Candidate}, {3, nil, []ID{2}, Candidate},
		{3, nil, []ID{2, 3}, Follower},
		{5, []ID{2, 3}, nil, Leader}, {5, []ID{2, 3}, []ID{4, 5}, Leader}, {5, []ID{2}, []ID{3, 4}, Candidate},
		{5, nil, []ID{2, 3, 4}, Follower}, {4, []ID{2}, nil, Candidate}, {4, []ID{2, 3}, nil, Leader},
	} {
		cl, m := solo(t, voters([]ID{1, 2, 3, 4, 5}[:test.size]...), HardState{Term: 1})
		if test.size > 1 {
			cl.timeout(1)
			for id := ID(2); id <= ID(test.size); id++ {
				_ = m.node.Step(VoteAck{Envelope: Envelope{id, 1, 2}, Pre: true, Granted: true}) // late ones are stale
			}
		}
		run(cl)
		for _, id := range test.refused {
			step(t, m, VoteAck{Envelope: Envelope{id, 1, 2}})
		}
		for _, id := range test.granted {
			step(t, m, VoteAck{Envelope: Envelope{id, 1, 2}, Granted: true})
		}
		if m.node.role != test.want {
			t.Errorf("%+v: it is %s", test, m.node.role)
		}
	}
	_, m := campaigning(t)
	err := m.node.Step(VoteAck{Envelope: Envelope{2, 1, 1}, Granted: true})
	if !errors.Is(err, ErrStale) || m.node.role != Candidate {
		t.Errorf("a vote of an older term: got %v and a %s", err, m.node.role)
	}
}

// Fig. 2, Candidates, and §5.2: "If AppendEntries RPC received from new leader: convert to follower". "If the leader's term
// … is at least as large as the candidate's current term, then the candidate recognizes the leader as legitimate … If the
// term in the RPC is smaller …, then the candidate rejects the RPC and continues in candidate state."
func TestPaperCandidateHearsALeader(t *testing.T) {
	for term, want := range map[Term]Role{1: Candidate, 2: Follower, 3: Follower} {
		for _, msg := range []Message{appendOf(3, term, EntryID{1, 1}, 0), Heartbeat{Envelope: Envelope{3, 1, term}}} {
			_, m := campaigning(t)
			err := m.node.Step(msg)
			if m.node.role != want || (want == Candidate) != errors.Is(err, ErrStaleTerm) {
				t.Errorf("%T of term %d: %s and %v, want %s", msg, term, m.node.role, err, want)
			}
			if want == Follower && m.node.Status().Leader != 3 {
				t.Errorf("%T of term %d: leader is %d, want 3", msg, term, m.node.Status().Leader)
			}
		}
	}
}

// Fig. 2, Candidates, and §5.2: "If election timeout elapses: start new election". "each candidate will time out and start a
// new election by incrementing its term".
func TestPaperCandidateTimesOut(t *testing.T) {
	cl, m := campaigning(t)
	for range 20 {
		m.node.Tick()
	}
	run(cl)
	if m.node.role != PreCandidate {
		t.Fatalf("it is %s after a timeout, want that it asks anew", m.node.role)
	}
	step(t, m, VoteAck{Envelope: Envelope{3, 1, 3}, Pre: true, Granted: true})
	if s := m.node.Status(); s.Role != Candidate || s.Term != 3 {
		t.Errorf("%s of term %d, want a candidate of 3", s.Role, s.Term)
	}
}

// Fig. 2, Leaders, and §5.2: "Upon election: send initial empty AppendEntries RPCs (heartbeat) to each server; repeat during
// idle periods to prevent election timeouts". The first append holds the entry that begins the term.
func TestPaperLeaderSaysSo(t *testing.T) {
	cl, m := lead(t, voters(1, 2, 3), HardState{Term: 1})
	sent := run(cl)
	for _, id := range []ID{2, 3} {
		app := only[Append](t, toNode(id, sent))
		if app.Term != 2 || len(app.Entries) != 1 || app.Entries[0].Kind != EntryNoop {
			t.Errorf("%d got %+v", id, app)
		}
	}
	for beat := range 3 {
		for range m.config.HeartbeatTicks - 1 {
			m.node.Tick()
		}
		if early := run(cl); len(early) != 0 {
			t.Errorf("beat %d: sent %v before it was due", beat, early)
		}
		m.node.Tick()
		sent = run(cl)
		for _, id := range []ID{2, 3} {
			only[Heartbeat](t, toNode(id, sent))
			step(t, m, HeartbeatAck{Envelope: Envelope{id, 1, 2}})
		}
		run(cl)
	}
}

// Fig. 2, Leaders, and §5.3: "If command received from client: append entry to local log". "The leader appends the command
// to its log as a new entry, then issues AppendEntries RPCs in parallel to each of the other servers".
func TestPaperLeaderAppendsACommand(t *testing.T) {
	cl, m := lead(t, voters(1, 2, 3), HardState{Term: 1})
	run(cl)
	step(t, m, AppendAck{Envelope: Envelope{2, 1, 2}, Match: 2}, AppendAck{Envelope: Envelope{3, 1, 2}, Match: 2})
	run(cl)
	id, err := m.node.Propose(2, []byte("x"))
	if err != nil || id != (EntryID{2, 3}) || m.node.Status().Last != id {
		t.Fatalf("got %s and %v, want 2/3", id, err)
	}
	r := m.node.Ready()
	if len(r.Send) != 2 {
		t.Errorf("sent %v, want one append to each, without waiting for the disk or an answer", r.Send)
	}
	for _, refused := range []struct {
		term Term
		want error
	}{{1, ErrTermChanged}, {3, ErrTermChanged}} {
		if _, err := m.node.Propose(refused.term, []byte("y")); !errors.Is(err, refused.want) {
			t.Errorf("a command bound to term %d: got %v, want %v", refused.term, err, refused.want)
		}
	}
}

// Fig. 2, Leaders: "If last log index ≥ nextIndex for a follower: send AppendEntries RPC with log entries starting at
// nextIndex. If successful: update nextIndex and matchIndex for follower. If AppendEntries fails because of log
// inconsistency: decrement nextIndex and retry".
func TestPaperNextIndex(t *testing.T) {
	cl, m := lead(t, voters(1, 2, 3), HardState{Term: 3}, 1, 2, 3)
	if app := only[Append](t, toNode(2, run(cl))); app.Prev != (EntryID{3, 4}) {
		t.Fatalf("the first append is after %s, want the leader's last entry before its term", app.Prev)
	}
	step(t, m, AppendAck{Envelope: Envelope{2, 1, 4}, Rejected: true, Prev: 4, Hint: EntryID{1, 2}})
	app := only[Append](t, toNode(2, run(cl)))
	if app.Prev != (EntryID{1, 2}) || len(app.Entries) != 3 || app.Entries[0].ID != (EntryID{2, 3}) {
		t.Fatalf("the retry is %+v, want the entries after 1/2", app)
	}
	step(t, m, AppendAck{Envelope: Envelope{2, 1, 4}, Match: 5})
	if p := m.node.peer(2); p.match() != 5 || p.next() != 6 {
		t.Errorf("match %d and next %d, want 5 and 6", p.match(), p.next())
	}
}

// Fig. 2, Leaders: "If there exists an N such that N > commitIndex, a majority of matchIndex[i] ≥ N, and log[N].term ==
// currentTerm: set commitIndex = N".
func TestPaperLeaderCommit(t *testing.T) {
	for _, test := range []struct {
		size  int
		match map[ID]Index
		want  Index
	}{
		{3, map[ID]Index{2: 3}, 0}, // entry 3 is of term 1: no counting
		{3, map[ID]Index{2: 4}, 4}, {3, map[ID]Index{2: 4, 3: 5}, 5}, {3, map[ID]Index{2: 6}, 6},
		{5, map[ID]Index{2: 6}, 0}, {5, map[ID]Index{2: 6, 3: 4}, 4}, {5, map[ID]Index{2: 6, 3: 5, 4: 4, 5: 4}, 5},
		{4, map[ID]Index{2: 6, 3: 5}, 5},
	} {
		cl, m := solo(t, voters([]ID{1, 2, 3, 4, 5}[:test.size]...), HardState{Term: 1}, 1, 1)
		cl.timeout(1)
		for _, pre := range []bool{true, false} {
			for id := ID(2); id <= 3; id++ {
				_ = m.node.Step(VoteAck{Envelope: Envelope{id, 1, 2}, Pre: pre, Granted: true}) // the last may be stale
			}
			run(cl)
		}
		if _, err := m.node.Propose(0, []byte("5"), []byte("6")); err != nil {
			t.Fatal(err)
		}
		run(cl)
		for id := ID(2); id <= 5; id++ {
			if match := test.match[id]; match > 0 {
				step(t, m, AppendAck{Envelope: Envelope{id, 1, 2}, Match: match})
			}
		}
		if got := m.node.Status().Commit; got != test.want {
			t.Errorf("%d servers, %v: commit is %d, want %d", test.size, test.match, got, test.want)
		}
	}
}
