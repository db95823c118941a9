package replica

import (
	"container/heap"
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/rsqld/rsqld/raft"
)

// progress is the applied index and those who wait for it. Reading it takes no lock; a thousand waiters cost the
// applier one comparison until the first of them is due.
type progress struct {
	// applied never falls. Only the applier stores.
	applied atomic.Uint64

	mu sync.Mutex
	// waiting is a heap, the lowest index on top. Invariant: every element is above applied, or advance runs.
	waiting indexHeap
	closed  error
}

type indexWaiter struct {
	index raft.Index
	// done receives one value, and has room for it.
	done chan error
	// place is the position in the heap, -1 when taken out.
	place int
}

// load returns the applied index.
func (p *progress) load() raft.Index { return raft.Index(p.applied.Load()) }

// advance publishes that entries up to index are applied, and wakes who waited for them.
func (p *progress) advance(index raft.Index) {
	if index <= p.load() {
		return
	}
	p.applied.Store(uint64(index))
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.waiting) > 0 && p.waiting[0].index <= index {
		heap.Pop(&p.waiting).(*indexWaiter).done <- nil
	}
}

// wait returns when index is applied, when ctx ends or when the replica stops.
func (p *progress) wait(ctx context.Context, index raft.Index) error {
	if p.load() >= index {
		return nil
	}
	w, err := p.register(index)
	if w == nil {
		return err
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		p.forget(w)
		return fmt.Errorf("waiting until index %d is applied (%d is): %w", index, p.load(), ctx.Err())
	}
}

// register returns nil, nil if index was applied in the meantime.
func (p *progress) register(index raft.Index) (*indexWaiter, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed != nil {
		return nil, p.closed
	}
	if p.load() >= index {
		return nil, nil
	}
	w := &indexWaiter{index: index, done: make(chan error, 1)}
	heap.Push(&p.waiting, w)
	return w, nil
}

func (p *progress) forget(w *indexWaiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.place >= 0 {
		heap.Remove(&p.waiting, w.place)
	}
}

// close wakes everyone who waits, and everyone who comes later for an index not applied, with why.
func (p *progress) close(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = why
	for len(p.waiting) > 0 {
		heap.Pop(&p.waiting).(*indexWaiter).done <- why
	}
}

type indexHeap []*indexWaiter

func (h indexHeap) Len() int           { return len(h) }
func (h indexHeap) Less(i, j int) bool { return h[i].index < h[j].index }

func (h indexHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *indexHeap) Push(x any) {
	w := x.(*indexWaiter)
	w.place = len(*h)
	*h = append(*h, w)
}

func (h *indexHeap) Pop() any {
	last := len(*h) - 1
	w := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	w.place = -1
	return w
}
