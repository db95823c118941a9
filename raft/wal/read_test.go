package wal_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

// TestEntries proves: whatever is asked for, the answer begins with the first entry, goes on without a gap, ends at the
// last one, and keeps the limit of bytes after the first entry.
func TestEntries(t *testing.T) {
	for seed := range uint64(20) {
		chance := rand.New(rand.NewPCG(seed, 6))
		files, m := newDisk(seed), &model{}
		w := create(t, files)
		for range 60 {
			mustAppend(t, w, m.writes(t, chance)...)
		}
		for range 200 {
			first := raft.Index(1 + chance.IntN(len(m.entries)))
			last := first + raft.Index(chance.IntN(len(m.entries)))
			limit := chance.IntN(3000)
			got, err := w.Entries(first, last, limit)
			if err != nil || len(got) == 0 {
				t.Fatalf("%d to %d: %d entries, %v", first, last, len(got), err)
			}
			size := 0
			for i, e := range got {
				want := &m.entries[int(first)-1+i]
				if e.ID != want.ID || !bytes.Equal(e.Data, want.Data) || e.ID.Index > last {
					t.Fatalf("%d to %d: entry %d is %v", first, last, i, e.ID)
				}
				if size += len(e.Data); i > 0 && size > limit {
					t.Fatalf("%d to %d: %d bytes, limit %d", first, last, size, limit)
				}
			}
		}
		if got, err := w.Entries(5, 4, 100); got != nil || err != nil {
			t.Errorf("an empty range gives %v, %v", got, err)
		}
		if _, err := w.Entries(m.last()+1, m.last()+1, 100); err == nil {
			t.Error("an entry past the end was read")
		}
		closeLog(t, w)
	}
}

// counting is a disk that counts what is read.
type counting struct {
	*disk
	reads, bytes int
}

type countingFile struct {
	wal.File
	of *counting
}

func (c *counting) Open(name string, flag int) (wal.File, error) {
	f, err := c.disk.Open(name, flag)
	return countingFile{f, c}, err
}

func (f countingFile) ReadAt(p []byte, off int64) (int, error) {
	f.of.reads++
	f.of.bytes += len(p)
	return f.File.ReadAt(p, off)
}

// TestCatchUpReads proves: who reads the whole log in small parts reads every byte of it about once, also where one
// record is far larger than a part, and many small records at once.
func TestCatchUpReads(t *testing.T) {
	files := &counting{disk: newDisk(1)}
	o := options(files)
	o.SegmentSize = 1 << 20
	w, err := wal.Create(o)
	if err != nil {
		t.Fatal(err)
	}
	large := &raft.Write{HardState: raft.HardState{Term: 1}}
	for i := raft.Index(1); i <= 3000; i++ {
		large.Entries = append(large.Entries, entry(1, i, 100))
	}
	mustAppend(t, w, large)
	if err := appendMany(w, 3001, 6000, 100); err != nil {
		t.Fatal(err)
	}
	files.reads, files.bytes = 0, 0
	for next := raft.Index(1); next <= 6000; {
		got, err := w.Entries(next, 6000, 10_000)
		if err != nil {
			t.Fatal(err)
		}
		next += raft.Index(len(got))
	}
	const size = 3000*116 + 3000*200
	if files.bytes > size*5/4 || files.reads > 100 {
		t.Errorf("a log of %d bytes was read in %d reads of %d bytes", size, files.reads, files.bytes)
	}
	closeLog(t, w)
}

// during is a disk that does something in the middle of a read.
type during struct {
	*disk
	do func()
}

type duringFile struct {
	wal.File
	of *during
}

func (d *during) Open(name string, flag int) (wal.File, error) {
	f, err := d.disk.Open(name, flag)
	return duringFile{f, d}, err
}

func (f duringFile) ReadAt(p []byte, off int64) (int, error) {
	if do := f.of.do; do != nil {
		f.of.do = nil
		do()
	}
	return f.File.ReadAt(p, off)
}

