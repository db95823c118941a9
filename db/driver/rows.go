package driver

import (
	"bytes"
	"database/sql/driver"
	"io"
	"reflect"
	"strings"
	"time"
)

// rows are Results as database/sql wants them: values are converted by the declared types of their columns.
type rows struct {
	results *Results
	columns []Column // of the present result
	types   []string // of its columns, see databaseType
	// ahead is set when results are at the next result already and database/sql has not asked for it yet.
	ahead bool
	over  bool // there are no more results
}

var (
	_ driver.RowsNextResultSet              = (*rows)(nil)
	_ driver.RowsColumnTypeDatabaseTypeName = (*rows)(nil)
	_ driver.RowsColumnTypeScanType         = (*rows)(nil)
	_ driver.RowsColumnTypeNullable         = (*rows)(nil)
)

// advance moves to the next result that has columns.
func (r *rows) advance() bool {
	if r.ahead || r.over {
		return r.ahead
	}
	for r.results.NextResult() {
		if len(r.results.Columns()) > 0 {
			r.ahead = true
			return true
		}
	}
	r.over = true
	return false
}

// NextResultSet implements [driver.RowsNextResultSet].
func (r *rows) NextResultSet() error {
	if !r.advance() {
		r.columns, r.types = nil, nil
		if err := r.results.Err(); err != nil {
			return err
		}
		return io.EOF
	}
	r.ahead = false
	r.columns = r.results.Columns()
	r.types = make([]string, len(r.columns))
	for i, column := range r.columns {
		r.types[i] = databaseType(column.DeclaredType)
	}
	return nil
}

// HasNextResultSet implements [driver.RowsNextResultSet]. To know it, the next result is begun.
func (r *rows) HasNextResultSet() bool { return r.advance() }

// Columns implements [driver.Rows].
func (r *rows) Columns() []string {
	names := make([]string, len(r.columns))
	for i, column := range r.columns {
		names[i] = column.Name
	}
	return names
}

// Next implements [driver.Rows]. At the end of a result it begins the next one: database/sql takes io.EOF for success,
// and would not hear of an error of the statements that follow.
func (r *rows) Next(dst []driver.Value) error {
	if !r.ahead && !r.over && r.results.Next() {
		for i, value := range r.results.Row() {
			dst[i] = convert(r.types[i], value)
		}
		return nil
	}
	r.advance()
	if err := r.results.Err(); err != nil {
		return err
	}
	return io.EOF
}

// Close implements [driver.Rows].
func (r *rows) Close() error { return r.results.Close() }

// ColumnTypeDatabaseTypeName implements [driver.RowsColumnTypeDatabaseTypeName]: the declared type in upper case without
// its parentheses; empty for an expression.
func (r *rows) ColumnTypeDatabaseTypeName(i int) string { return r.types[i] }

// ColumnTypeNullable implements [driver.RowsColumnTypeNullable]. SQLite does not tell.
func (r *rows) ColumnTypeNullable(int) (nullable, ok bool) { return true, false }

// ColumnTypeScanType implements [driver.RowsColumnTypeScanType]: the type that most values of a column declared so have.
// SQLite does not hold columns to it.
func (r *rows) ColumnTypeScanType(i int) reflect.Type {
	declared := r.types[i]
	switch {
	case isTime(declared):
		return reflect.TypeFor[time.Time]()
	case isBool(declared):
		return reflect.TypeFor[bool]()
	}
	// SQLite's own rules of affinity, in its order (https://www.sqlite.org/datatype3.html §3.1).
	for _, rule := range []struct {
		part string
		scan reflect.Type
	}{
		{"INT", reflect.TypeFor[int64]()}, {"CHAR", reflect.TypeFor[string]()}, {"CLOB", reflect.TypeFor[string]()},
		{"TEXT", reflect.TypeFor[string]()}, {"BLOB", reflect.TypeFor[[]byte]()}, {"REAL", reflect.TypeFor[float64]()},
		{"FLOA", reflect.TypeFor[float64]()}, {"DOUB", reflect.TypeFor[float64]()},
	} {
		if strings.Contains(declared, rule.part) {
			return rule.scan
		}
	}
	return reflect.TypeFor[any]()
}

// databaseType is a declared type without its parentheses: VARCHAR(20) is VARCHAR.
func databaseType(declared string) string {
	name, _, _ := strings.Cut(declared, "(")
	return strings.ToUpper(strings.TrimSpace(name))
}

func isTime(declared string) bool {
	return declared == "DATETIME" || declared == "DATE" || declared == "TIMESTAMP" || strings.HasPrefix(declared, "TIMESTAMP ")
}

func isBool(declared string) bool { return declared == "BOOLEAN" || declared == "BOOL" }

// convert makes a time or a truth value of what a column declared so holds. What is neither stays what it is.
func convert(declared string, value any) driver.Value {
	switch v := value.(type) {
	case string:
		if isTime(declared) {
			if t, ok := parseTime(v); ok {
				return t
			}
		}
	case int64:
		if isBool(declared) && (v == 0 || v == 1) {
			return v == 1
		}
	case []byte:
		return bytes.Clone(v) // database/sql keeps it for longer than the frame
	}
	return value
}

// timeLayouts are what SQLite's date functions read (https://www.sqlite.org/lang_datefunc.html) and what drivers write.
var timeLayouts = []string{
	"2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999", "2006-01-02", "2006-01-02 15:04Z07:00", "2006-01-02 15:04",
	"2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999", "2006-01-02T15:04Z07:00", "2006-01-02T15:04",
}

// parseTime reads a time. Without a zone it is UTC, and a zone of no offset is UTC too.
func parseTime(text string) (time.Time, bool) {
	if len(text) < len("2006-01-02") || text[4] != '-' {
		return time.Time{}, false
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			if _, offset := t.Zone(); offset == 0 {
				t = t.UTC()
			}
			return t, true
		}
	}
	return time.Time{}, false
}
