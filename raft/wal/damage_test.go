package wal_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

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
		if w, r, err = wal.Open(options(files)); err != nil || r.Log.Last != (raft.EntryID{Term: 3, Index: 2}) || r.TornBytes != 0 {
			t.Fatalf("after a cut at %d: recovered %v, %d bytes torn, %v", cut-begin, r.Log.Last, r.TornBytes, err)
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
	const header = 88 + 16
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
}

// TestDamagedSegments proves: a damaged header, a file that was cut and a missing segment are never overlooked.
func TestDamagedSegments(t *testing.T) {
	files := newDisk(1)
	w := create(t, files)
	if err := appendMany(w, 1, 300, 100); err != nil {
		t.Fatal(err)
	}
	closeLog(t, w)
	t.Run("a short file", func(t *testing.T) {
		node := files.live[files.segments()[1]]
		saved := node.live
		node.live = node.live[:4000]
		defer func() { node.live = saved }()
		if _, _, err := wal.Open(options(files)); !errors.As(err, new(*wal.CorruptionError)) {
			t.Errorf("a file without a whole header says %v", err)
		}
	})
	t.Run("a newest file without its end", func(t *testing.T) {
		name := files.segments()[len(files.segments())-1]
		node := files.live[name]
		saved := node.live
		defer func() { node.live = saved }()
		for _, size := range []int{4096, 5000, len(saved) - 1, len(saved) + 1} {
			node.live = append(slices.Clone(saved), 0)[:size]
			var corruption *wal.CorruptionError
			if _, r, err := wal.Open(options(files)); !errors.As(err, &corruption) || corruption.Segment != filepath.Base(name) {
				t.Errorf("cut to %d of %d bytes: recovered %v, %v", size, len(saved), r.Log.Last, err)
			}
		}
	})
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

// FuzzOpen proves: no bytes in a segment make Open panic or hang, also where all checksums are right; and the log that it
// opens reads from its first to its last index.
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
	f.Add(56, bytes.Repeat([]byte{0xff}, 8))       // the index before the segment's first
	f.Add(4096+64, bytes.Repeat([]byte{0xff}, 24)) // truncation, and the entry before those of a record
	f.Add(4096+12, []byte{0xff, 0xff, 0xff, 0xff}) // the number of its entries
	f.Add(4096+96, []byte{0xff, 0xff, 0xff, 0xff}) // the length of one
	f.Add(4096+100, []byte{byte(raft.EntryConfiguration)})
	f.Fuzz(func(t *testing.T, at int, b []byte) {
		content := slices.Clone(whole)
		if at < 0 || at > len(content) {
			return
		}
		copy(content[at:], b)
		openAny(t, name, slices.Clone(content))
		openAny(t, filepath.Join("/wal", wal.Reseal(content)), content)
	})
}

func openAny(t *testing.T, name string, content []byte) {
	t.Helper()
	files := newDisk(1)
	files.live[name] = &inode{live: content, dirty: map[int]bool{}}
	w, r, err := wal.Open(options(files))
	if err != nil {
		return
	}
	first, last := w.Bounds()
	if n := raft.Index(len(all(t, w))); n != last+1-first || r.Log.Last.Index != last {
		t.Fatalf("%d entries were read of %d to %d, and Open said %v", n, first, last, r.Log.Last)
	}
	closeLog(t, w)
}

// TestStaleRecord proves: an older record of the same segment in the place of another one is damage: records are tied to
// their place. Votes have no index that would tell.
func TestStaleRecord(t *testing.T) {
	files := newDisk(1)
	w := create(t, files)
	for vote := raft.ID(1); vote <= 4; vote++ {
		mustAppend(t, w, &raft.Write{HardState: raft.HardState{Term: 1, Vote: vote}})
	}
	closeLog(t, w)
	content := files.live[files.segments()[0]].live
	copy(content[4096+2*88:4096+3*88], content[4096:])
	var corruption *wal.CorruptionError
	if _, r, err := wal.Open(options(files)); !errors.As(err, &corruption) || corruption.Offset != 4096+2*88 {
		t.Errorf("recovered %+v, %v", r.HardState, err)
	}
}

