package engine

import (
	"fmt"
	"strings"

	"github.com/rsqld/rsqld/db/sqlite"
)

// internalPrefix begins the names of the engine's own tables. Users can neither read, write nor make such names.
const internalPrefix = "_rsqld"

// role is who a statement is prepared for. The name is part of the key of the statement cache, because the authorizer
// acts only when a statement is prepared.
type role string

const (
	// roleWriter prepares the statements of entries. It refuses whatever would differ between replicas.
	roleWriter role = "writer"
	// roleReader prepares reads, whose answers are not replicated.
	roleReader role = "reader"
	// roleClassifier prepares a statement to learn what it is; nothing is run.
	roleClassifier role = "classifier"
)

// facts are what the authorizer saw while one statement was prepared (again, if the schema changed under it).
type facts struct {
	// refusal is the first thing refused, nil if nothing was.
	refusal *PolicyError
	// onlyReads is the first thing that a read may do and a write may not.
	onlyReads *PolicyError
	// schema: the statement changes the schema or the statistics, both of which SQLite also keeps in memory.
	schema bool
	// createsVirtual: the statement creates a virtual table.
	createsVirtual bool
	// alter: the statement may rename something.
	alter bool
	// analyze: the statement may write sqlite_stat*.
	analyze bool
	// statistics: the statement writes sqlite_stat*, which only ANALYZE, DROP and ALTER may.
	statistics bool
	// createdTable and selects together say that columns of a new table got their names from a SELECT.
	createdTable string
	selects      bool
	// pragma is what a PRAGMA does; the statement is one if it begins with that word. FTS5 and R-tree run some of their
	// own while a statement is prepared.
	pragma pragmaUse
	// deferred: the statement set PRAGMA defer_foreign_keys.
	deferred bool
}

// remarkable reports whether applying the statement needs more than running it. Such a statement is never cached: the
// cached one would show no facts, and some PRAGMAs act only while they are prepared.
func (f *facts) remarkable() bool {
	return f.refusal != nil || f.onlyReads != nil || f.schema || f.alter || f.statistics || f.deferred || f.pragma != pragmaNone ||
		f.createdTable != ""
}

// authorize is the policy as SQLite's authorizer (sqlite.org/c3ref/set_authorizer.html). It denies at once, because
// some PRAGMAs act while they are prepared.
func (f *facts) authorize(s settings, a sqlite.Action) sqlite.Decision {
	if a.Op == sqlite.OpAnalyze && isInternal(a.Arg1) {
		return sqlite.Ignore // users may read the statistics, and samples of keys are among them
	}
	refusal := f.judge(s, a)
	if refusal == nil {
		return sqlite.Allow
	}
	if f.refusal == nil {
		f.refusal = refusal
	}
	return sqlite.Deny(refusal.Error())
}

// judge returns why an action is refused, or nil, and notes what was seen.
func (f *facts) judge(s settings, a sqlite.Action) *PolicyError {
	switch a.Op {
	case sqlite.OpAttach, sqlite.OpDetach:
		return refuseAttach(a.Op)
	case sqlite.OpTransaction:
		return refuseTransaction(strings.ToLower(a.Arg1))
	case sqlite.OpSavepoint:
		return refuseTransaction("savepoint")
	case sqlite.OpPragma:
		return f.judgePragma(s, a)
	case sqlite.OpFunction:
		return f.judgeFunction(a.Arg2)
	case sqlite.OpDropTable:
		if isStatistics(a.Arg1) {
			return refuseStatistics()
		}
	case sqlite.OpCreateVTable:
		if !modules[strings.ToLower(a.Arg2)] {
			return &PolicyError{fmt.Sprintf("the virtual table module %q", a.Arg2), "its content is not the same on every replica; fts5, rtree and geopoly are"}
		}
	}
	if isTemp(a) && !f.alter {
		return &PolicyError{"temp", "a temporary object would be lost at a restart and is on one node only; create an ordinary table and drop it, or use a CTE"}
	}
	// REINDEX of everything names the internal tables too.
	if a.Op != sqlite.OpReindex && (isInternal(a.Arg1) || isInternal(a.Arg2)) {
		return &PolicyError{"access to " + internalPrefix + "_*", "names that begin with " + internalPrefix + " belong to rsqld itself; choose another name"}
	}
	f.note(a)
	switch a.Op {
	case sqlite.OpRead:
		return f.judgeRead(a)
	case sqlite.OpInsert, sqlite.OpUpdate, sqlite.OpDelete:
		if isPages(a.Arg1) {
			return refusePages(a.Arg1)
		}
	}
	return nil
}

// note remembers what applying the statement has to know.
func (f *facts) note(a sqlite.Action) {
	switch a.Op {
	case sqlite.OpAnalyze:
		f.schema, f.analyze = true, true
	case sqlite.OpAlterTable:
		f.schema, f.alter, f.analyze = true, true, true
	case sqlite.OpCreateTable:
		f.schema, f.createdTable = true, a.Arg1
	case sqlite.OpCreateVTable:
		f.schema, f.createsVirtual = true, true
	case sqlite.OpCreateIndex, sqlite.OpCreateTrigger, sqlite.OpCreateView, sqlite.OpReindex:
		f.schema = true
	case sqlite.OpDropIndex, sqlite.OpDropTable, sqlite.OpDropTrigger, sqlite.OpDropView, sqlite.OpDropVTable:
		f.schema, f.analyze = true, true
	case sqlite.OpSelect:
		f.selects = true
	case sqlite.OpInsert, sqlite.OpUpdate, sqlite.OpDelete:
		f.noteChange(a)
	}
}

