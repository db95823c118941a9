package wal_test

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

// agenda is an Options.Schedule for a world with one goroutine: what is due waits until it is called.
type agenda struct {
	now  time.Duration
	next []appointment
}

type appointment struct {
	at time.Duration
	do func()
}

func (a *agenda) schedule(after time.Duration, do func()) {
	a.next = append(a.next, appointment{a.now + after, do})
}

// step calls what is due first and reports whether there was something.
func (a *agenda) step() bool {
	if len(a.next) == 0 {
		return false
	}
	first := 0
	for i := range a.next {
		if a.next[i].at < a.next[first].at {
			first = i
		}
	}
	due := a.next[first]
	a.next = slices.Delete(a.next, first, first+1)
	a.now = max(a.now, due.at)
	due.do()
	return true
}

// scheduled makes a log with 4 MiB segments whose own work is on an agenda.
func scheduled(t *testing.T, files wal.Files) (*wal.WAL, *agenda) {
	t.Helper()
	a, o := &agenda{}, options(files)
	o.SegmentSize, o.Schedule = 4<<20, a.schedule
	w, err := wal.Create(o)
	if err != nil {
		t.Fatal(err)
	}
	return w, a
}

// TestScheduledSteps proves: with Options.Schedule no step writes more than 1 MiB, no goroutine is left behind, the
// spare comes of the steps alone, and the same calls do the same to the disk every time.
func TestScheduledSteps(t *testing.T) {
	story := func() (trace []string) {
		files, before := newDisk(1), runtime.NumGoroutine()
		files.set(func(op, name string) error {
			trace = append(trace, op+" "+name)
			return nil
		})
		w, a := scheduled(t, files)
		last := raft.Index(0)
		for files.bytes("spare") == 0 {
			at := len(trace)
			if !a.step() {
				t.Fatal("nothing is scheduled and there is no spare")
			}
			written := 0
			for _, op := range trace[at:] {
				if op == "write spare.part" {
					written += 64 << 10
				}
			}
			if written > 1<<20 {
				t.Errorf("a step wrote %d bytes", written)
			}
			if err := appendMany(w, last+1, last+20, 1000); err != nil {
				t.Fatal(err)
			}
			last += 20
		}
		if a.step() {
			t.Error("the spare is there and something is scheduled")
		}
		if err := appendMany(w, last+1, last+400, 1000); err != nil { // more than the small first segment takes
			t.Fatal(err)
		}
		if n := len(a.next); n != 1 {
			t.Errorf("after the spare was used, %d steps are scheduled", n)
		}
		closeLog(t, w)
		if n := runtime.NumGoroutine(); n > before {
			t.Errorf("%d goroutines became %d", before, n)
		}
		return append(trace, fmt.Sprint(a.now))
	}
	if first, second := story(), story(); !slices.Equal(first, second) {
		t.Errorf("two runs differ:\n%s\n%s", strings.Join(first, "\n"), strings.Join(second, "\n"))
	}
}

// TestScheduledRetry proves: a step that fails is repeated after a pause, and not before.
func TestScheduledRetry(t *testing.T) {
	files := newDisk(1)
	w, a := scheduled(t, files)
	files.failOn("sync", "spare.part")
	for range 3 {
		was := a.now
		if !a.step() {
			t.Fatal("nothing is scheduled")
		}
		if !errors.Is(w.Spare(), errDisk) || files.holds("spare.part") {
			t.Errorf("after a failed step Spare says %v", w.Spare())
		}
		if a.now > 0 && was > 0 && a.now-was != time.Second {
			t.Errorf("the next attempt comes after %v", a.now-was)
		}
	}
	files.set(nil)
	for a.step() {
	}
	if w.Spare() != nil || !files.holds("spare") {
		t.Errorf("the disk is whole, and Spare says %v", w.Spare())
	}
	closeLog(t, w)
}

// TestScheduledClose proves: Close does not wait for steps that are still to come, and they, or doubles of earlier ones,
// touch nothing when they come.
func TestScheduledClose(t *testing.T) {
	for steps := range 4 {
		files := newDisk(1)
		w, a := scheduled(t, files)
		late := slices.Clone(a.next)
		for range steps {
			a.step()
			late = append(late, a.next...)
		}
		closeLog(t, w)
		if files.holds("spare.part") {
			t.Errorf("after %d steps an unfinished spare is left", steps)
		}
		files.set(func(op, name string) error {
			t.Errorf("after Close: %s %s", op, name)
			return nil
		})
		for _, l := range late {
			l.do()
		}
		if len(a.next) > 1 {
			t.Errorf("after Close, %d steps are scheduled", len(a.next))
		}
	}
}
