package replica

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/rsqld/rsqld/raft"
)

// EntryReader reads entries out of the durable log; a *wal.WAL is one.
type EntryReader interface {
	Entries(first, last raft.Index, maxBytes int) ([]raft.Entry, error)
}

// Applier feeds committed entries to the state machine, a bounded batch a Step. Commit and Applied may be called from
// anywhere; Step belongs to one goroutine (or to a simulator that runs it as an event).
type Applier struct {
	log     EntryReader
	machine raft.Machine
	waiters *Waiters
	// notify is Config.OnApplied, or nil.
	notify     func(raft.Index)
	maxEntries raft.Index
	maxBytes   int

	// committed is how far entries may be applied: committed by a quorum and durable here. It never falls.
	committed atomic.Uint64
	progress  progress

	// last is the index of the last entry that the machine has applied. Step's.
	last raft.Index
	// failed says that the newest Step failed: last is not to be trusted before Machine.Base was asked. Step's.
	failed bool
}

// NewApplier returns an applier whose machine has applied everything up to applied.
func NewApplier(log EntryReader, machine raft.Machine, waiters *Waiters, applied raft.Index, limits Limits,
	notify func(raft.Index)) *Applier {
	limits = limits.withDefaults()
	a := &Applier{
		log: log, machine: machine, waiters: waiters, notify: notify,
		maxEntries: raft.Index(limits.MaxBatchEntries), maxBytes: limits.MaxBatchBytes,
		last: applied,
	}
	a.committed.Store(uint64(applied))
	a.progress.applied.Store(uint64(applied))
	return a
}

// Commit says that entries up to index are committed and durable here.
func (a *Applier) Commit(index raft.Index) {
	if index > raft.Index(a.committed.Load()) {
		a.committed.Store(uint64(index))
	}
}

// Applied returns the index of the last entry applied.
func (a *Applier) Applied() raft.Index { return a.progress.load() }

// Step applies one batch; more says that another one waits. After an error nothing is applied until the next call,
// which begins where Machine.Base says that the machine stands; the caller decides when.
func (a *Applier) Step() (more bool, err error) {
	if a.failed {
		if err := a.resync(); err != nil {
			return false, err
		}
	}
	committed := raft.Index(a.committed.Load())
	if a.last >= committed {
		return false, nil
	}
	if err := a.apply(a.last+1, min(committed, a.last+a.maxEntries)); err != nil {
		a.failed = true
		return false, err
	}
	return a.last < raft.Index(a.committed.Load()), nil
}

// resync finds out where the machine stands after a failure.
func (a *Applier) resync() error {
	base, err := a.machine.Base()
	if err != nil {
		return fmt.Errorf("asking the state machine how far it came: %w", err)
	}
	if committed := raft.Index(a.committed.Load()); base.Applied.Index > committed {
		return fmt.Errorf("state machine claims to have applied %v, but only %d is committed", base.Applied, committed)
	}
	a.failed = false
	a.last = base.Applied.Index
	a.publish()
	a.waiters.skip(a.last)
	return nil
}

func (a *Applier) apply(first, last raft.Index) error {
	entries, err := a.log.Entries(first, last, a.maxBytes)
	if err != nil {
		return fmt.Errorf("reading entries %v to apply: %w", raft.Range{First: first, Last: last}, err)
	}
	if len(entries) == 0 || entries[0].ID.Index != first {
		return fmt.Errorf("reading entries %v to apply: the log answered with others", raft.Range{First: first, Last: last})
	}
	results, err := a.machine.Apply(entries)
	if len(results) > len(entries) || (err == nil && len(results) < len(entries)) {
		return errors.Join(err, fmt.Errorf("state machine gave %d results for the %d entries from %v on",
			len(results), len(entries), entries[0].ID))
	}
	a.last += raft.Index(len(results))
	// Who is told that an entry was applied finds Applied at or above its index.
	a.publish()
	a.waiters.resolve(entries[:len(results)], results)
	if err != nil {
		return fmt.Errorf("applying entry %d: %w", a.last+1, err)
	}
	return nil
}

func (a *Applier) publish() {
	a.progress.advance(a.last)
	if a.notify != nil {
		a.notify(a.last)
	}
}
