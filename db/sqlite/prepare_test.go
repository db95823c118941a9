package sqlite

import (
	"errors"
	"strings"
	"testing"
)

// Prepare splits a script exactly where its statements end.
func TestPrepareTails(t *testing.T) {
	c := memory(t)
	for _, test := range []struct {
		sql  string
		want []string // the statements' own texts
	}{
		{"", nil},
		{"  \n\t", nil},
		{"-- only a comment", nil},
		{"/* open comment", nil},
		{";;;", nil},
		{"SELECT 1", []string{"SELECT 1"}},
		{"SELECT 1;", []string{"SELECT 1;"}},
		{"SELECT ';'; SELECT 2 -- ; SELECT 3\n; /* ; */ SELECT \"a;b\"", []string{"SELECT ';';", " SELECT 2 -- ; SELECT 3\n;", " /* ; */ SELECT \"a;b\""}},
		{"CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; SELECT 2; END; SELECT 3", []string{"CREATE TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; SELECT 2; END;", " SELECT 3"}},
	} {
		mustExec(t, c, "DROP TABLE IF EXISTS t; CREATE TABLE t(a)")
		var got []string
		for rest := test.sql; rest != ""; {
			s, tail, err := c.Prepare(rest)
			if err != nil {
				t.Fatalf("%q: %v", rest, err)
			}
			if len(tail) >= len(rest) {
				t.Fatalf("%q: the tail %q is no shorter", rest, tail)
			}
			if s != nil {
				got = append(got, s.SQL())
				s.Release()
			}
			rest = tail
		}
		if strings.Join(got, "|") != strings.Join(test.want, "|") {
			t.Errorf("%q: got %q, want %q", test.sql, got, test.want)
		}
	}
}

// An error names the byte of the SQL text that it is about.
func TestPrepareErrors(t *testing.T) {
	c := memory(t)
	for _, test := range []struct {
		sql    string
		code   int
		offset int
		about  string
	}{
		{"SELECT 1 FORM t", CodeError, 14, "syntax error"},
		{"SELECT nope", CodeError, 7, "no such column: nope"},
		{"SELECT 1 FROM missing", CodeError, -1, "no such table: missing"},
		{"SELECT 'é', nope", CodeError, 13, "no such column"},
		{"SELECT 1 COLLATE nowhere ORDER BY 1", CodeErrorMissingCollation, -1, "nowhere"},
		{"SELECT 1\x00; SELECT 2", CodeError, 8, "NUL byte at offset 8"},
		{"SELECT " + strings.Repeat("(", 5000), CodeError, -1, ""},
	} {
		s, _, err := c.Prepare(test.sql)
		if s != nil {
			t.Fatalf("%.40q was prepared", test.sql)
		}
		e := wantCode(t, test.sql[:min(40, len(test.sql))], err, test.code)
		if test.about != "" && (e.Offset != test.offset || !strings.Contains(e.Message, test.about)) {
			t.Errorf("%q: got %q at %d, want %q at %d", test.sql, e.Message, e.Offset, test.about, test.offset)
		}
	}
}

// SQL text longer than the scratch buffer is compiled like any other, and its tail is right.
func TestPrepareLongText(t *testing.T) {
	c := memory(t)
	for _, n := range []int{scratchSize - 9, scratchSize - 8, scratchSize - 7, 3 * scratchSize} {
		comment := strings.Repeat(" ", n)
		s, tail, err := c.Prepare("SELECT 1;" + comment)
		if err != nil || tail != comment {
			t.Fatalf("%d: tail of %d bytes, error %v", n, len(tail), err)
		}
		s.Release()
	}
	c.Limit(LimitSQLLength, 1000)
	_, _, err := c.Prepare(strings.Repeat(" ", 1001))
	wantCode(t, "beyond the limit", err, CodeTooBig)
}

// Step after the end is refused, because SQLite would run the statement again; Reset allows it.
func TestStepAfterTheEnd(t *testing.T) {
	c := memory(t)
	mustExec(t, c, "CREATE TABLE t(a)")
	s, _, err := c.Prepare("INSERT INTO t VALUES (1)")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	if row, err := s.Step(); row || err != nil {
		t.Fatal(row, err)
	}
	_, err = s.Step()
	wantCode(t, "second Step", err, CodeMisuse)
	if err := s.Reset(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Step(); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, c, "SELECT count(*) FROM t"); got != "2" {
		t.Errorf("got %s rows, want 2", got)
	}
}

// Reset returns the error of a commit that it causes, and not again what Step returned.
func TestResetErrors(t *testing.T) {
	c := memory(t)
	mustExec(t, c, `PRAGMA foreign_keys=1; CREATE TABLE p(i INTEGER PRIMARY KEY);
		CREATE TABLE t(p REFERENCES p DEFERRABLE INITIALLY DEFERRED, u UNIQUE); INSERT INTO t VALUES (NULL, 1)`)
	s, _, err := c.Prepare("INSERT INTO t VALUES (5, 2), (6, 3) RETURNING p")
	if err != nil {
		t.Fatal(err)
	}
	if row, err := s.Step(); !row || err != nil {
		t.Fatal(row, err)
	}
	wantCode(t, "Reset of a half-read RETURNING", s.Reset(), CodeConstraint|3<<8)
	s.Release()

	s, _, err = c.Prepare("INSERT INTO t VALUES (NULL, 1)")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Step()
	wantCode(t, "Step", err, CodeConstraint|8<<8)
	if err := s.Reset(); err != nil {
		t.Errorf("Reset returns again what Step returned: %v", err)
	}
	if err := s.Finalize(); err != nil {
		t.Error(err)
	}
}

