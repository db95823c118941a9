package wal_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

// TestNoRoom proves: an append that finds no room changes nothing and says so, and works again when there is room, whatever
// step of making a segment it was that found none; the blocks of what could not be finished are given back.
func TestNoRoom(t *testing.T) {
	for _, op := range []string{"open", "write", "sync"} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { testNoRoom(t, op) })
		})
	}
}

func testNoRoom(t *testing.T, failing string) {
	files := newDisk(1)
	var full atomic.Bool
	files.set(func(op, name string) error {
		if full.Load() && op == failing && (name == "spare.part" || name == "next.part") {
			return fmt.Errorf("%s %s: %w", op, name, syscall.ENOSPC)
		}
		return nil
	})
	o := largeSegments(files)
	w, err := wal.Create(o)
	if err != nil {
		t.Fatal(err)
	}
	pass(time.Second)
	full.Store(true)
	last := raft.Index(0)
	for ; err == nil; last++ {
		err = appendMany(w, last+1, last+1, 1000)
	}
	last-- // the one that failed
	if !errors.Is(err, wal.ErrNoRoom) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("after %d entries Append says %v", last, err)
	}
	pass(2 * time.Second)
	if !errors.Is(w.Spare(), wal.ErrNoRoom) {
		t.Errorf("Spare says %v", w.Spare())
	}
	if err := appendMany(w, last+1, last+1, 1000); !errors.Is(err, wal.ErrNoRoom) {
		t.Errorf("a second Append says %v", err)
	}
	if files.holds("spare.part") || files.holds("next.part") {
		t.Error("an unfinished segment takes the last blocks of the disk")
	}
	if err := w.Mark(); err != nil {
		t.Errorf("the log is poisoned: %v", err)
	}
	if _, got := w.Bounds(); got != last {
		t.Errorf("the log ends at %d, want %d", got, last)
	}
	full.Store(false)
	if err := appendMany(w, last+1, last+2000, 1000); err != nil {
		t.Fatalf("with room again, Append says %v", err)
	}
	pass(2 * time.Second)
	if w.Spare() != nil {
		t.Errorf("with room again, Spare says %v", w.Spare())
	}
	closeLog(t, w)
	w, r, err := wal.Open(o)
	if err != nil || r.Log.Last.Index != last+2000 {
		t.Fatalf("recovered %v, %v; want %d", r.Log.Last, err, last+2000)
	}
	closeLog(t, w)
}

// TestNoRoomForLargeRecord proves: a record that is larger than a segment and finds no room in the middle of its own file
// can be written again, and is all that is there after a restart in between.
func TestNoRoomForLargeRecord(t *testing.T) {
	for _, restart := range []bool{false, true} {
		files := newDisk(1)
		o := largeSegments(files)
		w, err := wal.Create(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := appendMany(w, 1, 10, 1000); err != nil {
			t.Fatal(err)
		}
		full := true
		files.set(func(op, name string) error {
			if full && op == "write" && name != "next.part" && name != "spare.part" {
				return syscall.ENOSPC
			}
			return nil
		})
		large := int(o.SegmentSize) + 1000
		if err := appendMany(w, 11, 11, large); !errors.Is(err, wal.ErrNoRoom) {
			t.Fatalf("got %v, want ErrNoRoom", err)
		}
		full = false
		if restart {
			closeLog(t, w)
			var r wal.Recovered
			if w, r, err = wal.Open(o); err != nil || r.Log.Last.Index != 10 {
				t.Fatalf("recovered %v, %v; want 10", r.Log.Last, err)
			}
		}
		if err := appendMany(w, 11, 11, large); err != nil {
			t.Fatalf("with room again, Append says %v", err)
		}
		if err := appendMany(w, 12, 20, 1000); err != nil {
			t.Fatal(err)
		}
		closeLog(t, w)
		w, r, err := wal.Open(o)
		if err != nil || r.Log.Last.Index != 20 {
			t.Fatalf("recovered %v, %v; want 20", r.Log.Last, err)
		}
		closeLog(t, w)
	}
}
