package raft

import (
	"errors"
	"slices"
	"testing"
)

// The tests of the files paper_*_test.go take the extended Raft paper (Ongaro and Ousterhout, 2014) sentence by sentence:
// figure 2 box by box, then §5.1 to §5.6 and §6. Each begins with the sentence that it proves. What a sentence says of a
// whole cluster over time (the properties of figure 3) is checked by TestRandom as well; figures 7 and 8 are traces.
//
// These sentences do not apply, or apply elsewhere:
//
//   - "so follower can redirect clients" (AppendEntries, leaderId), §5.1 and §8 on clients: Status names the leader,
//     package replica and what is above it deal with clients.
//   - "respond after entry applied to state machine" (Leaders), "returns the result of that execution to the client"
//     (§5.3): package replica. What may be applied is in Ready.Commit.
//   - "also used as heartbeat" (AppendEntries): a heartbeat is a message of its own. What is said of heartbeats is tested
//     with it.
//   - "commitIndex, lastApplied: initialized to 0": both begin at what the state machine holds durably.
//   - "decrement nextIndex and retry" (Leaders, §5.3): nextIndex goes back by whole terms, as §5.3 allows at its end.
//   - "increments its current term" at a timeout (§5.2): PreVote comes first (§9.6 of the dissertation). The sentences on
//     elections are tested where the PreVote is won.
//   - "Followers are passive: they issue no requests on their own" (§5.1): ReadIndex is the exception.
//   - §5.6 on broadcastTime and MTBF: times of the driver. The core refuses a heartbeat interval that is not below the
//     election timeout.
//   - §7 is in the tests of snapshots, §8 in those of the packages above.

// follow starts node 1 of three voters in term 1 as a follower of 2, with entries of the terms given after entry 1.
func follow(t *testing.T, terms ...Term) (*cluster, *member) {
	t.Helper()
	newest := Term(1)
	for _, term := range terms {
		newest = max(newest, term)
	}
	cl, m := solo(t, voters(1, 2, 3), HardState{Term: newest}, terms...)
	step(t, m, Heartbeat{Envelope: Envelope{2, 1, newest}})
	run(cl)
	return cl, m
}

// campaigning makes node 1 of three voters a candidate of term 2.
func campaigning(t *testing.T) (*cluster, *member) {
	t.Helper()
	cl, m := solo(t, voters(1, 2, 3), HardState{Term: 1})
	cl.timeout(1)
	step(t, m, VoteAck{Envelope: Envelope{2, 1, 2}, Pre: true, Granted: true})
	run(cl)
	if m.node.role != Candidate {
		t.Fatalf("it is %s, want candidate", m.node.role)
	}
	return cl, m
}

// Fig. 2, State: "Persistent state on all servers: Updated on stable storage before responding to RPCs".
func TestPaperPersistentStateComesBeforeAnswers(t *testing.T) {
	for name, ask := range map[string]Message{
		"vote":   Vote{Envelope: Envelope{2, 1, 5}, Last: EntryID{1, 1}},
		"append": appendOf(2, 1, EntryID{1, 1}, 0, 1),
		"term":   Heartbeat{Envelope: Envelope{2, 1, 5}},
	} {
		_, m := solo(t, voters(1, 2, 3), HardState{Term: 1})
		step(t, m, ask)
		if r := m.node.Ready(); r.Write == nil || len(r.Send) != 0 || len(r.SendAt) != 1 || r.SendAt[0].Seq != r.Write.Seq {
			t.Errorf("%s: got %+v, want one answer after the write", name, r)
		}
	}
}

// Fig. 2, State: "currentTerm: latest term server has seen (initialized to 0 on first boot, increases monotonically)".
func TestPaperCurrentTerm(t *testing.T) {
	cl := &cluster{t: t}
	m := cl.add(1, 1, Config{}, disk{})
	m.start(t)
	if term := m.node.Status().Term; term != 0 {
		t.Errorf("the first term is %d, want 0", term)
	}
	for _, seen := range []Term{3, 2, 7, 7, 1} {
		before := m.node.Status().Term
		_ = m.node.Step(Heartbeat{Envelope: Envelope{2, 1, seen}}) // older ones are refused
		if got, want := m.node.Status().Term, max(before, seen); got != want {
			t.Errorf("term is %d after one of term %d, want %d", got, seen, want)
		}
	}
	run(cl)
	m.start(t)
	if term := m.node.Status().Term; term != 7 {
		t.Errorf("term is %d after a restart, want 7", term)
	}
}

