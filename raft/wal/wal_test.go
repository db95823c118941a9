package wal_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
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

// model is what a log must hold, the obvious way.
type model struct {
	hard    raft.HardState
	base    raft.Index
	entries []raft.Entry
}

func (m *model) last() raft.Index { return m.base + raft.Index(len(m.entries)) }

func (m *model) apply(w *raft.Write) {
	m.hard = w.HardState
	if w.TruncateFrom != 0 && w.TruncateFrom <= m.last() {
		m.entries = m.entries[:w.TruncateFrom-m.base-1]
	}
	m.entries = append(slices.Clip(m.entries), w.Entries...)
}

// randomWrite makes a write that may follow the model.
func randomWrite(chance *rand.Rand, m *model) *raft.Write {
	w := &raft.Write{HardState: raft.HardState{Term: m.hard.Term + raft.Term(chance.IntN(2)), Vote: raft.ID(chance.IntN(1000))}}
	next := m.last() + 1
	if len(m.entries) > 0 && chance.IntN(5) == 0 {
		next = m.base + 1 + raft.Index(chance.IntN(len(m.entries)))
		w.TruncateFrom = next
		w.HardState.Term++ // no index is used twice in a term
	}
	for range chance.IntN(5) {
		size := chance.IntN(200)
		if chance.IntN(60) == 0 {
			size = smallSegments + chance.IntN(smallSegments) // larger than a segment
		}
		w.Entries = append(w.Entries, entry(w.HardState.Term+1, next, size))
		next++
	}
	return w
}

func compare(t *testing.T, w *wal.WAL, r *wal.Recovered, m *model) {
	t.Helper()
	got := all(t, w)
	if len(got) != len(m.entries) {
		t.Fatalf("the log holds %d entries, want %d", len(got), len(m.entries))
	}
	for i := range got {
		if got[i].ID != m.entries[i].ID || !bytes.Equal(got[i].Data, m.entries[i].Data) || got[i].Kind != m.entries[i].Kind {
			t.Fatalf("entry %d is %v, want %v", i, got[i].ID, m.entries[i].ID)
		}
	}
	if r == nil {
		return
	}
	if r.HardState != m.hard {
		t.Fatalf("recovered %+v, want %+v", r.HardState, m.hard)
	}
	if r.Log.Last.Index != m.last() {
		t.Fatalf("recovered last %v, want %d", r.Log.Last, m.last())
	}
	for _, e := range m.entries {
		if term := termOf(r.Log, e.ID.Index); term != e.ID.Term {
			t.Fatalf("recovered term %d of entry %d, want %d", term, e.ID.Index, e.ID.Term)
		}
	}
}

func termOf(log raft.Log, index raft.Index) raft.Term {
	term := log.Base.Term
	for _, run := range log.Runs {
		if run.First <= index {
			term = run.Term
		}
	}
	return term
}

// TestRoundTrip proves: whatever is appended and truncated is there, before and after the log is opened again.
func TestRoundTrip(t *testing.T) {
	for seed := range uint64(60) {
		chance := rand.New(rand.NewPCG(seed, 1))
		files, m := newDisk(seed), &model{}
		w := create(t, files)
		for range 80 {
			var writes []*raft.Write
			for range 1 + chance.IntN(3) {
				write := randomWrite(chance, m)
				m.apply(write)
				writes = append(writes, write)
			}
			mustAppend(t, w, writes...)
			switch chance.IntN(12) {
			case 0:
				compare(t, w, nil, m)
			case 1:
				if err := w.Mark(); err != nil {
					t.Fatal(err)
				}
			case 2:
				closeLog(t, w)
				var r wal.Recovered
				var err error
				if w, r, err = wal.Open(options(files)); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				compare(t, w, &r, m)
			}
		}
		compare(t, w, nil, m)
		closeLog(t, w)
	}
}