// TestDamageBeforeEmptySegment proves: damage to the last record of a segment is found also when the segment after it
// holds no record yet, only the promise of its header.
func TestDamageBeforeEmptySegment(t *testing.T) {
	files := newDisk(1)
	w := create(t, files)
	if err := appendMany(w, 1, 10, 1000); err != nil {
		t.Fatal(err)
	}
	first := files.segments()[0]
	end := len(bytes.TrimRight(files.live[first].live, "\x00"))
	files.failOn("write", "0001.wal")
	if err := appendMany(w, 11, 11, 2000); !errors.Is(err, errDisk) || len(files.segments()) != 2 {
		t.Fatalf("there is no empty segment: %v", err)
	}
	closeLog(t, w)
	files.set(nil)
	clear(files.live[first].live[end-1000 : end])
	if _, r, err := wal.Open(options(files)); !errors.As(err, new(*wal.CorruptionError)) {
		t.Errorf("recovered %v, %v", r.Log.Last, err)
	}
}

// TestAnyByte proves: whichever byte of the file rots, Open finds it, or nothing is lost.
func TestAnyByte(t *testing.T) {
	files, m := newDisk(1), &model{}
	w := create(t, files)
	chance := rand.New(rand.NewPCG(1, 10))
	for len(files.segments()) < 3 {
		mustAppend(t, w, m.writes(t, chance)...)
	}
	if err := w.Mark(); err != nil {
		t.Fatal(err)
	}
	closeLog(t, w)
	for _, name := range files.segments() {
		node := files.live[name]
		for at := chance.IntN(13); at < len(node.live); at += 1 + chance.IntN(25) {
			saved := slices.Clone(node.live)
			end := len(saved) - 4096 - 88 // without the markers, of which one may be lost
			for ; saved[end+87] == 0; end-- {
			}
			node.live[at] ^= byte(1 + chance.IntN(255))
			w, r, err := wal.Open(options(files))
			if err == nil {
				if at < end {
					t.Errorf("byte %d of %s is wrong and nobody notices", at, name)
				}
				m.compare(t, w, &r)
				closeLog(t, w)
			} else if !errors.As(err, new(*wal.CorruptionError)) {
				t.Fatalf("byte %d of %s: %v", at, name, err)
			}
			node.live = saved
		}
	}
}

// TestStoredSegment proves: the bytes of a segment that a client stored in an entry of the same segment are not taken for
// records behind damage when the entry is torn.
func TestStoredSegment(t *testing.T) {
	files := newDisk(1)
	w := create(t, files)
	mustAppend(t, w, &raft.Write{HardState: raft.HardState{Term: 1}, Entries: []raft.Entry{entry(1, 1, 100)}})
	name := files.segments()[0]
	e := entry(1, 2, 0)
	e.Data = slices.Clone(files.live[name].live[:6000]) // its records lie on multiples of 8 here too
	mustAppend(t, w, &raft.Write{HardState: raft.HardState{Term: 1}, Entries: []raft.Entry{e}})
	closeLog(t, w)
	files.live[name].live[4096+220] ^= 1 // in the newest record, which no marker covers
	w, r := open(t, files)
	if r.Log.Last.Index != 1 || r.TornBytes == 0 {
		t.Errorf("recovered %v, %d bytes torn", r.Log.Last, r.TornBytes)
	}
	closeLog(t, w)
}

