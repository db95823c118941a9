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

// A cache holds the prepared statements of one connection that may be used again. One in use keeps its place under its
// key, so that taking it and giving it back cost one look into the map; when two of the same key are released, the
// second is freed.
type cache struct {
	size int // of the ring
	kept map[cacheKey]*Stmt
	// ring links the idle statements: ring.next is the most, ring.prev the least recently used. A statement in use has
	// no neighbours.
	ring Stmt
	idle int
}

func newCache(size int) *cache {
	k := &cache{size: size, kept: make(map[cacheKey]*Stmt)}
	k.ring.prev, k.ring.next = &k.ring, &k.ring
	return k
}

// take returns the idle statement for key, nil if there is none. One compiled against another schema than stamp is
// freed: running it would cost two steps that a fresh one does not take.
func (k *cache) take(key cacheKey, stamp schemaStamp) *Stmt {
	s := k.kept[key]
	if s == nil || s.next == nil {
		return nil
	}
	k.unlink(s)
	if s.stamp != stamp {
		s.finalize()
		return nil
	}
	return s
}

// put makes s idle and returns the statement to free in its stead, nil if none.
func (k *cache) put(s *Stmt) *Stmt {
	if s.next != nil {
		return nil // released before
	}
	if !s.kept {
		if k.kept[s.key] != nil {
			return s
		}
		k.kept[s.key], s.kept = s, true
	}
	s.prev, s.next = &k.ring, k.ring.next
	s.prev.next, s.next.prev = s, s
	if k.idle++; k.idle <= k.size {
		return nil
	}
	return k.ring.prev
}

// unlink takes s out of the idle ones.
func (k *cache) unlink(s *Stmt) {
	s.prev.next, s.next.prev = s.next, s.prev
	s.prev, s.next = nil, nil
	k.idle--
}

// forget removes a statement that is finalized.
func (k *cache) forget(s *Stmt) {
	if s.next != nil {
		k.unlink(s)
	}
	if s.kept {
		delete(k.kept, s.key)
		s.kept = false
	}
}

// ClearCache frees every idle statement.
func (c *Conn) ClearCache() {
	for c.cache.ring.next != &c.cache.ring {
		c.cache.ring.next.finalize()
	}
}