func (f *facts) noteChange(a sqlite.Action) {
	if isStatistics(a.Arg1) {
		f.statistics = true
	}
	if a.Trigger != "" && strings.EqualFold(a.Arg1, "sqlite_sequence") && f.onlyReads == nil {
		f.onlyReads = &PolicyError{"writing sqlite_sequence in a trigger", "write it by a statement of its own"}
	}
}

// verdict is what a whole statement is refused for after it was prepared for writing.
func (f *facts) verdict() *PolicyError {
	switch {
	case f.refusal != nil:
		return f.refusal
	case f.onlyReads != nil:
		return f.onlyReads
	case f.statistics && !f.analyze:
		return refuseStatistics()
	}
	return nil
}

// judgeRead looks at the tables whose content is about one file rather than the database.
func (f *facts) judgeRead(a sqlite.Action) *PolicyError {
	table := strings.ToLower(a.Arg1)
	switch {
	case isPages(table):
		return refusePages(table)
	case strings.HasPrefix(table, "pragma_") && !f.alter && f.onlyReads == nil:
		// ALTER TABLE itself reads pragma_quick_check to hold old rows against a new constraint.
		f.onlyReads = &PolicyError{"reading " + table + " in a write", "what it shows may differ between nodes; read it first and write the values"}
	case namedAtRandom(a.Arg2) && f.onlyReads == nil:
		f.onlyReads = &PolicyError{"a column of " + a.Arg1 + " in a write whose name SQLite has made up", "the name is random; give each column of the view its own by AS"}
	}
	return nil
}

// namedAtRandom reports whether a column may be one of more than five equal names of a view, which SQLite tells apart by
// a colon and a random number. Which number it is differs between nodes and must not be told.
func namedAtRandom(column string) bool {
	const shortest = 5 // digits of a number that nobody counted up to
	digits := len(column) - len(strings.TrimRight(column, "0123456789"))
	return digits >= shortest && len(column) > digits && column[len(column)-digits-1] == ':'
}

// judgeFunction looks at the functions whose value differs between nodes or reaches outside.
func (f *facts) judgeFunction(name string) *PolicyError {
	name = strings.ToLower(name)
	if name == "load_extension" {
		return &PolicyError{"load_extension", "every node would need the same library; fts5, rtree, geopoly and json are built in"}
	}
	if localFunctions[name] && f.onlyReads == nil {
		f.onlyReads = &PolicyError{"the function " + name + " in a write", "its value may differ between nodes; read it first and write the value"}
	}
	return nil
}

// localFunctions may be called by reads only.
var localFunctions = map[string]bool{
	"sqlite_offset": true, "sqlite_version": true, "sqlite_source_id": true, "sqlite_compileoption_get": true,
	"sqlite_compileoption_used": true, "fts5_locale": true, "fts5_source_id": true,
}

// modules are those of which virtual tables may be created. Their content is in ordinary tables, which are replicated.
var modules = map[string]bool{"fts5": true, "rtree": true, "rtree_i32": true, "geopoly": true}

func refuseAttach(op sqlite.Op) *PolicyError {
	if op == sqlite.OpDetach {
		return &PolicyError{"detach", "no other database can be attached"}
	}
	return &PolicyError{"attach", "a database here is one file replicated whole; put the tables into it, or connect to the other cluster"}
}

func refuseTransaction(what string) *PolicyError {
	if what == "savepoint" {
		return &PolicyError{what, "there is no transaction here that could go back to it; begin one first"}
	}
	return &PolicyError{what, "it begins or ends a transaction of the session, and is sent alone; several statements in one atomic request are executed whole or not at all without it"}
}

func refuseVacuum() *PolicyError {
	return &PolicyError{"vacuum", "it would renumber rowids on one node only; `pragma incremental_vacuum` frees pages on every node, and `rsqld backup` writes a copy"}
}

func refusePages(table string) *PolicyError {
	return &PolicyError{"access to " + strings.ToLower(table), "it is the pages of one node's file, secrets of rsqld among them; use `rsqld backup` for the file"}
}

func refuseStatistics() *PolicyError {
	return &PolicyError{"writing sqlite_stat*", "the query planner keeps the statistics in memory too; run ANALYZE, which is replicated"}
}

// isTemp reports whether an action is on the temporary database. CREATE TABLE temp.x shows itself by the name of the
// database alone. ALTER TABLE looks by itself for temporary triggers and views to rewrite.
func isTemp(a sqlite.Action) bool {
	switch a.Op {
	case sqlite.OpCreateTempIndex, sqlite.OpCreateTempTable, sqlite.OpCreateTempTrigger, sqlite.OpCreateTempView,
		sqlite.OpDropTempIndex, sqlite.OpDropTempTable, sqlite.OpDropTempTrigger, sqlite.OpDropTempView:
		return true
	}
	return strings.EqualFold(a.DB, "temp")
}

// isInternal reports whether a name is reserved for the engine's own tables. SQLite's names have no case.
func isInternal(name string) bool {
	return len(name) >= len(internalPrefix) && strings.EqualFold(name[:len(internalPrefix)], internalPrefix)
}

// isPages reports whether a table shows the pages of the file.
func isPages(table string) bool {
	return strings.EqualFold(table, "sqlite_dbpage") || strings.EqualFold(table, "dbstat")
}

func isStatistics(table string) bool {
	const prefix = "sqlite_stat"
	return len(table) >= len(prefix) && strings.EqualFold(table[:len(prefix)], prefix)
}
