package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/rsqld/rsqld/raft"
)

type Options struct {
	Files       Files
	Dir         string
	Cluster     [16]byte
	Node        raft.ID
	SegmentSize int64
	CacheBytes  int
	MaxEntry    int
	Seed        uint64
}

const (
	DefaultSegmentSize = 16 << 20
	DefaultCacheBytes  = 8 << 20
	DefaultMaxEntry    = 64 << 20
)

var (
	ErrTooLarge  = errors.New("entry is larger than log.max_entry")
	ErrCompacted = errors.New("entry was compacted away")
	ErrExists    = errors.New("there is a log already")
	ErrClosed    = errors.New("the log is closed")
)

type WAL struct {
	options Options
	chance  *rand.Rand // of the appender
	buffer  []byte
	state   state // of the appender

	mu       sync.Mutex // guards what follows; not held during I/O of the appender
	segments []*segment
	refs     []ref
	cache    []raft.Entry
	cached   int
	base     raft.EntryID
	failed   error
	last     *loaded

	spares  chan spare
	wanted  chan struct{}
	closing chan struct{}
	group   sync.WaitGroup
}

// state is what the next record continues.
type state struct {
	number  uint64
	chain   uint64
	hard    raft.HardState
	last    raft.EntryID
	configs []raft.ConfigurationAt
	runs    []raft.TermRun
}

// term returns the term of an index held, or of the base.
func (w *WAL) term(index raft.Index) raft.Term {
	for i := len(w.state.runs) - 1; i >= 0; i-- {
		if w.state.runs[i].First <= index {
			return w.state.runs[i].Term
		}
	}
	return w.base.Term
}

type spare struct {
	file File
	err  error
}

type ref struct {
	first, last raft.Index
	segment     *segment
	offset      int64
	length      int
}

type Recovered struct {
	HardState raft.HardState
	Log       raft.Log
	TornBytes int64
}

func (o Options) withDefaults() Options {
	if o.Files == nil {
		o.Files = OS()
	}
	if o.SegmentSize == 0 {
		o.SegmentSize = DefaultSegmentSize
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.MaxEntry == 0 {
		o.MaxEntry = DefaultMaxEntry
	}
	return o
}

func newWAL(o Options) *WAL {
	return &WAL{options: o, chance: rand.New(rand.NewPCG(o.Seed, o.Seed>>1)), spares: make(chan spare, 1),
		wanted: make(chan struct{}, 1), closing: make(chan struct{})}
}

// Create makes a new, empty log.
func Create(o Options) (*WAL, error) {
	w := newWAL(o.withDefaults())
	if err := w.options.Files.MkdirAll(w.options.Dir); err != nil {
		return nil, fmt.Errorf("making the log's directory: %w", err)
	}
	if err := w.options.Files.SyncDir(filepath.Dir(w.options.Dir)); err != nil {
		return nil, fmt.Errorf("making the log's directory: %w", err)
	}
	names, err := w.options.Files.List(w.options.Dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".wal") {
			return nil, fmt.Errorf("%w in %s", ErrExists, w.options.Dir)
		}
	}
	file, err := fill(w.options.Files, w.path(spareName+partSuffix), w.options.SegmentSize)
	if err != nil {
		return nil, fmt.Errorf("making the first segment: %w", err)
	}
	if err := w.begin(file, w.options.SegmentSize); err != nil {
		return nil, err
	}
	w.start()
	return w, nil
}

func (w *WAL) start() { w.group.Go(w.prepare) }

// prepare keeps one spare segment ready.
func (w *WAL) prepare() {
	for {
		file, err := fill(w.options.Files, w.path(spareName+partSuffix), w.options.SegmentSize)
		select {
		case w.spares <- spare{file, err}:
		case <-w.closing:
			if file != nil {
				file.Close()
				w.options.Files.Remove(w.path(spareName + partSuffix))
			}
			return
		}
		select {
		case <-w.wanted:
		case <-w.closing:
			return
		}
	}
}

