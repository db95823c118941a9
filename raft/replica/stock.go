package replica

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rsqld/rsqld/raft"
)

// stock holds the newest snapshot of the machine for as long as it is of use: several peers that need one at the same time
// get the same, and so does a peer whose transfer has failed, which then lacks less of it. A snapshot is a copy of the
// whole content; one at a time is taken.
type stock struct {
	machine raft.Snapshotter
	clock   Clock
	// keep is how long one stays that nobody uses, after a transfer that failed.
	keep time.Duration
	// taking has room for one: who holds the place may take a snapshot.
	taking chan struct{}

	mu     sync.Mutex // guards what follows
	held   *stocked   // nil: none
	closed bool
}

// stocked is a snapshot. The stock's mu guards users and unused.
type stocked struct {
	raft.SnapshotReader
	users int
	// unused is since when users is zero.
	unused time.Time
}

func newStock(machine raft.Snapshotter, clock Clock, keep time.Duration) *stock {
	return &stock{machine: machine, clock: clock, keep: keep, taking: make(chan struct{}, 1)}
}

// take returns a snapshot of an entry from which the log leads on, for one transfer: first is the first entry of the log, as
// it is when a snapshot is at hand. The caller gives it back.
func (s *stock) take(ctx context.Context, first func() raft.Index) (*stocked, error) {
	select {
	case s.taking <- struct{}{}:
		defer func() { <-s.taking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if h, err := s.use(first()); h != nil || err != nil {
		return h, err
	}
	taken, err := s.machine.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("reading a snapshot: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = &stocked{SnapshotReader: taken, users: 1}
	return s.held, nil
}

// use returns the snapshot that is held if it leads to the log. Else it lets go of it.
func (s *stock) use(first raft.Index) (*stocked, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != nil && s.held.Meta().Applied.Index+1 >= first {
		s.held.users++
		return s.held, nil
	}
	return nil, s.letGo()
}

// letGo forgets the snapshot that is held. Its last user closes it. It needs mu.
func (s *stock) letGo() error {
	h := s.held
	s.held = nil
	if h == nil || h.users > 0 {
		return nil
	}
	return h.Close()
}

// giveBack ends a transfer. One that has failed is soon tried again.
func (s *stock) giveBack(h *stocked, failed bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.users--
	h.unused = s.clock.Now()
	switch {
	case h.users > 0:
		return nil
	case s.held != h:
		return h.Close()
	case !failed || s.closed:
		return s.letGo()
	}
	return nil
}

// tidy lets go of a snapshot that nobody uses and nobody is expected to ask for: first is the first entry of the log.
func (s *stock) tidy(first raft.Index) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.held
	if h == nil || h.users > 0 || h.Meta().Applied.Index+1 >= first && s.clock.Now().Sub(h.unused) < s.keep {
		return nil
	}
	return s.letGo()
}

// close lets go of what is held, and of what is still given back.
func (s *stock) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.letGo()
}
