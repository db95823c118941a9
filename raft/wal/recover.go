package wal

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/rsqld/rsqld/raft"
)

// Recovered is what Open found in the log.
type Recovered struct {
	// HardState is that of the newest record.
	HardState raft.HardState
	// Log describes the entries; its Tail are the newest of them, as many as Options.CacheBytes allows.
	Log raft.Log
	// TornBytes is the length of what a crash left of a last write, in bytes. Nobody was told of it; it is cut off.
	TornBytes int64
}

// Open opens the log in Dir and returns what it holds, all of it durable. A *CorruptionError says that the log is
// damaged, and what is there is not touched then. Open finishes what a crash interrupted: a torn write, a segment that
// was not named durably, a compaction.
func Open(o Options) (*WAL, Recovered, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, Recovered{}, err
	}
	w := newWAL(o)
	names, err := o.Files.List(o.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, Recovered{}, fmt.Errorf("%w in %s", ErrNoLog, o.Dir)
	}
	if err != nil {
		return nil, Recovered{}, fmt.Errorf("listing the log: %w", err)
	}
	found, err := w.find(names)
	var torn int64
	if err == nil {
		torn, err = w.recover(found, names)
	}
	if err != nil {
		for _, s := range found {
			err = errors.Join(err, s.file.Close())
		}
		return nil, Recovered{}, err
	}
	w.spare.start()
	return w, w.recovered(torn), nil
}

// find opens the segments in the order of their numbers and reads their headers. A segment that is not what it was keeps
// the reason in damage. What was opened is returned even with an error.
func (w *WAL) find(names []string) (found []*segment, err error) {
	for _, name := range names {
		first, sequence, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		s := &segment{name: name, end: headerSize}
		if s.file, err = w.options.Files.Open(w.path(name), 0); err != nil {
			return found, fmt.Errorf("opening %s: %w", name, err)
		}
		found = append(found, s)
		err := s.load()
		if w.anyNode && s.node != 0 {
			w.options.Cluster, w.options.Node, w.anyNode = s.cluster, s.node, false
		}
		switch {
		case errors.Is(err, errHeader):
			s.header, s.damage = header{sequence: sequence}, err
		case err != nil && !errors.Is(err, errLength):
			return found, fmt.Errorf("opening %s: %w", name, err)
		case s.cluster != w.options.Cluster || s.node != w.options.Node:
			return found, fmt.Errorf("%s is of node %d of cluster %x and this is node %d of cluster %x: the directory mixes two nodes",
				name, s.node, s.cluster, w.options.Node, w.options.Cluster)
		case s.sequence != sequence || s.base.Index+1 != first:
			return found, fmt.Errorf("%s has the header of %s: give it its name back", name, segmentName(s.base.Index+1, s.sequence))
		default:
			s.damage = err
		}
	}
	slices.SortFunc(found, func(a, b *segment) int { return cmp.Compare(a.sequence, b.sequence) })
	if len(found) == 0 {
		return found, fmt.Errorf("%w in %s", ErrNoLog, w.options.Dir)
	}
	return found, nil
}

// wholeFiles returns a CorruptionError if a file is not what it was, or not there.
func wholeFiles(live []*segment) error {
	for i, s := range live {
		if i > 0 && s.sequence != live[i-1].sequence+1 {
			before := live[i-1]
			return &CorruptionError{Segment: before.name, Offset: before.end, First: before.base.Index + 1, Last: s.base.Index,
				Err: missing(before.sequence + 1)}
		}
		if s.damage != nil {
			return &CorruptionError{Segment: s.name, First: nameIndex(s.name), Err: s.damage}
		}
	}
	return nil
}

// load reads the header and compares the file with it.
func (s *segment) load() error {
	size, err := s.file.Size()
	if err != nil {
		return err
	}
	if size < headerSize || size > maxFile {
		return fmt.Errorf("%w: the file has %d bytes", errHeader, size)
	}
	b := make([]byte, headerSize)
	if err := readAt(s.file, b); err != nil {
		return err
	}
	if err := s.header.decode(b); err != nil {
		return err
	}
	if size != s.size {
		return fmt.Errorf("%w: it has %d bytes and was made with %d", errLength, size, s.size)
	}
	s.setSalt(s.salt)
	return nil
}

// readAt fills b from the start of the file. The end of the file may come with the last byte.
func readAt(file File, b []byte) error {
	if n, err := file.ReadAt(b, 0); err != nil && !(n == len(b) && errors.Is(err, io.EOF)) {
		return err
	}
	return nil
}

// errRewritten says that a segment was tried as the oldest one and the log was truncated at or below its base later.
var errRewritten = errors.New("the log was truncated below its first segment")

