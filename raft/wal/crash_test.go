package wal_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

// story is one life of a log, from Create on, until the disk fails.
type story struct {
	created bool
	// before is what was acknowledged, after what is in the log if the write under way is.
	before, after *model
}

// tell runs the story of a seed. It ends with an error of the disk, or when steps are done.
func tell(t *testing.T, files *disk, seed uint64, steps int) story {
	t.Helper()
	chance := rand.New(rand.NewPCG(seed, 3))
	a, o := &agenda{}, options(files)
	o.Schedule = a.schedule
	s := story{before: &model{snapshots: true}, after: &model{}}
	w, err := wal.Create(o)
	if s.created = err == nil; !s.created {
		return s.died(t, err)
	}
	for range steps {
		if chance.IntN(2) == 0 {
			a.step()
		}
		switch n := chance.IntN(16); {
		case n < 12:
			s.after = s.before.clone()
			if err = w.Append(s.after.writes(t, chance)...); err == nil {
				s.before = s.after
			}
		case n < 13:
			err = w.Mark()
		case n < 15:
			s.before.through += raft.Index(chance.IntN(int(s.before.last()-s.before.through) + 1))
			s.after = s.before
			err = w.Compact(s.before.through)
		default:
			closeLog(t, w)
			if w, _, err = wal.Open(o); err != nil {
				return s.died(t, err)
			}
		}
		if err != nil {
			closeLog(t, w)
			return s.died(t, err)
		}
	}
	closeLog(t, w)
	return s
}

func (s story) died(t *testing.T, err error) story {
	t.Helper()
	if !errors.Is(err, errDisk) {
		t.Fatalf("the disk is whole and the log says: %v", err)
	}
	return s
}

// survives opens the log after a crash and proves that nothing acknowledged is lost, then and after the next loss of power.
func (s story) survives(t *testing.T, files *disk, chance *rand.Rand) {
	t.Helper()
	if len(files.segments()) == 0 && !s.created {
		w := create(t, files)
		closeLog(t, w)
	}
	// The second crash is during recovery, the third after it.
	files.dieAfter(chance.IntN(8))
	w, _, err := wal.Open(options(files))
	if err == nil {
		closeLog(t, w)
	} else {
		s.died(t, err)
	}
	files.set(nil)
	if chance.IntN(2) == 0 {
		files = files.crash()
	}
	w, r := open(t, files)
	m := s.before
	if err := m.differs(w, &r); err != nil {
		m = s.after
		if other := m.differs(w, &r); other != nil {
			t.Fatalf("neither without the last write (%v) nor with it (%v)", err, other)
		}
	}
	closeLog(t, w)
	files = files.crash()
	w, r = open(t, files)
	m.compare(t, w, &r)
	m = m.clone()
	for range 5 {
		mustAppend(t, w, m.writes(t, chance)...)
	}
	closeLog(t, w)
	w, r = open(t, files.crash())
	m.compare(t, w, &r)
	closeLog(t, w)
}

// TestCrashAnywhere proves: a loss of power or a kill before any write, sync, rename, removal or sync of the directory,
// while a log is made, appended to, compacted or opened, loses nothing that was acknowledged; a write under way is there
// whole or not at all; and what the next process was told survives the next crash.
func TestCrashAnywhere(t *testing.T) {
	for seed := range uint64(4) {
		whole := newDisk(seed)
		asked := whole.dieAfter(1 << 30)
		tell(t, whole, seed, 40)
		for at := range asked() {
			chance := rand.New(rand.NewPCG(seed, uint64(at)))
			files := newDisk(seed<<32 | uint64(at))
			files.dieAfter(at)
			s := tell(t, files, seed, 40)
			files.set(nil)
			if chance.IntN(4) > 0 { // else the process is killed, and what it wrote stays
				files = files.crash()
			}
			s.survives(t, files, chance)
			if t.Failed() {
				t.Fatalf("seed %d, crash before operation %d", seed, at)
			}
		}
	}
}

