package replica

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

// writer is the queue of writes in front of the log, and whose turn it is to empty it: the loop's own (inline) or the
// WAL goroutine's. The one that holds the claim is in Append or Mark; nobody else is, so that writes keep their order.
//
// Inline saves two changes of goroutine on the way of a lone write: 32 % of the throughput of one proposer. Under load
// the hand-over is better by 28 to 41 %: the loop prepares the next batch while the disk works on this one. Which of the
// two it is shows in the writes themselves: many proposers make writes of several entries, or a queue.
type writer struct {
	log      Log
	clock    Clock
	maxBytes int
	// work has room for one signal: the WAL goroutine may find something to claim.
	work chan struct{}

	mu      sync.Mutex
	queue   []*raft.Write
	mark    bool
	claimed bool
	// batch is what the holder of the claim works on. Invariant: empty unless claimed.
	batch []*raft.Write
	// inline says that the loop holds the claim.
	inline bool
	// streak counts the newest batches that were lone writes, without a break.
	streak int
	// retryAt is the earliest time for the next batch after one that found no room; zero: at once.
	retryAt time.Time
}

// roomRetry is the pause after a write that found no room on the disk.
const roomRetry = time.Second

func newWriter(log Log, maxBytes int, clock Clock) *writer {
	return &writer{log: log, clock: clock, maxBytes: maxBytes, work: make(chan struct{}, 1)}
}

// Write implements Writer.
func (w *writer) Write(write *raft.Write) {
	w.mu.Lock()
	w.queue = append(w.queue, write)
	w.mu.Unlock()
}

// Mark implements Writer.
func (w *writer) Mark() {
	w.mu.Lock()
	w.mark = true
	w.mu.Unlock()
}

// claim takes the next batch, if there is one and nobody else is at work. Whoever gets true calls flush next.
func (w *writer) claim() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.take()
}

// claimLone is claim for the loop itself. It succeeds where handing over would gain nothing: for a lone write, after a
// streak of them.
func (w *writer) claimLone() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inline = w.forLoop() && w.take()
	return w.inline
}

// wantsLoop reports whether the loop, if it were here, would write what waits.
func (w *writer) wantsLoop() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.claimed && w.forLoop()
}

// forLoop needs w.mu.
func (w *writer) forLoop() bool { return lone(w.queue) && w.streak >= loneStreak }

func (w *writer) take() bool {
	if !w.due() {
		return false
	}
	w.claimed = true
	n, bytes := 0, 0
	for n < len(w.queue) {
		bytes += writeBytes(w.queue[n])
		if n > 0 && bytes > w.maxBytes {
			break
		}
		n++
	}
	w.batch = append(w.batch, w.queue[:n]...)
	rest := copy(w.queue, w.queue[n:])
	clear(w.queue[rest:])
	w.queue = w.queue[:rest]
	return true
}

// due reports whether there is something to claim. It needs w.mu.
func (w *writer) due() bool {
	return !w.claimed && (len(w.queue) > 0 || w.mark) && (w.retryAt.IsZero() || !w.clock.Now().Before(w.retryAt))
}

// loneStreak is how many lone writes in a row show that there is one proposer. Of 64 proposers, now and then one comes
// alone: without the streak, writing for it inline cost a quarter of their throughput.
const loneStreak = 8

// lone reports whether the batch is what a single proposer causes: one write of one entry, or of hard state.
func lone(batch []*raft.Write) bool { return len(batch) == 1 && len(batch[0].Entries) <= 1 }

// flush makes the claimed batch durable and gives the claim back. It returns the newest write that is durable, zero if
// only the marker was written. A batch that found no room on the disk stays queued, and to everybody else the disk stands
// still until there is room. No lock is held while the disk works.
func (w *writer) flush() (raft.Seq, error) {
	w.mu.Lock()
	batch, mark := w.batch, w.mark
	// The marker is due only if nothing was queued behind it.
	w.mark = false
	w.mu.Unlock()

	var seq raft.Seq
	var err error
	switch {
	case len(batch) > 0:
		seq = batch[len(batch)-1].Seq
		err = w.log.Append(batch...)
	case mark:
		err = w.log.Mark()
	}

	w.mu.Lock()
	defer w.mu.Unlock()
	w.retryAt = time.Time{}
	switch {
	case errors.Is(err, wal.ErrNoRoom):
		w.queue = slices.Insert(w.queue, 0, w.batch...)
		w.retryAt = w.clock.Now().Add(roomRetry)
		seq, err = 0, nil
	case len(w.queue) > 0 || len(w.batch) > 0 && !lone(w.batch):
		w.streak = 0
	case len(w.batch) > 0:
		w.streak++
	}
	clear(w.batch)
	w.batch = w.batch[:0]
	w.claimed, w.inline = false, false
	return seq, err
}

// loopAway reports whether the loop is in flush.
func (w *writer) loopAway() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.inline
}

// kick lets the WAL goroutine look for work, if there is any.
func (w *writer) kick() {
	w.mu.Lock()
	due := w.due()
	w.mu.Unlock()
	if due {
		select {
		case w.work <- struct{}{}:
		default:
		}
	}
}

func writeBytes(w *raft.Write) int {
	size := 0
	for i := range w.Entries {
		size += len(w.Entries[i].Data)
	}
	return size
}
