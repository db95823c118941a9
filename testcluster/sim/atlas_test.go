package sim

import (
	"testing"

	"github.com/rsqld/rsqld/raft"
)

// TestAtlas proves: an index is damaged at a minority of every set of voters and at nobody of one or two, until a node
// has healed.
func TestAtlas(t *testing.T) {
	from := func(first raft.Index) raft.Range { return raft.Range{First: first, Last: Everything.Last} }
	for _, voters := range [][]raft.ID{{1}, {1, 2}} {
		if NewAtlas(voters...).May(1, from(5)) {
			t.Errorf("one of %v may be damaged", voters)
		}
	}
	a := NewAtlas(1, 2, 3)
	a.Damaged(1, raft.Range{First: 10, Last: 20})
	for _, c := range []struct {
		node raft.ID
		r    raft.Range
		want bool
	}{
		{1, raft.Range{First: 5, Last: 15}, true},
		{2, raft.Range{First: 1, Last: 9}, true},
		{2, raft.Range{First: 1, Last: 10}, false},
		{2, from(15), false},
		{2, from(21), true},
		{3, from(20), false},
		{3, raft.Range{}, true},
		{4, from(1), true}, // no voter: it may lose what it likes
	} {
		if got := a.May(c.node, c.r); got != c.want {
			t.Errorf("may %d lose %s: %v, want %v", c.node, c.r, got, c.want)
		}
	}
	a.Damaged(4, from(1))
	if a.SetVoters([]raft.ID{1, 2, 3}, []raft.ID{1, 3, 4}) {
		t.Error("two of three voters have damage at the same index, and that is fine")
	}
	a.Healed(4)
	if !a.SetVoters([]raft.ID{1, 2, 3}, []raft.ID{1, 2, 3, 4, 5}) || a.May(2, from(1)) {
		t.Error("the smaller set of voters is overlooked")
	}
	a.Healed(1)
	if !a.May(2, from(1)) || a.Lost(1) != nil {
		t.Error("a node that has healed is still in the accounts")
	}
	defer func() {
		if recover() == nil {
			t.Error("damage beyond the bounds is entered into the accounts")
		}
	}()
	a.Damaged(2, from(1))
	a.Damaged(3, from(1))
}

// TestLostBy proves: damage to a segment loses what is in it and after it, damage to anything else everything.
func TestLostBy(t *testing.T) {
	for name, first := range map[string]raft.Index{
		"wal/000000000000001f-0000000000000002.wal": 31,
		"wal/0000000000000001-0000000000000000.wal": 1,
		"wal/spare":    1,
		"snapshot/123": 1,
	} {
		if got := LostBy(name); got.First != first || got.Last != Everything.Last {
			t.Errorf("damage to %s loses %s, want everything from %d on", name, got, first)
		}
	}
}
