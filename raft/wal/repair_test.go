package wal_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

// damaged is a log with a long history, all of it acknowledged and covered by markers.
type damaged struct {
	files   *disk
	m       *model
	history map[raft.EntryID][]byte // every entry that was ever in it
}

func newDamaged(t *testing.T, seed uint64) *damaged {
	t.Helper()
	chance := rand.New(rand.NewPCG(seed, 20))
	d := &damaged{newDisk(seed), &model{snapshots: true}, map[raft.EntryID][]byte{}}
	w := create(t, d.files)
	for range 30 + chance.IntN(60) {
		for _, write := range d.m.writes(t, chance) {
			mustAppend(t, w, write)
			for _, e := range write.Entries {
				d.history[e.ID] = e.Data
			}
		}
		switch chance.IntN(12) {
		case 0:
			d.m.through += raft.Index(chance.IntN(int(d.m.last()-d.m.through) + 1))
			if err := w.Compact(d.m.through); err != nil {
				t.Fatal(err)
			}
		case 1:
			closeLog(t, w)
			w, _ = open(t, d.files)
		case 2:
			if err := w.Mark(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Mark(); err != nil {
		t.Fatal(err)
	}
	closeLog(t, w)
	return d
}

// harm damages one place of one file and says which.
func (d *damaged) harm(chance *rand.Rand) string {
	names := d.files.segments()
	name := names[chance.IntN(len(names))]
	b := d.files.live[name].live
	used := len(b) - 4096
	for ; used > 4096 && b[used-1] == 0; used-- {
	}
	at := chance.IntN(used)
	switch chance.IntN(6) {
	case 0:
		at = at / 8 * 8
		clear(b[at : at+16])
		return fmt.Sprintf("16 zeros in %s at %d", name, at)
	case 1, 2:
		clear(b[at/sector*sector:][:sector])
		return fmt.Sprintf("a zeroed sector of %s at %d", name, at/sector*sector)
	case 3:
		copy(b[at/sector*sector:][:sector], bytes.Repeat([]byte{0xa5}, sector))
		return fmt.Sprintf("an overwritten sector of %s at %d", name, at/sector*sector)
	case 4:
		if len(names) > 1 && chance.IntN(4) == 0 {
			delete(d.files.live, name)
			return name + " is gone"
		}
		fallthrough
	default:
		b[at] ^= 1 << chance.IntN(8)
		return fmt.Sprintf("a bit of %s at %d", name, at)
	}
}

// base is that of a state machine which has applied up to index.
func (d *damaged) base(index raft.Index) raft.Base {
	return raft.Base{Applied: d.m.id(index), ConfigurationIndex: 1, Configuration: raft.Configuration{Voters: []raft.ID{1, 2, 3}}}
}

// check proves that the repaired log keeps every promise.
func (d *damaged) check(t *testing.T, base raft.Base, done wal.Repaired) {
	t.Helper()
	w, r := open(t, d.files.crash())
	defer closeLog(t, w)
	end := d.m.id(d.m.last())
	last := r.Log.Last
	lost := done.Lost != (raft.EntryID{})
	switch {
	case r.Log.Base != base.Applied || done.Base != base.Applied || done.Last != last:
		t.Errorf("the log is %v to %v, repaired to %v, %v, want it to begin after %v", r.Log.Base, last, done.Base, done.Last, base.Applied)
	case r.Log.BaseConfiguration.Index != base.ConfigurationIndex:
		t.Errorf("the configuration is that of %d", r.Log.BaseConfiguration.Index)
	case lost && (done.Lost != end || r.HardState.Acked != end || last.Compare(end) >= 0):
		t.Errorf("the log ended at %v, now at %v; lost are %v, acknowledged %v", end, last, done.Lost, r.HardState.Acked)
	case !lost && last != end:
		t.Errorf("the log ended at %v, now at %v, and nothing is lost", end, last)
	case !lost && r.HardState != d.m.hard:
		t.Errorf("recovered %+v, want %+v", r.HardState, d.m.hard)
	case lost && r.HardState.Term <= d.m.hard.Term:
		t.Errorf("the term is %d and was %d", r.HardState.Term, d.m.hard.Term)
	}
	for _, e := range all(t, w) {
		if want, known := d.history[e.ID]; !known || !bytes.Equal(want, e.Data) {
			t.Errorf("entry %v holds what was never written", e.ID)
		}
		if !lost && d.m.id(e.ID.Index) != e.ID {
			t.Errorf("entry %v was truncated", e.ID)
		}
	}
	first, end2 := last.Index+1, last.Index+3
	for i := first; i <= end2; i++ {
		term := r.HardState.Term + 1
		mustAppend(t, w, &raft.Write{HardState: raft.HardState{Term: term}, Entries: []raft.Entry{entry(term, i, 10)}})
	}
}

// TestRepair proves: whatever is damaged, Open sees it, and Repair keeps every promise: the newest hard state, all entries
// behind what the state machine holds or the id up to which they were acknowledged; it refuses where it cannot.
func TestRepair(t *testing.T) {
	outcomes := map[string]int{}
	for seed := range uint64(150) {
		d := newDamaged(t, seed)
		chance := rand.New(rand.NewPCG(seed, 21))
		for range 8 {
			try := &damaged{d.files.settled(), d.m, d.history}
			what := []string{}
			for range 1 + chance.IntN(3)/2 {
				what = append(what, try.harm(chance))
			}
			outcomes[try.repair(t, chance)]++
			if t.Failed() {
				t.Fatalf("seed %d: %q", seed, what)
			}
		}
	}
	t.Log(outcomes)
	for _, want := range []string{"harmless", "refused", "nothing lost", "lost"} {
		if outcomes[want] < 10 {
			t.Errorf("%q happened %d times", want, outcomes[want])
		}
	}
}

func (d *damaged) repair(t *testing.T, chance *rand.Rand) string {
	base := d.base(d.m.through + raft.Index(chance.IntN(int(d.m.last()-d.m.through)+1)))
	w, r, err := wal.Open(options(d.files))
	if err == nil {
		closeLog(t, w)
		if r.Log.Base.Index <= base.Applied.Index {
			m := d.m.clone()
			m.through = max(m.through, r.Log.Base.Index) // the oldest segment may be the one that is gone
			w, r = open(t, d.files)
			m.compare(t, w, &r)
			closeLog(t, w)
			return "harmless"
		}
	} else if !errors.As(err, new(*wal.CorruptionError)) {
		t.Errorf("Open says %v", err)
	}
	before := d.files.contents()
	done, err := wal.Repair(options(d.files), base)
	if errors.Is(err, raft.ErrLost) {
		if after := d.files.contents(); !slices.Equal(before, after) {
			t.Error("a refused repair changed something")
		}
		if _, err := wal.AcceptLoss(options(d.files), base); err != nil {
			t.Errorf("AcceptLoss says %v", err)
		}
		w, r := open(t, d.files.crash())
		if r.Log.Base != base.Applied || r.HardState.Acked != (raft.EntryID{}) {
			t.Errorf("after AcceptLoss the log begins after %v, and %v was acknowledged", r.Log.Base, r.HardState.Acked)
		}
		closeLog(t, w)
		return "refused"
	}
	if err != nil || done.Damage == nil {
		t.Errorf("Repair says %+v, %v", done, err)
		return "error"
	}
	d.check(t, base, done)
	if done.Lost != (raft.EntryID{}) {
		return "lost"
	}
	return "nothing lost"
}

// settled returns a copy of the disk as it is when time has passed: all of it is durable, markers too.
func (d *disk) settled() *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	after := newDisk(d.chance.Uint64())
	for name, node := range d.live {
		copied := &inode{live: slices.Clone(node.live), durable: slices.Clone(node.live), dirty: map[int]bool{}}
		after.live[name], after.durable[name] = copied, copied
	}
	return after
}

// contents returns all names and bytes.
func (d *disk) contents() (all []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, node := range d.live {
		all = append(all, name+string(node.live))
	}
	slices.Sort(all)
	return all
}

// nineEntries is a log whose records hold one entry each, and its only segment.
func nineEntries(t testing.TB) (files *disk, segment string) {
	t.Helper()
	files = newDisk(1)
	w := create(t, files)
	mustAppend(t, w, &raft.Write{HardState: raft.HardState{Term: 4, Vote: 2}, Entries: []raft.Entry{configuration(t, 4, 1, 1, 2, 3)}})
	for i := raft.Index(2); i <= 9; i++ {
		mustAppend(t, w, &raft.Write{HardState: raft.HardState{Term: 4, Vote: 2}, Entries: []raft.Entry{entry(4, i, 100)}})
	}
	mustAppend(t, w, &raft.Write{HardState: raft.HardState{Term: 6, Vote: 1}})
	if err := w.Mark(); err != nil {
		t.Fatal(err)
	}
	closeLog(t, w)
	return files, files.segments()[0]
}

func machineAt(term raft.Term, index raft.Index, voters ...raft.ID) raft.Base {
	return raft.Base{Applied: raft.EntryID{Term: term, Index: index}, ConfigurationIndex: 1, Configuration: raft.Configuration{Voters: voters}}
}

func (d *disk) flip(t *testing.T, name, part string) {
	t.Helper()
	b := d.live[name].live
	at := bytes.Index(b, []byte(part))
	if at < 0 {
		t.Fatalf("%q is not in %s", part, name)
	}
	b[at+20] ^= 1
}

// TestRepairOnlyVoter proves: the only voter is repaired where its state machine has what is damaged, and refused, with the
// place of the damage, where nobody has it.
func TestRepairOnlyVoter(t *testing.T) {
	files, segment := nineEntries(t)
	files.flip(t, segment, "4/5")
	_, err := wal.Repair(options(files), machineAt(4, 4, 3))
	var corruption *wal.CorruptionError
	if !errors.Is(err, raft.ErrLost) || !errors.As(err, &corruption) || corruption.First != 5 || corruption.Last != 6 {
		t.Errorf("an only voter without entry 5: %v", err)
	}
	done, err := wal.Repair(options(files), machineAt(4, 5, 3))
	if err != nil || done.Lost != (raft.EntryID{}) || done.Last.Index != 9 {
		t.Errorf("an only voter that has applied entry 5: %+v, %v", done, err)
	}
	_, r := openOnce(t, files)
	if r.HardState.Term != 6 || r.HardState.Vote != 1 {
		t.Errorf("the vote behind the damage became %+v", r.HardState)
	}
}

func openOnce(t *testing.T, files *disk) ([]raft.Entry, wal.Recovered) {
	t.Helper()
	w, r := open(t, files)
	entries := all(t, w)
	closeLog(t, w)
	return entries, r
}

// TestRepairCrash proves: a repair that a loss of power ends anywhere leaves the damaged log or the repaired one.
func TestRepairCrash(t *testing.T) {
	base := machineAt(4, 3, 1, 2, 3)
	for at := 0; ; at++ {
		whole, segment := nineEntries(t)
		whole.flip(t, segment, "4/6")
		files := whole.settled()
		asked := files.dieAfter(at)
		_, err := wal.Repair(options(files), base)
		if err == nil {
			if asked() < 5 {
				t.Errorf("a repair has %d steps", asked())
			}
			return
		}
		if !errors.Is(err, errDisk) {
			t.Fatal(err)
		}
		files.set(nil)
		files = files.crash()
		if _, _, err := wal.Open(options(files)); err != nil {
			if !errors.As(err, new(*wal.CorruptionError)) {
				t.Fatalf("dead before step %d, Open says %v", at, err)
			}
			if _, err := wal.Repair(options(files), base); err != nil {
				t.Fatalf("dead before step %d, a second Repair says %v", at, err)
			}
		}
		entries, r := openOnce(t, files)
		if r.Log.Base != base.Applied || len(entries) != 2 || r.HardState.Acked != (raft.EntryID{Term: 4, Index: 9}) {
			t.Fatalf("dead before step %d: %v to %v, %+v", at, r.Log.Base, r.Log.Last, r.HardState)
		}
		if n := len(files.segments()); n != 1 {
			t.Errorf("%d segments are left", n)
		}
	}
}

// TestRepairTwice proves: what was acknowledged before one damage is not forgotten by the next one, until the log has
// reached it again or the loss is accepted.
func TestRepairTwice(t *testing.T) {
	files, segment := nineEntries(t)
	files.flip(t, segment, "4/5")
	base := machineAt(4, 3, 1, 2, 3)
	if _, err := wal.Repair(options(files), base); err != nil {
		t.Fatal(err)
	}
	w, r := open(t, files)
	for i := raft.Index(5); i <= 6; i++ {
		mustAppend(t, w, &raft.Write{HardState: r.HardState, Entries: []raft.Entry{entry(4, i, 100)}})
	}
	if err := w.Mark(); err != nil {
		t.Fatal(err)
	}
	closeLog(t, w)
	files.flip(t, files.segments()[0], "4/5")
	done, err := wal.Repair(options(files), base)
	acked := raft.EntryID{Term: 4, Index: 9}
	if err != nil || done.Lost != (raft.EntryID{Term: 4, Index: 6}) {
		t.Fatalf("%+v, %v", done, err)
	}
	if _, r = openOnce(t, files); r.HardState.Acked != acked || r.Log.Last.Index != 4 {
		t.Errorf("recovered %v, %+v; %v was acknowledged", r.Log.Last, r.HardState, acked)
	}
	if done, err = wal.Repair(options(files), base); err != nil || done.Damage != nil {
		t.Errorf("a whole log was repaired: %+v, %v", done, err)
	}
	if _, err := wal.AcceptLoss(options(files), base); err != nil {
		t.Fatal(err)
	}
	if _, r = openOnce(t, files); r.HardState.Acked != (raft.EntryID{}) || r.Log.Last.Index != 4 {
		t.Errorf("after AcceptLoss: %v, %+v", r.Log.Last, r.HardState)
	}
}

// TestRepairBlind proves: where the end of the log cannot be known, nothing is repaired, for a vote may be lost.
func TestRepairBlind(t *testing.T) {
	for name, harm := range map[string]func(files *disk, segment string){
		"a header without its salt": func(files *disk, segment string) { clear(files.live[segment].live[:512]) },
		"a file that was cut in its records": func(files *disk, segment string) {
			files.live[segment].live = files.live[segment].live[:4096+600]
		},
	} {
		files, segment := nineEntries(t)
		harm(files, segment)
		if _, _, err := wal.Open(options(files)); !errors.As(err, new(*wal.CorruptionError)) {
			t.Errorf("%s: Open says %v", name, err)
		}
		if _, err := wal.Repair(options(files), machineAt(4, 9, 1, 2, 3)); !errors.Is(err, raft.ErrLost) {
			t.Errorf("%s: Repair says %v", name, err)
		}
	}
	files, segment := nineEntries(t)
	files.live[segment].live[200] ^= 1 // of the header, and not in the salt
	if done, err := wal.Repair(options(files), machineAt(4, 3, 1, 2, 3)); err != nil || done.Last.Index != 9 {
		t.Errorf("a header whose salt is whole: %+v, %v", done, err)
	}
	if _, r := openOnce(t, files); r.HardState.Term != 6 {
		t.Errorf("recovered %+v", r.HardState)
	}
}

// TestRepairMarkerReappears proves: where the disk has lost the record that took a marker's place, the old marker is not
// the end of the log. What was acknowledged behind it is known, and candidates are compared with it.
func TestRepairMarkerReappears(t *testing.T) {
	files, segment := nineEntries(t)
	before := bytes.Clone(files.live[segment].live)
	w, r := open(t, files)
	for i := raft.Index(10); i <= 12; i++ {
		mustAppend(t, w, &raft.Write{HardState: r.HardState, Entries: []raft.Entry{entry(4, i, 100)}})
	}
	closeLog(t, w)
	now := files.live[segment].live
	eleventh := bytes.Index(now, []byte("4/11")) - 120
	first := 4096
	for first < len(now) && now[first] == before[first] {
		first++
	}
	first &^= 7
	if eleventh <= first {
		t.Fatalf("entry 10 is at %d, entry 11 at %d", first, eleventh)
	}
	copy(now[first:eleventh], before[first:eleventh])
	if _, _, err := wal.Open(options(files)); !errors.As(err, new(*wal.CorruptionError)) {
		t.Fatalf("Open says %v", err)
	}
	done, err := wal.Repair(options(files), machineAt(4, 9, 1, 2, 3))
	if err != nil || done.Lost != (raft.EntryID{Term: 4, Index: 12}) {
		t.Errorf("%+v, %v; entry 12 was acknowledged", done, err)
	}
	if _, r = openOnce(t, files); r.HardState.Acked != (raft.EntryID{Term: 4, Index: 12}) || r.Log.Last.Index != 9 {
		t.Errorf("recovered %v, %+v", r.Log.Last, r.HardState)
	}
}