// Fig. 2, State: "votedFor: candidateId that received vote in current term (or null if none)".
func TestPaperVotedFor(t *testing.T) {
	cl, m := solo(t, voters(1, 2, 3), HardState{Term: 1})
	step(t, m, Vote{Envelope: Envelope{2, 1, 2}, Last: EntryID{1, 1}})
	if vote := m.node.Status().Vote; vote != 2 {
		t.Errorf("voted for %d, want 2", vote)
	}
	run(cl)
	m.start(t)
	if vote := m.node.Status().Vote; vote != 2 {
		t.Errorf("voted for %d after a restart, want 2", vote)
	}
	step(t, m, Heartbeat{Envelope: Envelope{3, 1, 3}})
	if vote := m.node.Status().Vote; vote != 0 {
		t.Errorf("voted for %d in a new term, want nobody", vote)
	}
}

// Fig. 2, State: "log[]: each entry contains command for state machine, and term when entry was received by leader (first
// index is 1)".
func TestPaperLog(t *testing.T) {
	cl := newCluster(t, 1, Config{}, voters(1))
	cl.settle(nil)
	m := cl.member(1)
	term := m.node.Status().Term
	if _, err := m.node.Propose(0, []byte("x")); err != nil {
		t.Fatal(err)
	}
	cl.settle(nil)
	last := m.machine[len(m.machine)-1]
	if m.machine[0].ID.Index != 1 || last.ID.Term != term || string(last.Data) != "x" {
		t.Errorf("the log begins at %s and ends with %s %q", m.machine[0].ID, last.ID, last.Data)
	}
}

// Fig. 2, State: "commitIndex: index of highest log entry known to be committed (… increases monotonically)".
func TestPaperCommitIndexNeverFalls(t *testing.T) {
	_, m := follow(t, 1, 1, 1)
	for _, commit := range []Index{2, 4, 3, 1} {
		before := m.node.Status().Commit
		step(t, m, Heartbeat{Envelope: Envelope{2, 1, 1}, Commit: commit})
		if got, want := m.node.Status().Commit, max(before, commit); got != want {
			t.Errorf("commit is %d after a heartbeat with %d, want %d", got, commit, want)
		}
	}
}

// Fig. 2, State: "nextIndex[]: for each server, index of the next log entry to send to that server (initialized to leader
// last log index + 1)"; "matchIndex[]: … (initialized to 0, increases monotonically)".
func TestPaperLeaderState(t *testing.T) {
	cl, m := lead(t, voters(1, 2, 3), HardState{Term: 1}, 1, 1)
	for _, p := range m.node.Status().Peers {
		// The last log index before the leader's own first entry, which is at 4.
		if p.Next != 4 || p.Match != 0 {
			t.Errorf("peer %d: next %d and match %d, want 4 and 0", p.ID, p.Next, p.Match)
		}
	}
	run(cl)
	for _, match := range []Index{2, 4, 3} {
		step(t, m, AppendAck{Envelope: Envelope{2, 1, 2}, Match: match})
		if got := m.node.peer(2).match(); got < match || got < m.node.log.commit {
			t.Errorf("match is %d after an acknowledgement of %d", got, match)
		}
	}
}

// Fig. 2, AppendEntries: "1. Reply false if term < currentTerm"; "Results: term: currentTerm, for leader to update itself".
func TestPaperAppendOfAnOldTerm(t *testing.T) {
	cl, m := solo(t, voters(1, 2, 3), HardState{Term: 5})
	if err := m.node.Step(appendOf(2, 4, EntryID{1, 1}, 1, 4)); !errors.Is(err, ErrStaleTerm) {
		t.Errorf("got %v, want ErrStaleTerm", err)
	}
	if ack := only[AppendAck](t, run(cl)); !ack.Rejected || ack.Term != 5 {
		t.Errorf("answer is %+v, want a rejection of term 5", ack)
	}
	if s := m.node.Status(); s.Last.Index != 1 || s.Commit != 0 {
		t.Errorf("the log ends at %s, commit %d", s.Last, s.Commit)
	}
}

// Fig. 2, AppendEntries: "2. Reply false if log doesn't contain an entry at prevLogIndex whose term matches prevLogTerm".
func TestPaperAppendAfterWhatIsNotHeld(t *testing.T) {
	for _, prev := range []EntryID{{2, 3}, {2, 9}, {3, 9}} {
		cl, m := follow(t, 1, 1, 3)
		step(t, m, appendOf(2, 3, prev, 0, 3))
		if ack := only[AppendAck](t, run(cl)); !ack.Rejected || ack.Prev != prev.Index {
			t.Errorf("after %s: got %+v, want a rejection", prev, ack)
		}
		if m.node.log.last != (EntryID{3, 4}) {
			t.Errorf("after %s: the log ends at %s", prev, m.node.log.last)
		}
	}
}

