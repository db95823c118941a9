package wal

import (
	"slices"

	"github.com/rsqld/rsqld/raft"
)

// cacheOverhead is what an entry in the cache costs besides its data.
const cacheOverhead = 48

// cache holds the newest entries in a ring: what comes in at one end goes out at the other, and nothing moves.
type cache struct {
	// limit bounds bytes; the newest entry stays even if it is larger.
	limit int
	// ring has a power of two as its length, or none. It grows to what limit asks for and stays. Places outside of
	// head … head+count hold no entry, so that they pin no data.
	ring        []raft.Entry
	head, count int
	bytes       int
}

// at returns the i-th oldest entry.
func (c *cache) at(i int) *raft.Entry { return &c.ring[(c.head+i)&(len(c.ring)-1)] }

// holds reports whether the entry of index is here.
func (c *cache) holds(index raft.Index) bool {
	return c.count > 0 && index >= c.at(0).ID.Index && index <= c.at(c.count-1).ID.Index
}

// push adds the entry after the newest one and drops old ones to keep the limit.
func (c *cache) push(e *raft.Entry) {
	if c.count == len(c.ring) {
		c.grow()
	}
	c.count++
	*c.at(c.count - 1) = *e
	c.bytes += len(e.Data) + cacheOverhead
	for c.bytes > c.limit && c.count > 1 {
		c.drop(0)
		c.head, c.count = (c.head+1)&(len(c.ring)-1), c.count-1
	}
}

func (c *cache) grow() {
	ring := make([]raft.Entry, max(16, 2*len(c.ring)))
	for i := range c.count {
		ring[i] = *c.at(i)
	}
	c.ring, c.head = ring, 0
}

// drop empties the place of the i-th entry.
func (c *cache) drop(i int) {
	e := c.at(i)
	c.bytes -= len(e.Data) + cacheOverhead
	*e = raft.Entry{}
}

// truncate drops the entries from index on.
func (c *cache) truncate(from raft.Index) {
	for c.count > 0 && c.at(c.count-1).ID.Index >= from {
		c.drop(c.count - 1)
		c.count--
	}
}

// detach gives every entry data of its own, because the buffer that they lie in is used again.
func (c *cache) detach() {
	for i := range c.count {
		e := c.at(i)
		e.Data = slices.Clone(e.Data)
	}
}

// read copies entries from first on, up to last, and after the first at most maxBytes of data. first must be here.
func (c *cache) read(first, last raft.Index, maxBytes int) []raft.Entry {
	begin := int(first - c.at(0).ID.Index)
	limit := min(c.count, begin+int(min(last-first, raft.Index(c.count)))+1)
	end, bytes := begin, 0
	for ; end < limit; end++ {
		if bytes += len(c.at(end).Data); bytes > maxBytes && end > begin {
			break
		}
	}
	entries := make([]raft.Entry, 0, end-begin)
	for i := begin; i < end; i++ {
		entries = append(entries, *c.at(i))
	}
	return entries
}
