package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/rsqld/rsqld/raft"
)

// maxIdleBuffer is the largest encoding buffer that is kept for the next record, in bytes.
const maxIdleBuffer = 4 << 20

// WAL is an open log. One goroutine at a time calls Append and Mark, the appender; every other method may be called by
// any goroutine at any time. Create and Open make one, and its owner calls Close.
//
// The fields fall into three groups: the appender's own, what mu guards, and the removal of old files. No lock is held
// while a record is written or read.
type WAL struct {
	options Options
	// anyNode lets the first segment found say whose log it is, for Inspect.
	anyNode bool

	// The appender's. active is the newest segment, also the last of index.segments; its end moves.
	active *segment
	tip    tip
	// marked says that a marker stands at active.end. The next record takes its place: a marker is not synced, so a
	// record behind it could survive a loss of power that the marker does not, and damage would seem proven.
	marked bool
	// record, batch and buffer are kept for their memory alone: an append allocates nothing. None pins an entry.
	record record
	batch  []raft.Entry
	buffer []byte

	spare *spare

	mu    sync.Mutex
	index index
	// failed is the first error of a write or sync. The log takes no more writes.
	failed error
	closed bool
	loaded *loaded
	// busy counts the running calls of the appender. Added to under mu while closed is false; Close waits for it.
	busy sync.WaitGroup

	// retired are segments before a new beginning of the log, oldest first, until Compact removes them. Guarded by mu.
	retired []*segment

	// removal is held while files are removed, by Compact and Close alone.
	removal sync.Mutex
	// doomed are segments that left the log and whose files are still there, oldest first. They are removed in this
	// order only: a log with a gap cannot be opened.
	doomed []*segment
	// stuck is an error of the directory's sync after a removal. Nothing is removed any more: the next file's name could
	// vanish before the one whose fate is unknown.
	stuck error
}

func newWAL(o Options) *WAL {
	w := &WAL{options: o, spare: newSpare(&o)}
	w.index.cache.limit = o.CacheBytes
	return w
}

func (w *WAL) path(name string) string { return filepath.Join(w.options.Dir, name) }

// Create makes a new, empty log, durable when it returns. It fails with ErrExists if the directory holds segments. A
// crash in between leaves a directory in which Create works again or the empty log can be opened.
func Create(o Options) (*WAL, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	w := newWAL(o)
	if err := o.Files.MkdirAll(o.Dir); err != nil {
		return nil, fmt.Errorf("making the log's directory: %w", err)
	}
	if err := o.Files.SyncDir(filepath.Dir(o.Dir)); err != nil {
		return nil, fmt.Errorf("making the log's directory: %w", err)
	}
	names, err := o.Files.List(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("listing the log: %w", err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, segmentSuffix) {
			return nil, fmt.Errorf("%w: %s in %s", ErrExists, name, o.Dir)
		}
	}
	if err := w.begin(w.nextSegment(min(FirstSegmentSize, o.SegmentSize)), false, nil); err != nil {
		return nil, fmt.Errorf("making the first segment: %w", err)
	}
	w.index.segments = []*segment{w.active}
	w.index.start(w.active)
	w.spare.start()
	return w, nil
}

// Append makes the writes durable as one record, with one write and one sync: when it returns nil all of them are, and
// after a crash all of them are or none. The hard state is the last write's. A truncation counts after the writes before
// it. The entries' data are kept, not copied, and must never change.
//
// A write with a Snapshot whose entry the log does not hold lets the log begin anew after that entry, with the record in a
// new segment, in the same single step. The segments before it are dead from then on, and the next Compact or Open
// removes them. If the log holds the entry, all of it stays until Compact.
//
// ErrTooLarge, ErrNoRoom, and writes that do not continue the log, are refused: nothing changes. Any other error poisons
// the log: it may or may not hold the record, and Append and Mark fail from then on.
func (w *WAL) Append(writes ...*raft.Write) error {
	if len(writes) == 0 {
		return nil
	}
	if err := w.enter(); err != nil {
		return err
	}
	defer w.busy.Done()
	r, err := w.merge(writes)
	if err == nil {
		err = w.check(r)
	}
	if err == nil {
		if err = w.write(r); err != nil && !errors.Is(err, ErrNoRoom) {
			err = w.poison(err)
		}
	}
	r.entries = nil
	clear(w.batch)
	w.batch = w.batch[:0]
	if cap(w.buffer) > maxIdleBuffer {
		w.buffer = nil
	}
	return err
}

// enter begins a call of the appender.
func (w *WAL) enter() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return ErrClosed
	}
	if w.failed != nil {
		return w.failed
	}
	w.busy.Add(1)
	return nil
}

func (w *WAL) poison(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = fmt.Errorf("the log failed and takes no more writes: %w", err)
	return w.failed
}

// write makes a record durable that was checked.
func (w *WAL) write(r *record) error {
	n := r.size()
	r.previous, r.number = w.tip.chain, w.tip.number+1
	switch {
	case r.origin != nil:
		if err := w.roll(r); err != nil {
			return err
		}
	// Behind every record stays room for the marker that covers it.
	case w.active.end+n+recordHeader > w.active.limit():
		if err := w.roll(r); err != nil {
			return err
		}
		fallthrough
	default:
		if err := w.writeTo(w.active, r); err != nil {
			return err
		}
	}
	s := w.active
	r.length = len(w.buffer)
	w.mu.Lock()
	err := w.index.add(r, s, s.end)
	w.mu.Unlock()
	w.tip = tip{r.number, chain(r.previous, w.buffer), r.hard}
	s.end += n
	w.marked = false
	return err
}

