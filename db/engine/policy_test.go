package engine

import (
	"errors"
	"strings"
	"testing"
)

// refused are statements that the policy refuses, with what the refusal says.
var refused = []struct{ sql, says string }{
	{"attach 'other.db' as other", "attach is not supported: a database here is one file replicated whole"},
	{"attach ? as x", "attach is not supported"},
	{"detach main", "detach is not supported"},
	{"vacuum", "vacuum is not supported"},
	{"/* c */ VACUUM main", "vacuum is not supported"},
	{"vacuum into 'copy.db'", "vacuum is not supported"},
	{"create temp table x(a)", "temp is not supported"},
	{"create table temp.x(a)", "temp is not supported"},
	{"create temporary view x as select 1", "temp is not supported"},
	{"create temp trigger x after insert on t begin select 1; end", "temp is not supported"},
	{"begin", "begin is not supported: it begins or ends a transaction of the session"},
	{"begin immediate", "begin is not supported"},
	{"commit", "commit is not supported"},
	{"end", "commit is not supported"},
	{"rollback", "rollback is not supported"},
	{"savepoint _rsqld_entry", "savepoint is not supported"},
	{"release x", "savepoint is not supported"},
	{"rollback to x", "savepoint is not supported"},
	{"pragma journal_mode=delete", "pragma journal_mode=delete is not supported: rsqld sets journal_mode itself"},
	{"pragma synchronous=off", "pragma synchronous=off is not supported"},
	{"pragma busy_timeout(5000)", "leave the statement out"},
	{"pragma writable_schema=1", "pragma writable_schema is not supported"},
	{"pragma case_sensitive_like=1", "pragma case_sensitive_like is not supported"},
	{"pragma optimize", "pragma optimize is not supported"},
	{"pragma wal_checkpoint(truncate)", "pragma wal_checkpoint is not supported"},
	{"pragma foreign_keys=off", "pragma foreign_keys=off is not supported: foreign keys are on for the whole cluster (setting sql.foreign_keys"},
	{"pragma foreign_keys=2", "pragma foreign_keys=2 is not supported"},
	{"pragma defer_foreign_keys=0", "pragma defer_foreign_keys=0 is not supported"},
	{"pragma table_info(_rsqld_meta)", "pragma table_info on _rsqld_meta is not supported"},
	{"explain pragma trusted_schema=1", "pragma trusted_schema is not supported"},
	{"select * from _rsqld_tokens", "access to _rsqld_* is not supported"},
	{"select * from v", "access to _rsqld_* is not supported"},
	{"select a from t where a in (select key from _RSQLD_TOKENS)", "access to _rsqld_* is not supported"},
	{"update _rsqld_meta set applied_index = 99", "access to _rsqld_* is not supported"},
	{"delete from \"_rsqld_members\"", "access to _rsqld_* is not supported"},
	{"drop table _rsqld_meta", "access to _rsqld_* is not supported"},
	{"create index x on _rsqld_meta(format)", "access to _rsqld_* is not supported"},
	{"create trigger x after update on _rsqld_meta begin select 1; end", "access to _rsqld_* is not supported"},
	{"create table _rsqld_mine(a)", "access to _rsqld_* is not supported"},
	{"alter table _rsqld_meta add column x", "access to _rsqld_* is not supported"},
	{"select load_extension('x')", "load_extension is not supported"},
	{"select data from sqlite_dbpage", "access to sqlite_dbpage is not supported"},
	{"select * from dbstat", "access to dbstat is not supported"},
	{"create virtual table x using fts5vocab(t, row)", `the virtual table module "fts5vocab" is not supported`},
	{"create virtual table x using dbstat", `the virtual table module "dbstat" is not supported`},
	{"delete from sqlite_stat1", "writing sqlite_stat* is not supported"},
	{"drop table sqlite_stat1", "writing sqlite_stat* is not supported"},
	{"insert into t select name from pragma_table_info('t')", "reading pragma_table_info in a write is not supported"},
	{"insert into t values(sqlite_source_id())", "the function sqlite_source_id in a write is not supported"},
	{"select 1\x00", "a NUL byte in SQL is not supported"},
}