// Fig. 2, AppendEntries: "3. If an existing entry conflicts with a new one (same index but different terms), delete the
// existing entry and all that follow it"; "4. Append any new entries not already in the log".
func TestPaperConflictsAreDeletedAndNewEntriesAppended(t *testing.T) {
	for _, test := range []struct {
		prev EntryID
		sent []Term
		want []Term // of the entries from 2 on
	}{
		{EntryID{1, 1}, []Term{2, 2, 2}, []Term{2, 2, 2}},             // all are held
		{EntryID{1, 1}, []Term{2}, []Term{2, 2, 2}},                   // a part is: nothing is deleted
		{EntryID{2, 2}, []Term{3}, []Term{2, 3}},                      // conflict in the middle
		{EntryID{1, 1}, []Term{2, 3, 3, 3, 3}, []Term{2, 3, 3, 3, 3}}, // held, conflicting, new
		{EntryID{2, 4}, []Term{3, 3}, []Term{2, 2, 2, 3, 3}},          // new
		{EntryID{1, 1}, nil, []Term{2, 2, 2}},
	} {
		cl, m := solo(t, voters(1, 2, 3), HardState{Term: 3}, 2, 2, 2)
		step(t, m, appendOf(2, 3, test.prev, 0, test.sent...))
		run(cl)
		var got []Term
		for _, e := range m.disk.entries[1:] {
			got = append(got, e.ID.Term)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%v after %s: got %v, want %v", test.sent, test.prev, got, test.want)
		}
	}
}

// Fig. 2, AppendEntries: "5. If leaderCommit > commitIndex, set commitIndex = min(leaderCommit, index of last new entry)".
func TestPaperFollowerCommit(t *testing.T) {
	for _, test := range []struct {
		prev   EntryID
		sent   []Term
		commit Index
		want   Index
	}{
		{EntryID{1, 1}, []Term{1, 1}, 2, 2}, {EntryID{1, 1}, []Term{1}, 9, 2}, {EntryID{1, 3}, nil, 9, 3},
		{EntryID{1, 1}, nil, 3, 1}, {EntryID{1, 1}, []Term{1}, 0, 0},
	} {
		_, m := follow(t, 1, 1)
		step(t, m, appendOf(2, 1, test.prev, test.commit, test.sent...))
		if got := m.node.Status().Commit; got != test.want {
			t.Errorf("%v after %s with commit %d: got %d, want %d", test.sent, test.prev, test.commit, got, test.want)
		}
	}
}

// Fig. 2, RequestVote: "1. Reply false if term < currentTerm"; "Results: term: currentTerm, for candidate to update itself".
func TestPaperVoteOfAnOldTerm(t *testing.T) {
	cl, m := solo(t, voters(1, 2, 3), HardState{Term: 5})
	step(t, m, Vote{Envelope: Envelope{2, 1, 4}, Last: EntryID{3, 9}})
	if ack := only[VoteAck](t, run(cl)); ack.Granted || ack.Term != 5 {
		t.Errorf("got %+v, want a refusal of term 5", ack)
	}
	cl, m = campaigning(t)
	step(t, m, VoteAck{Envelope: Envelope{3, 1, 5}})
	if s := m.node.Status(); s.Term != 5 || s.Role != Follower {
		t.Errorf("the candidate is %s of term %d, want a follower of 5", s.Role, s.Term)
	}
	run(cl)
}

// Fig. 2, RequestVote: "2. If votedFor is null or candidateId, and candidate's log is at least as up-to-date as receiver's
// log, grant vote".
func TestPaperVote(t *testing.T) {
	for _, test := range []struct {
		votedFor ID
		last     EntryID
		want     bool
	}{
		{0, EntryID{3, 4}, true}, {2, EntryID{3, 4}, true}, {3, EntryID{3, 4}, false},
		{0, EntryID{3, 5}, true}, {0, EntryID{4, 2}, true},
		{0, EntryID{3, 3}, false}, {0, EntryID{2, 9}, false}, {2, EntryID{3, 3}, false},
	} {
		cl, m := solo(t, voters(1, 2, 3), HardState{Term: 5, Vote: test.votedFor}, 2, 3, 3)
		step(t, m, Vote{Envelope: Envelope{2, 1, 5}, Last: test.last})
		if ack := only[VoteAck](t, run(cl)); ack.Granted != test.want {
			t.Errorf("%+v: granted is %v", test, ack.Granted)
		}
	}
}
