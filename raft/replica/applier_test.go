package replica

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/raft"
)

// shelf is a log of n entries that can be read.
type shelf struct {
	n   raft.Index
	err error
}

func (s *shelf) Entries(first, last raft.Index, _ int) ([]raft.Entry, error) {
	var entries []raft.Entry
	for i := first; i <= min(last, s.n); i++ {
		entries = append(entries, raft.Entry{ID: raft.EntryID{Term: 1, Index: i}})
	}
	return entries, s.err
}

// counter is a machine that fails after limit entries.
type counter struct {
	applied, limit raft.Index
	batches        []int
	baseErr        error
	short          bool
}

func (c *counter) Apply(entries []raft.Entry) ([]raft.Result, error) {
	c.batches = append(c.batches, len(entries))
	var results []raft.Result
	for _, e := range entries {
		if e.ID.Index > c.limit {
			return results, errors.New("disk full")
		}
		c.applied = e.ID.Index
		results = append(results, e.ID.Index)
	}
	if c.short {
		return results[1:], nil
	}
	return results, nil
}

func (c *counter) Base() (raft.Base, error) {
	return raft.Base{Applied: raft.EntryID{Term: 1, Index: c.applied}}, c.baseErr
}

func applierOf(machine raft.Machine, log EntryReader, heard *[]raft.Index) (*Applier, *Waiters) {
	waiters := &Waiters{}
	notify := func(i raft.Index) { *heard = append(*heard, i) }
	return NewApplier(log, machine, waiters, 0, Limits{MaxBatchEntries: 10}, notify), waiters
}

// Committed entries are applied in bounded batches, and nothing beyond the commit index.
func TestApplierAppliesWhatIsCommitted(t *testing.T) {
	var heard []raft.Index
	machine := &counter{limit: 1000}
	a, waiters := applierOf(machine, &shelf{n: 100}, &heard)
	var seen raft.Index
	waiters.add(raft.EntryID{Term: 1, Index: 20}, []*Proposal{{Done: func(Applied, error) { seen = a.Applied() }}})
	if more, err := a.Step(); more || err != nil {
		t.Errorf("step without commit: %v, %v", more, err)
	}
	a.Commit(25)
	a.Commit(20) // the commit index never falls
	for {
		more, err := a.Step()
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			break
		}
	}
	if a.Applied() != 25 || !slices.Equal(machine.batches, []int{10, 10, 5}) || !slices.Equal(heard, []raft.Index{10, 20, 25}) {
		t.Errorf("applied %d in batches %v, heard %v", a.Applied(), machine.batches, heard)
	}
	if seen != 20 {
		t.Errorf("who was told that 20 is applied saw %d", seen)
	}
}

// What a failing Apply did execute counts, and the next attempt begins where the machine says that it stands.
func TestApplierContinuesFromBase(t *testing.T) {
	var heard []raft.Index
	machine := &counter{limit: 3}
	a, waiters := applierOf(machine, &shelf{n: 100}, &heard)
	told := make(map[raft.EntryID]string)
	for index := raft.Index(1); index <= 6; index++ {
		waiting(waiters, raft.EntryID{Term: 1, Index: index}, told)
	}
	a.Commit(6)
	if _, err := a.Step(); err == nil || a.Applied() != 3 || len(told) != 3 {
		t.Errorf("got %v, applied %d, told %v; want an error and three", err, a.Applied(), told)
	}
	machine.baseErr = errors.New("cannot open")
	if _, err := a.Step(); !errors.Is(err, machine.baseErr) {
		t.Errorf("got %v, want the error of Base", err)
	}
	// The machine turns out to have made one more durable than it had told of.
	*machine = counter{limit: 1000, applied: 4}
	if _, err := a.Step(); err != nil || a.Applied() != 6 {
		t.Errorf("got %v, applied %d", err, a.Applied())
	}
	lost, kept := told[raft.EntryID{Term: 1, Index: 4}], told[raft.EntryID{Term: 1, Index: 5}]
	if lost != ErrOutcomeUnknown.Error() || kept != "5" {
		t.Errorf("waiters at 4 and 5 were told %q and %q", lost, kept)
	}
}

// A log or a machine that breaks its contract is an error, never a silent gap.
func TestApplierRefusesBrokenContracts(t *testing.T) {
	var heard []raft.Index
	damaged := errors.New("checksum is wrong")
	for name, a := range map[string]*Applier{
		"unreadable log":      first(applierOf(&counter{limit: 99}, &shelf{n: 9, err: damaged}, &heard)),
		"log without entries": first(applierOf(&counter{limit: 99}, &shelf{}, &heard)),
		"results missing":     first(applierOf(&counter{limit: 99, short: true}, &shelf{n: 9}, &heard)),
	} {
		a.Commit(5)
		if _, err := a.Step(); err == nil || a.Applied() != 0 {
			t.Errorf("%s: got %v, applied %d; want an error", name, err, a.Applied())
		}
	}
	machine := &counter{limit: 2}
	a, _ := applierOf(machine, &shelf{n: 9}, &heard)
	a.Commit(5)
	if _, err := a.Step(); err == nil {
		t.Fatal("no error")
	}
	machine.applied = 50
	if _, err := a.Step(); err == nil || !strings.Contains(err.Error(), "1/50") {
		t.Errorf("machine beyond the commit index: got %v", err)
	}
}

func first[A, B any](a A, _ B) A { return a }
