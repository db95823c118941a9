package wal_test

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

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

// TestRoundTrip proves: whatever is appended, truncated and compacted is there or gone, before and after the log is
// opened again.
func TestRoundTrip(t *testing.T) {
	for seed := range uint64(40) {
		chance := rand.New(rand.NewPCG(seed, 1))
		files, m := newDisk(seed), &model{snapshots: true}
		w := create(t, files)
		for range 120 {
			mustAppend(t, w, m.writes(t, chance)...)
			switch chance.IntN(12) {
			case 0:
				m.compare(t, w, nil)
			case 1:
				if err := w.Mark(); err != nil {
					t.Fatal(err)
				}
			case 2:
				closeLog(t, w)
				var r wal.Recovered
				w, r = open(t, files)
				m.compare(t, w, &r)
			case 3:
				m.through += raft.Index(chance.IntN(int(m.last()-m.through) + 1))
				if err := w.Compact(m.through); err != nil {
					t.Fatal(err)
				}
			}
		}
		m.compare(t, w, nil)
		closeLog(t, w)
	}
}

// TestBatch proves: a truncation in a batch counts after the writes before it, and the batch does the same as its writes
// one by one.
func TestBatch(t *testing.T) {
	hard := raft.HardState{Term: 9}
	write := func(from raft.Index, entries ...raft.Entry) *raft.Write {
		return &raft.Write{HardState: hard, TruncateFrom: from, Entries: entries}
	}
	e := func(term raft.Term, index raft.Index) raft.Entry { return entry(term, index, 9) }
	for name, batch := range map[string][]*raft.Write{
		"inside the batch":             {write(0, e(2, 5), e(2, 6), e(2, 7)), write(6, e(3, 6))},
		"all of the batch":             {write(0, e(2, 5), e(2, 6)), write(5, e(3, 5))},
		"batch and log":                {write(0, e(2, 5), e(2, 6)), write(3, e(3, 3))},
		"the log, then less":           {write(3, e(2, 3), e(2, 4)), write(4, e(3, 4))},
		"the log, then more":           {write(4, e(2, 4)), write(2), write(0, e(3, 2))},
		"past the end of the batch":    {write(0, e(2, 5)), write(9), write(0, e(2, 6))},
		"past the end, with capacity":  {write(0, e(2, 5), e(2, 6), e(2, 7)), write(6), write(8), write(0, e(3, 6))},
		"past the end of the log":      {write(9), write(0, e(2, 5))},
		"only truncations":             {write(4), write(3)},
		"a truncation of what was cut": {write(3), write(4), write(0, e(3, 3))},
	} {
		t.Run(name, func(t *testing.T) {
			m, files := &model{}, newDisk(1)
			w := create(t, files)
			start := write(0, e(1, 1), e(1, 2), e(1, 3), e(1, 4))
			mustAppend(t, w, start)
			mustAppend(t, w, batch...)
			m.apply(start)
			m.apply(batch...)
			m.compare(t, w, nil)
			closeLog(t, w)
			w, r := open(t, files)
			m.compare(t, w, &r)
			closeLog(t, w)
		})
	}
}

// TestMarkerFits proves: whatever the records, behind each is room for its marker in the same segment.
func TestMarkerFits(t *testing.T) {
	for size := 0; size < 600; size += 3 {
		files := newDisk(1)
		w := create(t, files)
		for i := raft.Index(1); len(files.segments()) < 3; i++ {
			mustAppend(t, w, &raft.Write{HardState: raft.HardState{Term: 1}, Entries: []raft.Entry{entry(1, i, 1500+size)}})
			before := files.bytes(".wal")
			if err := w.Mark(); err != nil {
				t.Fatal(err)
			}
			if files.bytes(".wal") != before {
				t.Fatalf("a marker behind records of %d bytes made the segment grow", size)
			}
		}
		closeLog(t, w)
	}
}

