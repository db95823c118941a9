package replica

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/rsqld/rsqld/raft"
)

// Each of many waiters wakes exactly when its index is reached, in whatever order they came and left.
func TestWaitersWakeAtTheirIndex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const last = 200
		var p progress
		var running sync.WaitGroup
		var mu sync.Mutex
		awake := 0
		ctx, leave := context.WithCancel(t.Context())
		for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(last) {
			running.Go(func() {
				err := p.wait(t.Context(), raft.Index(i+1))
				mu.Lock()
				defer mu.Unlock()
				awake++
				if err != nil || p.load() < raft.Index(i+1) {
					t.Errorf("waiter for %d woke at %d with %v", i+1, p.load(), err)
				}
			})
			running.Go(func() {
				if err := p.wait(ctx, raft.Index(last+i)); err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		leave()
		for index := raft.Index(1); index <= last; index++ {
			p.advance(index)
			synctest.Wait()
			mu.Lock()
			if awake != int(index) {
				t.Errorf("%d are awake at index %d", awake, index)
			}
			mu.Unlock()
		}
		running.Wait()
		if len(p.waiting) != 0 {
			t.Errorf("%d waiters are left", len(p.waiting))
		}
	})
}

// The applied index never falls.
func TestProgressNeverFalls(t *testing.T) {
	var p progress
	p.advance(7)
	p.advance(3)
	if got := p.load(); got != 7 {
		t.Errorf("applied %d after 7 and 3", got)
	}
}

// Closing wakes who waits, and refuses who comes for more.
func TestClosedProgressRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p progress
		p.advance(5)
		got := make(chan error, 1)
		go func() { got <- p.wait(t.Context(), 6) }()
		synctest.Wait()
		p.close(ErrClosed)
		if err := <-got; !errors.Is(err, ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
		if err := p.wait(t.Context(), 6); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
		if err := p.wait(t.Context(), 5); err != nil {
			t.Errorf("index 5 is applied, got %v", err)
		}
	})
}