// TestCrash proves: after a loss of power every acknowledged write is there, and one that was under way is there whole
// or not at all.
func TestCrash(t *testing.T) {
	for seed := range uint64(300) {
		chance := rand.New(rand.NewPCG(seed, 2))
		files, m := newDisk(seed), &model{}
		w := create(t, files)
		for range chance.IntN(30) {
			write := randomWrite(chance, m)
			m.apply(write)
			mustAppend(t, w, write)
		}
		// One more write, which the crash catches between its write and its sync, or before either.
		torn := randomWrite(chance, m)
		stage := []string{"write", "sync", "rename", "syncdir"}[chance.IntN(4)]
		files.mu.Lock()
		files.fault = func(op, _ string) error {
			if op == stage {
				return errDisk
			}
			return nil
		}
		files.mu.Unlock()
		acked := w.Append(torn) == nil
		after := files.crash()
		w.Close()

		reopened, r, err := wal.Open(options(after))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		with := &model{m.hard, m.base, slices.Clone(m.entries)}
		with.apply(torn)
		if acked || (r.HardState == with.hard && r.Log.Last.Index == with.last() && sameEntries(t, reopened, with)) {
			m = with
		}
		compare(t, reopened, &r, m)
		closeLog(t, reopened)
	}
}

func sameEntries(t *testing.T, w *wal.WAL, m *model) bool {
	t.Helper()
	return slices.EqualFunc(all(t, w), m.entries, func(a, b raft.Entry) bool { return a.ID == b.ID })
}

// TestTornTail proves: a last record cut at any byte is dropped, and the log goes on from there.
func TestTornTail(t *testing.T) {
	files := newDisk(1)
	w := create(t, files)
	mustAppend(t, w, &raft.Write{HardState: raft.HardState{Term: 1}, Entries: []raft.Entry{entry(1, 1, 100)}})
	segment := files.segments()[0]
	before := slices.Clone(files.live[segment].live)
	mustAppend(t, w, &raft.Write{HardState: raft.HardState{Term: 2, Vote: 9}, Entries: []raft.Entry{entry(2, 2, 100), entry(2, 3, 30)}})
	whole := slices.Clone(files.live[segment].live)
	closeLog(t, w)
	begin, end := 0, len(whole)
	for before[begin] == whole[begin] {
		begin++
	}
	for whole[end-1] == 0 {
		end--
	}
	for cut := begin; cut < end; cut++ {
		content := slices.Clone(whole)
		clear(content[cut:])
		files.live[segment].live = content
		w, r, err := wal.Open(options(files))
		if err != nil {
			t.Fatalf("cut at %d of %d: %v", cut-begin, end-begin, err)
		}
		if r.Log.Last.Index != 1 || r.HardState.Term != 1 {
			t.Fatalf("cut at %d of %d: recovered %v and term %d", cut-begin, end-begin, r.Log.Last, r.HardState.Term)
		}
		mustAppend(t, w, &raft.Write{HardState: raft.HardState{Term: 3}, Entries: []raft.Entry{entry(3, 2, 10)}})
		closeLog(t, w)
		if w, r, err = wal.Open(options(files)); err != nil || r.Log.Last != (raft.EntryID{Term: 3, Index: 2}) {
			t.Fatalf("after a cut at %d: recovered %v, %v", cut-begin, r.Log.Last, err)
		}
		closeLog(t, w)
	}
}

// TestDamage proves: damage to what was durable is never a silent loss. Open names segment, offset and index.
func TestDamage(t *testing.T) {
	const entries, size = 1000, 64
	files := newDisk(1)
	w := create(t, files)
	for i := raft.Index(1); i <= entries; i++ {
		mustAppend(t, w, &raft.Write{HardState: raft.HardState{Term: 1}, Entries: []raft.Entry{entry(1, i, size)}})
	}
	if err := w.Mark(); err != nil {
		t.Fatal(err)
	}
	closeLog(t, w)
	place := func(index int) (segment string, offset int) {
		mark := []byte(fmt.Sprintf("1/%d", index))
		for _, name := range files.segments() {
			if at := bytes.Index(files.live[name].live, append(mark, byte(index))); at >= 0 {
				return name, at
			}
		}
		t.Fatalf("entry %d is nowhere", index)
		return "", 0
	}
	const header = 80 + 16
	for _, c := range []struct {
		what   string
		index  int
		damage func(b []byte, at int)
	}{
		{"a flipped bit of a payload", 500, func(b []byte, at int) { b[at+20] ^= 1 }},
		{"a flipped bit of a length", 500, func(b []byte, at int) { b[at-header+4] ^= 8 }},
		{"16 zeroed bytes", 500, func(b []byte, at int) { clear(b[at-16 : at]) }},
		{"a zeroed sector", 500, func(b []byte, at int) { clear(b[at/sector*sector : at/sector*sector+sector]) }},
		{"a lost write in the middle", 500, func(b []byte, at int) { clear(b[at-header : at-header+header+size]) }},
		{"a flipped bit of the newest batch", entries, func(b []byte, at int) { b[at] ^= 1 }},
	} {
		t.Run(c.what, func(t *testing.T) {
			name, at := place(c.index)
			saved := slices.Clone(files.live[name].live)
			defer func() { files.live[name].live = saved }()
			c.damage(files.live[name].live, at)
			_, _, err := wal.Open(options(files))
			var corruption *wal.CorruptionError
			if !errors.As(err, &corruption) {
				t.Fatalf("open says %v, want a CorruptionError", err)
			}
			if corruption.Segment != filepath.Base(name) || int(corruption.First) > c.index || c.index-int(corruption.First) > 8 {
				t.Errorf("it names %s from index %d, want %s and %d", corruption.Segment, corruption.First, filepath.Base(name), c.index)
			}
		})
	}
	t.Run("a header", func(t *testing.T) {
		name := files.segments()[1]
		files.live[name].live[20] ^= 1
		defer func() { files.live[name].live[20] ^= 1 }()
		if _, _, err := wal.Open(options(files)); err == nil {
			t.Error("a damaged header was accepted")
		}
	})
	t.Run("a missing segment", func(t *testing.T) {
		name := files.segments()[1]
		saved := files.live[name]
		delete(files.live, name)
		defer func() { files.live[name] = saved }()
		if _, _, err := wal.Open(options(files)); err == nil {
			t.Error("a missing segment was not noticed")
		}
	})
}

