package wal

import (
	"fmt"
	"slices"

	"github.com/rsqld/rsqld/raft"
)

// Compact deletes the segments that hold nothing after through, which must be committed and durably applied: what is
// deleted is needed by nobody. The log then begins after the last entry of what was deleted, at through+1 or before. A
// segment is kept somewhat longer if the log was truncated across the segment's end.
//
// An error leaves files behind that the next call removes. It does not poison the log.
func (w *WAL) Compact(through raft.Index) error {
	w.removal.Lock()
	defer w.removal.Unlock()
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return ErrClosed
	}
	old := slices.Concat(w.retired, w.index.compact(through))
	w.retired = nil
	if len(old) > 0 {
		w.loaded = nil
	}
	w.mu.Unlock()
	var failed error
	for _, s := range old {
		s.readers.Wait()
		if err := s.file.Close(); err != nil && failed == nil {
			failed = fmt.Errorf("closing %s: %w", s.name, err)
		}
	}
	w.doomed = append(w.doomed, old...)
	if err := w.remove(); err != nil {
		return err
	}
	return failed
}

// remove deletes the doomed files, or keeps one as the next spare. The directory is synced after each: of two deletions
// that were not synced, a loss of power may undo either one.
func (w *WAL) remove() error {
	for len(w.doomed) > 0 && w.stuck == nil {
		s := w.doomed[0]
		keep := s.size == w.options.SegmentSize && w.spare.reserve()
		err := w.unlink(s.name, keep)
		if err == nil {
			w.doomed = w.doomed[1:]
			if err = w.options.Files.SyncDir(w.options.Dir); err != nil {
				err = fmt.Errorf("syncing the log's directory after deleting %s: %w; nothing more is deleted", s.name, err)
				w.stuck = err
			}
		}
		if keep {
			w.spare.reserved(err == nil)
		}
		if err != nil {
			return err
		}
	}
	return w.stuck
}

// unlink takes the name of a segment away. What keeps its bytes has a name that is not one of the log: it is used again
// only after the directory's sync, so that it never comes back as a segment with other content.
func (w *WAL) unlink(name string, keep bool) error {
	var err error
	if keep {
		err = w.options.Files.Rename(w.path(name), w.path(reserveName))
	} else {
		err = w.options.Files.Remove(w.path(name))
	}
	if err != nil {
		return fmt.Errorf("deleting %s: %w", name, err)
	}
	return nil
}

// Behind returns the newest index that Compact may be given so that segments of this size together stay besides the one
// that is written to; zero if the log is not longer.
func (w *WAL) Behind(bytes int64) raft.Index {
	w.mu.Lock()
	defer w.mu.Unlock()
	segments := w.index.segments
	// Compact begins the log with the last segment that begins at or below its argument, and a log that was truncated has
	// segments that begin below earlier ones.
	above := segments[len(segments)-1].base.Index
	for i := len(segments) - 2; i > 0; i-- {
		s := segments[i]
		if bytes -= s.size; bytes <= 0 {
			return min(s.base.Index, max(above, 1)-1)
		}
		above = min(above, s.base.Index)
	}
	return 0
}
