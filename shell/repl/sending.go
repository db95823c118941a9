package repl

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rsqld/rsqld/db/dump"
	"github.com/rsqld/rsqld/db/sqlite"
)

// A dump is sent in this order:
//
//	tables and unique indexes     a foreign key needs the index of what it refers to
//	rows                          see package dump for the order; circles of rows in one request with deferred keys
//	counters of AUTOINCREMENT
//	indexes, views
//	virtual tables, their rows
//	triggers                      which would act on rows that are loaded
//	user_version, application_id, ANALYZE
//
// Each request is one entry of the log, all or nothing. What cannot be loaded is refused before the first one, as far
// as that can be known.

const (
	// circleRows and circleBytes bound a request with rows that refer to each other in circles.
	circleRows  = 10_000
	circleBytes = 8 << 20
	// schemaBytes bounds a request of CREATE statements.
	schemaBytes = 1 << 20
	// manyRows is from how many rows on an index is made before them: making it afterwards is one entry that all nodes
	// stop at.
	manyRows = 1_000_000
)

// deferKeys begins a request whose foreign keys are looked at at its end.
const deferKeys = "PRAGMA defer_foreign_keys=1;"

// sending is a dump on its way to the cluster.
type sending struct {
	*staging
	schema *dump.Schema
	// enforced says that the cluster's foreign keys are on.
	enforced bool
	early    map[string]bool // indexes that were made before the rows
	// table is whose rows are in the batch.
	table      *dump.Table
	args       []any
	rows, size int

	requests int   // that the cluster has executed
	loaded   int64 // rows
	sent     int64 // bytes of values
	done     []string
	warnings int
}

// send brings what was staged to the cluster.
func (l *staging) send(ctx context.Context) error {
	l.ended = func() bool { return ctx.Err() != nil }
	schema, err := dump.Read(l.conn)
	if err != nil {
		return err
	}
	x := &sending{staging: l, schema: schema, early: make(map[string]bool)}
	l.progress.clear()
	l.progress = newProgress(l.shell.Stderr, l.shell.Live, l.shell.Now, "loading "+l.name, 0)
	if err := x.prepare(ctx); err != nil {
		return fmt.Errorf("%w; nothing of %s was loaded", err, l.name)
	}
	err = x.all(ctx)
	l.progress.clear()
	if err != nil {
		x.sayLoaded()
		return err
	}
	l.progress.close("loaded", x.loaded, fmt.Sprintf("into %s, with %s, %s and %s, from %s",
		counted(len(schema.Tables), "table"), counted(len(schema.Indexes), "index"), counted(len(schema.Views), "view"),
		counted(len(schema.Triggers), "trigger"), l.name))
	return x.verify(ctx)
}

// counted is a number with its noun.
func counted(n int, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "x"):
		noun += "es"
	default:
		noun += "s"
	}
	return fmt.Sprintf("%s %s", thousands(int64(n)), noun)
}

// prepare refuses what cannot be loaded.
func (x *sending) prepare(ctx context.Context) error {
	for i := range x.schema.Tables {
		switch t := &x.schema.Tables[i]; t.Kind {
		case dump.Contentless:
			return fmt.Errorf("%s is a full-text table without content, whose text is not in the dump: leave it out, "+
				"and index the texts again", x.place(t.Name))
		case dump.Foreign:
			return fmt.Errorf("%s is a virtual table of a module that a cluster does not have: fts5, rtree and geopoly are",
				x.place(t.Name))
		}
	}
	err := x.shell.query(ctx, "strong", func(row []any) { x.enforced = row[0] == int64(1) }, "PRAGMA foreign_keys")
	if err != nil || !x.enforced {
		return err
	}
	if err := x.orderly(); err != nil {
		return err
	}
	first, count, err := dump.Broken(x.conn)
	if err == nil && count > 0 {
		err = fmt.Errorf("%s of the dump break foreign keys, which are on in this cluster (%s): mend the dump, "+
			"or load it with `rsqld set sql.foreign_keys=off`",
			counted(int(count), "row"), strings.Join(first, ", "))
	}
	return err
}

