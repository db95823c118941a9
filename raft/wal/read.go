package wal

import (
	"errors"
	"fmt"
	"sort"

	"github.com/rsqld/rsqld/raft"
)

// loaded is the record that was read from disk last: catching up reads entry after entry.
type loaded struct {
	ref     ref
	entries []raft.Entry
}

// Entries returns entries from first on, at most to last and, after the first, at most maxBytes of data.
func (w *WAL) Entries(first, last raft.Index, maxBytes int) ([]raft.Entry, error) {
	var entries []raft.Entry
	bytes := 0
	for first <= last {
		more, err := w.some(first)
		if err != nil {
			return nil, err
		}
		for _, e := range more {
			if e.ID.Index > last {
				return entries, nil
			}
			if bytes += len(e.Data); bytes > maxBytes && len(entries) > 0 {
				return entries, nil
			}
			entries = append(entries, e)
			first = e.ID.Index + 1
		}
	}
	return entries, nil
}

// some returns entries from index on out of the cache or of one record.
func (w *WAL) some(index raft.Index) ([]raft.Entry, error) {
	w.mu.Lock()
	if errors.Is(w.failed, ErrClosed) {
		w.mu.Unlock()
		return nil, ErrClosed
	}
	if index <= w.base.Index {
		defer w.mu.Unlock()
		return nil, fmt.Errorf("%w: index %d, the log begins at %d", ErrCompacted, index, w.base.Index+1)
	}
	if len(w.cache) > 0 && index >= w.cache[0].ID.Index && index <= w.cache[len(w.cache)-1].ID.Index {
		defer w.mu.Unlock()
		return append([]raft.Entry(nil), w.cache[index-w.cache[0].ID.Index:]...), nil
	}
	at := sort.Search(len(w.refs), func(i int) bool { return w.refs[i].last >= index })
	if at == len(w.refs) || w.refs[at].first > index {
		defer w.mu.Unlock()
		return nil, fmt.Errorf("the log holds no entry %d", index)
	}
	r := w.refs[at]
	if w.last != nil && w.last.ref == r {
		defer w.mu.Unlock()
		return w.last.entries[index-r.first:], nil
	}
	w.mu.Unlock()
	b := make([]byte, r.length)
	if _, err := r.segment.file.ReadAt(b, r.offset); err != nil {
		return nil, fmt.Errorf("reading %s at %d: %w", r.segment.name, r.offset, err)
	}
	record, err := decode(b, r.segment.salt)
	if err != nil || record.first != r.first {
		return nil, &CorruptionError{Segment: r.segment.name, Offset: r.offset, First: r.first, Last: r.last}
	}
	entries := record.entries[:r.last-r.first+1]
	w.mu.Lock()
	w.last = &loaded{r, entries}
	w.mu.Unlock()
	return entries[index-r.first:], nil
}

// Bounds returns the first and the last index held; last is first-1 for an empty log.
func (w *WAL) Bounds() (first, last raft.Index) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.base.Index + 1, w.state.last.Index
}

// Size returns the bytes of all segments.
func (w *WAL) Size() (size int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.segments {
		size += s.size
	}
	return size
}

// Compact deletes whole segments that hold nothing after through.
func (w *WAL) Compact(through raft.Index) error {
	for {
		w.mu.Lock()
		if len(w.segments) < 2 || w.segments[1].base.Index > through {
			w.mu.Unlock()
			return nil
		}
		oldest := w.segments[0]
		w.segments = w.segments[1:]
		w.base = w.segments[0].base
		for len(w.refs) > 0 && w.refs[0].segment == oldest {
			w.refs = w.refs[1:]
		}
		w.mu.Unlock()
		err := errors.Join(oldest.file.Close(), w.options.Files.Remove(w.path(oldest.name)))
		if err == nil {
			err = w.options.Files.SyncDir(w.options.Dir)
		}
		if err != nil {
			return fmt.Errorf("deleting %s: %w", oldest.name, err)
		}
	}
}
