package replica

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/rsqld/rsqld/raft"
)

// Waiters holds the proposals that have a place in the log and are not applied here yet. The handler adds, the applier
// resolves; both may run at the same time.
//
// One index may have several waiters, of different terms: a leader proposes at index 7, loses leadership, wins again
// with another leader's log that ends at 6, and proposes at 7 once more. Which of the two was meant is only known
// when an entry is committed at 7, so that no waiter is answered before its index is applied.
type Waiters struct {
	mu sync.Mutex
	// queue[head:] is sorted by index, then term. Terms rise over time and indexes rise within a term, so that nearly
	// every waiter is added at the end.
	queue []waiter
	head  int
	// closed, if not nil, is what the waiters that come too late are told.
	closed error
	// settled is scratch of the applier.
	settled []settlement
}

type waiter struct {
	id       raft.EntryID
	proposal *Proposal
}

// settlement is an outcome on its way to the proposal, called without the lock.
type settlement struct {
	proposal *Proposal
	outcome  Applied
	err      error
}

// add registers proposals that the core put into the log at first and the places after it.
func (w *Waiters) add(first raft.EntryID, proposals []*Proposal) {
	w.mu.Lock()
	closed := w.closed
	if closed == nil {
		for i, p := range proposals {
			w.insert(waiter{raft.EntryID{Term: first.Term, Index: first.Index + raft.Index(i)}, p})
		}
	}
	w.mu.Unlock()
	if closed != nil {
		for _, p := range proposals {
			p.Done(Applied{}, closed)
		}
	}
}

func (w *Waiters) insert(x waiter) {
	if w.head > len(w.queue)/2 && len(w.queue) == cap(w.queue) {
		n := copy(w.queue, w.queue[w.head:])
		clear(w.queue[n:])
		w.queue, w.head = w.queue[:n], 0
	}
	at := len(w.queue)
	if at > w.head && compareWaiters(x, w.queue[at-1]) < 0 {
		n, _ := slices.BinarySearchFunc(w.queue[w.head:], x, compareWaiters)
		at = w.head + n
	}
	w.queue = slices.Insert(w.queue, at, x)
}

func compareWaiters(a, b waiter) int {
	return cmp.Or(cmp.Compare(a.id.Index, b.id.Index), cmp.Compare(a.id.Term, b.id.Term))
}

// resolve answers the waiters of entries, which were applied with results, one each. A waiter of the same id has its
// result; one of another term at the same index learns that its entry will never be.
func (w *Waiters) resolve(entries []raft.Entry, results []raft.Result) {
	if len(entries) == 0 {
		return
	}
	first, last := entries[0].ID.Index, entries[len(entries)-1].ID.Index
	w.settle(last, func(x waiter) settlement {
		if x.id.Index < first {
			return unknown(x)
		}
		at := x.id.Index - first
		if entries[at].ID != x.id {
			return settlement{proposal: x.proposal, err: fmt.Errorf("%w (%v, by %v)", ErrDropped, x.id, entries[at].ID)}
		}
		return settlement{proposal: x.proposal, outcome: Applied{ID: x.id, Result: results[at]}}
	})
}

// skip answers the waiters up to and including through: the state machine says that it is past them, and their
// results are lost with the call of Apply that failed.
func (w *Waiters) skip(through raft.Index) { w.settle(through, unknown) }

func unknown(x waiter) settlement {
	return settlement{proposal: x.proposal,
		err: fmt.Errorf("%w: the state machine lost the result of entry %v", ErrOutcomeUnknown, x.id)}
}

// settle takes the waiters up to through out of the queue and answers each. It is called by one goroutine.
func (w *Waiters) settle(through raft.Index, outcome func(waiter) settlement) {
	w.mu.Lock()
	for w.head < len(w.queue) && w.queue[w.head].id.Index <= through {
		w.settled = append(w.settled, outcome(w.queue[w.head]))
		w.queue[w.head] = waiter{}
		w.head++
	}
	if w.head == len(w.queue) {
		w.queue, w.head = w.queue[:0], 0
	}
	w.mu.Unlock()
	for _, s := range w.settled {
		s.proposal.Done(s.outcome, s.err)
	}
	clear(w.settled)
	w.settled = w.settled[:0]
}

// Close answers all waiters, now and later, with ErrOutcomeUnknown and why.
func (w *Waiters) Close(why error) {
	w.mu.Lock()
	if w.closed == nil {
		w.closed = fmt.Errorf("%w: %w", ErrOutcomeUnknown, why)
	}
	rest := slices.Clone(w.queue[w.head:])
	w.queue, w.head = nil, 0
	w.mu.Unlock()
	for _, x := range rest {
		x.proposal.Done(Applied{}, w.closed)
	}
}

// GiveUp answers all that wait now with ErrOutcomeUnknown and why: their entries may or may not be applied later.
func (w *Waiters) GiveUp(why error) {
	w.mu.Lock()
	rest := slices.Clone(w.queue[w.head:])
	clear(w.queue)
	w.queue, w.head = w.queue[:0], 0
	w.mu.Unlock()
	for _, x := range rest {
		x.proposal.Done(Applied{}, fmt.Errorf("%w: %w", ErrOutcomeUnknown, why))
	}
}

// Len returns how many proposals wait.
func (w *Waiters) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue) - w.head
}
