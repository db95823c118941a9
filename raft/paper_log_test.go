package raft

import (
	"bytes"
	"testing"
)

// §5.3: "When the entry has been safely replicated …, the leader applies the entry to its state machine". Not before.
func TestPaperLeaderAppliesWhatIsReplicated(t *testing.T) {
	cl, m := lead(t, voters(1, 2, 3), HardState{Term: 1})
	id, err := m.node.Propose(0, []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	run(cl)
	if m.applied != 0 {
		t.Fatalf("%d is applied before anybody has it", m.applied)
	}
	step(t, m, AppendAck{Envelope: Envelope{3, 1, 2}, Match: id.Index})
	run(cl)
	if m.applied != id.Index {
		t.Errorf("%d is applied, want %d", m.applied, id.Index)
	}
}

// §5.3: "If followers crash or run slowly, or if network packets are lost, the leader retries AppendEntries RPCs
// indefinitely (even after it has responded to the client) until all followers eventually store all log entries."
func TestPaperAllFollowersGetAllEntries(t *testing.T) {
	cl := newCluster(t, 1, Config{ElectionTicks: 10, HeartbeatTicks: 3}, voters(1, 2, 3))
	cl.elect(1)
	crashed, cut := cl.member(3), func(m Message) bool { return m.Header().To == 3 || m.Header().From == 3 }
	crashed.node = nil
	var last EntryID
	for range 20 {
		var err error
		if last, err = cl.member(1).node.Propose(0, []byte("x")); err != nil {
			t.Fatal(err)
		}
		cl.tick(5, nil)
	}
	if cl.member(1).applied != last.Index {
		t.Fatalf("%d is applied without 3, want %d", cl.member(1).applied, last.Index)
	}
	crashed.start(t)
	cl.tick(50, cut)
	cl.tick(10, nil)
	if got := crashed.disk.last(); got != last && got.Index < last.Index {
		t.Errorf("its log ends at %s, want %s", got, last)
	}
	if crashed.applied < last.Index {
		t.Errorf("it has applied %d, want %d", crashed.applied, last.Index)
	}
}

// §5.3: "A log entry is committed once the leader that created the entry has replicated it on a majority of the servers …
// This also commits all preceding entries in the leader's log, including entries created by previous leaders." §5.4.2:
// "Only log entries from the leader's current term are committed by counting replicas".
func TestPaperOldEntriesAreCommittedIndirectly(t *testing.T) {
	cl, m := lead(t, voters(1, 2, 3), HardState{Term: 3}, 1, 2, 3)
	run(cl)
	step(t, m, AppendAck{Envelope: Envelope{2, 1, 4}, Match: 4}, AppendAck{Envelope: Envelope{3, 1, 4}, Match: 4})
	run(cl)
	if got := m.node.Status().Commit; got != 0 {
		t.Fatalf("commit is %d: all hold entry 4, and it is of term 3", got)
	}
	step(t, m, AppendAck{Envelope: Envelope{2, 1, 4}, Match: 5})
	run(cl)
	if m.applied != 5 {
		t.Errorf("%d is applied, want 5 and all before it", m.applied)
	}
}

// §5.3: "The leader keeps track of the highest index it knows to be committed, and it includes that index in future
// AppendEntries RPCs (including heartbeats) so that the other servers eventually find out."
func TestPaperCommitIndexIsSent(t *testing.T) {
	cl, m := lead(t, voters(1, 2, 3), HardState{Term: 1})
	run(cl)
	step(t, m, AppendAck{Envelope: Envelope{2, 1, 2}, Match: 2}, AppendAck{Envelope: Envelope{3, 1, 2}, Match: 2})
	if beat := only[Heartbeat](t, toNode(2, run(cl))); beat.Commit != 2 {
		t.Errorf("the heartbeat says %d, want 2", beat.Commit)
	}
	if _, err := m.node.Propose(0, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if app := only[Append](t, toNode(3, run(cl))); app.Commit != 2 {
		t.Errorf("the append says %d, want 2", app.Commit)
	}
}

// §5.3: "Once a follower learns that a log entry is committed, it applies the entry to its local state machine (in log
// order)."
func TestPaperFollowerAppliesInOrder(t *testing.T) {
	cl, m := follow(t)
	for index := Index(2); index <= 9; index += 2 {
		step(t, m, appendOf(2, 1, EntryID{1, index - 1}, index-1, 1, 1))
		run(cl)
	}
	for i, e := range m.machine {
		if e.ID.Index != Index(i+1) {
			t.Fatalf("entry %s was applied as number %d", e.ID, i+1)
		}
	}
	if len(m.machine) != 7 {
		t.Errorf("%d entries are applied, want 7", len(m.machine))
	}
}

// §5.3, Log Matching: "If two entries in different logs have the same index and term, then they store the same command" and
// "the logs are identical in all preceding entries": among the logs that a partition and two leaders leave behind.
func TestPaperLogMatching(t *testing.T) {
	cl := newCluster(t, 5, Config{ElectionTicks: 10, HeartbeatTicks: 3}, voters(1, 2, 3, 4, 5))
	cl.elect(1)
	side := func(id ID) bool { return id <= 2 }
	cut := func(m Message) bool { return side(m.Header().From) != side(m.Header().To) }
	for i := range 60 {
		for _, m := range cl.members {
			_, _ = m.node.Propose(0, []byte{byte(m.id), byte(i)}) // only leaders take it
		}
		if i%20 < 12 {
			cl.tick(3, cut)
		} else {
			cl.tick(3, nil)
		}
		for _, a := range cl.members {
			for _, b := range cl.members {
				checkMatching(t, a.disk.entries, b.disk.entries)
			}
		}
	}
	if cl.leader().node.hard.Term < 3 {
		t.Error("there was one leader only")
	}
}

func checkMatching(t *testing.T, a, b []Entry) {
	t.Helper()
	same := false
	for i := min(len(a), len(b)) - 1; i >= 0; i-- {
		same = same || a[i].ID == b[i].ID
		if same && (a[i].ID != b[i].ID || a[i].Kind != b[i].Kind || !bytes.Equal(a[i].Data, b[i].Data)) {
			t.Fatalf("entries %s and %s differ before one that is the same", a[i].ID, b[i].ID)
		}
	}
}

// §5.3: "a leader creates at most one entry with a given log index in a given term", "A leader never overwrites or deletes
// entries in its own log" (Leader Append-Only): whatever it is told, by peers of its own term.
func TestPaperLeaderAppendOnly(t *testing.T) {
	cl, m := lead(t, voters(1, 2, 3), HardState{Term: 3}, 1, 2)
	run(cl)
	for _, msg := range []Message{
		appendOf(2, 4, EntryID{1, 1}, 1, 4), Heartbeat{Envelope: Envelope{2, 1, 4}},
		AppendAck{Envelope: Envelope{2, 1, 4}, Rejected: true, Prev: 3, Hint: EntryID{1, 1}},
		Vote{Envelope: Envelope{3, 1, 4}, Last: EntryID{3, 9}}, TimeoutNow{Envelope: Envelope{2, 1, 4}},
	} {
		before := m.node.log.last
		_ = m.node.Step(msg) // most are refused
		if s := m.node.Status(); s.Role != Leader || s.Last != before {
			t.Fatalf("%T: %s with a log to %s, was a leader with %s", msg, s.Role, s.Last, before)
		}
		if _, err := m.node.Propose(0, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if got := m.node.log.last; got != (EntryID{4, before.Index + 1}) {
			t.Fatalf("%T: the next entry is %s, after %s", msg, got, before)
		}
	}
}

// §5.3: "The leader includes the index and term of the entry in its log that immediately precedes the new entries."
// "whenever AppendEntries returns successfully, the leader knows that the follower's log is identical to its own log up
// through the new entries."
func TestPaperAppendNamesTheEntryBefore(t *testing.T) {
	cl, m := lead(t, voters(1, 2, 3), HardState{Term: 3}, 1, 2)
	for range 3 {
		for _, msg := range toNode(2, run(cl)) {
			app, ok := msg.(Append)
			if !ok {
				continue
			}
			if !m.node.log.holds(app.Prev) || app.Entries[0].ID.Index != app.Prev.Index+1 {
				t.Errorf("append after %s with %s", app.Prev, app.Entries[0].ID)
			}
			through := app.Prev.Index + Index(len(app.Entries))
			step(t, m, AppendAck{Envelope: Envelope{2, 1, 4}, Match: through})
			if got := m.node.peer(2).match(); got != through {
				t.Errorf("match is %d, want %d", got, through)
			}
		}
		if _, err := m.node.Propose(0, []byte("x"), []byte("y")); err != nil {
			t.Fatal(err)
		}
	}
}

// §5.5: "If a server crashes after completing an RPC but before responding, then it will receive the same RPC again after it
// restarts. Raft RPCs are idempotent … if a follower receives an AppendEntries request that includes log entries already
// present in its log, it ignores those entries in the new request."
func TestPaperRequestsAreIdempotent(t *testing.T) {
	for _, ask := range []Message{
		appendOf(2, 1, EntryID{1, 1}, 2, 1, 1, 1), Vote{Envelope: Envelope{2, 1, 2}, Last: EntryID{1, 1}},
	} {
		cl, m := solo(t, voters(1, 2, 3), HardState{Term: 1})
		step(t, m, ask)
		first := run(cl)
		before := m.disk
		m.start(t)
		step(t, m, ask)
		second := run(cl)
		if len(first) != 1 || len(second) != 1 || describe(first[0]) != describe(second[0]) {
			t.Errorf("%T was answered by %v, then by %v", ask, first, second)
		}
		if m.disk.hard != before.hard || m.disk.last() != before.last() {
			t.Errorf("%T changed the disk again", ask)
		}
	}
}
