package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// record makes c note every action and allow it.
func record(c *Conn) *[]string {
	var actions []string
	c.SetAuthorizer("record", func(a Action) Decision {
		s := strings.TrimRight(fmt.Sprintf("%d %s|%s|%s|%s", a.Op, a.Arg1, a.Arg2, a.DB, a.Trigger), "|")
		if !slices.Contains(actions, s) {
			actions = append(actions, s)
		}
		return Allow
	})
	return &actions
}

// The authorizer sees every action with its names, also those of triggers.
func TestAuthorizerActions(t *testing.T) {
	c := memory(t)
	mustExec(t, c, `CREATE TABLE t(a, b); CREATE TABLE log(n);
		CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log VALUES (random()); END`)
	actions := record(c)
	for _, test := range []struct {
		sql  string
		want []string
	}{
		{"SELECT a FROM t", []string{"21 ", "20 t|a|main"}},
		{"INSERT INTO t(a) VALUES (1)", []string{"18 t||main", "18 log||main|tr", "31 |random||tr"}},
		{"PRAGMA foreign_keys", []string{"19 foreign_keys"}},
		{"PRAGMA user_version=7", []string{"19 user_version|7"}},
		{"ATTACH 'x' AS y", []string{"24 x"}},
		{"BEGIN", []string{"22 BEGIN"}},
		{"SAVEPOINT s", []string{"32 BEGIN|s"}},
		{"CREATE VIRTUAL TABLE f USING fts5(a)", []string{"18 sqlite_master||main", "29 f|fts5|main"}},
		{"CREATE TABLE temp.x(a)", []string{"2 x||temp"}},
		{"ANALYZE t", []string{"28 t||main"}},
	} {
		*actions = nil
		s, _, err := c.Prepare(test.sql)
		if err != nil {
			t.Fatalf("%s: %v", test.sql, err)
		}
		s.Release()
		for _, want := range test.want {
			if !slices.Contains(*actions, want) {
				t.Errorf("%s: got %q, want among them %q", test.sql, *actions, want)
			}
		}
	}
}

// A denied statement is not prepared, its error carries the reason, and what acts at prepare has not acted.
func TestAuthorizerDenies(t *testing.T) {
	c := memory(t)
	denied := map[Op]string{OpPragma: "pragmas are settings of the cluster", OpAttach: "one database only", OpFunction: "no functions"}
	c.SetAuthorizer("user", func(a Action) Decision {
		if reason, ok := denied[a.Op]; ok {
			return Deny(reason)
		}
		return Allow
	})
	for sql, op := range map[string]Op{
		"PRAGMA foreign_keys=1":        OpPragma, // acts when it is prepared
		"PRAGMA case_sensitive_like=1": OpPragma, // acts when it is prepared
		"PRAGMA query_only=1":          OpPragma,
		"ATTACH ':memory:' AS x":       OpAttach,
		"SELECT abs(1)":                OpFunction,
	} {
		_, _, err := c.Prepare(sql)
		if e := wantCode(t, sql, err, CodeAuth); e.Message != denied[op] {
			t.Errorf("%s: got %q, want %q", sql, e.Message, denied[op])
		}
	}
	c.SetAuthorizer("", nil)
	if got := ask(t, c, "SELECT (SELECT foreign_keys FROM pragma_foreign_keys) || ('a' LIKE 'A')"); got != "01" {
		t.Errorf("got foreign_keys and LIKE %q, want 01: a denied pragma acted", got)
	}
}

// VACUUM and VACUUM INTO are stopped by denying ATTACH, and by the limit alone, on a read-only connection too.
func TestVacuumIsStopped(t *testing.T) {
	path := tempFile(t)
	writer := mustOpen(t, path, WriterOptions(NewClock()))
	mustExec(t, writer, "CREATE TABLE t(a)")
	target := filepath.Join(filepath.Dir(path), "copy.sqlite")
	for name, o := range map[string]Options{"reader": ReaderOptions(), "plain": {}, "read-only": {ReadOnly: true}} {
		c := mustOpen(t, path, o)
		for _, sql := range []string{"VACUUM INTO '" + target + "'", "VACUUM"} {
			if len(o.Limits) > 0 {
				if run(c, sql) == nil {
					t.Errorf("%s: %s passes with LIMIT_ATTACHED=0", name, sql)
				}
			}
			c.SetAuthorizer("user", func(a Action) Decision {
				if a.Op == OpAttach {
					return Deny("vacuum is not for replicas")
				}
				return Allow
			})
			if e := wantCode(t, name+": "+sql, run(c, sql), CodeAuth); e.Message != "vacuum is not for replicas" {
				t.Errorf("%s: %s: got %q", name, sql, e.Message)
			}
		}
	}
	if _, err := os.Stat(target); !os.IsNotExist(err) {
		t.Errorf("a file was written: %v", err)
	}
}

// Internal SQL is not seen by the authorizer, neither when it is prepared nor when the schema changes under it.
func TestInternalIsNotAsked(t *testing.T) {
	c := memory(t)
	mustExec(t, c, "CREATE TABLE hidden(a)")
	c.SetAuthorizer("user", func(Action) Decision { return Deny("nothing is allowed") })
	s, err := c.Internal("INSERT INTO hidden(a) VALUES (?) RETURNING a")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	mustExec(t, c, "ALTER TABLE hidden ADD COLUMN b DEFAULT 3")
	if row, err := s.Step(); err != nil || !row {
		t.Fatalf("row %t, error %v: internal SQL was asked about when it was prepared anew", row, err)
	}
	_, _, err = c.Cached("INSERT INTO hidden(a) VALUES (?) RETURNING a")
	wantCode(t, "the same text from a user", err, CodeAuth)
}

// A user's statement that must be prepared anew is asked about again.
func TestUserIsAskedAgain(t *testing.T) {
	c := memory(t)
	mustExec(t, c, "CREATE TABLE t(a)")
	s, _, err := c.Prepare("SELECT * FROM t")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	c.SetAuthorizer("user", func(a Action) Decision {
		if a.Op == OpRead && a.Arg2 == "b" {
			return Deny("column b is hidden")
		}
		return Allow
	})
	mustExec(t, c, "ALTER TABLE t ADD COLUMN b")
	_, err = s.Step()
	if e := wantCode(t, "Step", err, CodeAuth); e.Message != "column b is hidden" {
		t.Errorf("got %q", e.Message)
	}
}

// The table of names is bounded.
func TestAuthorizerNames(t *testing.T) {
	c := memory(t)
	record(c)
	for i := range maxNames + 10 {
		if err := run(c, fmt.Sprintf("SAVEPOINT s%d", i)); err != nil {
			t.Fatal(err)
		}
		mustExec(t, c, fmt.Sprintf("RELEASE s%d", i))
	}
	if n := len(c.authorizer.names); n > maxNames {
		t.Errorf("%d names are kept, want at most %d", n, maxNames)
	}
}
