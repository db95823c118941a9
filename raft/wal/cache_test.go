package wal

import (
	"math/rand/v2"
	"testing"

	"github.com/rsqld/rsqld/raft"
)

// TestCache proves: the ring holds what a plain slice would, keeps its limit, and pins nothing that it dropped.
func TestCache(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 1))
	c := cache{limit: 3000}
	var plain []raft.Entry
	next := raft.Index(1)
	for range 5000 {
		if len(plain) > 0 && chance.IntN(20) == 0 {
			next = max(plain[0].ID.Index, next-raft.Index(chance.IntN(10)))
			c.truncate(next)
			plain = plain[:next-plain[0].ID.Index]
		}
		e := raft.Entry{ID: raft.EntryID{Term: 1, Index: next}, Data: make([]byte, chance.IntN(chance.IntN(400)+1))}
		next++
		c.push(&e)
		plain = append(plain, e)
		bytes := 0
		for i := len(plain) - 1; i >= 0; i-- {
			if bytes += len(plain[i].Data) + cacheOverhead; bytes > c.limit && i < len(plain)-1 {
				plain = plain[i+1:]
				break
			}
		}
		if c.count != len(plain) || c.holds(plain[0].ID.Index-1) || c.holds(next) {
			t.Fatalf("the cache holds %d entries, want %d", c.count, len(plain))
		}
		at := chance.IntN(len(plain))
		got := c.read(plain[at].ID.Index, next+5, 1<<20)
		if len(got) != len(plain)-at || cap(got) != len(got) {
			t.Fatalf("read %d of %d entries into room for %d", len(got), len(plain)-at, cap(got))
		}
		for i := range got {
			if got[i].ID != plain[at+i].ID || len(got[i].Data) != len(plain[at+i].Data) {
				t.Fatalf("entry %d is %v", at+i, got[i].ID)
			}
		}
		full := 0
		for i := range c.ring {
			if c.ring[i].ID.Index != 0 {
				full++
			}
		}
		if full != c.count {
			t.Fatalf("%d entries are pinned, %d are held", full, c.count)
		}
	}
	if len(c.ring) > 128 {
		t.Errorf("the ring grew to %d places for %d bytes", len(c.ring), c.limit)
	}
}