// TestLostPage proves: the newest records are not lost silently with a page that takes their marker too, and a whole log
// whose markers are in two pages has no torn end.
func TestLostPage(t *testing.T) {
	files := newDisk(1)
	w := create(t, files)
	for vote := raft.ID(1); vote <= 9; vote++ {
		mustAppend(t, w, &raft.Write{HardState: raft.HardState{Term: 1, Vote: vote}})
	}
	if err := w.Mark(); err != nil {
		t.Fatal(err)
	}
	closeLog(t, w)
	w, r := open(t, files.settled())
	if r.TornBytes != 0 {
		t.Errorf("%d bytes are torn", r.TornBytes)
	}
	closeLog(t, w)
	clear(files.live[files.segments()[0]].live[4096:8192])
	if _, r, err := wal.Open(options(files)); !errors.As(err, new(*wal.CorruptionError)) {
		t.Fatalf("recovered %+v, %v", r.HardState, err)
	}
	if _, err := wal.Repair(options(files), machineAt(0, 0, 1, 2, 3)); err != nil {
		t.Fatal(err)
	}
	if _, r := openOnce(t, files); r.HardState != (raft.HardState{Term: 1, Vote: 9}) {
		t.Errorf("recovered %+v", r.HardState)
	}
}

// TestLostNewestSegment proves: a log whose newest segments are gone is not taken for a shorter log.
func TestLostNewestSegment(t *testing.T) {
	files := newDisk(1)
	w := create(t, files)
	if err := appendMany(w, 1, 100, 300); err != nil {
		t.Fatal(err)
	}
	closeLog(t, w)
	for names := files.segments(); len(names) > 1; names = files.segments() {
		delete(files.live, names[len(names)-1])
		_, r, err := wal.Open(options(files))
		if !errors.As(err, new(*wal.CorruptionError)) {
			t.Fatalf("without %s the log goes to %v, %v", names[len(names)-1], r.Log.Last, err)
		}
		if _, err := wal.Repair(options(files), machineAt(1, 1, 1, 2, 3)); !errors.Is(err, raft.ErrLost) {
			t.Errorf("without %s Repair says %v", names[len(names)-1], err)
		}
	}
}

// FuzzRepair proves: no bytes behind a whole record, or in the place of one, make Inspect, Repair or AcceptLoss panic or
// hang; Inspect sees damage where Open does; and a log that was repaired opens.
func FuzzRepair(f *testing.F) {
	files, segment := nineEntries(f)
	whole := files.live[segment].live
	second := len(whole) - 4096
	f.Add(4096, []byte{})
	f.Add(4400, []byte{1, 2, 3})
	f.Add(72, []byte{1})
	f.Add(4096+200, make([]byte, 3000))
	f.Add(second, make([]byte, 88))
	f.Add(second+24, bytes.Repeat([]byte{0xff}, 8))
	f.Add(4096+150, bytes.Clone(whole[4096:4400]))
	f.Fuzz(func(t *testing.T, at int, b []byte) {
		content := slices.Clone(whole)
		if at < 0 || at > len(content) {
			return
		}
		copy(content[at:], b)
		repairAny(t, segment, slices.Clone(content))
		repairAny(t, filepath.Join("/wal", wal.Reseal(content)), content)
	})
}

func repairAny(t *testing.T, name string, content []byte) {
	t.Helper()
	files := newDisk(1)
	files.live[name] = &inode{live: content, dirty: map[int]bool{}}
	i, errInspect := wal.Inspect(files, "/wal")
	w, _, err := wal.Open(options(files))
	if err == nil {
		closeLog(t, w)
		if errInspect != nil || i.Damage != nil {
			t.Fatalf("Open finds a whole log, and Inspect %v, %v", i.Damage, errInspect)
		}
		return
	}
	if damaged := errors.As(err, new(*wal.CorruptionError)); errInspect == nil && damaged != (i.Damage != nil) {
		t.Fatalf("Open says %v, and Inspect %v", err, i.Damage)
	}
	for _, repair := range []func(wal.Options, raft.Base) (wal.Repaired, error){wal.Repair, wal.AcceptLoss} {
		if _, err := repair(options(files), machineAt(4, 3, 1, 2, 3)); err != nil {
			continue
		}
		w, _, err := wal.Open(options(files))
		if err != nil {
			t.Fatalf("a repaired log says %v", err)
		}
		all(t, w)
		closeLog(t, w)
		return
	}
}
