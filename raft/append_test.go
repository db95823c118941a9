package raft

import (
	"errors"
	"testing"
)

// A delayed, shorter append cuts nothing, and is acknowledged for what it holds (paper fig. 2; CCF#6016).
func TestShortAppendCutsNothing(t *testing.T) {
	cl, m := solo(t, voters(1, 2, 3), HardState{Term: 2})
	step(t, m, appendOf(2, 2, EntryID{1, 1}, 0, 2, 2, 2))
	run(cl)
	step(t, m, appendOf(2, 2, EntryID{1, 1}, 0, 2))
	if ack := only[AppendAck](t, run(cl)); ack.Match != 2 {
		t.Errorf("acknowledged %d, the message proves 2", ack.Match)
	}
	if got := m.disk.last(); got != (EntryID{2, 4}) {
		t.Errorf("the log ends at %s, want 2/4", got)
	}
}

// An acknowledgement never covers a tail that the message does not prove: it may be another leader's.
func TestAckDoesNotCoverTheTail(t *testing.T) {
	cl, m := solo(t, voters(1, 2, 3), HardState{Term: 3}, 2, 2)
	step(t, m, appendOf(2, 3, EntryID{1, 1}, 3))
	if ack := only[AppendAck](t, run(cl)); ack.Match != 1 {
		t.Errorf("acknowledged %d, want 1", ack.Match)
	}
	if m.node.log.commit != 1 {
		t.Errorf("commit is %d, want min(leader's commit, prev + entries) = 1", m.node.log.commit)
	}
}

// A log is cut at the first conflicting entry, in the same write that brings the new ones.
func TestConflictIsCutInOneWrite(t *testing.T) {
	_, m := solo(t, voters(1, 2, 3), HardState{Term: 3}, 2, 2, 2)
	step(t, m, appendOf(2, 3, EntryID{1, 1}, 0, 2, 3))
	w := m.node.Ready().Write
	if w == nil || w.TruncateFrom != 3 || len(w.Entries) != 1 || w.Entries[0].ID != (EntryID{3, 3}) {
		t.Errorf("write is %+v, want a cut from 3 and entry 3/3", w)
	}
}

// Nothing at or below commit is ever cut. Who asks for it is refused, and the node lives on.
func TestCommittedEntriesStay(t *testing.T) {
	_, m := solo(t, voters(1, 2, 3), HardState{Term: 3}, 2, 2)
	step(t, m, appendOf(2, 3, EntryID{2, 3}, 3))
	for _, bad := range []Append{
		appendOf(2, 3, EntryID{1, 1}, 0, 2, 3, 3), appendOf(2, 3, EntryID{3, 3}, 0), appendOf(2, 3, EntryID{1, 1}, 0, 3, 3, 3),
	} {
		if err := m.node.Step(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("append after %s: got %v, want ErrMalformed", bad.Prev, err)
		}
	}
	if m.node.log.last != (EntryID{2, 3}) {
		t.Errorf("the log ends at %s, want 2/3", m.node.log.last)
	}
}

// A write in flight does not make durable what was cut since.
func TestCutCapsWritesInFlight(t *testing.T) {
	_, m := solo(t, voters(1, 2, 3), HardState{Term: 2})
	step(t, m, appendOf(2, 2, EntryID{1, 1}, 0, 2, 2, 2))
	first := m.node.Ready().Write
	step(t, m, appendOf(3, 3, EntryID{2, 2}, 4, 3, 3))
	second := m.node.Ready()
	m.node.Stable(first.Seq)
	if m.node.log.stable != 2 {
		t.Errorf("stable is %d after the first write, want 2: the rest was cut", m.node.log.stable)
	}
	if r := m.node.Ready().Commit; r != (Range{2, 2}) {
		t.Errorf("told to apply %s, want [2,2]: the rest is not durable", r)
	}
	m.node.Stable(second.Write.Seq)
	if m.node.log.stable != 4 {
		t.Errorf("stable is %d after the second write, want 4", m.node.log.stable)
	}
}

// A term is told to nobody before it is durable.
func TestTermIsDurableBeforeItIsTold(t *testing.T) {
	_, m := solo(t, voters(1, 2, 3), HardState{Term: 1})
	step(t, m, Heartbeat{Envelope: Envelope{2, 1, 5}})
	if r := m.node.Ready(); len(r.Send) != 0 || len(r.SendAt) != 1 {
		t.Errorf("got Send %v SendAt %v, want the answer after the write", r.Send, r.SendAt)
	}
}

// Entries that a follower has forgotten are acknowledged, not compared: they are committed.
func TestAppendBelowTheBase(t *testing.T) {
	cl, m := solo(t, voters(1, 2, 3), HardState{Term: 2}, 2, 2, 2)
	step(t, m, appendOf(2, 2, EntryID{2, 4}, 4))
	run(cl)
	m.node.Compact(3)
	m.disk.compact(3)
	for _, test := range []struct {
		app  Append
		want Index
	}{
		{appendOf(2, 2, EntryID{1, 1}, 4, 2), 2},
		{appendOf(2, 2, EntryID{1, 1}, 4, 2, 2, 2, 2), 5},
		{appendOf(2, 2, EntryID{2, 2}, 4), 2},
	} {
		step(t, m, test.app)
		if ack := only[AppendAck](t, run(cl)); ack.Rejected || ack.Match != test.want {
			t.Errorf("append after %s of %d: got %+v, want match %d", test.app.Prev, len(test.app.Entries), ack, test.want)
		}
	}
	if m.disk.last() != (EntryID{2, 5}) {
		t.Errorf("the log ends at %s, want 2/5", m.disk.last())
	}
}
