package wal_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

func baseAt(term raft.Term, index raft.Index) *raft.Base {
	return &raft.Base{Applied: raft.EntryID{Term: term, Index: index}, ConfigurationIndex: 1,
		Configuration: raft.Configuration{Voters: []raft.ID{1, 3}}}
}

// TestSnapshotInBatch proves: a snapshot counts where it stands among the writes of one Append. A log that holds its entry
// then stays as it is, any other begins anew after it; and the batch does the same as its writes one by one.
func TestSnapshotInBatch(t *testing.T) {
	write := func(s *raft.Base, from raft.Index, entries ...raft.Entry) *raft.Write {
		return &raft.Write{HardState: raft.HardState{Term: 9}, Snapshot: s, TruncateFrom: from, Entries: entries}
	}
	e := func(term raft.Term, index raft.Index) raft.Entry { return entry(term, index, 9) }
	for name, c := range map[string]struct {
		batch []*raft.Write
		first raft.Index
	}{
		"held in the log":            {[]*raft.Write{write(baseAt(1, 3), 0, e(2, 5))}, 1},
		"held in the batch":          {[]*raft.Write{write(nil, 0, e(2, 5), e(2, 6)), write(baseAt(2, 5), 0)}, 1},
		"of another term":            {[]*raft.Write{write(baseAt(2, 3), 0)}, 4},
		"past the end":               {[]*raft.Write{write(baseAt(1, 9), 0)}, 10},
		"past the end, with entries": {[]*raft.Write{write(baseAt(2, 9), 0, e(2, 10), e(3, 11))}, 10},
		"after a truncation of it":   {[]*raft.Write{write(nil, 3, e(2, 3)), write(baseAt(1, 3), 0)}, 4},
		"behind a truncation":        {[]*raft.Write{write(nil, 2), write(baseAt(1, 3), 0, e(2, 4))}, 4},
		"of another term in a batch": {[]*raft.Write{write(nil, 0, e(2, 5)), write(baseAt(3, 5), 0), write(nil, 0, e(3, 6))}, 6},
		"two, the second held":       {[]*raft.Write{write(baseAt(2, 9), 0, e(2, 10)), write(baseAt(2, 10), 0, e(3, 11))}, 10},
		"two, the second not held":   {[]*raft.Write{write(baseAt(2, 9), 0, e(2, 10)), write(baseAt(3, 10), 0)}, 11},
		"the same twice":             {[]*raft.Write{write(baseAt(2, 9), 0), write(baseAt(2, 9), 0, e(2, 10))}, 10},
		"then a truncation":          {[]*raft.Write{write(baseAt(2, 9), 0, e(2, 10), e(2, 11)), write(nil, 11, e(3, 11))}, 10},
		"then one past the end":      {[]*raft.Write{write(baseAt(2, 9), 12, e(2, 10))}, 10},
	} {
		t.Run(name, func(t *testing.T) {
			start := write(nil, 0, e(1, 1), e(1, 2), e(1, 3), e(1, 4))
			for _, together := range []bool{true, false} {
				m, files := &model{}, newDisk(1)
				w := create(t, files)
				mustAppend(t, w, start)
				if together {
					mustAppend(t, w, c.batch...)
				} else {
					for _, one := range c.batch {
						mustAppend(t, w, one)
					}
				}
				m.apply(start)
				m.apply(c.batch...)
				m.compare(t, w, nil)
				if first, _ := w.Bounds(); first != c.first {
					t.Errorf("the log begins at %d, want %d", first, c.first)
				}
				closeLog(t, w)
				w, r := open(t, files.crash())
				m.compare(t, w, &r)
				closeLog(t, w)
			}
		})
	}
}

// TestSnapshotRefused proves: a snapshot before the beginning of the log, or one that contradicts it there, is refused and
// changes nothing; so is a truncation below a snapshot in the same Append.
func TestSnapshotRefused(t *testing.T) {
	files, m := newDisk(1), &model{}
	w := create(t, files)
	start := &raft.Write{HardState: raft.HardState{Term: 3}, Snapshot: baseAt(3, 20), Entries: []raft.Entry{entry(3, 21, 5)}}
	mustAppend(t, w, start)
	m.apply(start)
	for name, bad := range map[string]*raft.Write{
		"no entry":          {Snapshot: baseAt(0, 0)},
		"before the log":    {Snapshot: baseAt(3, 19)},
		"another beginning": {Snapshot: baseAt(4, 20)},
		"truncated":         {Snapshot: baseAt(4, 30), TruncateFrom: 30},
	} {
		if err := w.Append(bad); err == nil {
			t.Errorf("%s: the snapshot was taken", name)
		}
	}
	if err := w.Append(&raft.Write{Snapshot: baseAt(4, 40)}, &raft.Write{Snapshot: baseAt(4, 30)}); err == nil {
		t.Error("a snapshot before the one before it was taken")
	}
	m.compare(t, w, nil)
	next := &raft.Write{HardState: raft.HardState{Term: 3}, Entries: []raft.Entry{entry(3, 22, 5)}}
	mustAppend(t, w, next)
	m.apply(next)
	closeLog(t, w)
	w, r := open(t, files)
	m.compare(t, w, &r)
	closeLog(t, w)
}

// sequence is the part of a segment's name that the log is ordered by.
func sequence(name string) string { return name[max(0, strings.LastIndexByte(name, '-')):] }

// TestSnapshotRetires proves: the segments before a new beginning stay until Compact, count in Size, and are removed by it,
// or by the next Open, oldest first; damage in them is nobody's loss; and a reader of them is not disturbed.
func TestSnapshotRetires(t *testing.T) {
	for _, reopen := range []bool{false, true} {
		files, m := newDisk(1), &model{}
		w := create(t, files)
		chance := rand.New(rand.NewPCG(1, 12))
		for len(files.segments()) < 5 {
			mustAppend(t, w, m.writes(t, chance)...)
		}
		old := files.segments()
		write := &raft.Write{HardState: raft.HardState{Term: 99}, Snapshot: baseAt(99, 1000), Entries: []raft.Entry{entry(99, 1001, 9)}}
		mustAppend(t, w, write)
		m.apply(write)
		if n := len(files.segments()); n != len(old)+1 {
			t.Fatalf("%d segments became %d", len(old), n)
		}
		if got, want := w.Size(), int64(files.bytes(".wal")); got != want {
			t.Errorf("Size says %d, the files have %d bytes", got, want)
		}
		files.live[old[2]].live[5000] ^= 1
		var removed []string
		files.set(func(op, name string) error {
			// One may become the next spare, by way of spare.old; what becomes of a spare is no matter of this test.
			if op == "remove" && strings.HasSuffix(name, ".wal") || op == "rename" && strings.HasSuffix(name, "spare.old") {
				removed = append(removed, "/wal/"+name)
			}
			return nil
		})
		if reopen {
			closeLog(t, w)
			var r wal.Recovered
			w, r = open(t, files)
			m.compare(t, w, &r)
		} else if err := w.Compact(1000); err != nil {
			t.Fatal(err)
		}
		if len(removed) < len(old) || len(files.segments()) != 1 {
			t.Errorf("removed %v of %v", removed, old)
		}
		for i := range removed[1:] { // by sequence
			if strings.HasSuffix(removed[i], ".wal") && sequence(removed[i]) > sequence(removed[i+1]) {
				t.Errorf("removed %v", removed)
			}
		}
		m.compare(t, w, nil)
		closeLog(t, w)
	}
}
