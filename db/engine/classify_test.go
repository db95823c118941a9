package engine

import (
	"fmt"
	"strings"
	"testing"
)

// Each statement has the class that its effect gives it, whatever form it is written in.
func TestClassify(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.must(e, `create table t(a, b); create view v as select a from t; create trigger there after insert on t begin select 1; end;
		create virtual table rt using rtree(id, x0, x1); create virtual table ft using fts5(body)`)
	tests := []struct{ sql, want string }{
		{"", "empty"}, {" \n;; -- only a comment", "empty"}, {"/* unfinished", "empty"},
		{"select 1", "read"}, {"select * from t; ", "read"}, {"values(1)", "read"},
		{"with x as (select 1) select * from x", "read"},
		{"select ';', '--' /* ; */ from t -- ;", "read"},
		{"insert into t values(1, 2)", "write"}, {"insert into t values(1, 2) returning a", "write"},
		{"with x as (select 1 as a) insert into t select a, a from x", "write"},
		{"replace into t values(1, 2)", "write"}, {"update t set a = 1", "write"}, {"delete from t", "write"},
		{"insert into v values(1)", "error: cannot modify v because it is a view"},
		{"create table x(a)", "write"}, {"drop table t", "write"}, {"drop trigger there", "write"},
		{"drop trigger if exists absent", "write"}, {"drop table if exists absent", "write"},
		{"create table if not exists t(a)", "write"}, {"reindex", "write"}, {"analyze", "write"},
		{"explain insert into t values(1, 2)", "read"}, {"explain query plan delete from t", "read"}, {"explain drop table t", "read"},
		{"pragma table_info(t)", "read"}, {"pragma table_info=t", "read"}, {"pragma user_version", "read"}, {"PRAGMA main.user_version", "read"},
		{"pragma user_version=3", "write"}, {"pragma user_version(3)", "write"}, {"pragma foreign_keys=1", "read"},
		{"pragma defer_foreign_keys=1", "write"}, {"pragma incremental_vacuum", "write"}, {"pragma integrity_check", "read"},
		{"insert into rt values(1, 2, 3)", "write"}, {"select * from rt", "read"},
		{"insert into ft values('x')", "write"}, {"select * from ft where ft match 'x'", "read"},
		{"select 1; select 2; -- end", "read read"},
		{"select 1; insert into t values(';', 1); select * from absent", "read write(insert into t values(';', 1); select * from absent)"},
		{"create table n(a); insert into n values(1)", "write(create table n(a); insert into n values(1))"},
		{"select * from absent", "error: no such table: absent"}, {"selec 1", `error: near "selec": syntax error`},
		{"select 1; selec 2", `error: near "selec": syntax error`},
		{"begin; insert into t values(1, 2); commit", "error: begin is not supported"},
	}
	for range 2 { // the second time from what the classifier keeps
		for _, test := range tests {
			pieces, err := e.Classify(test.sql)
			var got []string
			for _, p := range pieces {
				text := p.Class.String()
				if p.Class == Write && strings.Contains(p.SQL, ";") {
					text += "(" + p.SQL + ")"
				}
				got = append(got, text)
			}
			if err != nil {
				got = []string{"error: " + err.Error()}
			}
			if all := strings.Join(got, " "); all != test.want && (err == nil || !strings.HasPrefix(all, test.want)) {
				t.Errorf("%q: got %s, want %s", test.sql, all, test.want)
			}
		}
	}
}

// A class that was found is not kept beyond a change of the schema.
func TestClassifyFollowsTheSchema(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	if _, err := e.Classify("select * from t"); err == nil {
		t.Error("a table that is not there was classified")
	}
	l.must(e, "create table t(a)")
	if pieces, err := e.Classify("select * from t"); err != nil || pieces[0].Class != Read {
		t.Errorf("got %v, %v", pieces, err)
	}
	l.must(e, "drop table t")
	if _, err := e.Classify("select * from t"); err == nil {
		t.Error("a table that is gone was classified")
	}
}

// A long script is split at the same places as a short one: the window that is given to SQLite does not show.
func TestSplitLongScripts(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.must(e, "create table t(a)")
	var script strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&script, "insert into t values('%s;%d'); -- %d\n", strings.Repeat("é", i%1500), i, i)
	}
	script.WriteString("select count(*) from t where a like '%;%'")
	r := l.must(e, script.String())
	if len(r.Statements) != 3001 || string(r.Statements[3000].Rows) != "\x01\xf0\x2e" { // 3000 as a zigzag varint
		t.Errorf("%d statements, the last with the rows %x", len(r.Statements), r.Statements[len(r.Statements)-1].Rows)
	}
	if bad := l.run(e, script.String()+"; insert into t values(1,2)"); bad.Err == nil || bad.SQL != "insert into t values(1,2)" {
		t.Errorf("the failing statement: %v, %q", bad.Err, bad.SQL)
	}
}

// A statement that would make sense if it ended where the window does is not cut there.
func TestSplitAtTheWindow(t *testing.T) {
	e := openEngine(t, Config{})
	text := "select 1" + strings.Repeat(" ", windowBytes-len("select 1")) + "+ 41; select 2"
	piece, rest, err := e.Next(text)
	if err != nil || rest != "select 2" {
		t.Fatalf("got the rest %q, error %v", rest, err)
	}
	if got := rowsOf(t, e, piece.SQL); got != "42" {
		t.Errorf("the first statement gives %s", got)
	}
}

// Whatever the text is, splitting it ends, gives its statements back in order and whole, and changes nothing.
func FuzzNext(f *testing.F) {
	e := openEngine(f, Config{})
	newLog(f).must(e, "create table t(a, b)")
	for _, seed := range []string{"select 1; select 2", "insert into t values(?, :x);;-- c", "select ';' /* ;", "\x00", "pragma x=y", "vacuum", "begin", "\ufeffselect 1", "explain", "with"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for rest := text; rest != ""; {
			piece, after, err := e.Next(rest)
			if err != nil {
				return
			}
			if len(after) >= len(rest) || !strings.HasSuffix(rest, after) || !strings.HasPrefix(rest, piece.SQL) {
				t.Fatalf("%q was split into %q and %q", rest, piece.SQL, after)
			}
			rest = after
		}
	})
}
