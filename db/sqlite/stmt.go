package sqlite

import (
	lib "modernc.org/sqlite/lib"
)

// Stmt is a prepared statement of one connection. It belongs to whoever prepared it until Release or Finalize, and
// dies with its connection: then every method that can fail returns ErrClosed.
type Stmt struct {
	c        *Conn
	handle   uintptr // sqlite3_stmt*; 0 when finalized
	internal bool    // the authorizer does not see it

	// The state of the present run: none, between Step and its end, or over until Reset.
	state runState
	// reported is true when the run's error was returned by Step; Reset must not return it again.
	reported bool

	// Of a statement from the cache.
	cacheable  bool
	key        cacheKey
	tail       string
	stamp      schemaStamp
	kept       bool  // the cache has it under its key
	prev, next *Stmt // neighbours among the idle statements; nil while in use
}

type runState uint8

const (
	runNone runState = iota
	runActive
	runOver
)

// Step runs the statement to its next row or to its end. After the end, or an error, it must be Reset before it can
// run again.
func (s *Stmt) Step() (row bool, err error) {
	c := s.c
	switch {
	case s.handle == 0:
		return false, ErrClosed
	case s.state == runOver:
		return false, newError(CodeMisuse, -1, "the statement has ended: reset it before it runs again")
	case s.state == runNone:
		if err := c.errInterrupted(); err != nil {
			return false, err
		}
		// Progress callbacks fall on multiples of a counter that lives as long as the statement: start it at 0.
		lib.Xsqlite3_stmt_status(c.tls, s.handle, lib.SQLITE_STMTSTATUS_VM_STEP, 1)
	}
	s.state = runActive
	// SQLite may have to compile the statement anew here, and ask the authorizer while it does.
	leave := c.authorizer.enter(s.internal)
	was := c.stepping
	c.stepping = !s.internal
	rc := lib.Xsqlite3_step(c.tls, s.handle)
	c.stepping = was
	if rc == lib.SQLITE_ROW {
		c.authorizer.leave(leave)
		return true, nil
	}
	s.state = runOver
	if rc != lib.SQLITE_DONE {
		err = c.failure(rc)
		s.reported = true
	}
	c.authorizer.leave(leave)
	return false, err
}

// Reset ends the present run and makes the statement ready for another; bindings stay. It returns an error only if
// ending the run failed: in autocommit mode the reset of a half-read RETURNING is the commit. What Step returned
// is not returned again.
func (s *Stmt) Reset() error {
	if s.handle == 0 {
		return ErrClosed
	}
	if s.state == runNone {
		return nil
	}
	rc := lib.Xsqlite3_reset(s.c.tls, s.handle)
	reported := s.reported
	s.state, s.reported = runNone, false
	if rc != lib.SQLITE_OK && !reported {
		return s.c.failure(rc)
	}
	return nil
}

// Release gives the statement back: one from the cache is reset, stripped of its bindings and kept for the next
// Cached, any other is finalized. The statement must not be used afterwards. Whoever needs the error of a run that is
// cut short calls Reset first.
func (s *Stmt) Release() {
	if s.handle == 0 {
		return
	}
	if !s.cacheable {
		s.finalize()
		return
	}
	// An idle statement must not hold a read transaction open, nor the caller's large values.
	lib.Xsqlite3_reset(s.c.tls, s.handle)
	s.state, s.reported = runNone, false
	lib.Xsqlite3_clear_bindings(s.c.tls, s.handle)
	if evicted := s.c.cache.put(s); evicted != nil {
		evicted.finalize()
	}
}

// Finalize frees the statement, a cached one too. It returns what Reset would.
func (s *Stmt) Finalize() error {
	if s.handle == 0 {
		return nil
	}
	err := s.Reset()
	s.finalize()
	return err
}

// finalize frees the statement whatever state it is in.
func (s *Stmt) finalize() {
	s.c.cache.forget(s)
	lib.Xsqlite3_finalize(s.c.tls, s.handle)
	s.handle = 0
	delete(s.c.statements, s)
}

// ReadOnly is SQLite's own judgement that the statement does not write the database file. It is wrong both ways for
// deciding what a statement is (https://sqlite.org/c3ref/stmt_readonly.html): true for ATTACH, COMMIT and PRAGMAs that
// set something, false for EXPLAIN INSERT.
func (s *Stmt) ReadOnly() bool { return lib.Xsqlite3_stmt_readonly(s.c.tls, s.handle) != 0 }

// IsExplain is 1 for EXPLAIN, 2 for EXPLAIN QUERY PLAN, otherwise 0.
func (s *Stmt) IsExplain() int { return int(lib.Xsqlite3_stmt_isexplain(s.c.tls, s.handle)) }

// SQL is the text of this statement alone, without the tail.
func (s *Stmt) SQL() string { return goString(lib.Xsqlite3_sql(s.c.tls, s.handle)) }

// Steps counts the virtual machine's instructions of the present run, up to the last row or the end.
func (s *Stmt) Steps() int64 {
	if s.handle == 0 {
		return 0
	}
	return int64(uint32(lib.Xsqlite3_stmt_status(s.c.tls, s.handle, lib.SQLITE_STMTSTATUS_VM_STEP, 0)))
}
