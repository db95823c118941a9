package sqlite

import (
	"math"
	"strings"

	lib "modernc.org/sqlite/lib"
)

// indexNUL is the offset of the first NUL byte in s, or -1.
func indexNUL(s string) int { return strings.IndexByte(s, 0) }

// Prepare compiles the first statement of sql and returns what follows it. stmt is nil when sql holds only space,
// comments and semicolons. The statement is the caller's: Release it. A NUL byte in sql is refused.
func (c *Conn) Prepare(sql string) (stmt *Stmt, tail string, err error) {
	return c.prepare(sql, false, 0)
}

// Cached is Prepare through the connection's statement cache: a statement that was released under the same authorizer
// key and the same text is used again. It is reset and has no bindings.
//
// Who counts steps takes a statement from here for each run and does not hold it: one that is held while the schema
// changes takes two steps more than a fresh one.
func (c *Conn) Cached(sql string) (stmt *Stmt, tail string, err error) {
	return c.cached(cacheKey{policy: c.authorizer.key, sql: sql})
}

// Internal is Cached for SQL of this program: the authorizer does not see it, now or when it must be compiled again.
// sql must be exactly one statement.
func (c *Conn) Internal(sql string) (*Stmt, error) {
	s, tail, err := c.cached(cacheKey{internal: true, sql: sql})
	if err != nil {
		return nil, err
	}
	if s == nil || strings.TrimSpace(tail) != "" {
		if s != nil {
			s.Release()
		}
		return nil, newError(CodeMisuse, -1, "internal sql must be one statement: %q", sql)
	}
	return s, nil
}

// Exec runs every statement of sql and drops their rows. It is for SQL of this program: the authorizer does not see
// it. It stops at the first error.
func (c *Conn) Exec(sql string) error {
	for sql != "" {
		s, tail, err := c.prepare(sql, true, 0)
		if err != nil {
			return err
		}
		if s == nil {
			return nil
		}
		if err := s.drain(); err != nil {
			return err
		}
		sql = tail
	}
	return nil
}

// drain steps s to its end and finalizes it.
func (s *Stmt) drain() error {
	for {
		row, err := s.Step()
		if err != nil || !row {
			s.finalize()
			return err
		}
	}
}

func (c *Conn) cached(key cacheKey) (*Stmt, string, error) {
	if s := c.cache.take(key, c.schemaStamp()); s != nil {
		return s, s.tail, nil
	}
	s, tail, err := c.prepare(key.sql, key.internal, lib.SQLITE_PREPARE_PERSISTENT)
	if s != nil && len(key.sql) <= maxCachedSQL {
		s.key, s.cacheable, s.tail = key, true, tail
	}
	return s, tail, err
}

// prepare compiles the first statement of sql. internal hides it from the authorizer.
func (c *Conn) prepare(sql string, internal bool, flags uint32) (*Stmt, string, error) {
	if c.db == 0 {
		return nil, "", ErrClosed
	}
	if err := c.errInterrupted(); err != nil {
		return nil, "", err
	}
	if i := indexNUL(sql); i >= 0 {
		return nil, "", newError(CodeError, i, "sql text holds a NUL byte at offset %d: bind it as a parameter", i)
	}
	if len(sql) >= math.MaxInt32 {
		return nil, "", newError(CodeTooBig, -1, "sql text of %d bytes is too long", len(sql))
	}
	text, done := c.lend(sql)
	if text == 0 {
		return nil, "", newError(CodeNoMem, -1, "%v", errNoMemory)
	}
	defer done()
	// The length includes the NUL: SQLite then compiles the text where it lies and does not copy it.
	leave := c.authorizer.enter(internal)
	rc := lib.Xsqlite3_prepare_v3(c.tls, c.db, text, int32(len(sql)+1), flags, c.mem+slotA, c.mem+slotB)
	if rc != lib.SQLITE_OK {
		err := c.failure(rc)
		c.authorizer.leave(leave)
		return nil, "", err
	}
	c.authorizer.leave(leave)
	// The tail comes back as an address within the lent text: its distance from the start is an offset into sql.
	tail := sql[*at[uintptr](c.mem + slotB)-text:]
	handle := *at[uintptr](c.mem + slotA)
	if handle == 0 {
		return nil, tail, nil
	}
	s := &Stmt{c: c, handle: handle, internal: internal, stamp: c.schemaStamp()}
	c.statements[s] = struct{}{}
	return s, tail, nil
}

// lend puts a NUL-terminated copy of s into C memory until done is called: the scratch buffer if it fits, a block of
// its own otherwise. The address is 0 when there is no memory.
func (c *Conn) lend(s string) (address uintptr, done func()) {
	if len(s) < scratchSize {
		buffer := view(c.mem+scratch, scratchSize)
		copy(buffer, s)
		buffer[len(s)] = 0
		return c.mem + scratch, func() {}
	}
	p := allocString(c.tls, s)
	return p, func() { release(c.tls, p) }
}

// A schemaStamp names the schema that a connection has in memory. A cached statement with another stamp would find
// out only when it runs, after two steps of its old program; a step budget that all replicas must count alike cannot
// have that.
type schemaStamp struct{ cookie, generation int32 }

func (c *Conn) schemaStamp() schemaStamp {
	if c.db == 0 {
		return schemaStamp{}
	}
	schema := at[lib.TSchema](at[lib.TDb](c.handle().FaDb).FpSchema)
	return schemaStamp{schema.Fschema_cookie, schema.FiGeneration}
}