// Every refusal is a PolicyError that names what is refused and says what to do instead, on the way to the log
// (Classify), in an entry (Apply) and on a reader (Query), and leaves nothing behind.
func TestPolicyRefusals(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.bootstrap(nil)
	l.script("create table t(a); insert into t values(1); create view v as select * from _rsqld_tokens; analyze")
	for _, r := range l.apply(e) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	const content = "select (select count(*) from sqlite_schema), (select group_concat(a) from t)"
	before := rowsOf(t, e, content)
	for _, test := range refused {
		r := l.run(e, test.sql)
		_, errClassify := e.Classify(test.sql)
		_, errQuery := e.Query(t.Context(), test.sql, nil, new(rows))
		for way, err := range map[string]error{"apply": r.Err, "classify": errClassify, "query": errQuery} {
			var policy *PolicyError
			if way == "query" && errors.Is(err, ErrNotRead) {
				continue // refused all the same
			}
			if !errors.As(err, &policy) {
				t.Errorf("%s of %q: got %v, want a *PolicyError", way, test.sql, err)
			} else if !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s of %q:\n got %v\nwant %s", way, test.sql, err, test.says)
			}
		}
		if r.Err != nil && r.Code != codeAuth {
			t.Errorf("%q has the code %d", test.sql, r.Code)
		}
	}
	if after := rowsOf(t, e, content); after != before {
		t.Errorf("the refused statements changed %s to %s", before, after)
	}
}

// What the policy cannot see when a statement is prepared is found when it has run, and undone.
func TestPolicyAfterwards(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.must(e, "create table t(a); create table full(id integer primary key autoincrement)")
	tests := []struct{ sql, says string }{
		{"alter table t rename to _rsqld_tokens2", "the name _rsqld_tokens2 is not supported"},
		{"create table many as select a, a, a, a, a, a from t", "more than four equal column names is not supported"},
		{"create trigger seq after insert on t begin update sqlite_sequence set seq = 5; end; insert into t values(1)", "writing sqlite_sequence in a trigger is not supported"},
	}
	for _, test := range tests {
		if r := l.run(e, test.sql); r.Err == nil || !strings.Contains(r.Err.Error(), test.says) {
			t.Errorf("%q: got %v, want %s", test.sql, r.Err, test.says)
		}
	}
	if got := rowsOf(t, e, "select group_concat(name) from sqlite_schema where name not like '%rsqld%' and name not like 'sqlite%'"); got != "t,full" {
		t.Errorf("the schema holds %s", got)
	}
}

// What is allowed works in an entry, in ways that need the policy to look away: ALTER TABLE reads the temporary schema
// and pragma_quick_check, FTS5 and R-tree run PRAGMAs, ANALYZE names the internal tables.
func TestPolicyAllows(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	for _, sql := range []string{
		"create table t(a, b); create index t_b on t(b); create view v as select a from t",
		"insert into t values(1, 2), (3, 4)",
		"alter table t add column c check (c is null or c > 0)",
		"alter table t rename column b to bb", "alter table t rename to tt", "alter table tt drop column c",
		"create table few as select a, a, a from tt",
		"create virtual table f using fts5(x); insert into f values('hello'); alter table f rename to ff; drop table ff",
		"create virtual table r using rtree(id, a, b); insert into r values(1, 2, 3); drop table r",
		"create virtual table g using geopoly(a); drop table g",
		"analyze", "analyze tt", "reindex", "drop index t_b", "pragma user_version=7", "pragma application_id=9",
		"pragma incremental_vacuum", "pragma foreign_keys=on", "pragma foreign_keys=1", "pragma foreign_keys",
		"pragma defer_foreign_keys=1", "pragma integrity_check", "pragma table_info(tt)",
		"update sqlite_sequence set seq = 1", "drop table tt",
	} {
		if sql == "update sqlite_sequence set seq = 1" {
			l.must(e, "create table auto(id integer primary key autoincrement)")
		}
		l.must(e, sql)
	}
	for sql, want := range map[string]string{
		"pragma user_version": "7", "pragma foreign_keys": "1", "pragma foreign_keys=on": "", "pragma journal_mode": "wal",
		"select count(*) from pragma_table_info('few')": "3", "select sqlite_version() > '3'": "1", "": "", "-- nothing": "",
	} {
		if got := rowsOf(t, e, sql); got != want {
			t.Errorf("%q: got %q, want %q", sql, got, want)
		}
	}
}