// recover replays the segments and makes durable what a process may have left behind that was killed: a record that was
// written and not synced is in the log now, will be acknowledged, and must not go with the next loss of power. The same
// goes for the name of the newest segment.
func (w *WAL) recover(found []*segment, names []string) (torn int64, err error) {
	found, dead := split(found)
	if err := wholeFiles(found); err != nil {
		return 0, err
	}
	// The oldest segment is never one that index.compact would not begin with, unless a crash stopped Compact on its way
	// to a later one. Then that one is the oldest, and the files before it are still to be removed.
	start, err := 0, errRewritten
	for ; errors.Is(err, errRewritten) && start < len(found); start++ {
		torn, err = w.replay(found[start:])
	}
	if errors.Is(err, errRewritten) {
		return 0, &CorruptionError{Segment: found[0].name, First: found[0].base.Index + 1, Err: errRewritten}
	}
	if err != nil {
		return 0, err
	}
	if err := w.active.file.Sync(); err != nil {
		return 0, fmt.Errorf("syncing %s: %w", w.active.name, err)
	}
	if err := w.options.Files.SyncDir(w.options.Dir); err != nil {
		return 0, fmt.Errorf("syncing the log's directory: %w", err)
	}
	for _, s := range slices.Concat(dead, found[:start-1]) {
		if err := s.file.Close(); err != nil {
			return 0, fmt.Errorf("closing %s: %w", s.name, err)
		}
		w.doomed = append(w.doomed, s)
	}
	if err := w.remove(); err != nil {
		return 0, err
	}
	return torn, w.tidy(names)
}

// split returns the segments from the newest beginning of the log on, and those before it, of which no byte counts.
func split(found []*segment) (live, dead []*segment) {
	for i := len(found) - 1; i > 0; i-- {
		if found[i].origin {
			return found[i:], found[:i]
		}
	}
	return found, nil
}

