package sqlite

import (
	lib "modernc.org/sqlite/lib"
)

// The column readers count from 0 and are meaningful after a Step that returned a row. Another column number reads as
// NULL.

// ColumnCount is the number of result columns, 0 for a statement without a result.
func (s *Stmt) ColumnCount() int { return int(lib.Xsqlite3_column_count(s.c.tls, s.handle)) }

// ColumnName is the name of result column i. Without AS it is SQLite's choice.
func (s *Stmt) ColumnName(i int) string {
	return goString(lib.Xsqlite3_column_name(s.c.tls, s.handle, int32(i)))
}

// ColumnDeclType is the declared type of the table column that result column i shows, "" for an expression.
func (s *Stmt) ColumnDeclType(i int) string {
	return goString(lib.Xsqlite3_column_decltype(s.c.tls, s.handle, int32(i)))
}

// ColumnType is the storage class of the value.
func (s *Stmt) ColumnType(i int) Type {
	return Type(lib.Xsqlite3_column_type(s.c.tls, s.handle, int32(i)))
}

// ColumnInt64 is the value as an integer, by SQLite's conversions.
func (s *Stmt) ColumnInt64(i int) int64 {
	return lib.Xsqlite3_column_int64(s.c.tls, s.handle, int32(i))
}

// ColumnFloat64 is the value as a real number, by SQLite's conversions.
func (s *Stmt) ColumnFloat64(i int) float64 {
	return lib.Xsqlite3_column_double(s.c.tls, s.handle, int32(i))
}

// ColumnRaw is the bytes of a text or blob where SQLite holds them: nothing is copied. They must not be written, and
// are gone with the next Step, Reset or Release. Numbers are read as text, NULL as nil; an empty value is not nil.
func (s *Stmt) ColumnRaw(i int) []byte {
	tls, n := s.c.tls, int32(i)
	var p uintptr
	switch s.ColumnType(i) {
	case Null:
		return nil
	case Blob:
		p = lib.Xsqlite3_column_blob(tls, s.handle, n)
	default:
		p = lib.Xsqlite3_column_text(tls, s.handle, n)
	}
	if p == 0 {
		return []byte{}
	}
	return view(p, int(lib.Xsqlite3_column_bytes(tls, s.handle, n)))
}

// ColumnBytes appends the bytes of ColumnRaw to dst.
func (s *Stmt) ColumnBytes(i int, dst []byte) []byte { return append(dst, s.ColumnRaw(i)...) }

// ColumnText is a copy of ColumnRaw as a string.
func (s *Stmt) ColumnText(i int) string { return string(s.ColumnRaw(i)) }

// ColumnLen is the number of bytes of ColumnRaw.
func (s *Stmt) ColumnLen(i int) int { return len(s.ColumnRaw(i)) }

// Column is the value of column i; Bytes is borrowed as in ColumnRaw.
func (s *Stmt) Column(i int) Value {
	v := Value{Type: s.ColumnType(i)}
	switch v.Type {
	case Integer:
		v.Int = s.ColumnInt64(i)
	case Float:
		v.Float = s.ColumnFloat64(i)
	case Text, Blob:
		v.Bytes = s.ColumnRaw(i)
	}
	return v
}
