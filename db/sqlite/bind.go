package sqlite

import (
	lib "modernc.org/sqlite/lib"
)

// Type is a storage class, with SQLite's numbers (https://sqlite.org/c3ref/c_blob.html).
type Type uint8

// The storage classes.
const (
	Integer Type = 1
	Float   Type = 2
	Text    Type = 3
	Blob    Type = 4
	Null    Type = 5
)

// Value is one SQL value. The zero Value is NULL.
type Value struct {
	Type  Type
	Int   int64   // of an Integer
	Float float64 // of a Float
	Bytes []byte  // of a Text or a Blob; text should be UTF-8 and is stored as it is
}

// Bind sets parameter i, counted from 1. SQLite has no NaN: it binds as NULL.
func (s *Stmt) Bind(i int, v Value) error {
	switch v.Type {
	case 0, Null:
		return s.BindNull(i)
	case Integer:
		return s.BindInt64(i, v.Int)
	case Float:
		return s.BindFloat64(i, v.Float)
	case Text:
		return s.BindTextBytes(i, v.Bytes)
	case Blob:
		return s.BindBlob(i, v.Bytes)
	}
	return newError(CodeMismatch, -1, "parameter %d has unknown storage class %d", i, v.Type)
}

// BindNull sets parameter i to NULL.
func (s *Stmt) BindNull(i int) error {
	if s.handle == 0 {
		return ErrClosed
	}
	return s.bound(i, lib.Xsqlite3_bind_null(s.c.tls, s.handle, int32(i)))
}

// BindInt64 sets parameter i to an integer.
func (s *Stmt) BindInt64(i int, v int64) error {
	if s.handle == 0 {
		return ErrClosed
	}
	return s.bound(i, lib.Xsqlite3_bind_int64(s.c.tls, s.handle, int32(i), v))
}

// BindFloat64 sets parameter i to a real number, NaN to NULL.
func (s *Stmt) BindFloat64(i int, v float64) error {
	if s.handle == 0 {
		return ErrClosed
	}
	return s.bound(i, lib.Xsqlite3_bind_double(s.c.tls, s.handle, int32(i), v))
}

// BindText sets parameter i to text. NUL bytes are kept; most SQL functions end the text there.
func (s *Stmt) BindText(i int, v string) error { return bindBytes(s, i, v, Text) }

// BindTextBytes is BindText for bytes. SQLite copies them.
func (s *Stmt) BindTextBytes(i int, v []byte) error { return bindBytes(s, i, v, Text) }

// BindBlob sets parameter i to a blob; a nil slice is an empty blob. SQLite copies the bytes.
func (s *Stmt) BindBlob(i int, v []byte) error { return bindBytes(s, i, v, Blob) }

// bindBytes hands v to SQLite without ever showing it Go memory. A small value goes through the scratch buffer, from
// where SQLite copies it into the parameter's own buffer: the second time without any allocation. A large one is
// copied once, into a block that SQLite takes over and frees, also when it refuses the value.
func bindBytes[B string | []byte](s *Stmt, i int, v B, t Type) error {
	if s.handle == 0 {
		return ErrClosed
	}
	c := s.c
	p, destructor, room := c.mem+scratch, lib.SQLITE_TRANSIENT, scratchSize
	if len(v) > room {
		p, destructor, room = lib.Xsqlite3_malloc64(c.tls, lib.Tsqlite3_uint64(len(v))), free, len(v)
		if p == 0 {
			return newError(bindShortage(len(v)), -1, "parameter %d: no memory for %d bytes", i, len(v))
		}
	}
	copy(view(p, room)[:len(v)], v)
	n := lib.Tsqlite3_uint64(len(v))
	if t == Text {
		return s.bound(i, lib.Xsqlite3_bind_text64(c.tls, s.handle, int32(i), p, n, destructor, lib.SQLITE_UTF8))
	}
	return s.bound(i, lib.Xsqlite3_bind_blob64(c.tls, s.handle, int32(i), p, n, destructor))
}

// maxAllocation is the largest block lib's allocator gives: SQLITE_MAX_ALLOCATION_SIZE.
const maxAllocation = 2147483391

// bindShortage is the code for a block that lib did not give: a value no SQLite could hold is the statement's fault.
func bindShortage(n int) int {
	if n > maxAllocation {
		return CodeTooBig
	}
	return CodeNoMem
}

// bound makes the error of binding parameter i.
func (s *Stmt) bound(i int, rc int32) error {
	switch rc {
	case lib.SQLITE_OK:
		return nil
	case lib.SQLITE_RANGE:
		return newError(CodeRange, -1, "there is no parameter %d: the statement has %d", i, s.ParamCount())
	case lib.SQLITE_MISUSE:
		return newError(CodeMisuse, -1, "parameter %d is bound while the statement runs: reset it first", i)
	}
	return s.c.failure(rc)
}

// ClearBindings sets every parameter to NULL.
func (s *Stmt) ClearBindings() {
	if s.handle != 0 {
		lib.Xsqlite3_clear_bindings(s.c.tls, s.handle)
	}
}

// ParamCount is the largest parameter number.
func (s *Stmt) ParamCount() int { return int(lib.Xsqlite3_bind_parameter_count(s.c.tls, s.handle)) }

// ParamName is the name of parameter i with its prefix (":name", "?7"), "" if it has none.
func (s *Stmt) ParamName(i int) string {
	return goString(lib.Xsqlite3_bind_parameter_name(s.c.tls, s.handle, int32(i)))
}

// ParamIndex is the number of the parameter with this name, prefix included, or 0.
func (s *Stmt) ParamIndex(name string) int {
	if s.handle == 0 || indexNUL(name) >= 0 {
		return 0
	}
	p, done := s.c.lend(name)
	if p == 0 {
		return 0
	}
	defer done()
	return int(lib.Xsqlite3_bind_parameter_index(s.c.tls, s.handle, p))
}
