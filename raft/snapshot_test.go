package raft

import "testing"

// A write that was on its way when a snapshot replaced the log makes nothing of the new log durable: what it held is not
// there any more (paper fig. 13).
func TestWriteBeforeSnapshotCountsForNothing(t *testing.T) {
	base := Base{Applied: EntryID{2, 4}, ConfigurationIndex: 1, Configuration: Configuration{Voters: []ID{1, 2, 3}}}
	n, err := New(Config{ID: 1, Seed: 1, ElectionTicks: 10, HeartbeatTicks: 3, Snapshots: true}, HardState{Term: 1},
		Log{Last: EntryID{1, 1}, Runs: []TermRun{{1, 1}}, Configurations: []ConfigurationAt{{1, base.Configuration}}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	entries := func(term Term, first Index, count int) (list []Entry) {
		for i := range count {
			list = append(list, Entry{EntryID{term, first + Index(i)}, EntryCommand, []byte("x")})
		}
		return list
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(n.Step(Append{Envelope: Envelope{2, 1, 1}, Prev: EntryID{1, 1}, Entries: entries(1, 2, 9)}))
	before := n.Ready()
	if before.Write == nil || len(before.Write.Entries) != 9 {
		t.Fatalf("the entries are not written: %+v", before.Write)
	}
	must(n.Install(base))
	n.Installed(true)
	if after := n.Ready(); after.Write == nil || after.Write.Snapshot == nil {
		t.Fatalf("the beginning is not written: %+v", after.Write)
	}
	must(n.Step(Append{Envelope: Envelope{3, 1, 2}, Prev: base.Applied, Entries: entries(2, 5, 3), Commit: 7}))
	n.Ready()
	n.Stable(before.Write.Seq)
	if s := n.Status(); s.Stable > base.Applied.Index {
		t.Errorf("entries up to %d count as durable, of a log that begins after %v and of which nothing is", s.Stable, base.Applied)
	}
	if r := n.Ready(); r.Commit.Len() > 0 {
		t.Errorf("%v is handed out to be applied, and no entry is durable", r.Commit)
	}
}