// Internal refuses what is not exactly one statement.
func TestInternalIsOneStatement(t *testing.T) {
	c := memory(t)
	for _, sql := range []string{"", "-- nothing", "SELECT 1; SELECT 2"} {
		_, err := c.Internal(sql)
		wantCode(t, sql, err, CodeMisuse)
	}
	s, err := c.Internal("SELECT 1; ")
	if err != nil {
		t.Fatal(err)
	}
	s.Release()
}

// ReadOnly and IsExplain are SQLite's own.
func TestStatementFacts(t *testing.T) {
	c := memory(t)
	mustExec(t, c, "CREATE TABLE t(a)")
	for _, test := range []struct {
		sql      string
		readOnly bool
		explain  int
	}{
		{"SELECT 1", true, 0},
		{"INSERT INTO t VALUES (1) RETURNING a", false, 0},
		{"EXPLAIN INSERT INTO t VALUES (1)", false, 1},
		{"EXPLAIN QUERY PLAN SELECT * FROM t", true, 2},
		{"DROP TRIGGER IF EXISTS x", true, 0},
	} {
		s, _, err := c.Prepare(test.sql)
		if err != nil {
			t.Fatal(err)
		}
		if s.ReadOnly() != test.readOnly || s.IsExplain() != test.explain {
			t.Errorf("%s: got %t %d, want %t %d", test.sql, s.ReadOnly(), s.IsExplain(), test.readOnly, test.explain)
		}
		s.Release()
	}
}

// A closed connection and its statements answer ErrClosed and do not crash.
func TestUseAfterClose(t *testing.T) {
	c, err := Open(":memory:", Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := c.Prepare("SELECT 1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Step(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, _, prepare := c.Prepare("SELECT 1")
	_, _, cached := c.Cached("SELECT 1")
	_, internal := c.Internal("SELECT 1")
	_, step := s.Step()
	_, deferred := c.DeferredFKs()
	_, _, checkpoint := c.WALCheckpointPassive()
	_, version := c.SchemaVersion()
	for i, err := range []error{
		prepare, cached, internal, step, deferred, checkpoint, version, c.Exec("SELECT 1"), s.Reset(), s.BindNull(1),
		s.BindText(1, "x"), c.Config(ConfigDefensive, true),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("call %d: got %v, want ErrClosed", i, err)
		}
	}
	c.Interrupt()
	c.ResetState()
	c.SeedRandom(1)
	c.SetAuthorizer("x", func(Action) Decision { return Allow })
	c.SetUpdateHook(func(Update) {})
	c.SetProgress(1, func() bool { return true })
	c.ClearCache()
	s.Release()
	if s.Finalize() != nil || s.ColumnCount() != 0 || s.ColumnText(0) != "" || s.SQL() != "" || s.Steps() != 0 ||
		c.Changes() != 0 || c.Limit(LimitLength, -1) != 0 || !c.Autocommit() || c.TxnState() != TxnNone || c.TopLevel() {
		t.Error("a closed connection answers as if it were open")
	}
}

// Arbitrary text is compiled or refused; it neither crashes nor hangs, and the tail is always part of the text.
//
// Fuzz it with -fuzzminimizetime=1x: Go's minimizer takes a minute for each new input here, in which nothing else runs
// and which looks like a hang.
func FuzzPrepare(f *testing.F) {
	for _, sql := range []string{
		"", ";", "SELECT 1", "SELECT 1; SELECT 2", "/*", "'", "\"", "[", "x'", "SELECT ?1, :a, @b, $c::d(e)", "\xff\xfe",
		"SELECT\x00", "CREATE TABLE t(a); --", "WITH a AS (SELECT 1) SELECT * FROM a", strings.Repeat("(", 300),
		strings.Repeat("SELECT 1 UNION ", 600) + "SELECT 1", "SELECT " + strings.Repeat("-", 2000) + "1", "PRAGMA foreign_keys=1",
		"CREATE VIRTUAL TABLE f USING fts5(a, b, content='')", "EXPLAIN QUERY PLAN SELECT 1", "ATTACH 'x' AS y", "VACUUM INTO 'x'",
	} {
		f.Add(sql)
	}
	c := mustOpen(f, ":memory:", Options{Create: true})
	if err := c.Exec("CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c)"); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		s, tail, err := c.Prepare(sql)
		if err != nil {
			if e := asError(err); e == nil || e.Message == "" || e.Offset >= len(sql)+1 {
				t.Fatalf("%q: error %#v", sql, err)
			}
			return
		}
		if !strings.HasSuffix(sql, tail) || len(sql) > 0 && len(tail) == len(sql) {
			t.Fatalf("%q: tail %q", sql, tail)
		}
		if s != nil {
			s.ColumnCount()
			s.ReadOnly()
			s.Release()
		}
	})
}
