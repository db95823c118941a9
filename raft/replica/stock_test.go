package replica

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rsqld/rsqld/raft"
)

// copier is a machine whose snapshots take a while, and are counted.
type copier struct {
	raft.Snapshotter
	applied      raft.Index
	taken, there int
}

type copied struct {
	io.ReaderAt
	of   *copier
	meta raft.SnapshotMeta
}

func (c *copier) Snapshot() (raft.SnapshotReader, error) {
	<-time.After(time.Second)
	c.taken++
	c.there++
	return copied{of: c, meta: raft.SnapshotMeta{Base: raft.Base{Applied: raft.EntryID{Term: 1, Index: c.applied}}}}, nil
}

func (c copied) Meta() raft.SnapshotMeta { return c.meta }
func (c copied) Close() error            { c.of.there--; return nil }

// takeAt takes a snapshot while the log begins at first.
func takeAt(t *testing.T, s *stock, first raft.Index) *stocked {
	t.Helper()
	h, err := s.take(t.Context(), func() raft.Index { return first })
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func giveBack(t *testing.T, s *stock, h *stocked, failed bool) {
	t.Helper()
	if err := s.giveBack(h, failed); err != nil {
		t.Error(err)
	}
}

// Peers that need a snapshot at the same time get one, of which there is one copy, until the last of them has it.
func TestStockIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		machine := &copier{applied: 50}
		s := newStock(machine, realClock{}, time.Minute)
		got := make(chan *stocked)
		for range 3 {
			go func() { got <- takeAt(t, s, 51) }()
		}
		one, two, three := <-got, <-got, <-got
		if one != two || two != three || machine.taken != 1 {
			t.Errorf("%d copies were made", machine.taken)
		}
		giveBack(t, s, one, true)
		giveBack(t, s, two, false)
		if machine.there != 1 {
			t.Error("the copy is gone while it is used")
		}
		giveBack(t, s, three, false)
		if machine.there != 0 {
			t.Error("the copy is there, and nobody needs it")
		}
		ended, cancel := context.WithCancel(t.Context())
		go func() { got <- takeAt(t, s, 51) }()
		synctest.Wait()
		cancel()
		if _, err := s.take(ended, func() raft.Index { return 1 }); !errors.Is(err, context.Canceled) {
			t.Errorf("waiting for another's copy: %v", err)
		}
		giveBack(t, s, <-got, false)
	})
}

// A snapshot whose transfer has failed is used for the next attempt, for a while, and only if the log leads on from it.
func TestStockIsKeptForTheNextAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		machine := &copier{applied: 50}
		s := newStock(machine, realClock{}, time.Minute)
		tidy := func(first raft.Index) {
			t.Helper()
			if err := s.tidy(first); err != nil {
				t.Error(err)
			}
		}
		first := takeAt(t, s, 1)
		tidy(90)
		giveBack(t, s, first, true)
		<-time.After(59 * time.Second)
		tidy(51)
		if again := takeAt(t, s, 51); again != first {
			t.Error("another copy was made")
		}
		machine.applied = 80
		other := takeAt(t, s, 52)
		if other == first || other.Meta().Applied.Index != 80 || machine.there != 2 {
			t.Errorf("a copy of %v, %d are there", other.Meta().Applied, machine.there)
		}
		giveBack(t, s, first, true)
		giveBack(t, s, other, true)
		if machine.there != 1 {
			t.Errorf("%d copies are there", machine.there)
		}
		<-time.After(59 * time.Second)
		tidy(81)
		if machine.there != 1 {
			t.Error("it was not kept")
		}
		<-time.After(time.Second)
		if tidy(81); machine.there != 0 {
			t.Error("it was kept for too long")
		}
		giveBack(t, s, takeAt(t, s, 81), true)
		if tidy(82); machine.there != 0 {
			t.Error("it was kept although the log does not lead on from it")
		}
	})
}

// Nothing is left behind when the replica stops, also by a transfer that ends later.
func TestStockIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		machine := &copier{applied: 50}
		s := newStock(machine, realClock{}, time.Minute)
		kept := takeAt(t, s, 1)
		giveBack(t, s, kept, true)
		used := takeAt(t, s, 52)
		if err := s.close(); err != nil {
			t.Error(err)
		}
		giveBack(t, s, used, true)
		giveBack(t, s, takeAt(t, s, 1), true)
		if machine.there != 0 {
			t.Errorf("%d copies are left", machine.there)
		}
	})
}
