package sqlite

// maxCachedSQL is the longest SQL text, in bytes, that is worth keeping: longer ones are scripts and bulk inserts
// that do not come again.
const maxCachedSQL = 64 << 10

// A cacheKey names a prepared statement. The policy is part of it because the authorizer is asked only when a
// statement is compiled: what one role may run, another must not find in the cache.
type cacheKey struct {
	policy   string
	internal bool
	sql      string
}

// A cache holds the idle prepared statements of one connection. A statement in use is not in it; when two of the same
// key are released, the second is freed.
type cache struct {
	size int
	idle map[cacheKey]*Stmt
	ring Stmt // ring.next is the most, ring.prev the least recently used
}

func newCache(size int) *cache {
	k := &cache{size: size, idle: make(map[cacheKey]*Stmt)}
	k.ring.prev, k.ring.next = &k.ring, &k.ring
	return k
}

// take removes and returns the statement for key, nil if there is none. One compiled against another schema than
// stamp is freed: running it would cost two steps that a fresh one does not take.
func (k *cache) take(key cacheKey, stamp schemaStamp) *Stmt {
	s := k.idle[key]
	if s == nil {
		return nil
	}
	k.remove(s)
	if s.stamp != stamp {
		s.finalize()
		return nil
	}
	return s
}

// put adds s and returns the statement to free in its stead, nil if none.
func (k *cache) put(s *Stmt) *Stmt {
	if k.idle[s.key] != nil {
		return s
	}
	k.idle[s.key] = s
	s.prev, s.next = &k.ring, k.ring.next
	s.prev.next, s.next.prev = s, s
	if len(k.idle) <= k.size {
		return nil
	}
	oldest := k.ring.prev
	k.remove(oldest)
	return oldest
}

func (k *cache) remove(s *Stmt) {
	delete(k.idle, s.key)
	s.prev.next, s.next.prev = s.next, s.prev
	s.prev, s.next = nil, nil
}

// ClearCache frees every idle statement.
func (c *Conn) ClearCache() {
	for _, s := range c.cache.idle {
		c.cache.remove(s)
		s.finalize()
	}
}