// all sends everything.
func (x *sending) all(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		x.tables, x.ordinary, x.sequences, x.later, x.virtual, x.triggers, x.header,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// write sends a request.
func (x *sending) write(ctx context.Context, sql string, args []any) error {
	err := x.shell.write(ctx, sql, args)
	if err == nil {
		x.requests++
	}
	return err
}

// tables makes the ordinary tables, and the indexes that their rows need or that would take too long afterwards.
func (x *sending) tables(ctx context.Context) error {
	var list []string
	large := make(map[string]bool)
	for i := range x.schema.Tables {
		t := &x.schema.Tables[i]
		if t.Kind != dump.Ordinary {
			continue
		}
		list = append(list, t.SQL)
		count, err := x.count(t)
		if err != nil {
			return err
		}
		large[t.Name] = count >= manyRows
	}
	for _, o := range x.schema.Indexes {
		if large[o.Table] || dump.IsUnique(o.SQL) {
			x.early[o.Name] = true
			list = append(list, o.SQL)
		}
	}
	return x.create(ctx, list)
}

func (x *sending) count(t *dump.Table) (count int64, err error) {
	stmt, err := x.conn.Internal("SELECT count(*) FROM " + quoteName(t.Name))
	if err != nil {
		return 0, err
	}
	defer stmt.Release()
	_, err = stmt.Step()
	return stmt.ColumnInt64(0), err
}

// create sends CREATE statements, as many in a request as it holds.
func (x *sending) create(ctx context.Context, list []string) error {
	var b strings.Builder
	for i, sql := range list {
		b.WriteString(dump.Ended(sql) + "\n")
		if b.Len() < schemaBytes && i < len(list)-1 {
			continue
		}
		if err := x.write(ctx, b.String(), nil); err != nil {
			return fmt.Errorf("making the schema: %w", err)
		}
		b.Reset()
	}
	return nil
}

// ordinary sends the rows of ordinary tables.
func (x *sending) ordinary(ctx context.Context) error {
	groups, err := dump.Groups(x.conn, x.schema)
	if err != nil {
		return err
	}
	for i := range groups {
		g := &groups[i]
		if !x.enforced {
			g.Circular = false
		}
		if err := x.group(ctx, g); err != nil {
			return err
		}
		for _, t := range g.Tables {
			x.done = append(x.done, t.Name)
		}
	}
	return nil
}

// group sends the rows of tables that refer to each other.
func (x *sending) group(ctx context.Context, g *dump.Group) error {
	err := g.Rows(ctx, x.conn, func(t *dump.Table, row *sqlite.Stmt) error { return x.row(ctx, t, row) })
	if err == nil {
		err = x.flush(ctx)
	}
	if err == nil {
		err = x.circles(ctx, g)
	}
	return x.explain(g, err)
}

// orderly refuses rows that have no order in which they can be inserted, as far as that shows in the schema.
func (x *sending) orderly() error {
	groups, err := dump.Groups(x.conn, x.schema)
	for i := 0; i < len(groups) && err == nil; i++ {
		err = x.explain(&groups[i], groups[i].Check())
	}
	return err
}

// explain says what to do about rows without an order.
func (x *sending) explain(g *dump.Group, err error) error {
	if errors.Is(err, dump.ErrTangled) {
		return fmt.Errorf("%s: %w, and foreign keys are on: `rsqld set sql.foreign_keys=off`, load the dump, "+
			"and turn them on again", x.place(g.Tables[0].Name), err)
	}
	return err
}

// circles sends the rows of a group that refer to each other in circles, as one request.
func (x *sending) circles(ctx context.Context, g *dump.Group) error {
	var b strings.Builder
	var args []any
	rows, size := 0, 0
	err := g.Rest(ctx, x.conn, func(t *dump.Table, row *sqlite.Stmt) error {
		values, n := valuesOf(row, len(t.Columns))
		args = append(args, values...)
		size += n
		if rows++; rows > circleRows || size > circleBytes {
			return fmt.Errorf("more than %d rows refer to each other in circles: %w", rows-1, dump.ErrTangled)
		}
		b.WriteString(t.Insert(1) + ";")
		return nil
	})
	if err != nil || rows == 0 {
		return err
	}
	if err := x.write(ctx, deferKeys+b.String(), args); err != nil {
		return fmt.Errorf("loading %s: %d rows that refer to each other: %w", x.place(g.Tables[0].Name), rows, err)
	}
	x.loaded += int64(rows)
	return nil
}

// valuesOf returns the values of a row, and how many bytes they are worth.
func valuesOf(row *sqlite.Stmt, columns int) (values []any, size int) {
	for i := range columns {
		v := row.Column(i)
		size += 8 + len(v.Bytes)
		switch v.Type {
		case sqlite.Integer:
			values = append(values, v.Int)
		case sqlite.Float:
			values = append(values, v.Float)
		case sqlite.Text:
			values = append(values, string(v.Bytes))
		case sqlite.Blob:
			values = append(values, append([]byte{}, v.Bytes...))
		default:
			values = append(values, nil)
		}
	}
	return values, size
}

// row adds a row to the batch, and sends the batch when it is full.
func (x *sending) row(ctx context.Context, t *dump.Table, row *sqlite.Stmt) error {
	if x.table != t || x.full(len(t.Columns)) {
		if err := x.flush(ctx); err != nil {
			return err
		}
		x.table = t
	}
	values, size := valuesOf(row, len(t.Columns))
	x.args = append(x.args, values...)
	x.rows++
	x.size += size
	return nil
}

func (x *sending) full(columns int) bool {
	return x.rows >= importRows || x.size >= importBytes || len(x.args)+columns > importParams
}

// flush sends the batch.
func (x *sending) flush(ctx context.Context) error {
	if x.rows == 0 {
		return nil
	}
	if err := x.write(ctx, x.table.Insert(x.rows), x.args); err != nil {
		return fmt.Errorf("loading %s: %s behind the first %d of the dump: %w",
			x.place(x.table.Name), counted(x.rows, "row"), x.loaded, err)
	}
	x.loaded += int64(x.rows)
	x.sent += int64(x.size)
	clear(x.args)
	x.args, x.rows, x.size = x.args[:0], 0, 0
	x.progress.update(x.sent, x.loaded)
	return nil
}

// sequences sets the counters of AUTOINCREMENT.
func (x *sending) sequences(ctx context.Context) error {
	return dump.Sequences(x.conn, x.schema.Tables, func(table string, value sqlite.Value) error {
		const sql = "DELETE FROM sqlite_sequence WHERE name = ?; INSERT INTO sqlite_sequence VALUES(?, ?)"
		err := x.write(ctx, sql, []any{table, table, value.Int})
		if err != nil {
			return fmt.Errorf("setting the counter of %s: %w", x.place(table), err)
		}
		return nil
	})
}

// later makes the indexes that were not made before, and the views.
func (x *sending) later(ctx context.Context) error {
	for _, o := range x.schema.Indexes {
		if x.early[o.Name] {
			continue
		}
		if err := x.write(ctx, o.SQL, nil); err != nil { // one entry each: it reads the whole table
			return fmt.Errorf("making index %s: %w", o.Name, err)
		}
	}
	var views []string
	for _, o := range x.schema.Views {
		views = append(views, o.SQL)
	}
	return x.create(ctx, views)
}

// virtual makes the virtual tables and fills them. Of one over foreign text only the index is filled.
func (x *sending) virtual(ctx context.Context) error {
	for i := range x.schema.Tables {
		t := &x.schema.Tables[i]
		if t.Kind == dump.Ordinary {
			continue
		}
		list := []string{t.SQL}
		for _, c := range t.Config {
			name := quoteName(t.Name)
			list = append(list, fmt.Sprintf("INSERT INTO %s(%s, rank) VALUES(%s, %s)", name, name, c[0], c[1]))
		}
		if err := x.create(ctx, list); err != nil {
			return err
		}
		g := dump.Group{Tables: []*dump.Table{t}}
		if err := x.group(ctx, &g); err != nil {
			return err
		}
		x.done = append(x.done, t.Name)
	}
	return nil
}

func (x *sending) triggers(ctx context.Context) error {
	var list []string
	for _, o := range x.schema.Triggers {
		list = append(list, o.SQL)
	}
	return x.create(ctx, list)
}

// header sets what belongs to no table.
func (x *sending) header(ctx context.Context) error {
	for pragma, value := range map[string]int64{
		"user_version": x.schema.UserVersion, "application_id": x.schema.ApplicationID,
	} {
		if value == 0 {
			continue
		}
		if err := x.write(ctx, fmt.Sprintf("PRAGMA %s=%d", pragma, value), nil); err != nil {
			return err
		}
	}
	if !x.schema.Analyzed {
		return nil
	}
	if err := x.write(ctx, "ANALYZE", nil); err != nil {
		fmt.Fprintf(x.shell.Stderr, "warning: everything is loaded but the statistics: %v\n", err)
	}
	return nil
}

// sayLoaded says what is in the cluster when the load has failed.
func (x *sending) sayLoaded() {
	if x.requests == 0 {
		fmt.Fprintf(x.shell.Stderr, "nothing of %s was loaded\n", x.name)
		return
	}
	whole := "none whole"
	if len(x.done) > 0 {
		whole = strings.Join(x.done, ", ")
	}
	fmt.Fprintf(x.shell.Stderr, "%s of %s are loaded (tables: %s); to load it again, drop its tables first\n",
		counted(int(x.loaded), "row"), x.name, whole)
}

// verify looks for rows that refer to nothing, in the tables that have foreign keys.
func (x *sending) verify(ctx context.Context) error {
	checked := 0
	for i := range x.schema.Tables {
		t := &x.schema.Tables[i]
		var keys, broken int64
		take := func(to *int64) func([]any) { return func(row []any) { *to, _ = row[0].(int64) } }
		err := x.shell.query(ctx, "strong", take(&keys), "SELECT count(*) FROM pragma_foreign_key_list(?1)", t.Name)
		if err == nil && keys > 0 {
			checked++
			const check = "SELECT count(*) FROM pragma_foreign_key_check(?1)"
			err = x.shell.query(ctx, "strong", take(&broken), check, t.Name)
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			x.warn("the foreign keys of table %s could not be checked: %v", t.Name, err)
		case broken > 0:
			x.warn("%s of table %s refer to nothing: PRAGMA foreign_key_check(%s) lists them",
				counted(int(broken), "row"), t.Name, quoteName(t.Name))
		}
	}
	if checked > 0 && x.warnings == 0 {
		fmt.Fprintf(x.shell.Stderr, "foreign keys of %s checked, none is broken\n", counted(checked, "table"))
	}
	return nil
}

func (x *sending) warn(format string, args ...any) {
	x.warnings++
	fmt.Fprintf(x.shell.Stderr, "warning: "+format+"\n", args...)
}
