package wal_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

// recycling makes a log of equal records whose segments are all old ones, from the third on. It returns its disk and the
// last index; the log is closed.
func recycling(t *testing.T, records int) (files *disk, last raft.Index) {
	t.Helper()
	files = newDisk(1)
	a, o := &agenda{}, options(files)
	o.Schedule = a.schedule
	filled := 0
	files.set(func(op, name string) error {
		if op == "open" && name == "spare.part" {
			filled++
		}
		return nil
	})
	w, err := wal.Create(o)
	if err != nil {
		t.Fatal(err)
	}
	for range records {
		last++
		if err := appendMany(w, last, last, 500); err != nil {
			t.Fatal(err)
		}
		if err := w.Compact(last - 1); err != nil {
			t.Fatal(err)
		}
		for a.step() {
		}
		if n := len(files.segments()); n > 2 {
			t.Fatalf("%d segments are left", n)
		}
	}
	if filled > 2 {
		t.Errorf("%d spares were filled for %d KB of records", filled, records/2)
	}
	closeLog(t, w)
	if len(files.live) > 3 {
		t.Errorf("%d files are left, want one segment, the spare and one reserve", len(files.live))
	}
	return files, last
}

// TestRecycled proves: old segments become spares, one at a time is kept for that, and the records that they held are not
// found in a segment that they became, though they lie where its own would: the end of the log is clean.
func TestRecycled(t *testing.T) {
	files, last := recycling(t, 395)
	content := files.live[files.segments()[0]].live
	if !bytes.Contains(content, []byte("1/395")) || !bytes.Contains(content, []byte("1/37")) {
		t.Fatal("the segment holds nothing of what it was before")
	}
	for range 3 {
		w, r := open(t, files)
		if r.Log.Last.Index != last || r.TornBytes != 0 {
			t.Fatalf("recovered %v with %d torn bytes, want %d and none", r.Log.Last, r.TornBytes, last)
		}
		if err := w.Mark(); err != nil {
			t.Fatal(err)
		}
		closeLog(t, w)
		files = files.crash()
	}
}

// TestRecycledTorn proves: in a segment that was another one before, a torn record is cut and counted, and damage before a
// whole record or a marker is found.
func TestRecycledTorn(t *testing.T) {
	const length = 88 + 16 + 500 + 4
	files, last := recycling(t, 395)
	name := files.segments()[0]
	saved := slices.Clone(files.live[name].live)
	at := bytes.Index(saved, []byte("1/395")) - 88 - 16
	files.live[name].live[at+300] ^= 1
	w, r := open(t, files)
	if r.Log.Last.Index != last-1 || r.TornBytes != length {
		t.Errorf("recovered %v with %d torn bytes, want %d and %d", r.Log.Last, r.TornBytes, last-1, length)
	}
	closeLog(t, w)
	if w, r = open(t, files); r.TornBytes != 0 {
		t.Errorf("opened again, %d bytes are torn", r.TornBytes)
	}
	closeLog(t, w)

	files.live[name].live = slices.Clone(saved)
	w, _ = open(t, files)
	if err := w.Mark(); err != nil {
		t.Fatal(err)
	}
	closeLog(t, w)
	files.live[name].live[at+300] ^= 1
	if _, r, err := wal.Open(options(files)); err == nil {
		t.Errorf("recovered %v, and the newest record is damaged", r.Log.Last)
	}
}