// TestAppendAllocates proves: in its steady state an append allocates nothing.
func TestAppendAllocates(t *testing.T) {
	w, err := wal.Create(wal.Options{Dir: filepath.Join(t.TempDir(), "wal"), Node: 1, CacheBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	next := raft.Index(1)
	data := make([]byte, 100)
	one := []*raft.Write{{HardState: raft.HardState{Term: 1}, Entries: make([]raft.Entry, 1)}}
	two := append(one, &raft.Write{HardState: raft.HardState{Term: 1}, Entries: make([]raft.Entry, 4)})
	for what, writes := range map[string][]*raft.Write{"one write": one, "two writes": two} {
		if n := testing.AllocsPerRun(300, func() {
			for _, write := range writes {
				for i := range write.Entries {
					write.Entries[i] = raft.Entry{ID: raft.EntryID{Term: 1, Index: next}, Data: data}
					next++
				}
			}
			mustAppend(t, w, writes...)
		}); n >= 1 {
			t.Errorf("an append of %s allocates %v times", what, n)
		}
	}
	closeLog(t, w)
}

// TestWritesThatDoNotFollow proves: a write that would not read back as it was given is refused, and the log goes on.
func TestWritesThatDoNotFollow(t *testing.T) {
	w := create(t, newDisk(1))
	for i := raft.Index(1); i <= 300; i++ {
		mustAppend(t, w, &raft.Write{Entries: []raft.Entry{entry(5, i, 200)}})
	}
	if err := w.Compact(200); err != nil {
		t.Fatal(err)
	}
	first, _ := w.Bounds()
	if first == 1 {
		t.Fatal("nothing was compacted")
	}
	broken, large := configuration(t, 5, 301, 1), raft.Entry{ID: raft.EntryID{Term: 5, Index: 301}, Kind: raft.EntryConfiguration}
	broken.Data = broken.Data[:1]
	voters := make([]raft.ID, 500)
	for i := range voters {
		voters[i] = 1<<60 + raft.ID(i)
	}
	large.Data, _ = raft.Configuration{Voters: voters}.AppendBinary(nil)
	for what, write := range map[string]*raft.Write{
		"a gap inside the write":          {Entries: []raft.Entry{entry(5, 301, 1), entry(5, 303, 1)}},
		"an index twice":                  {Entries: []raft.Entry{entry(5, 301, 1), entry(5, 301, 1)}},
		"a term that falls":               {Entries: []raft.Entry{entry(4, 301, 1)}},
		"entries that are there":          {Entries: []raft.Entry{entry(5, 300, 1)}},
		"a truncation at the base":        {TruncateFrom: first - 1, Entries: []raft.Entry{entry(6, first-1, 1)}},
		"a broken configuration":          {Entries: []raft.Entry{broken}},
		"a configuration for no header":   {Entries: []raft.Entry{large}},
		"a gap after a truncation":        {TruncateFrom: 290, Entries: []raft.Entry{entry(6, 291, 1)}},
		"entries at the end, though cut ": {TruncateFrom: 290, Entries: []raft.Entry{entry(6, 301, 1)}},
	} {
		if err := w.Append(write); err == nil {
			t.Errorf("%s was appended", what)
		}
	}
	mustAppend(t, w, &raft.Write{Entries: []raft.Entry{entry(5, 301, 1)}})
	closeLog(t, w)
	for what, change := range map[string]func(*wal.Options){
		"no directory":     func(o *wal.Options) { o.Dir = "" },
		"tiny segments":    func(o *wal.Options) { o.SegmentSize = wal.MinSegmentSize - 1 },
		"huge segments":    func(o *wal.Options) { o.SegmentSize = wal.MaxSegmentSize + 1 },
		"a negative cache": func(o *wal.Options) { o.CacheBytes = -1 },
		"huge entries":     func(o *wal.Options) { o.MaxEntry = wal.MaxRecord },
	} {
		o := options(newDisk(1))
		change(&o)
		if _, err := wal.Create(o); err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
}

// TestClosed proves: after Close every method says so, and Close may be called again.
func TestClosed(t *testing.T) {
	w := create(t, newDisk(1))
	mustAppend(t, w, &raft.Write{Entries: []raft.Entry{entry(1, 1, 1)}})
	closeLog(t, w)
	closeLog(t, w)
	_, read := w.Entries(1, 1, 1)
	for what, err := range map[string]error{
		"Append": w.Append(&raft.Write{}), "Mark": w.Mark(), "Entries": read, "Compact": w.Compact(1),
	} {
		if !errors.Is(err, wal.ErrClosed) {
			t.Errorf("%s says %v", what, err)
		}
	}
}
