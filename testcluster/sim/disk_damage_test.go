package sim

import (
	"errors"
	"testing"

	"github.com/rsqld/rsqld/raft/wal"
)

// TestSettledDamageIsNoticed proves: whatever Settled proposes, the real log has all that it acknowledged afterwards, or
// says that it has not.
func TestSettledDamageIsNoticed(t *testing.T) {
	kinds, silent := map[DamageKind]int{}, 0
	for seed := range uint64(600) {
		d := NewDisk(seed)
		s := logStory{between: honest}
		if err := s.live(d, seed%40); err != nil {
			t.Fatal(err)
		}
		if seed%3 == 0 {
			d.Crash()
		}
		damage, ok := d.Settled(".wal")
		if !ok {
			continue
		}
		d.Inflict(damage)
		if seed%3 == 1 {
			d.Crash()
		}
		w, r, err := wal.Open(s.between.options(d, &s.steps))
		last := r.Log.Last
		if last.Compare(r.HardState.Acked) < 0 {
			last = r.HardState.Acked
		}
		want := s.before.entries
		switch {
		case err != nil:
			kinds[damage.Kind]++
			continue
		case len(want) > 0 && last.Compare(want[len(want)-1].ID) < 0:
			t.Fatalf("seed %d: after %s the log ends at %s and has lost %s", seed, damage, last, want[len(want)-1].ID)
		}
		silent++
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for kind := range damageKinds {
		if kinds[kind] < 5 {
			t.Errorf("%s was noticed %d times only", kind, kinds[kind])
		}
	}
	if silent == 0 {
		t.Error("damage never meets a place that holds nothing")
	}
}

// TestDamageHeals proves: a sector that cannot be read can be after it was written.
func TestDamageHeals(t *testing.T) {
	d := NewDisk(1)
	f := create(t, d.Mount(), "/f", filled(2*sector, 1))
	d.Inflict(Damage{Name: "f", Kind: Latent, sectors: []int{sector}})
	if _, err := f.ReadAt(make([]byte, 10), sector-1); !errors.Is(err, ErrIO) {
		t.Fatalf("got %v, want an input/output error", err)
	}
	if _, err := f.ReadAt(make([]byte, sector), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{1}, sector); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadAt(make([]byte, 2*sector), 0); err != nil {
		t.Fatal(err)
	}
}
