package wal

import (
	"fmt"

	"github.com/rsqld/rsqld/raft"
)

// merge makes one record of several writes, one after the other: the last hard state, the last new beginning, the lowest
// truncation of what is in the log, and the entries that no later truncation removed. The entries of a single write are
// used as they are.
func (w *WAL) merge(writes []*raft.Write) (*record, error) {
	r := &w.record
	*r = record{hard: writes[len(writes)-1].HardState}
	if len(writes) == 1 {
		err := w.mergeSnapshot(r, writes[0].Snapshot)
		r.truncateFrom, r.entries = writes[0].TruncateFrom, writes[0].Entries
		return r, err
	}
	for _, write := range writes {
		if err := w.mergeSnapshot(r, write.Snapshot); err != nil {
			return r, err
		}
		w.mergeOne(r, write)
	}
	r.entries = w.batch
	return r, nil
}

// mergeSnapshot lets the log begin anew at the base of a snapshot, unless it holds that entry after the writes before.
// If it does, all of it stays: the same id means the same log up to there (Log Matching), and to remove what nobody needs
// is Compact's.
func (w *WAL) mergeSnapshot(r *record, base *raft.Base) error {
	if base == nil || w.holds(r, base.Applied) {
		return nil
	}
	if err := w.checkOrigin(r.origin, base); err != nil {
		return err
	}
	r.origin, r.truncateFrom = base, 0
	clear(w.batch)
	w.batch = w.batch[:0]
	return nil
}

// holds reports whether the log holds an entry, or begins after it, once r.origin, r.truncateFrom and batch are in it.
func (w *WAL) holds(r *record, id raft.EntryID) bool {
	if n := raft.Index(len(w.batch)); n > 0 && id.Index >= w.batch[0].ID.Index {
		at := id.Index - w.batch[0].ID.Index
		return at < n && w.batch[at].ID == id
	}
	if r.origin != nil {
		return r.origin.Applied == id
	}
	if r.truncateFrom != 0 && id.Index >= r.truncateFrom {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.index.holds(id)
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

// check refuses a record that does not continue the log, and sets what it continues. The index of an entry is not written
// to disk but counted from the first, so a gap would give entries other indexes.
func (w *WAL) check(r *record) error {
	w.mu.Lock()
	base := w.index.base
	if r.origin != nil {
		base = r.origin.Applied
	}
	cut := r.truncateFrom
	switch {
	case cut != 0 && cut <= base.Index:
	case r.origin != nil:
		r.before, r.truncateFrom = base, 0
	default:
		r.before = w.index.end(cut)
	}
	w.mu.Unlock()
	if cut != 0 && cut <= base.Index {
		return fmt.Errorf("the log cannot be truncated from %d: it is compacted up to %s", cut, base)
	}
	last := r.before
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

// checkOrigin refuses a new beginning before what the log has compacted, or beside it: that was committed and applied.
// before is a new beginning that comes first in the same record, or nil.
func (w *WAL) checkOrigin(before, origin *raft.Base) error {
	w.mu.Lock()
	base := w.index.base
	w.mu.Unlock()
	if before != nil {
		base = before.Applied
	}
	if at := origin.Applied; at.Index == 0 || at.Index <= base.Index {
		return fmt.Errorf("the log cannot begin anew after %s: it is compacted up to %s", at, base)
	}
	configuration, err := origin.Configuration.AppendBinary(nil)
	if err != nil {
		return fmt.Errorf("the configuration of the snapshot at %s: %w", origin.Applied, err)
	}
	if len(configuration) > headerRoom {
		return fmt.Errorf("%w: the configuration of the snapshot at %s has %d bytes, limit %d",
			ErrTooLarge, origin.Applied, len(configuration), headerRoom)
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