// TestCrashBehindMarker proves: a marker is not durable, and a write behind it that was torn does not make its loss look
// like damage.
func TestCrashBehindMarker(t *testing.T) {
	for seed := range uint64(300) {
		files, m := newDisk(seed), &model{}
		w := create(t, files)
		chance := rand.New(rand.NewPCG(seed, 4))
		for range chance.IntN(60) {
			write := &raft.Write{HardState: raft.HardState{Term: 1}, Entries: []raft.Entry{entry(1, m.last()+1, 300+chance.IntN(600))}}
			m.apply(write)
			mustAppend(t, w, write)
			if err := w.Mark(); err != nil {
				t.Fatal(err)
			}
		}
		after := m.clone()
		files.failOn("sync", ".wal")
		write := &raft.Write{HardState: raft.HardState{Term: 1}, Entries: []raft.Entry{entry(1, m.last()+1, 1500)}}
		after.apply(write)
		if err := w.Append(write); err == nil {
			m = after // it went to a new file, which is not named yet while its header is synced
		}
		closeLog(t, w)
		story{true, m, after}.survives(t, files.crash(), chance)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// TestKilledWrite proves: a record that a killed process wrote and did not sync is durable once Open has returned it.
func TestKilledWrite(t *testing.T) {
	for seed := range uint64(40) {
		files := newDisk(seed)
		w := create(t, files)
		files.failOn("sync", "")
		if err := w.Append(&raft.Write{HardState: raft.HardState{Term: 7, Vote: 2}, Entries: []raft.Entry{entry(7, 1, 900)}}); err == nil {
			t.Fatal("the sync did not fail")
		}
		closeLog(t, w)
		files.set(nil)
		w, r := open(t, files)
		if r.HardState.Vote != 2 {
			t.Fatal("the write is not there at all")
		}
		closeLog(t, w)
		w, r = open(t, files.crash())
		if r.HardState.Vote != 2 || r.Log.Last.Index != 1 {
			t.Fatalf("seed %d: Open returned a vote and an entry that the next loss of power took: %+v", seed, r)
		}
		closeLog(t, w)
	}
}

// TestFailedSync proves: a record whose sync failed, which the next process can read and which no later sync writes, is
// durable once Open has returned it; and a log that went on behind it is not taken for damaged after a loss of power.
func TestFailedSync(t *testing.T) {
	for seed := range uint64(40) {
		for _, goesOn := range []bool{false, true} {
			files, m := newDisk(seed), &model{}
			write := func(w *wal.WAL, size int) error {
				next := &raft.Write{HardState: raft.HardState{Term: 7, Vote: 2}, Entries: []raft.Entry{entry(7, m.last()+1, size)}}
				m.apply(next)
				return w.Append(next)
			}
			w := create(t, files)
			if err := write(w, 900); err != nil {
				t.Fatal(err)
			}
			files.failOn("sync", "")
			if err := write(w, 1300); !errors.Is(err, errDisk) {
				t.Fatalf("the sync fails and Append says %v", err)
			}
			closeLog(t, w)
			files.set(nil)
			w, r := open(t, files)
			m.compare(t, w, &r)
			if goesOn {
				if err := write(w, 100); err != nil {
					t.Fatal(err)
				}
			}
			closeLog(t, w)
			w, r = open(t, files.crash())
			m.compare(t, w, &r)
			closeLog(t, w)
		}
	}
}

// TestKilledBegin proves: a segment whose name was not durable when the process was killed does not vanish with records
// that the next process acknowledged.
func TestKilledBegin(t *testing.T) {
	for seed := range uint64(40) {
		files, m := newDisk(seed), &model{}
		w := create(t, files)
		write := func() *raft.Write {
			return &raft.Write{HardState: raft.HardState{Term: 1}, Entries: []raft.Entry{entry(1, m.last()+1, 900)}}
		}
		files.set(func(op, _ string) error {
			if op == "syncdir" && len(m.entries) > 0 {
				return errDisk
			}
			return nil
		})
		for {
			next := write()
			if w.Append(next) != nil {
				break
			}
			m.apply(next)
		}
		closeLog(t, w)
		files.set(nil)
		w, _ = open(t, files)
		next := write()
		mustAppend(t, w, next)
		m.apply(next)
		closeLog(t, w)
		w, r := open(t, files.crash())
		m.compare(t, w, &r)
		closeLog(t, w)
	}
}

// TestTornBeforeRoll proves: a torn record at the very end of a segment is cut, and the log goes on in the next one.
func TestTornBeforeRoll(t *testing.T) {
	for seed := range uint64(60) {
		files, m := newDisk(seed), &model{}
		w := create(t, files)
		write := func(size int) *raft.Write {
			return &raft.Write{HardState: raft.HardState{Term: 1}, Entries: []raft.Entry{entry(1, m.last()+1, size)}}
		}
		for range 6 { // of 1,104 bytes each
			next := write(1000)
			m.apply(next)
			mustAppend(t, w, next)
		}
		if len(files.segments()) != 1 {
			t.Fatal("the first segment is too small for this test")
		}
		files.failOn("sync", ".wal")
		torn := write(smallSegments - 2*4096 - 6*1104 - 88 - 104) // nothing but a marker fits behind it
		after := m.clone()
		after.apply(torn)
		if err := w.Append(torn); err == nil || len(files.segments()) != 1 {
			t.Fatalf("the record went to another segment: %v", err)
		}
		closeLog(t, w)
		story{true, m, after}.survives(t, files.crash(), rand.New(rand.NewPCG(seed, 5)))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}
