package wal

import (
	"fmt"

	"github.com/rsqld/rsqld/raft"
)

// merge makes one record of several writes, one after the other: the last hard state, the lowest truncation of what is
// in the log, and the entries that no later truncation removed. The entries of a single write are used as they are.
func (w *WAL) merge(writes []*raft.Write) *record {
	r := &w.record
	*r = record{hard: writes[len(writes)-1].HardState}
	if len(writes) == 1 {
		r.truncateFrom, r.entries = writes[0].TruncateFrom, writes[0].Entries
	} else {
		for _, write := range writes {
			w.mergeOne(r, write)
		}
		r.entries = w.batch
	}
	if len(r.entries) > 0 {
		r.first = r.entries[0].ID.Index
	}
	return r
}

// mergeOne adds a write to r.truncateFrom and batch.
func (w *WAL) mergeOne(r *record, write *raft.Write) {
	if from := write.TruncateFrom; from != 0 {
		switch {
		case len(w.batch) > 0 && from > w.batch[0].ID.Index:
			// Part of this batch goes; what is past its end is not there.
			keep := min(from-w.batch[0].ID.Index, raft.Index(len(w.batch)))
			clear(w.batch[keep:])
			w.batch = w.batch[:keep]
		default:
			clear(w.batch)
			w.batch = w.batch[:0]
			if r.truncateFrom == 0 || from < r.truncateFrom {
				r.truncateFrom = from
			}
		}
	}
	w.batch = append(w.batch, write.Entries...)
}

// check refuses a record that does not continue the log. The index of an entry is not written to disk but counted from
// the first, so a gap would give entries other indexes.
func (w *WAL) check(r *record) error {
	w.mu.Lock()
	base, last := w.index.base, w.index.last
	if r.truncateFrom == 0 || r.truncateFrom > base.Index {
		last = w.index.end(r.truncateFrom)
	}
	w.mu.Unlock()
	if r.truncateFrom != 0 && r.truncateFrom <= base.Index {
		return fmt.Errorf("the log cannot be truncated from %d: it is compacted up to %s", r.truncateFrom, base)
	}
	for i := range r.entries {
		e := &r.entries[i]
		if e.ID.Index != last.Index+1 || e.ID.Term < last.Term {
			return fmt.Errorf("entry %s does not follow the log's last entry %s", e.ID, last)
		}
		if len(e.Data) > w.options.MaxEntry {
			return fmt.Errorf("%w: entry %s has %d bytes, log.max_entry is %d", ErrTooLarge, e.ID, len(e.Data), w.options.MaxEntry)
		}
		if e.Kind == raft.EntryConfiguration {
			if err := checkConfiguration(e); err != nil {
				return err
			}
		}
		last = e.ID
	}
	if n := r.size(); n > MaxRecord {
		return fmt.Errorf("%w: the writes have %d bytes together, a record has at most %d", ErrTooLarge, n, MaxRecord)
	}
	return nil
}

// checkConfiguration refuses a configuration that the next segment's header could not hold.
func checkConfiguration(e *raft.Entry) error {
	if _, err := raft.DecodeConfiguration(e.Data); err != nil {
		return fmt.Errorf("entry %s: %w", e.ID, err)
	}
	if len(e.Data) > headerRoom {
		return fmt.Errorf("%w: the configuration of entry %s has %d bytes, limit %d", ErrTooLarge, e.ID, len(e.Data), headerRoom)
	}
	return nil
}
