package raft

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// slowLog is a log as a plain slice, with the durable one beside it.
type slowLog struct {
	base    EntryID
	entries []Entry // after base
	disk    []Entry // after base
	flights []slowWrite
	commit  Index
}

type slowWrite struct {
	truncate Index
	entries  []Entry
}

func (s *slowLog) last() EntryID {
	if len(s.entries) == 0 {
		return s.base
	}
	return s.entries[len(s.entries)-1].ID
}

// stable counts the entries of the log that the disk holds, given the writes completed.
func (s *slowLog) stable() Index {
	n := 0
	for n < len(s.entries) && n < len(s.disk) && s.entries[n].ID == s.disk[n].ID {
		n++
	}
	return s.base.Index + Index(n)
}

// lastBefore tries every entry.
func (s *slowLog) lastBefore(limit EntryID) EntryID {
	best, found := EntryID{}, false
	for _, id := range append([]EntryID{s.base}, ids(s.entries)...) {
		if id.Index <= limit.Index && id.Term <= limit.Term {
			best, found = id, true
		}
	}
	if !found {
		return EntryID{Index: min(limit.Index, max(s.base.Index, 1)-1)}
	}
	return best
}

func ids(entries []Entry) []EntryID {
	all := make([]EntryID, 0, len(entries))
	for _, e := range entries {
		all = append(all, e.ID)
	}
	return all
}

// Whatever is appended, cut, written, made durable, committed and compacted, in any order, the log says of terms,
// conflicts, writes and durability what a plain slice and its disk say.
func TestLogMatchesAPlainSlice(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 5))
		slow := &slowLog{}
		_, m := solo(t, voters(2, 3), HardState{Term: 1})
		n := m.node
		slow.entries = slices.Clone(m.disk.entries)
		slow.disk = slices.Clone(m.disk.entries)
		n.log.maxTailBytes = 400
		term := Term(1)
		for range 200 {
			randomLogStep(random, n, slow, &term)
			checkNode(t, n)
			compareLogs(t, random, n, slow)
		}
	}
}

func randomLogStep(random *rand.Rand, n *Node, slow *slowLog, term *Term) {
	switch random.IntN(7) {
	case 0, 1:
		if random.IntN(3) == 0 {
			*term++
		}
		n.hard.Term = *term
		var entries []Entry
		for range 1 + random.IntN(4) {
			entries = append(entries, Entry{ID: EntryID{*term, slow.last().Index + 1}, Data: make([]byte, random.IntN(40))})
			slow.entries = append(slow.entries, entries[len(entries)-1])
		}
		n.appendEntries(entries)
	case 2:
		if slow.last().Index > slow.commit {
			index := slow.commit + 1 + Index(random.Uint64N(uint64(slow.last().Index-slow.commit)))
			n.cutLog(index)
			slow.entries = slices.Clone(slow.entries[:index-slow.base.Index-1])
			*term++ // what comes after a cut is a newer leader's
		}
	case 3:
		if w := n.Ready().Write; w != nil {
			slow.flights = append(slow.flights, slowWrite{w.TruncateFrom, w.Entries})
		}
	case 4:
		if len(slow.flights) > 0 {
			w := slow.flights[0]
			slow.flights = slow.flights[1:]
			if w.truncate != 0 {
				slow.disk = slices.Clone(slow.disk[:w.truncate-slow.base.Index-1])
			}
			slow.disk = append(slow.disk, w.entries...)
			n.Stable(n.seq - Seq(len(slow.flights)))
		}
	case 5:
		slow.commit += Index(random.Uint64N(uint64(slow.last().Index-slow.commit) + 1))
		n.commitTo(slow.commit)
	case 6:
		if len(slow.flights) == 0 { // the model's disk has no base of its own
			n.Ready()
			slow.flights = nil
			slow.disk = slices.Clone(slow.entries)
			n.Stable(n.seq)
			n.Ready()
			n.Applied(n.log.handed)
			index := slow.base.Index + Index(random.Uint64N(uint64(n.log.applied-slow.base.Index)+1))
			n.Compact(index)
			if index > slow.base.Index {
				drop := index - slow.base.Index
				slow.base = slow.entries[drop-1].ID
				slow.entries, slow.disk = slow.entries[drop:], slow.disk[drop:]
			}
		}
	}
}