// begin makes file the last segment.
func (w *WAL) begin(file File, size int64) error {
	s := &segment{file: file, size: size, end: headerSize}
	s.cluster, s.node = w.options.Cluster, w.options.Node
	if n := len(w.segments); n > 0 {
		s.sequence = w.segments[n-1].sequence + 1
	}
	s.base, s.previous, s.salt, s.hard = w.state.last, w.state.chain, w.chance.Uint64(), w.state.hard
	if n := len(w.state.configs); n > 0 {
		s.configuration = w.state.configs[n-1]
	}
	b, err := s.header.encode()
	if err != nil {
		return err
	}
	s.name = segmentName(s.base.Index+1, s.sequence)
	if _, err := file.WriteAt(b, 0); err != nil {
		return fmt.Errorf("writing the header of %s: %w", s.name, err)
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("syncing %s: %w", s.name, err)
	}
	if err := w.options.Files.Rename(w.path(spareName+partSuffix), w.path(s.name)); err != nil {
		return fmt.Errorf("naming %s: %w", s.name, err)
	}
	if err := w.options.Files.SyncDir(w.options.Dir); err != nil {
		return fmt.Errorf("syncing the log's directory: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.segments = append(w.segments, s)
	return nil
}

// roll makes room for a record of n bytes in a new segment.
func (w *WAL) roll(n int) error {
	prepared := <-w.spares
	if prepared.err != nil {
		return fmt.Errorf("preparing a segment: %w", prepared.err)
	}
	size := w.options.SegmentSize
	if need := int64(headerSize + n); need > size {
		if err := prepared.file.Truncate(need); err != nil {
			return fmt.Errorf("making a segment of %d bytes: %w", need, err)
		}
		size = need
	}
	if err := w.begin(prepared.file, size); err != nil {
		return err
	}
	w.wanted <- struct{}{}
	return nil
}

// Append makes the writes durable as one record.
func (w *WAL) Append(writes ...*raft.Write) error {
	if len(writes) == 0 {
		return nil
	}
	if err := w.err(); err != nil {
		return err
	}
	r, err := w.merge(writes)
	if err != nil {
		return err
	}
	if err := w.write(r, true); err != nil {
		return w.poison(err)
	}
	return nil
}

// merge makes one record of several writes: the last hard state, the lowest truncation, and the entries that remain.
func (w *WAL) merge(writes []*raft.Write) (*record, error) {
	r := &record{hard: writes[len(writes)-1].HardState}
	for _, write := range writes {
		from := write.TruncateFrom
		if from != 0 {
			if len(r.entries) > 0 && from >= r.entries[0].ID.Index {
				r.entries = r.entries[:from-r.entries[0].ID.Index]
			} else {
				r.entries = nil
				if r.truncateFrom == 0 || from < r.truncateFrom {
					r.truncateFrom = from
				}
			}
		}
		r.entries = append(r.entries, write.Entries...)
	}
	for i := range r.entries {
		if len(r.entries[i].Data) > w.options.MaxEntry {
			return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, len(r.entries[i].Data), w.options.MaxEntry)
		}
	}
	last := w.state.last.Index
	if r.truncateFrom != 0 && r.truncateFrom <= last {
		last = r.truncateFrom - 1
	}
	if len(r.entries) > 0 {
		r.first = r.entries[0].ID.Index
		if r.first != last+1 {
			return nil, fmt.Errorf("entries from %d do not follow the log's last entry %d", r.first, last)
		}
	}
	return r, nil
}

// Mark writes an empty record without a sync: it proves that everything before it was durable.
func (w *WAL) Mark() error {
	if err := w.err(); err != nil {
		return err
	}
	if err := w.write(&record{flags: flagMarker, hard: w.state.hard}, false); err != nil {
		return w.poison(err)
	}
	return nil
}

func (w *WAL) write(r *record, sync bool) error {
	n := sizeOf(r.entries)
	s := w.segments[len(w.segments)-1]
	if s.end+int64(n) > s.size {
		if !sync {
			return nil // a marker is not worth a new segment
		}
		if err := w.roll(n); err != nil {
			return err
		}
		s = w.segments[len(w.segments)-1]
	}
	r.previous, r.number = w.state.chain, w.state.number+1
	w.buffer = r.append(w.buffer[:0], s.salt)
	if _, err := s.file.WriteAt(w.buffer, s.end); err != nil {
		return fmt.Errorf("writing to %s at %d: %w", s.name, s.end, err)
	}
	if sync {
		if err := s.file.Sync(); err != nil {
			return fmt.Errorf("syncing %s: %w", s.name, err)
		}
	}
	w.account(r, s, s.end, len(w.buffer), chain(r.previous, w.buffer))
	s.end += int64(len(w.buffer))
	if cap(w.buffer) > 4<<20 {
		w.buffer = nil
	}
	return nil
}

// account enters a durable record into the state and the index.
func (w *WAL) account(r *record, s *segment, offset int64, length int, hash uint64) {
	w.state.number, w.state.chain, w.state.hard = r.number, hash, r.hard
	w.mu.Lock()
	defer w.mu.Unlock()
	if from := r.truncateFrom; from != 0 {
		w.truncate(from)
	}
	if len(r.entries) == 0 {
		return
	}
	last := r.entries[len(r.entries)-1].ID
	w.refs = append(w.refs, ref{r.entries[0].ID.Index, last.Index, s, offset, length})
	w.state.last = last
	for i := range r.entries {
		e := &r.entries[i]
		w.cached += len(e.Data) + entryHeader
		if n := len(w.state.runs); n == 0 || w.state.runs[n-1].Term != e.ID.Term {
			w.state.runs = append(w.state.runs, raft.TermRun{First: e.ID.Index, Term: e.ID.Term})
		}
		if e.Kind == raft.EntryConfiguration {
			if c, err := raft.DecodeConfiguration(e.Data); err == nil {
				w.state.configs = append(w.state.configs, raft.ConfigurationAt{Index: e.ID.Index, Configuration: c})
			}
		}
	}
	w.cache = append(w.cache, r.entries...)
	drop := 0
	for w.cached > w.options.CacheBytes && drop < len(w.cache)-1 {
		w.cached -= len(w.cache[drop].Data) + entryHeader
		drop++
	}
	if drop > 0 {
		w.cache = slices.Delete(w.cache, 0, drop)
	}
}

// truncate forgets entries from index on.
func (w *WAL) truncate(from raft.Index) {
	for n := len(w.refs); n > 0 && w.refs[n-1].last >= from; n = len(w.refs) {
		if w.refs[n-1].first >= from {
			w.refs = w.refs[:n-1]
		} else {
			w.refs[n-1].last = from - 1
		}
	}
	for n := len(w.cache); n > 0 && w.cache[n-1].ID.Index >= from; n = len(w.cache) {
		w.cached -= len(w.cache[n-1].Data) + entryHeader
		w.cache = w.cache[:n-1]
	}
	for n := len(w.state.configs); n > 0 && w.state.configs[n-1].Index >= from; n = len(w.state.configs) {
		w.state.configs = w.state.configs[:n-1]
	}
	for n := len(w.state.runs); n > 0 && w.state.runs[n-1].First >= from; n = len(w.state.runs) {
		w.state.runs = w.state.runs[:n-1]
	}
	if w.state.last.Index >= from {
		w.state.last = raft.EntryID{Term: w.term(from - 1), Index: from - 1}
	}
	w.last = nil
}

func (w *WAL) err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

func (w *WAL) poison(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = fmt.Errorf("the log failed and takes no more writes: %w", err)
	return w.failed
}

// Close gives the files back.
func (w *WAL) Close() error {
	w.mu.Lock()
	if errors.Is(w.failed, ErrClosed) {
		w.mu.Unlock()
		return nil
	}
	w.failed = ErrClosed
	w.mu.Unlock()
	close(w.closing)
	w.group.Wait()
	var errs []error
	select {
	case prepared := <-w.spares:
		if prepared.file != nil {
			errs = append(errs, prepared.file.Close(), w.options.Files.Remove(w.path(spareName+partSuffix)))
		}
	default:
	}
	for _, s := range w.segments {
		errs = append(errs, s.file.Close())
	}
	return errors.Join(errs...)
}
