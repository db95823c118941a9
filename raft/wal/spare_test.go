package wal_test

import (
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

// pass lets virtual time go by in a synctest bubble.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func largeSegments(files wal.Files) wal.Options {
	o := options(files)
	o.SegmentSize = 1 << 20
	return o
}

func appendMany(w *wal.WAL, first, last raft.Index, size int) error {
	for i := first; i <= last; i++ {
		if err := w.Append(&raft.Write{HardState: raft.HardState{Term: 1}, Entries: []raft.Entry{entry(1, i, size)}}); err != nil {
			return err
		}
	}
	return nil
}

// TestStart proves: Create and Open write no more than a small segment before the log can be used. The spare comes
// afterwards, and an Open finds the one of the process before.
func TestStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := newDisk(1)
		o := largeSegments(files)
		w, err := wal.Create(o)
		if err != nil {
			t.Fatal(err)
		}
		if n := files.bytes(""); n != wal.FirstSegmentSize {
			t.Errorf("Create wrote %d bytes, want %d", n, wal.FirstSegmentSize)
		}
		if err := appendMany(w, 1, 10, 100); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if files.holds("spare") || files.holds("spare.part") {
			t.Error("the spare is filled while the node starts")
		}
		pass(time.Second)
		if n := files.bytes("spare"); n != int(o.SegmentSize) {
			t.Errorf("after a second the spare has %d bytes, want %d", n, o.SegmentSize)
		}
		closeLog(t, w)
		segment := filepath.Base(files.segments()[0])
		var writes, others atomic.Int64
		files.set(func(op, name string) error {
			switch {
			case op == "write" && name == segment:
				writes.Add(1)
			case op == "write":
				others.Add(1)
			}
			return nil
		})
		if w, _, err = wal.Open(o); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		if n, other := writes.Load(), others.Load(); n != 1 || other != 0 {
			t.Errorf("an Open of a log with a spare writes its newest record %d times and elsewhere %d times", n, other)
		}
		if err := appendMany(w, 11, 300, 1000); err != nil {
			t.Fatal(err)
		}
		if n := files.bytes("0001.wal"); n != int(o.SegmentSize) {
			t.Errorf("the second segment has %d bytes, want those of the spare", n)
		}
		closeLog(t, w)
	})
}

// TestSpareOfAnotherSize proves: a spare that an Open with other segments left is not used, nor is a torn one.
func TestSpareOfAnotherSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := newDisk(1)
		o := largeSegments(files)
		w, err := wal.Create(o)
		if err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		closeLog(t, w)
		files.live["/wal/spare.part"] = &inode{live: []byte("half"), dirty: map[int]bool{}}
		files.live["/wal/next.part"] = &inode{live: []byte("half"), dirty: map[int]bool{}}
		o.SegmentSize = 2 << 20
		if w, _, err = wal.Open(o); err != nil {
			t.Fatal(err)
		}
		if files.holds("spare.part") || files.holds("next.part") {
			t.Error("what was being made is still there")
		}
		pass(time.Second)
		if n := files.bytes("spare"); n != 2<<20 {
			t.Errorf("the spare has %d bytes, want %d", n, 2<<20)
		}
		if err := appendMany(w, 1, 600, 1000); err != nil {
			t.Fatal(err)
		}
		closeLog(t, w)
		if w, _, err = wal.Open(o); err != nil {
			t.Fatal(err)
		}
		closeLog(t, w)
	})
}

// fullDisk is a disk that may have no room for one of the files that are being made.
type fullDisk struct {
	*disk
	attempts            atomic.Int64 // to make a spare
	spareFull, nextFull atomic.Bool
}

func newFullDisk() *fullDisk {
	d := &fullDisk{disk: newDisk(1)}
	d.set(func(op, name string) error {
		if op == "open" && name == "spare.part" {
			d.attempts.Add(1)
		}
		if op == "write" && (name == "spare.part" && d.spareFull.Load() || name == "next.part" && d.nextFull.Load()) {
			return errDisk
		}
		return nil
	})
	return d
}

// TestDiskFull proves: a disk without room for a spare does not stop the log while there is room for a small segment; the
// spare is tried again; and an append fails when there is room for neither.
func TestDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := newFullDisk()
		files.spareFull.Store(true)
		o := largeSegments(files)
		w, err := wal.Create(o)
		if err != nil {
			t.Fatal(err)
		}
		pass(10*time.Second + time.Millisecond)
		if !errors.Is(w.Spare(), errDisk) {
			t.Errorf("there is no spare, and Spare says %v", w.Spare())
		}
		if n := files.attempts.Load(); n < 5 || n > 15 {
			t.Errorf("the spare was tried %d times in 10 seconds", n)
		}
		if files.holds("spare.part") {
			t.Error("an unfinished spare takes the last blocks of the disk")
		}
		before := files.attempts.Load()
		if err := appendMany(w, 1, 1000, 1000); err != nil {
			t.Fatalf("without a spare, Append says %v", err)
		}
		if n := len(files.segments()); n < 4 {
			t.Errorf("1 MB is in %d segments", n)
		}
		if n := files.attempts.Load() - before; n > 1 {
			t.Errorf("the spare was tried %d times without a pause", n)
		}
		files.spareFull.Store(false)
		pass(2 * time.Second)
		if w.Spare() != nil || !files.holds("spare") {
			t.Errorf("the disk has room and there is no spare: %v", w.Spare())
		}
		files.spareFull.Store(true)
		files.nextFull.Store(true)
		last := raft.Index(1000)
		for ; err == nil; last++ {
			err = appendMany(w, last+1, last+1, 1000)
		}
		if !errors.Is(err, errDisk) || last < 1900 {
			t.Errorf("after %d entries Append says %v: the spare has room for 1 MB", last, err)
		}
		closeLog(t, w)
		files.spareFull.Store(false)
		w, r, err := wal.Open(o)
		if err != nil || r.Log.Last.Index != last-1 {
			t.Fatalf("recovered %v, %v; want %d", r.Log.Last, err, last-1)
		}
		closeLog(t, w)
	})
}

// TestCloseStopsFilling proves: Close does not wait until a spare is full.
func TestCloseStopsFilling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := newDisk(1)
		o := largeSegments(files)
		o.SegmentSize = 64 << 20
		w, err := wal.Create(o)
		if err != nil {
			t.Fatal(err)
		}
		var once bool
		reached, resume := make(chan struct{}), make(chan struct{})
		files.set(func(op, name string) error {
			if op == "sync" && name == "spare.part" && !once {
				once = true
				files.mu.Unlock()
				close(reached)
				<-resume
				files.mu.Lock()
			}
			return nil
		})
		<-reached
		closed := make(chan error)
		go func() { closed <- w.Close() }()
		synctest.Wait()
		close(resume)
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
		if files.holds("spare") || files.holds("spare.part") {
			t.Error("an unfinished spare is left")
		}
	})
}