// writeTo writes a record at the end of the active segment and syncs it. w.buffer holds its encoding then.
func (w *WAL) writeTo(s *segment, r *record) error {
	w.buffer = r.append(w.buffer[:0], s.placed(s.end))
	if _, err := s.file.WriteAt(w.buffer, s.end); err != nil {
		// A file made for one large record is not filled in advance. What was written of the record is a torn end, which
		// the next attempt overwrites.
		return fmt.Errorf("writing %d bytes to %s at %d: %w", len(w.buffer), s.name, s.end, noRoom(err))
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("syncing %s: %w", s.name, err)
	}
	return nil
}

// roll makes room for a record in a new segment: the spare, or, if it is not ready or too small, one that is made here
// and now. A log whose disk has no room for a spare goes on in small segments until there is no room for those.
//
// A record with an origin lets the log begin with the segment, whose header holds the base. It is in the file before the
// file has its name: the name alone makes both of them part of the log, and all that was before them not.
func (w *WAL) roll(r *record) error {
	need := headerSize + r.size() + recordHeader + lastPage
	size := max(need, min(FirstSegmentSize, w.options.SegmentSize))
	spare := need <= w.options.SegmentSize && w.spare.take()
	if spare {
		size = w.options.SegmentSize
	}
	s := w.nextSegment(size)
	var first *record
	if r.origin != nil {
		s.beginAt(r.origin)
		first = r
	}
	before := w.active
	err := w.begin(s, spare, first)
	if spare {
		w.spare.again()
	}
	if err != nil {
		return fmt.Errorf("beginning a segment of %d bytes: %w", size, err)
	}
	if err := w.seal(before); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.origin == nil {
		w.index.segments = append(w.index.segments, s)
		return nil
	}
	w.loaded = nil
	w.retired = append(w.retired, w.index.restart(s)...)
	return nil
}

// begin makes s the last segment, out of the spare or of a new file, with a record in it unless r is nil. The order is
// what recovery relies on: the file has its name only after its header is durable, and it takes further records only
// after its name is. So a segment without a valid header is damage, and no acknowledged record is in a file that a loss
// of power can take away.
//
// The file is closed while it is renamed, because Windows renames no open file.
func (w *WAL) begin(s *segment, fromSpare bool, r *record) error {
	from, flag := spareName, 0
	if !fromSpare {
		from, flag = nextPart, os.O_CREATE|os.O_TRUNC
	}
	file, err := w.options.Files.Open(w.path(from), flag)
	if err != nil {
		return noRoom(err)
	}
	if fromSpare {
		err = s.reuse(file)
	} else {
		err = w.extend(file, s.size)
	}
	if err == nil {
		err = w.writeHeader(file, s, r)
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		// Nothing of it is in the log yet.
		return noRoom(errors.Join(err, discard(w.options.Files, w.path(from))))
	}
	if err := w.options.Files.Rename(w.path(from), w.path(s.name)); err != nil {
		return err
	}
	if err := w.options.Files.SyncDir(w.options.Dir); err != nil {
		return err
	}
	if s.file, err = w.options.Files.Open(w.path(s.name), 0); err != nil {
		return err
	}
	w.active, w.marked = s, false
	return nil
}

// writeHeader writes the header of s, and the record behind it unless it is nil.
func (w *WAL) writeHeader(file File, s *segment, r *record) error {
	header, err := s.encode()
	if err != nil {
		return err
	}
	if _, err := file.WriteAt(header, 0); err != nil || r == nil {
		return err
	}
	w.buffer = r.append(w.buffer[:0], s.placed(headerSize))
	_, err = file.WriteAt(w.buffer, headerSize)
	return err
}

// extend gives a new file its size. One that is made for a single large record is left empty: the record fills it.
func (w *WAL) extend(file File, size int64) error {
	if size > w.options.SegmentSize {
		return file.Truncate(size)
	}
	return fill(file, 0, size)
}

// nextSegment describes the segment after the active one, which continues the log as it is now.
func (w *WAL) nextSegment(size int64) *segment {
	s := &segment{end: headerSize}
	s.size, s.cluster, s.node, s.tip = size, w.options.Cluster, w.options.Node, w.tip
	if w.active != nil {
		s.sequence = w.active.sequence + 1
	}
	// The salt depends on the number too, so that a log that is opened with one seed always has no salt twice.
	s.setSalt(rand.New(rand.NewPCG(w.options.Seed, s.sequence)).Uint64())
	w.mu.Lock()
	defer w.mu.Unlock()
	s.base, s.configuration = w.index.last, w.index.configuration()
	s.name = segmentName(s.base.Index+1, s.sequence)
	return s
}

// Spare returns why there is no spare segment: nil if there is one or it is being made. The log tries again by itself
// and works without, a little slower; but a disk that has no room for a spare will soon have none for the log.
func (w *WAL) Spare() error { return w.spare.failure() }

// Close waits for calls that are under way and gives the files back. The spare stays for the next Open. Close may be
// called again; only the first call says what went wrong.
func (w *WAL) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil
	}
	w.closed, w.loaded = true, nil
	w.mu.Unlock()

	w.busy.Wait()
	w.spare.stop()
	w.removal.Lock()
	defer w.removal.Unlock()
	w.mu.Lock()
	segments := slices.Concat(w.retired, w.index.segments) // nobody changes them any more
	w.mu.Unlock()
	var errs []error
	for _, s := range segments {
		s.readers.Wait()
		errs = append(errs, s.file.Close())
	}
	return errors.Join(errs...)
}