// TestRot proves: an entry that rots after the log was opened is an error when it is read, never wrong data.
func TestRot(t *testing.T) {
	files := newDisk(1)
	w := create(t, files)
	for i := raft.Index(1); i <= 100; i++ { // more than the cache holds
		mustAppend(t, w, &raft.Write{HardState: raft.HardState{Term: 1}, Entries: []raft.Entry{entry(1, i, 100)}})
	}
	content := files.live[files.segments()[0]].live
	content[bytes.Index(content, []byte("1/5"))+50] ^= 1
	if _, err := w.Entries(4, 4, 1000); err != nil {
		t.Errorf("entry 4 is whole and reading it says %v", err)
	}
	var corruption *wal.CorruptionError
	if _, err := w.Entries(5, 5, 1000); !errors.As(err, &corruption) || corruption.First != 5 {
		t.Errorf("reading a rotten entry says %v", err)
	}
	closeLog(t, w)
}

// TestCompact proves: compaction deletes whole segments and nothing after the index, and what is left opens with the
// base and the configuration that the deleted segments held.
func TestCompact(t *testing.T) {
	files := newDisk(1)
	w := create(t, files)
	mustAppend(t, w, &raft.Write{HardState: raft.HardState{Term: 1}, Entries: []raft.Entry{configuration(t, 1, 1, 1, 2, 3)}})
	for i := raft.Index(2); i <= 400; i++ {
		mustAppend(t, w, &raft.Write{HardState: raft.HardState{Term: 2, Vote: 2}, Entries: []raft.Entry{entry(2, i, 100)}})
	}
	before := len(files.segments())
	if err := w.Compact(200); err != nil {
		t.Fatal(err)
	}
	if after := len(files.segments()); after >= before {
		t.Errorf("%d segments before and %d after", before, after)
	}
	first, last := w.Bounds()
	if first > 201 || first < 50 || last != 400 {
		t.Errorf("the log holds %d to %d", first, last)
	}
	if _, err := w.Entries(first-1, first, 100); !errors.Is(err, wal.ErrCompacted) {
		t.Errorf("reading a compacted entry says %v", err)
	}
	closeLog(t, w)
	w, r, err := wal.Open(options(files))
	if err != nil {
		t.Fatal(err)
	}
	if r.Log.Base != (raft.EntryID{Term: 2, Index: first - 1}) || r.HardState != (raft.HardState{Term: 2, Vote: 2}) ||
		!reflect.DeepEqual(r.Log.BaseConfiguration, raft.ConfigurationAt{Index: 1, Configuration: raft.Configuration{Voters: []raft.ID{1, 2, 3}}}) {
		t.Errorf("recovered %+v", r)
	}
	closeLog(t, w)
}

