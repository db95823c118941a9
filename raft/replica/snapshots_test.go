package replica

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/rsqld/rsqld/raft"
)

// noted notes what a handler wants done with snapshots.
type noted struct {
	sends    []raft.ID
	restores []raft.SnapshotMeta
}

func (c *noted) Send(to raft.ID) { c.sends = append(c.sends, to) }
func (c *noted) Restore(meta raft.SnapshotMeta, _ io.ReaderAt) {
	c.restores = append(c.restores, meta)
}

func metaOf(term raft.Term, index raft.Index) raft.SnapshotMeta {
	return raft.SnapshotMeta{Base: raft.Base{
		Applied:            raft.EntryID{Term: term, Index: index},
		ConfigurationIndex: 1, Configuration: raft.Configuration{Voters: []raft.ID{1, 2, 3}},
	}}
}

// A snapshot is installed in the order that a crash survives: the state machine first, then the log, and the leader hears of
// it when both are durable.
func TestSnapshotIsInstalledMachineFirst(t *testing.T) {
	b := newBench(t, Limits{}, 1, 2, 3)
	c := &noted{}
	b.env.Snapshots = c
	if err := b.Step(raft.Heartbeat{Envelope: raft.Envelope{From: 2, To: 1, Term: 5}}); err != nil {
		t.Fatal(err)
	}
	b.Process()
	b.Written(b.queued, nil)
	b.Process()
	b.sent, b.writes = nil, nil

	meta := metaOf(5, 40)
	if err := b.SnapshotArrived(meta, bytes.NewReader(nil)); err != nil || len(c.restores) != 1 {
		t.Fatalf("SnapshotArrived = %v, restores %v", err, c.restores)
	}
	if err := b.SnapshotArrived(meta, bytes.NewReader(nil)); !errors.Is(err, raft.ErrBusy) {
		t.Errorf("a second snapshot beside the first: %v, want ErrBusy", err)
	}
	b.Process()
	if len(b.writes) != 0 || len(b.sent) != 0 {
		t.Fatalf("before the machine is restored: writes %v, sent %v", b.writes, b.sent)
	}
	// The machine is ahead of what the core has handed out until Restored says so.
	b.Applied(40)
	b.Restored(nil)
	b.Process()
	if len(b.writes) != 1 || b.writes[0].Snapshot == nil || b.writes[0].Snapshot.Applied != meta.Applied || len(b.sent) != 0 {
		t.Fatalf("before the log is durable: writes %+v, sent %v", b.writes, b.sent)
	}
	b.Written(b.queued, nil)
	b.Process()
	if len(b.sent) != 1 || b.sent[0].(raft.AppendAck).Match != 40 {
		t.Errorf("sent %+v, want an acknowledgement of 40", b.sent)
	}
	if err := b.SnapshotArrived(metaOf(5, 40), bytes.NewReader(nil)); !errors.Is(err, raft.ErrStale) {
		t.Errorf("a snapshot of what is committed: %v, want ErrStale", err)
	}
}

// A snapshot that cannot be installed leaves the log as it was, and the next one is welcome.
func TestSnapshotThatFailsChangesNothing(t *testing.T) {
	b := newBench(t, Limits{}, 1, 2, 3)
	b.env.Snapshots = &noted{}
	before := b.Status()
	if err := b.SnapshotArrived(metaOf(1, 40), bytes.NewReader(nil)); err != nil {
		t.Fatal(err)
	}
	b.Restored(errors.New("no room"))
	b.Process()
	if after := b.Status(); after.Last != before.Last || after.Commit != before.Commit {
		t.Errorf("log ends at %v with commit %d, want %v and %d", after.Last, after.Commit, before.Last, before.Commit)
	}
	if err := b.SnapshotArrived(metaOf(1, 40), bytes.NewReader(nil)); err != nil {
		t.Errorf("the next snapshot: %v", err)
	}
}

// A member without snapshots says so.
func TestSnapshotForAMemberWithoutAny(t *testing.T) {
	b := newBench(t, Limits{}, 1, 2, 3)
	if err := b.SnapshotArrived(metaOf(1, 40), bytes.NewReader(nil)); !errors.Is(err, raft.ErrIgnored) {
		t.Errorf("SnapshotArrived = %v, want ErrIgnored", err)
	}
}

// A log is begun anew exactly if it does not lead on from what its state machine holds, and keeps all its promises.
func TestRebase(t *testing.T) {
	log := raft.Log{Base: raft.EntryID{Term: 1, Index: 10}, Last: raft.EntryID{Term: 4, Index: 30},
		Runs: []raft.TermRun{{First: 11, Term: 2}, {First: 21, Term: 4}}}
	acked := raft.EntryID{Term: 4, Index: 35}
	for _, test := range []struct {
		name    string
		applied raft.EntryID
		hard    raft.HardState
		want    *raft.HardState
	}{
		{"at the base", raft.EntryID{Term: 1, Index: 10}, raft.HardState{Term: 4, Vote: 2}, nil},
		{"in the log", raft.EntryID{Term: 2, Index: 20}, raft.HardState{Term: 4, Vote: 2}, nil},
		{"at its end", raft.EntryID{Term: 4, Index: 30}, raft.HardState{Term: 4, Vote: 2}, nil},
		{"another entry there", raft.EntryID{Term: 3, Index: 20}, raft.HardState{Term: 4, Vote: 2}, &raft.HardState{Term: 4, Vote: 2}},
		{"behind its end", raft.EntryID{Term: 4, Index: 31}, raft.HardState{Term: 5, Vote: 3}, &raft.HardState{Term: 5, Vote: 3}},
		{"of a later term", raft.EntryID{Term: 6, Index: 40}, raft.HardState{Term: 5, Vote: 3}, &raft.HardState{Term: 6}},
		{"before what was acknowledged", raft.EntryID{Term: 4, Index: 31}, raft.HardState{Term: 5, Acked: acked},
			&raft.HardState{Term: 5, Acked: acked}},
		{"behind what was acknowledged", raft.EntryID{Term: 4, Index: 36}, raft.HardState{Term: 5, Acked: acked},
			&raft.HardState{Term: 5}},
	} {
		write := Rebase(raft.Base{Applied: test.applied}, test.hard, log)
		switch {
		case (write == nil) != (test.want == nil):
			t.Errorf("%s: write %+v", test.name, write)
		case write != nil && (write.HardState != *test.want || write.Snapshot.Applied != test.applied):
			t.Errorf("%s: hard state %+v at %v, want %+v", test.name, write.HardState, write.Snapshot.Applied, *test.want)
		}
	}
}
