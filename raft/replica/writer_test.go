package replica

import (
	"fmt"
	"slices"
	"testing"

	"github.com/rsqld/rsqld/raft"
)

// tape is a Log that remembers what was done to it.
type tape struct {
	done []string
	err  error
}

func (l *tape) Append(writes ...*raft.Write) error {
	line := "append"
	for _, w := range writes {
		line += fmt.Sprint(" ", w.Seq)
	}
	l.done = append(l.done, line)
	return l.err
}

func (l *tape) Mark() error {
	l.done = append(l.done, "mark")
	return l.err
}

func (l *tape) Entries(raft.Index, raft.Index, int) ([]raft.Entry, error) { return nil, nil }
func (l *tape) Behind(int64) raft.Index                                   { return 0 }
func (l *tape) Compact(raft.Index) error                                  { return nil }
func (l *tape) Spare() error                                              { return nil }
func (l *tape) Close() error                                              { return nil }

func writeOf(seq raft.Seq, entries, bytes int) *raft.Write {
	w := &raft.Write{Seq: seq}
	for range entries {
		w.Entries = append(w.Entries, raft.Entry{Data: make([]byte, bytes)})
	}
	return w
}

// All queued writes become one record, up to the limit of bytes, in order; the newest Seq is reported.
func TestQueuedWritesBecomeOneRecord(t *testing.T) {
	log := &tape{}
	w := newWriter(log, 100, realClock{})
	var reported []raft.Seq
	for seq := raft.Seq(1); seq <= 5; seq++ {
		w.Write(writeOf(seq, 1, 40))
	}
	w.Write(writeOf(6, 1, 1000)) // one always fits
	w.Write(writeOf(7, 0, 0))
	for w.claim() {
		if w.claim() {
			t.Fatal("two claims at once")
		}
		seq, err := w.flush()
		if err != nil {
			t.Fatal(err)
		}
		reported = append(reported, seq)
	}
	want := []string{"append 1 2", "append 3 4", "append 5", "append 6", "append 7"}
	if !slices.Equal(log.done, want) || !slices.Equal(reported, []raft.Seq{2, 4, 5, 6, 7}) {
		t.Errorf("did %q and reported %v, want %q", log.done, reported, want)
	}
}

// The loop writes a lone write itself after a streak of them, and nothing else.
func TestLoopClaimsOnlyLoneWrites(t *testing.T) {
	w := newWriter(&tape{}, 1000, realClock{})
	seq := raft.Seq(0)
	queue := func(entries int) { seq++; w.Write(writeOf(seq, entries, 10)) }
	flush := func() {
		t.Helper()
		if got, err := w.flush(); got != seq || err != nil || w.loopAway() {
			t.Errorf("flush: %d, %v, want %d; loop away: %v", got, err, seq, w.loopAway())
		}
	}
	streak := func() {
		t.Helper()
		queue(2)
		if w.claimLone() || !w.claim() {
			t.Fatal("claimed inline a write of two entries")
		}
		flush()
		for range loneStreak {
			queue(1)
			if w.claimLone() || !w.claim() {
				t.Fatal("claimed inline before the streak")
			}
			flush()
		}
	}
	streak()
	if w.claimLone() {
		t.Error("claimed without a write")
	}
	queue(1)
	if !w.claimLone() || !w.loopAway() {
		t.Error("did not claim a lone write")
	}
	if queue(1); w.claimLone() || w.claim() {
		t.Error("claimed while a write is in flight")
	}
	seq--
	flush()
	seq++
	if w.claimLone() || !w.claim() {
		t.Error("claimed inline though a write had to wait")
	}
	flush()
	streak()
}

// A marker is written when nothing else is; a write that came in between needs a marker of its own, later.
func TestMarkerYieldsToWrites(t *testing.T) {
	log := &tape{}
	w := newWriter(log, 1000, realClock{})
	w.Mark()
	for w.claim() {
		if seq, err := w.flush(); seq != 0 || err != nil {
			t.Errorf("the marker reported %d, %v", seq, err)
		}
	}
	w.Mark()
	w.Write(writeOf(1, 1, 1))
	for w.claim() {
		if _, err := w.flush(); err != nil {
			t.Error(err)
		}
	}
	if want := []string{"mark", "append 1"}; !slices.Equal(log.done, want) {
		t.Errorf("did %q, want %q", log.done, want)
	}
}