// tidy removes what was being made when the last process ended, and takes over the spare.
func (w *WAL) tidy(names []string) error {
	for _, name := range names {
		switch name {
		case sparePart, nextPart:
			if err := w.options.Files.Remove(w.path(name)); err != nil {
				return fmt.Errorf("deleting %s: %w", name, err)
			}
		case spareName, reserveName:
			if err := w.spare.adopt(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// replay reads the segments from the first one on.
func (w *WAL) replay(segments []*segment) (torn int64, err error) {
	w.index, w.tip = index{cache: cache{limit: w.options.CacheBytes}}, segments[0].tip
	w.index.start(segments[0])
	for i, s := range segments {
		s.end, s.refs, s.rewritten = headerSize, nil, false
		w.active, w.marked = s, false
		w.index.segments = append(w.index.segments, s)
		cut, err := w.replayOne(s, segments[i+1:])
		if err != nil {
			return 0, err
		}
		torn += cut
		if cap(w.buffer) > maxIdleBuffer && i == len(segments)-1 {
			w.buffer = nil
		}
	}
	return torn, nil
}

// replayOne reads one segment. later are those after it.
//
// The entries lie in w.buffer, which the next segment is read into: judge frees those that stay in the cache.
func (w *WAL) replayOne(s *segment, later []*segment) (torn int64, err error) {
	w.buffer = slices.Grow(w.buffer[:0], int(s.size))[:s.size]
	if err := readAt(s.file, w.buffer); err != nil {
		return 0, fmt.Errorf("reading %s: %w", s.name, err)
	}
	b := w.buffer[:min(s.limit(), s.size)]
	var r record
	from, newest := int64(0), int64(0)
	for from == 0 {
		switch {
		case r.decode(b[s.end:], s.placed(s.end)) != nil || !w.follows(&r):
			from = s.end
			continue
		case r.flags&flagMarker != 0:
			w.marked = true
			from = s.end + int64(r.length)
			continue
		case r.truncateFrom != 0 && r.truncateFrom <= w.index.base.Index:
			return 0, errRewritten
		}
		if err := w.index.add(&r, s, s.end); err != nil {
			return 0, fmt.Errorf("%s at offset %d: %w", s.name, s.end, err)
		}
		newest = s.end
		s.end += int64(r.length)
		w.tip = tip{r.number, chain(r.previous, b[newest:s.end]), r.hard}
	}
	torn, err = w.judge(s, b, from, later)
	if err != nil || len(later) > 0 || newest == 0 {
		return torn, err
	}
	return torn, rewrite(s, newest, b[newest:s.end])
}

// rewrite writes the newest record again as it is, for recover to sync. A sync that failed in the process before may have
// dropped the record from what is still to be written, and yet left it readable: a later sync of it succeeds and does
// nothing. Only bytes that are written again are synced again. Records before the newest one are durable: each was begun
// after the sync of the one before it succeeded.
func rewrite(s *segment, at int64, b []byte) error {
	if _, err := s.file.WriteAt(b, at); err != nil {
		return fmt.Errorf("writing the newest record of %s again at %d: %w", s.name, at, err)
	}
	return nil
}

// follows reports whether a record continues the log. A record that is intact and does not is an older one in this place,
// or one whose predecessor is missing; judge finds it again behind the place that it does not belong to.
func (w *WAL) follows(r *record) bool {
	if r.previous != w.tip.chain || r.number != w.tip.number+1 {
		return false
	}
	below := r.truncateFrom != 0 && r.truncateFrom <= w.index.base.Index // replayOne says what that means
	return below || r.before == w.index.end(r.truncateFrom)
}

// judge decides what the end of a segment's valid records means. from is the offset behind them, and behind the marker.
// Records are written and synced one after the other: a valid one behind from proves that everything before it was
// durable once. Otherwise what is there was left by a write that was torn, and nobody was told of it.
func (w *WAL) judge(s *segment, b []byte, from int64, later []*segment) (torn int64, err error) {
	w.index.cache.detach() // b is used again
	end := int64(len(b))
	if !s.recycled {
		end = lastNonZero(b, from)
	}
	if last, found := intactBehind(b[:end], b, s.seed, from, w.tip.number); found {
		return 0, &CorruptionError{Segment: s.name, Offset: s.end, First: w.index.last.Index + 1, Last: last}
	}
	if len(later) > 0 {
		if next := &later[0].header; next.tip != w.tip || next.base != w.index.last {
			return 0, &CorruptionError{Segment: s.name, Offset: s.end, First: w.index.last.Index + 1, Last: next.base.Index}
		}
		return 0, nil // full: the next segment goes on
	}
	if s.recycled {
		end = from + tornLength(b[from:], s.placed(from), w.tip.number+1)
	}
	if r, ok := secondMarker(w.buffer[len(b):], s.placed(int64(len(b)))); ok && r.number > w.tip.number {
		switch {
		case !w.follows(&r):
			return 0, &CorruptionError{Segment: s.name, Offset: s.end, First: w.index.last.Index + 1, Last: r.before.Index}
		case r.flags&flagSealed != 0:
			return 0, &CorruptionError{Segment: s.name, Offset: s.end, First: w.index.last.Index + 1, Err: missing(s.sequence + 1)}
		}
	}
	// recover syncs the zeros. A crash before that leaves a torn end again, with less in it.
	if torn = end - from; torn == 0 {
		return 0, nil
	}
	for at := from; at < end; at += int64(len(zeros)) {
		if _, err := s.file.WriteAt(zeros[:min(end-at, int64(len(zeros)))], at); err != nil {
			return 0, fmt.Errorf("cutting the torn end of %s: %w", s.name, err)
		}
	}
	return torn, nil
}

// tornLength returns the length of a torn record of that number at the start of b, 0 if there is none to be seen. In a
// recycled segment it must not be taken from what is not zero: that is what the file held before.
func tornLength(b []byte, seed uint32, number uint64) int64 {
	if len(b) < recordHeader || headerCheck(seed, b) != binary.LittleEndian.Uint16(b[10:]) ||
		binary.LittleEndian.Uint64(b[24:]) != number {
		return 0
	}
	return min(int64(binary.LittleEndian.Uint32(b[4:])), int64(len(b)))
}

// lastNonZero returns the offset behind the last byte at or after from that is not zero, or from.
func lastNonZero(b []byte, from int64) int64 {
	end := int64(len(b))
	for end-from >= int64(len(zeros)) && bytes.Equal(b[end-int64(len(zeros)):end], zeros[:]) {
		end -= int64(len(zeros))
	}
	for end > from && b[end-1] == 0 {
		end--
	}
	return end
}

// intactBehind looks in b, a segment from its beginning, for a whole record that begins in suspect at or after from and proves that one newer than number was
// durable. It returns the index of the record's last entry, or 0. A record of an older number is not one of the log here but in an entry's data:
// the bytes of a segment that somebody stored.
func intactBehind(suspect, b []byte, seed uint32, from int64, number uint64) (raft.Index, bool) {
	le := binary.LittleEndian
	for at := int(from); at < len(suspect) && at+recordHeader <= len(b); at += alignment {
		if _, ok := intact(b[at:], placed(seed, int64(at))); ok && proves(b[at:]) > number {
			return raft.Index(le.Uint64(b[at+80:]) + uint64(le.Uint32(b[at+12:]))), true
		}
	}
	return 0, false
}

// recovered describes the log.
func (w *WAL) recovered(torn int64) Recovered {
	x := &w.index
	log := raft.Log{Base: x.base, BaseConfiguration: x.segments[0].configuration, Last: x.last, Runs: slices.Clone(x.runs)}
	if x.cache.count > 0 {
		log.Tail = x.cache.read(x.cache.at(0).ID.Index, x.last.Index, x.cache.bytes)
	}
	for _, c := range x.configurations {
		if c.Index > x.base.Index {
			log.Configurations = append(log.Configurations, c)
		}
	}
	return Recovered{HardState: w.tip.hard, Log: log, TornBytes: torn}
}