// TestErrors proves: a failed write or sync poisons the log, and nothing that was not durable is ever said to be.
func TestErrors(t *testing.T) {
	for _, op := range []string{"write", "sync"} {
		files := newDisk(1)
		w := create(t, files)
		mustAppend(t, w, &raft.Write{HardState: raft.HardState{Term: 1}, Entries: []raft.Entry{entry(1, 1, 10)}})
		files.mu.Lock()
		files.fault = func(what, _ string) error {
			if what == op {
				return errDisk
			}
			return nil
		}
		files.mu.Unlock()
		next := &raft.Write{HardState: raft.HardState{Term: 1}, Entries: []raft.Entry{entry(1, 2, 10)}}
		if err := w.Append(next); !errors.Is(err, errDisk) {
			t.Errorf("%s fails and Append says %v", op, err)
		}
		files.mu.Lock()
		files.fault = nil
		files.mu.Unlock()
		if err := w.Append(next); !errors.Is(err, errDisk) {
			t.Errorf("after a failed %s the log takes writes again: %v", op, err)
		}
		if _, last := w.Bounds(); last != 1 {
			t.Errorf("after a failed %s the log says that it holds %d", op, last)
		}
		closeLog(t, w)
	}
}

// TestRefusals proves: what cannot be a log of this node, or an entry of it, is refused with a sentence.
func TestRefusals(t *testing.T) {
	files := newDisk(1)
	w := create(t, files)
	if _, err := wal.Create(options(files)); !errors.Is(err, wal.ErrExists) {
		t.Errorf("a second Create says %v", err)
	}
	if err := w.Append(&raft.Write{Entries: []raft.Entry{entry(1, 2, 1)}}); err == nil {
		t.Error("a gap was appended")
	}
	closeLog(t, w)
	o := options(files)
	o.MaxEntry = 10
	w, _, err := wal.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(&raft.Write{Entries: []raft.Entry{entry(1, 1, 11)}}); !errors.Is(err, wal.ErrTooLarge) {
		t.Errorf("an entry that is too large says %v", err)
	}
	mustAppend(t, w, &raft.Write{Entries: []raft.Entry{entry(1, 1, 10)}})
	closeLog(t, w)
	for _, other := range []func(*wal.Options){
		func(o *wal.Options) { o.Cluster[0] = 9 },
		func(o *wal.Options) { o.Node = 9 },
	} {
		o := options(files)
		other(&o)
		if _, _, err := wal.Open(o); err == nil {
			t.Error("the log of another node was opened")
		}
	}
	if _, _, err := wal.Open(options(newDisk(1))); err == nil {
		t.Error("an absent log was opened")
	}
}

// FuzzOpen proves: no bytes in a segment make Open panic or hang.
func FuzzOpen(f *testing.F) {
	files := newDisk(1)
	w := create(f, files)
	mustAppend(f, w, &raft.Write{HardState: raft.HardState{Term: 1}, Entries: []raft.Entry{entry(1, 1, 30)}})
	mustAppend(f, w, &raft.Write{HardState: raft.HardState{Term: 2}, TruncateFrom: 1, Entries: []raft.Entry{entry(2, 1, 3)}})
	closeLog(f, w)
	name := files.segments()[0]
	whole := files.live[name].live
	f.Add(4096, []byte{})
	f.Add(4100, []byte{1, 2, 3})
	f.Add(0, []byte("rsqldwal"))
	f.Fuzz(func(t *testing.T, at int, b []byte) {
		content := slices.Clone(whole)
		if at < 0 || at > len(content) {
			return
		}
		copy(content[at:], b)
		files := newDisk(1)
		files.live[name] = &inode{live: content, dirty: map[int]bool{}}
		if w, _, err := wal.Open(options(files)); err == nil {
			all(t, w)
			closeLog(t, w)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	for _, entries := range []int{1, 64} {
		b.Run(fmt.Sprintf("entries=%d", entries), func(b *testing.B) {
			dir, err := os.MkdirTemp(".", "bench-")
			if err != nil {
				b.Fatal(err)
			}
			defer os.RemoveAll(dir)
			w, err := wal.Create(wal.Options{Dir: filepath.Join(dir, "wal"), Node: 1})
			if err != nil {
				b.Fatal(err)
			}
			next := raft.Index(1)
			b.ReportAllocs()
			for b.Loop() {
				write := &raft.Write{HardState: raft.HardState{Term: 1}}
				for range entries {
					write.Entries = append(write.Entries, entry(1, next, 100))
					next++
				}
				mustAppend(b, w, write)
			}
			closeLog(b, w)
		})
	}
}
