package wal

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/rsqld/rsqld/raft"
)

// CorruptionError says that bytes that were durable once are damaged. The log is not opened: a node that forgets what
// it acknowledged could help to elect a leader that lacks it.
type CorruptionError struct {
	// Segment is the file's name, Offset where the first damaged record begins.
	Segment string
	Offset  int64
	// First is the first index that the damage may have taken, Last the last one known to be behind it (0: not known).
	First, Last raft.Index
}

func (e *CorruptionError) Error() string {
	until := "on"
	if e.Last >= e.First && e.Last != 0 {
		until = fmt.Sprintf("to %d", e.Last)
	}
	return fmt.Sprintf("the log is damaged: %s at offset %d, entries from %d %s; this node may have acknowledged them and cannot start without them: remove it from the cluster and join a new one",
		e.Segment, e.Offset, e.First, until)
}

// Open opens the log in Dir and returns what it holds.
func Open(o Options) (*WAL, Recovered, error) {
	w := newWAL(o.withDefaults())
	found, err := w.find()
	if err != nil {
		return nil, Recovered{}, err
	}
	var torn int64
	for i, s := range found {
		cut, err := w.replay(s, found[i+1:])
		if err != nil {
			for _, s := range found {
				err = errors.Join(err, s.file.Close())
			}
			return nil, Recovered{}, err
		}
		torn += cut
	}
	w.start()
	return w, w.recovered(torn), nil
}

// find opens the segments in the order of their numbers and checks their headers.
func (w *WAL) find() (found []*segment, err error) {
	defer func() {
		if err != nil {
			for _, s := range found {
				s.file.Close()
			}
		}
	}()
	names, err := w.options.Files.List(w.options.Dir)
	if err != nil {
		return nil, fmt.Errorf("listing the log: %w", err)
	}
	for _, name := range names {
		sequence, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		file, err := w.options.Files.Open(w.path(name), 0)
		if err != nil {
			return found, fmt.Errorf("opening %s: %w", name, err)
		}
		s := &segment{name: name, file: file, end: headerSize}
		found = append(found, s)
		if s.size, err = file.Size(); err != nil {
			return found, fmt.Errorf("opening %s: %w", name, err)
		}
		b := make([]byte, headerSize)
		if _, err := file.ReadAt(b, 0); err != nil {
			return found, fmt.Errorf("reading the header of %s: %w", name, err)
		}
		if err := s.header.decode(b); err != nil {
			return found, fmt.Errorf("%s: %w", name, err)
		}
		if s.cluster != w.options.Cluster || s.node != w.options.Node {
			return found, fmt.Errorf("%s is of node %d of cluster %x and this is node %d of cluster %x: the directory mixes two nodes",
				name, s.node, s.cluster, w.options.Node, w.options.Cluster)
		}
		if s.sequence != sequence {
			return found, fmt.Errorf("%s says that it is segment %d", name, s.sequence)
		}
	}
	slices.SortFunc(found, func(a, b *segment) int { return cmp.Compare(a.sequence, b.sequence) })
	if len(found) == 0 {
		return found, fmt.Errorf("there is no log in %s", w.options.Dir)
	}
	for i, s := range found[1:] {
		if s.sequence != found[i].sequence+1 {
			return found, fmt.Errorf("segment %d of the log is missing: %s follows %s", found[i].sequence+1, s.name, found[i].name)
		}
	}
	return found, nil
}

// replay reads one segment. later are those after it.
func (w *WAL) replay(s *segment, later []*segment) (torn int64, err error) {
	b := make([]byte, s.size)
	if _, err := s.file.ReadAt(b, 0); err != nil {
		return 0, fmt.Errorf("reading %s: %w", s.name, err)
	}
	if len(w.segments) == 0 {
		w.base, w.state.last, w.state.chain, w.state.hard = s.base, s.base, s.previous, s.hard
		if s.configuration.Index != 0 {
			w.state.configs = []raft.ConfigurationAt{s.configuration}
		}
	} else if s.previous != w.state.chain {
		before := w.segments[len(w.segments)-1]
		return 0, &CorruptionError{before.name, before.end, w.state.last.Index + 1, s.base.Index}
	}
	w.segments = append(w.segments, s)
	for {
		r, err := decode(b[s.end:], s.salt)
		if err != nil || r.previous != w.state.chain || (len(r.entries) > 0 && r.first != w.follows(r)) {
			return w.judge(s, b, later)
		}
		w.account(copyOf(r), s, s.end, r.length, chain(r.previous, b[s.end:s.end+int64(r.length)]))
		s.end += int64(r.length)
	}
}

// follows is the index that the first entry of a record must have.
func (w *WAL) follows(r *record) raft.Index {
	if r.truncateFrom != 0 && r.truncateFrom <= w.state.last.Index {
		return r.truncateFrom
	}
	return w.state.last.Index + 1
}

// copyOf frees a record's entries from the segment's buffer.
func copyOf(r *record) *record {
	for i := range r.entries {
		r.entries[i].Data = slices.Clone(r.entries[i].Data)
	}
	return r
}

// judge decides what an invalid place means. Records are written and synced one after the other: a valid one behind it
// proves that it was durable once. Otherwise the last write was torn and nobody was told of it.
func (w *WAL) judge(s *segment, b []byte, later []*segment) (torn int64, err error) {
	if last, found := valid(b[s.end:], s.salt); found {
		return 0, &CorruptionError{s.name, s.end, w.state.last.Index + 1, last}
	}
	if len(later) > 0 {
		if s.sequence+1 == later[0].sequence && later[0].previous == w.state.chain {
			return 0, nil // full: the next segment goes on
		}
		return 0, &CorruptionError{s.name, s.end, w.state.last.Index + 1, later[0].base.Index}
	}
	end := len(b)
	for end > int(s.end) && b[end-1] == 0 {
		end--
	}
	if torn = int64(end) - s.end; torn == 0 {
		return 0, nil
	}
	if _, err := s.file.WriteAt(make([]byte, torn), s.end); err != nil {
		return 0, fmt.Errorf("cutting the torn end of %s: %w", s.name, err)
	}
	if err := s.file.Sync(); err != nil {
		return 0, fmt.Errorf("cutting the torn end of %s: %w", s.name, err)
	}
	return torn, nil
}

// valid looks for an intact record and returns the index of its last entry, or of what it follows.
func valid(b []byte, salt uint64) (raft.Index, bool) {
	for offset := 0; offset+recordHeader <= len(b); offset += alignment {
		if r, err := decode(b[offset:], salt); err == nil {
			return r.first + raft.Index(max(len(r.entries), 1)) - 1, true
		}
	}
	return 0, false
}

func (w *WAL) recovered(torn int64) Recovered {
	log := raft.Log{Base: w.base, BaseConfiguration: w.segments[0].configuration, Last: w.state.last,
		Runs: slices.Clone(w.state.runs), Tail: slices.Clone(w.cache)}
	for _, c := range w.state.configs {
		if c.Index > w.base.Index {
			log.Configurations = append(log.Configurations, c)
		}
	}
	return Recovered{HardState: w.state.hard, Log: log, TornBytes: torn}
}