func compareLogs(t *testing.T, random *rand.Rand, n *Node, slow *slowLog) {
	t.Helper()
	if n.log.last != slow.last() || n.log.base != slow.base {
		t.Fatalf("log from %s to %s, want %s to %s", n.log.base, n.log.last, slow.base, slow.last())
	}
	if got, want := n.log.stable, slow.stable(); got > want {
		t.Fatalf("stable is %d, the disk agrees up to %d", got, want)
	}
	if len(slow.flights) == 0 && n.log.truncate == 0 && n.log.written == n.log.last.Index && n.log.stable != slow.last().Index {
		t.Fatalf("stable is %d with nothing in flight, want %d", n.log.stable, slow.last().Index)
	}
	for _, e := range slow.entries {
		if !n.log.holds(e.ID) || n.log.holds(EntryID{e.ID.Term + 1, e.ID.Index}) {
			t.Fatalf("log does not know the term of %s", e.ID)
		}
	}
	if _, known := n.log.term(slow.last().Index + 1); known {
		t.Fatal("log knows the term of what it does not hold")
	}
	limit := EntryID{Term(random.IntN(30)), Index(random.IntN(60))}
	got, want := n.log.lastBefore(limit), slow.lastBefore(limit)
	if got.Index < slow.base.Index && want.Index < slow.base.Index {
		return // below what either knows; only that matters
	}
	if got != want {
		t.Fatalf("lastBefore(%s) is %s, want %s, in %v after %s", limit, got, want, ids(slow.entries), slow.base)
	}
}

// A trimmed tail lets go of what left it, and never of what is not durable or not committed.
func TestTailIsBounded(t *testing.T) {
	cl, m := solo(t, voters(1), HardState{Term: 1})
	m.node.log.maxTailBytes = 10_000
	cl.settle(nil)
	for range 500 {
		if _, err := m.node.Propose(0, make([]byte, 100), make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		cl.settle(nil)
		if m.node.log.tailBytes > 10_000 || m.node.log.shadow > 10_000+300 {
			t.Fatalf("tail has %d bytes and %d in its shadow", m.node.log.tailBytes, m.node.log.shadow)
		}
	}
	m.stalled = true
	for range 200 {
		if _, err := m.node.Propose(0, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		cl.settle(nil)
	}
	if first := m.node.log.tailFirst(); first > m.node.log.stable+1 {
		t.Errorf("tail begins at %d, durable is %d", first, m.node.log.stable)
	}
}

// Slices handed out stay as they are, whatever happens to the log: writes and messages are read by other goroutines.
func TestSharedSlicesAreNotOverwritten(t *testing.T) {
	_, m := solo(t, voters(1, 2, 3), HardState{Term: 2})
	step(t, m, appendOf(2, 2, EntryID{1, 1}, 0, 2, 2, 2))
	written := m.node.Ready().Write.Entries
	before := slices.Clone(written)
	step(t, m, appendOf(3, 3, EntryID{2, 2}, 0, 3, 3, 3, 3))
	for i := range written {
		if written[i].ID != before[i].ID {
			t.Errorf("entry %s of a write became %s", before[i].ID, written[i].ID)
		}
	}
	_ = append(written, Entry{ID: EntryID{9, 9}})
	if !m.node.log.holds(EntryID{3, 5}) || m.node.log.tail[len(m.node.log.tail)-1].ID != (EntryID{3, 6}) {
		t.Error("appending to a slice handed out changed the log")
	}
}
