package engine

import (
	"errors"
	"fmt"

	"github.com/rsqld/rsqld/raft"
)

// batch is a run of entries applied in one SQLite transaction, each under a savepoint of its own. What an entry does
// must not depend on where batches begin and end:
//
//   - before each entry the clock, the random numbers, changes(), total_changes() and last_insert_rowid() are set from
//     the entry alone;
//   - deferred foreign keys are checked after each entry, and PRAGMA defer_foreign_keys ends with it;
//   - an entry may end the transaction (INSERT OR ROLLBACK, RAISE(ROLLBACK) and their like: a killer), or must, because
//     SQLite can undo it in no other way. Then the entries before it are executed again and committed together with the
//     killer's error. An entry is executed at most twice, because what precedes a killer is committed with it.
//
// Committing the batch entry by entry would need none of the second and third, and costs seven times as much.
type batch struct {
	*writer
	results []raft.Result
	chain   []Chain
}

// applyBatch applies entries up to the end, to a restore, a killer or a change of the settings, in one transaction. The results
// are those of the entries that are committed.
func (w *writer) applyBatch(entries []decodedEntry) (*batch, error) {
	committed := w.state
	b := &batch{writer: w, results: make([]raft.Result, 0, len(entries)), chain: make([]Chain, 0, len(entries))}
	if err := w.begin(); err != nil {
		return b, fmt.Errorf("beginning a batch: %w", err)
	}
	for i, entry := range entries {
		if entry.isRestore() {
			break // it is a batch of its own
		}
		r, err := b.apply(entry)
		if err != nil {
			return &batch{writer: w}, fmt.Errorf("applying entry %v: %w", entry.ID, err)
		}
		if w.conn.Autocommit() {
			return w.applyKilled(&committed, entries[:i], entry, r, b)
		}
		if err := b.record(entry, r); err != nil {
			return &batch{writer: w}, fmt.Errorf("recording entry %v: %w", entry.ID, err)
		}
		if w.state.unsettled || w.verify != (verification{}) {
			break
		}
	}
	return b, w.commit()
}

// applyKilled applies the entries before a killer again and records the killer's error.
func (w *writer) applyKilled(committed *state, before []decodedEntry, killer decodedEntry, r *Result, first *batch) (*batch, error) {
	none := &batch{writer: w}
	if Full(r.Err) {
		if full, err := w.fullByItself(committed, before, killer); err != nil || !full {
			return none, errors.Join(r.Err, err)
		}
	}
	b, err := w.redo(committed, before)
	if err != nil {
		return none, fmt.Errorf("executing the entries before %v again, which ended their transaction: %w", killer.ID, err)
	}
	if b.writer.state.chain != first.last(committed) {
		return none, fmt.Errorf("executing the entries before %v again gave other results: this node is not deterministic", killer.ID)
	}
	b.results = first.results
	w.state.time = max(w.state.time, killer.command.Time) // undone with the rest; it passed all the same
	if err := b.record(killer, r); err != nil {
		return none, fmt.Errorf("recording entry %v: %w", killer.ID, err)
	}
	return b, w.commit()
}

// last is the chain after the newest entry of the batch.
func (b *batch) last(committed *state) Chain {
	if len(b.chain) == 0 {
		return committed.chain
	}
	return b.chain[len(b.chain)-1]
}

// redo applies entries in a new transaction, none of which may end it.
func (w *writer) redo(committed *state, entries []decodedEntry) (*batch, error) {
	w.undone(committed)
	b := &batch{writer: w}
	if err := w.forgetSchema(); err != nil {
		return b, err
	}
	if err := w.begin(); err != nil {
		return b, err
	}
	for _, entry := range entries {
		r, err := b.apply(entry)
		if err != nil {
			return b, err
		}
		if w.conn.Autocommit() {
			return b, fmt.Errorf("entry %v ended the transaction: %w", entry.ID, r.Err)
		}
		if err := b.record(entry, r); err != nil {
			return b, err
		}
	}
	return b, nil
}

// fullByItself reports whether the entry that ended the transaction with SQLITE_FULL did so because of a full sequence.
func (w *writer) fullByItself(committed *state, before []decodedEntry, killer decodedEntry) (bool, error) {
	b, err := w.redo(committed, before)
	if err != nil {
		return false, err
	}
	w.sequence = sequenceWatch{on: true}
	_, err = b.apply(killer)
	full := w.sequence.full
	w.sequence = sequenceWatch{}
	if err == nil && !w.conn.Autocommit() {
		err = w.conn.Exec("ROLLBACK")
	}
	return full, err
}

// record moves the state past an entry, and notes what came of it for its session. r is nil for an entry that is no command.
func (b *batch) record(entry decodedEntry, r *Result) error {
	if r != nil {
		if err := b.remember(entry.command, r); err != nil {
			return err
		}
	}
	if err := b.sweep(entry.ID.Index); err != nil {
		return err
	}
	s := &b.state
	s.base.Applied = entry.ID
	s.chain = s.chain.next(entry.ID.Index, r)
	b.chain = append(b.chain, s.chain)
	if r == nil {
		b.results = append(b.results, nil)
		return nil
	}
	b.results = append(b.results, r)
	return nil
}

// apply executes one entry. The error is the environment's; what the command itself did wrong is in the result.
func (b *batch) apply(entry decodedEntry) (*Result, error) {
	switch {
	case entry.command != nil:
		return b.command(entry.ID.Index, entry.command)
	case entry.Kind == raft.EntryConfiguration:
		b.state.base.Configuration, b.state.base.ConfigurationIndex = entry.configuration, entry.ID.Index
	}
	return nil, nil
}
