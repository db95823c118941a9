package dump

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/rsqld/rsqld/db/sqlite"
)

// Options say what Write writes.
type Options struct {
	// Tables are patterns as for LIKE; none: everything.
	Tables []string
	// Comment is put at the beginning, one line.
	Comment string
}

// Write writes what a connection sees as a script. It ends early, with the cause, when ctx ends.
func Write(ctx context.Context, conn *sqlite.Conn, to io.Writer, o Options) error {
	schema, err := Read(conn, o.Tables...)
	if err != nil {
		return err
	}
	w := &writer{ctx: ctx, conn: conn, out: bufio.NewWriterSize(to, 64<<10)}
	if o.Comment != "" {
		w.line("-- " + o.Comment)
	}
	w.line("PRAGMA foreign_keys=OFF;")
	w.line("BEGIN TRANSACTION;")
	if err := w.schema(schema, len(o.Tables) == 0); err != nil {
		return fmt.Errorf("writing a dump: %w", err)
	}
	w.line("COMMIT;")
	return w.out.Flush()
}

// writer writes one script. What out could not write it says at every later write, and at Flush.
type writer struct {
	ctx  context.Context
	conn *sqlite.Conn
	out  *bufio.Writer
	row  []byte // the memory of a line
}

func (w *writer) line(text string) {
	w.out.WriteString(text)
	w.out.WriteByte('\n')
}

func (w *writer) schema(s *Schema, whole bool) error {
	first := len(s.Tables)
	for i := range s.Tables {
		if s.Tables[i].Kind != Ordinary {
			first = min(first, i)
		}
	}
	for i := range s.Tables[:first] {
		if err := w.table(&s.Tables[i]); err != nil {
			return err
		}
	}
	if err := w.sequences(s.Tables[:first]); err != nil {
		return err
	}
	for _, objects := range [][]Object{s.Indexes, s.Views} {
		for _, o := range objects {
			w.line(Ended(o.SQL))
		}
	}
	for i := range s.Tables[first:] {
		if err := w.virtual(&s.Tables[first+i]); err != nil {
			return err
		}
	}
	for _, o := range s.Triggers {
		w.line(Ended(o.SQL))
	}
	if whole {
		w.header(s)
	}
	return nil
}

// header writes what is no table's.
func (w *writer) header(s *Schema) {
	if s.UserVersion != 0 {
		w.line(fmt.Sprintf("PRAGMA user_version=%d;", s.UserVersion))
	}
	if s.ApplicationID != 0 {
		w.line(fmt.Sprintf("PRAGMA application_id=%d;", s.ApplicationID))
	}
	if s.Analyzed {
		w.line("ANALYZE;")
	}
}

func (w *writer) table(t *Table) error {
	w.line(Ended(t.SQL))
	return w.rows(t)
}

// rows writes an INSERT for each row.
func (w *writer) rows(t *Table) error {
	into := t.into() + " VALUES("
	err := query(w.conn, t.Select, func(row *sqlite.Stmt) error {
		if w.ctx.Err() != nil {
			return context.Cause(w.ctx)
		}
		w.row = append(w.row[:0], into...)
		for i := range t.Columns {
			if i > 0 {
				w.row = append(w.row, ',')
			}
			w.row = appendLiteral(w.row, row.Column(i))
		}
		w.row = append(w.row, ");\n"...)
		_, err := w.out.Write(w.row)
		return err
	})
	if err != nil {
		return fmt.Errorf("table %s: %w", t.Name, err)
	}
	return nil
}

// sequences writes the counters of AUTOINCREMENT.
func (w *writer) sequences(tables []Table) error {
	return Sequences(w.conn, tables, func(table string, value sqlite.Value) error {
		name := quoteText(table)
		w.line("DELETE FROM sqlite_sequence WHERE name=" + name + ";")
		w.line("INSERT INTO sqlite_sequence VALUES(" + name + "," + string(appendLiteral(nil, value)) + ");")
		return nil
	})
}

// Sequences visits the counters that tables with AUTOINCREMENT have.
func Sequences(conn *sqlite.Conn, tables []Table, visit func(table string, value sqlite.Value) error) error {
	kept, err := exists(conn, "sqlite_sequence")
	if err != nil || !kept {
		return err
	}
	names := make(map[string]bool)
	for i := range tables {
		names[strings.ToLower(tables[i].Name)] = true
	}
	return query(conn, "SELECT name, seq FROM sqlite_sequence ORDER BY rowid", func(row *sqlite.Stmt) error {
		if name := row.ColumnText(0); names[strings.ToLower(name)] {
			return visit(name, row.Column(1))
		}
		return nil
	})
}

// virtual writes a virtual table.
func (w *writer) virtual(t *Table) error {
	if t.Kind == Contentless {
		return w.contentless(t)
	}
	w.line(Ended(t.SQL))
	for _, c := range t.Config {
		name := quoteName(t.Name)
		w.line(fmt.Sprintf("INSERT INTO %s(%s, rank) VALUES(%s,%s);", name, name, c[0], c[1]))
	}
	switch t.Kind {
	case External:
		name := quoteName(t.Name)
		w.line(fmt.Sprintf("INSERT INTO %s(%s) VALUES('rebuild');", name, name))
	case Virtual:
		return w.rows(t)
	}
	return nil
}

// contentless writes the shadow tables of an FTS5 table, and itself by a row of the schema, which keeps FTS5 from
// making them.
func (w *writer) contentless(t *Table) error {
	w.line("PRAGMA writable_schema=ON;")
	name := quoteText(t.Name)
	w.line(fmt.Sprintf("INSERT INTO sqlite_schema(type,name,tbl_name,rootpage,sql) VALUES('table',%s,%s,0,%s);",
		name, name, quoteText(t.SQL)))
	for i := range t.shadows {
		if err := w.table(&t.shadows[i]); err != nil {
			return err
		}
	}
	w.line("PRAGMA writable_schema=RESET;") // off, and the schema is read again
	return nil
}