// TestChangesDuringRead proves: a truncation, a compaction and a Close while Entries reads do not change what it returns,
// and no file is closed under it.
func TestChangesDuringRead(t *testing.T) {
	for what, change := range map[string]func(*testing.T, *wal.WAL){
		"truncation": func(t *testing.T, w *wal.WAL) {
			for i := raft.Index(3); i <= 60; i++ {
				mustAppend(t, w, &raft.Write{HardState: raft.HardState{Term: 2}, TruncateFrom: i, Entries: []raft.Entry{entry(2, i, 500)}})
			}
		},
		"compaction": func(t *testing.T, w *wal.WAL) {
			go func() {
				if err := w.Compact(100); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		},
		"close": func(t *testing.T, w *wal.WAL) {
			go func() {
				if err := w.Close(); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				files := &during{disk: newDisk(1)}
				w := create(t, files)
				if err := appendMany(w, 1, 100, 300); err != nil {
					t.Fatal(err)
				}
				files.do = func() { change(t, w) }
				got, err := w.Entries(1, 70, 1<<20)
				if err != nil {
					t.Fatal(err)
				}
				for i, e := range got {
					if want := entry(1, raft.Index(1+i), 300); e.ID != want.ID || !bytes.Equal(e.Data, want.Data) {
						t.Errorf("entry %d is %v", i+1, e.ID)
					}
				}
				if len(got) != 70 {
					t.Errorf("%d entries were read, want 70", len(got))
				}
				synctest.Wait()
				closeLog(t, w)
			})
		})
	}
}

// linked makes an entry that says which term the one before it has.
func linked(id raft.EntryID, before raft.Term) raft.Entry {
	return raft.Entry{ID: id, Data: fmt.Appendf(make([]byte, 0, 200), "%d %d %0160d", before, id.Term, id.Index)}
}

// TestReadersBesideAppender proves: beside an appender that truncates, a compaction and a Close, every answer of Entries
// is a piece of one log, never a mixture of the logs before and after a truncation.
func TestReadersBesideAppender(t *testing.T) {
	files := newDisk(1)
	w := create(t, files)
	mustAppend(t, w, &raft.Write{HardState: raft.HardState{Term: 1}, Entries: []raft.Entry{linked(raft.EntryID{Term: 1, Index: 1}, 0)}})
	var readers sync.WaitGroup
	for seed := range uint64(2) {
		readers.Go(func() {
			chance := rand.New(rand.NewPCG(seed, 8))
			for {
				first, last := w.Bounds()
				w.Size()
				first += raft.Index(chance.Uint64N(uint64(last-first) + 1))
				got, err := w.Entries(first, last, 20_000)
				switch {
				case errors.Is(err, wal.ErrClosed):
					return
				case errors.As(err, new(*wal.CorruptionError)) || errors.Is(err, fs.ErrClosed):
					t.Errorf("reading %d to %d: %v", first, last, err)
					return
				}
				if err := pieceOfOneLog(first, got); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	chance := rand.New(rand.NewPCG(1, 9))
	terms := []raft.Term{0, 1}
	for term := raft.Term(2); term < 300; term++ {
		from := max(len(terms)-chance.IntN(120), min(len(terms), max(2, len(terms)-200)))
		write := &raft.Write{HardState: raft.HardState{Term: term}, TruncateFrom: raft.Index(from)}
		terms = terms[:from]
		for range 1 + chance.IntN(90) {
			write.Entries = append(write.Entries, linked(raft.EntryID{Term: term, Index: raft.Index(len(terms))}, terms[len(terms)-1]))
			terms = append(terms, term)
		}
		mustAppend(t, w, write)
		if committed := len(terms) - 300; committed > 0 && chance.IntN(10) == 0 {
			if err := w.Compact(raft.Index(committed)); err != nil {
				t.Error(err)
			}
		}
	}
	closeLog(t, w)
	readers.Wait()
}

func pieceOfOneLog(first raft.Index, entries []raft.Entry) error {
	for i, e := range entries {
		var before, term raft.Term
		var index raft.Index
		if _, err := fmt.Sscanf(string(e.Data), "%d %d %d", &before, &term, &index); err != nil && err != io.EOF {
			return fmt.Errorf("entry %v holds %q: %w", e.ID, e.Data, err)
		}
		if want := first + raft.Index(i); e.ID != (raft.EntryID{Term: term, Index: index}) || index != want {
			return fmt.Errorf("entry %d is %v and holds %q", want, e.ID, e.Data)
		}
		if i > 0 && entries[i-1].ID.Term != before {
			return fmt.Errorf("entry %v follows %v in an answer and another term in its log", e.ID, entries[i-1].ID)
		}
	}
	return nil
}
