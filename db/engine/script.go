package engine

import (
	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/sqlite"
)

// script runs SQL of an entry, statement by statement, up to the first that fails.
func (w *writer) script(s *commandpb.Script, r *Result) error {
	run := scriptRun{writer: w, result: r, room: MaxResultBytes}
	for i, statement := range s.Statements {
		r.Statement = i
		if err := run.text(statement.Sql, newArguments(statement.Args)); err != nil {
			return err
		}
	}
	r.Statement, r.SQL = 0, ""
	return nil
}

// scriptRun is one run of a script.
type scriptRun struct {
	*writer
	result *Result
	// room is how many bytes of rows the entry may still return.
	room int
}

// text runs the statements of one text, which share its arguments.
func (x *scriptRun) text(text string, args arguments) error {
	for text != "" {
		before := text
		rest, err := x.next(text, &args)
		x.result.SQL = before[:len(before)-len(rest)]
		if err != nil {
			return err
		}
		text = rest
	}
	return args.finish()
}

// next runs the first statement of text and returns what follows it.
func (x *scriptRun) next(text string, args *arguments) (rest string, err error) {
	if x.sequence.on {
		if err := x.sequence.look(x.conn); err != nil {
			return "", err
		}
	}
	defer func() { x.left.add(&x.users.facts) }()
	stmt, rest, err := x.users.prepare(text)
	if err != nil || stmt == nil {
		return rest, err
	}
	defer x.users.done(stmt)
	if verdict := x.users.facts.verdict(); verdict != nil {
		return rest, verdict
	}
	if err := bind(stmt, args); err != nil {
		return rest, x.state.limits.named(err)
	}
	return rest, x.run(stmt)
}

// run steps a statement to its end and keeps its result.
func (x *scriptRun) run(stmt *sqlite.Stmt) error {
	r := StatementResult{Columns: columns(stmt)}
	changed, err := x.execute(func() error { return x.steps(stmt, &r) })
	if err != nil {
		return err
	}
	r.RowsAffected, r.LastInsertID = changed, x.conn.LastInsertRowID()
	x.result.add(r)
	return x.inspect()
}

// execute steps a statement that is recorded under the limits of the cluster, and returns how many rows it changed.
func (w *writer) execute(steps func() error) (changed int64, err error) {
	before := w.conn.TotalChanges()
	w.meter.beginStatement()
	err = steps()
	w.meter.endStatement()
	w.meter.check(w.conn.TotalChanges())
	switch {
	case w.meter.breach != nil:
		return 0, w.meter.breach
	case err != nil && w.users.facts.refusal != nil: // SQLite prepared the statement again while it stepped
		return 0, w.users.facts.refusal
	case err != nil:
		return 0, w.state.limits.named(err)
	}
	if w.conn.TotalChanges() != before {
		changed = w.conn.Changes()
	}
	return changed, nil
}

// steps runs the statement and keeps its rows as far as there is room. A statement whose rows do not fit is run to its
// end all the same: what it changes does not depend on what is kept.
func (x *scriptRun) steps(stmt *sqlite.Stmt, r *StatementResult) error {
	for {
		row, err := stmt.Step()
		if err != nil || !row {
			x.room -= len(r.Rows)
			return err
		}
		if r.RowsDropped {
			continue
		}
		r.Rows = appendRow(r.Rows, stmt, len(r.Columns))
		r.RowCount++
		if len(r.Rows) > x.room {
			r.Rows, r.RowCount, r.RowsDropped = nil, 0, true
		}
	}
}

// inspect looks at what the authorizer cannot see: names that a statement has made up.
func (w *writer) inspect() error {
	f := &w.users.facts
	if f.createdTable != "" && f.selects {
		if err := w.checkColumns(f.createdTable); err != nil {
			return err
		}
	}
	if f.alter {
		return w.checkNames()
	}
	return nil
}

// checkColumns refuses a table whose columns SQLite has named at random: of more than four equal names in the SELECT of
// a CREATE TABLE AS the later ones get "name:" and a random number.
func (w *writer) checkColumns(table string) error {
	const sql = `WITH c(name, base) AS (SELECT name, rtrim(name, '0123456789') FROM pragma_table_xinfo(?1))
		SELECT count(*) FROM c WHERE base LIKE '%:' AND CAST(substr(name, length(base) + 1) AS INTEGER) > 3
			AND rtrim(base, ':') COLLATE NOCASE IN (SELECT name FROM c)`
	count := int64(0)
	err := queryInternal(w.conn, sql, func(stmt *sqlite.Stmt) error {
		count = stmt.ColumnInt64(0)
		return nil
	}, table)
	if err != nil {
		return err
	}
	if count > 0 {
		return &PolicyError{"create table as with more than four equal column names", "SQLite would name them at random; give each its own name by AS"}
	}
	return nil
}

// checkNames refuses a new name that belongs to the engine. ALTER TABLE does not tell the authorizer the new name.
func (w *writer) checkNames() error {
	return queryInternal(w.conn, "SELECT name FROM sqlite_schema WHERE name LIKE '\\_rsqld%' ESCAPE '\\' AND type IN ('table', 'view')",
		func(stmt *sqlite.Stmt) error {
			if name := stmt.ColumnText(0); !internalTables[name] {
				return &PolicyError{"the name " + name, "names that begin with " + internalPrefix + " belong to rsqld itself; choose another name"}
			}
			return nil
		})
}
