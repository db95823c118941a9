package engine

import "github.com/rsqld/rsqld/raft"

// Chain is the running hash of every result since the first entry: H = mix(H, index, code, changes and last rowid of
// each statement). Two replicas with the same Hash at the same Index executed the same entries to the same ends; a
// replica with another one has diverged.
//
// It finds accidents, not forgeries: 64 bits without a key.
type Chain struct {
	Index raft.Index
	Hash  uint64
}

// chainWindow is for how many of the newest entries the hash is kept, so that replicas that have applied different
// numbers of entries can compare at an index which both have passed.
const chainWindow = 64 << 10

// next returns the chain after the entry with that index and result; r is nil for an entry that is no command.
func (c Chain) next(index raft.Index, r *Result) Chain {
	h := mix(c.Hash, uint64(index))
	if r != nil {
		h = mix(h, uint64(r.Extended))
		h = mix(h, uint64(r.Node))
		for i := range r.Statements {
			h = mix(h, uint64(r.Statements[i].RowsAffected))
			h = mix(h, uint64(r.Statements[i].LastInsertID))
		}
	}
	return Chain{index, h}
}

// mix folds v into h. Both multiplications are by odd constants and the shifts are xored in, so that for a given h
// different v give different results.
func mix(h, v uint64) uint64 {
	h = (h ^ v) * 0x9e3779b97f4a7c15
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return h ^ h>>29
}

// chainHistory keeps the hashes of the newest entries in a ring. It is empty after a start: a node compares what it has
// applied itself.
type chainHistory struct {
	// first is the lowest index kept, zero if none is. The indexes kept are without gaps.
	first, last raft.Index
	ring        []uint64
}

func (h *chainHistory) add(chain []Chain) {
	if h.ring == nil {
		h.ring = make([]uint64, chainWindow)
	}
	for _, c := range chain {
		if h.first == 0 || c.Index != h.last+1 {
			h.first = c.Index
		}
		h.last = c.Index
		if h.last-h.first >= chainWindow {
			h.first = h.last - chainWindow + 1
		}
		h.ring[c.Index%chainWindow] = c.Hash
	}
}

func (h *chainHistory) at(index raft.Index) (hash uint64, kept bool) {
	if h.first == 0 || index < h.first || index > h.last {
		return 0, false
	}
	return h.ring[index%chainWindow], true
}
