package wal_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

// smallSegments makes tests cross segments often.
const smallSegments = 16 << 10

func options(files wal.Files) wal.Options {
	return wal.Options{Files: files, Dir: "/wal", Cluster: [16]byte{1, 2}, Node: 3, SegmentSize: smallSegments, CacheBytes: 2 << 10, Seed: 5}
}

func entry(term raft.Term, index raft.Index, size int) raft.Entry {
	data := bytes.Repeat([]byte{byte(index)}, size)
	copy(data, fmt.Sprintf("%d/%d", term, index))
	return raft.Entry{ID: raft.EntryID{Term: term, Index: index}, Data: data}
}

func configuration(t testing.TB, term raft.Term, index raft.Index, voters ...raft.ID) raft.Entry {
	t.Helper()
	data, err := raft.Configuration{Voters: voters}.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return raft.Entry{ID: raft.EntryID{Term: term, Index: index}, Kind: raft.EntryConfiguration, Data: data}
}

func create(t testing.TB, files wal.Files) *wal.WAL {
	t.Helper()
	w, err := wal.Create(options(files))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func mustAppend(t testing.TB, w *wal.WAL, writes ...*raft.Write) {
	t.Helper()
	if err := w.Append(writes...); err != nil {
		t.Fatal(err)
	}
}

func closeLog(t testing.TB, w *wal.WAL) {
	t.Helper()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// all reads every entry that the log holds.
func all(t testing.TB, w *wal.WAL) (entries []raft.Entry) {
	t.Helper()
	first, last := w.Bounds()
	for first <= last {
		more, err := w.Entries(first, last, 1000)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, more...)
		first = more[len(more)-1].ID.Index + 1
	}
	return entries
}

// model is what a log must hold, the obvious way: all entries from index 1 on. Up to base.Applied they are place holders.
type model struct {
	hard    raft.HardState
	entries []raft.Entry
	through raft.Index // compacted, at most
	base    raft.Base  // of the newest snapshot that dropped the log
	// snapshots are among the writes that the model makes.
	snapshots bool
}

func (m *model) last() raft.Index { return raft.Index(len(m.entries)) }

func (m *model) id(index raft.Index) raft.EntryID {
	if index == 0 {
		return raft.EntryID{}
	}
	return m.entries[index-1].ID
}

func (m *model) clone() *model {
	return &model{m.hard, slices.Clone(m.entries), m.through, m.base, m.snapshots}
}

func (m *model) apply(writes ...*raft.Write) {
	for _, w := range writes {
		m.hard = w.HardState
		if s := w.Snapshot; s != nil {
			m.restore(s)
		}
		if w.TruncateFrom != 0 && w.TruncateFrom <= m.last() {
			m.entries = m.entries[:w.TruncateFrom-1]
		}
		m.entries = append(slices.Clip(m.entries), w.Entries...)
	}
}

// restore is what a snapshot does to a log: nothing if it holds that entry, else only its id is left.
func (m *model) restore(s *raft.Base) {
	if index := s.Applied.Index; index > m.last() || m.id(index) != s.Applied {
		m.entries = make([]raft.Entry, index)
		m.entries[index-1].ID = s.Applied
		m.base = *s
	}
	m.through = max(m.through, s.Applied.Index)
}

// snapshot makes one that the model may be restored to.
func (m *model) snapshot(t testing.TB, chance *rand.Rand, term raft.Term) *raft.Base {
	s := &raft.Base{Applied: raft.EntryID{Term: term, Index: m.through + 1 + raft.Index(chance.IntN(40))}}
	if held := m.last() - m.through; held > 0 && chance.IntN(2) == 0 {
		s.Applied = m.id(m.through + 1 + raft.Index(chance.IntN(int(held))))
	}
	s.ConfigurationIndex = max(1, s.Applied.Index-raft.Index(chance.IntN(2)))
	s.Configuration = raft.Configuration{Voters: []raft.ID{1, 2 + raft.ID(chance.IntN(9))}}
	return s
}

// write makes a write that may follow the model.
func (m *model) write(t testing.TB, chance *rand.Rand) *raft.Write {
	w := &raft.Write{HardState: raft.HardState{Term: max(m.hard.Term, 1) + raft.Term(chance.IntN(10)/9), Vote: raft.ID(chance.IntN(1000))}}
	if m.snapshots && chance.IntN(25) == 0 {
		w.HardState.Term++
		w.Snapshot = m.snapshot(t, chance, w.HardState.Term)
		m = m.clone()
		m.restore(w.Snapshot)
	}
	next := m.last() + 1
	if m.last() > m.through && chance.IntN(6) == 0 {
		next = m.through + 1 + raft.Index(chance.IntN(int(m.last()-m.through)))
		w.TruncateFrom = next
		w.HardState.Term++ // no index is used twice in a term
	}
	for range chance.IntN(5) {
		size := chance.IntN(200)
		if chance.IntN(60) == 0 {
			size = smallSegments + chance.IntN(smallSegments) // larger than a segment
		}
		e := entry(w.HardState.Term, next, size)
		if chance.IntN(20) == 0 {
			e = configuration(t, w.HardState.Term, next, raft.ID(next), raft.ID(next)+1+raft.ID(chance.IntN(9)))
		}
		w.Entries = append(w.Entries, e)
		next++
	}
	return w
}

// writes makes some that follow the model and one another, and applies them to it.
func (m *model) writes(t testing.TB, chance *rand.Rand) (writes []*raft.Write) {
	for range 1 + chance.IntN(3) {
		w := m.write(t, chance)
		m.apply(w)
		writes = append(writes, w)
	}
	return writes
}

// differs says how the log and what opening it said (if r is not nil) differ from the model.
func (m *model) differs(w *wal.WAL, r *wal.Recovered) error {
	first, last := w.Bounds()
	if last != m.last() || first > m.through+1 || first <= m.base.Applied.Index {
		return fmt.Errorf("the log holds %d to %d, want at most %d to %d", first, last, m.through+1, m.last())
	}
	for next := first; next <= last; {
		got, err := w.Entries(next, last, 1000)
		if err != nil {
			return fmt.Errorf("reading %d to %d: %w", next, last, err)
		}
		for i := range got {
			want := &m.entries[next-1]
			if got[i].ID != want.ID || got[i].Kind != want.Kind || !bytes.Equal(got[i].Data, want.Data) {
				return fmt.Errorf("entry %v holds %.20q, want %v with %.20q", got[i].ID, got[i].Data, want.ID, want.Data)
			}
			next++
		}
	}
	if r == nil {
		return nil
	}
	return m.differsFrom(r, first)
}

func (m *model) differsFrom(r *wal.Recovered, first raft.Index) error {
	want := raft.Log{Base: m.id(first - 1), Last: m.id(m.last()), Tail: r.Log.Tail}
	if m.base.ConfigurationIndex != 0 {
		want.BaseConfiguration = raft.ConfigurationAt{Index: m.base.ConfigurationIndex, Configuration: m.base.Configuration}
	}
	for i := range m.entries {
		if raft.Index(i) < m.base.Applied.Index {
			continue
		}
		e := &m.entries[i]
		at := raft.ConfigurationAt{Index: e.ID.Index}
		if e.Kind == raft.EntryConfiguration {
			at.Configuration, _ = raft.DecodeConfiguration(e.Data)
		}
		switch {
		case e.ID.Index >= first:
			if n := len(want.Runs); n == 0 || want.Runs[n-1].Term != e.ID.Term {
				want.Runs = append(want.Runs, raft.TermRun{First: e.ID.Index, Term: e.ID.Term})
			}
			if e.Kind == raft.EntryConfiguration {
				want.Configurations = append(want.Configurations, at)
			}
		case e.Kind == raft.EntryConfiguration:
			want.BaseConfiguration = at
		}
	}
	if r.HardState != m.hard {
		return fmt.Errorf("recovered %+v, want %+v", r.HardState, m.hard)
	}
	if got, want := fmt.Sprintf("%+v", r.Log), fmt.Sprintf("%+v", want); got != want {
		return fmt.Errorf("recovered %s, want %s", got, want)
	}
	for i, n := 0, len(r.Log.Tail); i < n; i++ { // it is empty if a truncation reached below the cache
		if got, want := &r.Log.Tail[i], &m.entries[len(m.entries)-n+i]; got.ID != want.ID || !bytes.Equal(got.Data, want.Data) {
			return fmt.Errorf("the tail has %v with %.20q where %v is due", got.ID, got.Data, want.ID)
		}
	}
	return nil
}

func (m *model) compare(t testing.TB, w *wal.WAL, r *wal.Recovered) {
	t.Helper()
	if err := m.differs(w, r); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, files wal.Files) (*wal.WAL, wal.Recovered) {
	t.Helper()
	w, r, err := wal.Open(options(files))
	if err != nil {
		t.Fatal(err)
	}
	return w, r
}
