package wal_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

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

// crossing makes a log in which a truncation reaches over the start of a segment, and of which index 200 is committed.
// The entry and the configuration before that segment, as its header has them, are not in the log any more.
func crossing(t *testing.T, files *disk) (*wal.WAL, *model) {
	t.Helper()
	m := &model{}
	w := create(t, files)
	add := func(write *raft.Write) {
		m.apply(write)
		mustAppend(t, w, write)
	}
	one := func(term raft.Term, index raft.Index) *raft.Write {
		return &raft.Write{HardState: raft.HardState{Term: term}, Entries: []raft.Entry{entry(term, index, 300)}}
	}
	add(&raft.Write{HardState: raft.HardState{Term: 1}, Entries: []raft.Entry{configuration(t, 1, 1, 1, 2, 3)}})
	next := raft.Index(2)
	for ; len(files.segments()) < 3; next++ {
		add(one(1, next))
	}
	add(&raft.Write{HardState: raft.HardState{Term: 1}, Entries: []raft.Entry{configuration(t, 1, next, 4, 5, 6)}})
	for next++; len(files.segments()) < 5; next++ {
		add(one(1, next))
	}
	cut := one(2, 40) // in the second segment
	cut.TruncateFrom = 40
	add(cut)
	for next = 41; next <= 220; next++ {
		add(one(2, next))
	}
	return w, m
}

// TestCompactAfterTruncation proves: the log never begins with a segment whose header tells of entries that a later
// truncation removed, and a compaction that a crash stopped on its way is finished by Open.
func TestCompactAfterTruncation(t *testing.T) {
	for _, through := range []raft.Index{60, 90, 150, 180, 200} {
		for removals := range 8 {
			for seed := range uint64(2) {
				files := newDisk(seed)
				w, m := crossing(t, files)
				count := 0
				files.set(func(op, _ string) error {
					if op == "remove" {
						count++
					}
					if count > removals {
						return errDisk
					}
					return nil
				})
				m.through = through
				err := w.Compact(through)
				if err != nil && !errors.Is(err, errDisk) {
					t.Fatal(err)
				}
				m.compare(t, w, nil)
				closeLog(t, w)
				files.set(nil)
				w, r := open(t, files.crash())
				m.compare(t, w, &r)
				closeLog(t, w)
			}
		}
	}
}

// TestCompactFails proves: files leave in order even if one could not be removed, and after a failed sync of the
// directory none does; the log can be opened in every case.
func TestCompactFails(t *testing.T) {
	for _, op := range []string{"remove", "syncdir"} {
		files, m := newDisk(1), &model{}
		w := create(t, files)
		for i := raft.Index(1); i <= 500; i++ {
			write := &raft.Write{HardState: raft.HardState{Term: 1}, Entries: []raft.Entry{entry(1, i, 200)}}
			m.apply(write)
			mustAppend(t, w, write)
		}
		all := len(files.segments())
		files.failOn(op, "")
		for _, m.through = range []raft.Index{100, 200} {
			if err := w.Compact(m.through); !errors.Is(err, errDisk) {
				t.Errorf("%s fails and Compact says %v", op, err)
			}
		}
		m.compare(t, w, nil)
		files.set(nil)
		m.through = 300
		err := w.Compact(m.through)
		left := len(files.segments())
		if op == "remove" && (err != nil || left > all-4) || op == "syncdir" && (!errors.Is(err, errDisk) || left != all-1) {
			t.Errorf("after a failed %s, Compact says %v and leaves %d of %d files", op, err, left, all)
		}
		closeLog(t, w)
		w, r := open(t, files)
		m.compare(t, w, &r)
		closeLog(t, w)
	}
}

// TestBehind proves: what Behind allows to drop leaves segments of at least that size besides the one that is written to,
// and not one more than it takes.
func TestBehind(t *testing.T) {
	files, m := newDisk(1), &model{}
	w := create(t, files)
	chance := rand.New(rand.NewPCG(1, 13))
	for len(files.segments()) < 6 {
		mustAppend(t, w, m.writes(t, chance)...)
	}
	whole := w.Size()
	if index := w.Behind(whole); index != 0 {
		t.Errorf("of a log of %d bytes as many are kept from %d on", whole, index)
	}
	last := raft.Index(math.MaxUint64)
	for keep := int64(1); keep < whole; keep += 1 << 10 {
		index := w.Behind(keep)
		if index > last {
			t.Errorf("to keep %d bytes %d may go, to keep fewer %d", keep, index, last)
		}
		last = index
	}
	newest := w.Size()
	if err := w.Compact(w.Behind(1)); err != nil {
		t.Fatal(err)
	}
	if n := len(files.segments()); n > 3 || w.Size() >= newest {
		t.Errorf("%d segments are left", n)
	}
	closeLog(t, w)
}
