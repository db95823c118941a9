package repl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/dump"
	"github.com/rsqld/rsqld/db/sqlite"
)

// plainCluster is a cluster of one database, with foreign keys on and shadow tables that cannot be written, as a node has it.
type plainCluster struct {
	fakeClient
	t    *testing.T
	conn *sqlite.Conn
	// largest is the largest request in bytes, requests how many there were.
	largest, requests int
	// refuse, if set, may refuse a request before it is executed.
	refuse func(Request) error
}

func newCluster(t *testing.T, foreignKeys string) *plainCluster {
	t.Helper()
	conn, err := sqlite.Open(filepath.Join(t.TempDir(), "cluster.sqlite"), sqlite.Options{Create: true,
		Configs: []sqlite.ConfigValue{{Config: sqlite.ConfigDefensive, On: true}},
		Pragmas: []sqlite.Pragma{{Name: "foreign_keys", Value: foreignKeys}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return &plainCluster{t: t, conn: conn, fakeClient: fakeClient{place: Place{Node: 1, Name: "n1"}}}
}

// Execute implements Client: an atomic request is a transaction.
func (c *plainCluster) Execute(_ context.Context, request Request) (Results, error) {
	c.requests++
	size := len(request.SQL)
	for _, arg := range request.Args {
		switch v := arg.(type) {
		case string:
			size += len(v)
		case []byte:
			size += len(v)
		}
		size += 8
	}
	c.largest = max(c.largest, size)
	if c.refuse != nil {
		if err := c.refuse(request); err != nil {
			return nil, err
		}
	}
	rows, err := c.run(request)
	var failed *sqlite.Error
	if errors.As(err, &failed) {
		err = &Error{Class: ClassSQL, Message: failed.Message, Offset: failed.Offset}
	}
	if err != nil {
		return nil, err
	}
	return &fakeResults{answer: &answer{rows: rows, columns: []Column{{}}}, at: -1}, nil
}

func (c *plainCluster) run(request Request) (rows [][]any, err error) {
	if request.Atomic {
		if err := c.conn.Exec("BEGIN"); err != nil {
			return nil, err
		}
		defer func() {
			if err == nil {
				err = c.conn.Exec("COMMIT")
			}
			if !c.conn.Autocommit() {
				err = errors.Join(err, c.conn.Exec("ROLLBACK"))
			}
		}()
	}
	args := request.Args
	for text := request.SQL; text != ""; {
		stmt, rest, err := c.conn.Prepare(text)
		if err != nil || stmt == nil {
			return rows, err
		}
		more, n, err := c.step(stmt, args)
		rows = append(rows, more...)
		if err != nil {
			return nil, err
		}
		args, text = args[n:], rest
	}
	return rows, nil
}

func (c *plainCluster) step(stmt *sqlite.Stmt, args []any) (rows [][]any, used int, err error) {
	defer stmt.Release()
	used = stmt.ParamCount()
	for i := range used {
		switch v := args[i].(type) {
		case int64:
			err = stmt.BindInt64(i+1, v)
		case float64:
			err = stmt.BindFloat64(i+1, v)
		case string:
			err = stmt.BindText(i+1, v)
		case []byte:
			err = stmt.BindBlob(i+1, v)
		}
		if err != nil {
			return nil, used, err
		}
	}
	for {
		more, err := stmt.Step()
		if err != nil || !more {
			return rows, used, err
		}
		row, _ := valuesOf(stmt, stmt.ColumnCount())
		rows = append(rows, row)
	}
}

// load has a shell read a script from a file, and returns what it says.
func (c *plainCluster) load(script string, options Options) (told string, err error) {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), "d.sql")
	if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
		c.t.Fatal(err)
	}
	var out, says bytes.Buffer
	options.Client, options.Stdout, options.Stderr = c, &out, &says
	shell, err := New(options)
	if err != nil {
		c.t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer file.Close()
	err = shell.Script(c.t.Context(), "d.sql", file)
	if closed := shell.Close(); closed != nil {
		c.t.Error(closed)
	}
	return says.String() + out.String(), err
}

// dumped is all of a database as text.
func dumped(t *testing.T, conn *sqlite.Conn) string {
	t.Helper()
	var b bytes.Buffer
	if err := dump.Write(t.Context(), conn, &b, dump.Options{}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// staged is a script run by plain SQLite, as text.
func staged(t *testing.T, script string) string {
	t.Helper()
	conn, err := sqlite.Open(filepath.Join(t.TempDir(), "plain.sqlite"), sqlite.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec(script + ";PRAGMA writable_schema=RESET"); err != nil {
		t.Fatal(err)
	}
	return dumped(t, conn)
}

// frame makes a dump of statements.
func frame(statements string) string {
	return "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n" + statements + "\nCOMMIT;\n"
}

// A dump of sqlite3, with tables behind those that refer to them, shadow tables and counters, gives a cluster with foreign keys on
// what it gives SQLite; so does a dump of ours.
func TestLoad(t *testing.T) {
	script, err := os.ReadFile("../../db/dump/testdata/sqlite3.sql")
	if err != nil {
		t.Fatal(err)
	}
	want := staged(t, string(script))
	for name, text := range map[string]string{"of sqlite3": string(script), "of ours": "-- a comment\n" + want, "in capitals": strings.Replace(string(script), "PRAGMA foreign_keys=OFF", "pragma  foreign_keys = off ", 1)} {
		c := newCluster(t, "on")
		told, err := c.load(text, Options{})
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, told)
		}
		if got := dumped(t, c.conn); got != want {
			t.Errorf("%s: loaded\n%s\nwant\n%s", name, got, want)
		}
		for _, says := range []string{"loaded 9 rows into 5 tables, with 1 index, 1 view and 1 trigger, from d.sql in ", "foreign keys of 2 tables checked, none is broken\n"} {
			if !strings.Contains(told, says) {
				t.Errorf("%s: it says %q, not %q", name, told, says)
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "rsqld-load-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Requests stay small however large the dump is; a statement may be longer than any that a cluster takes.
func TestLoadBounds(t *testing.T) {
	var b strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&b, "INSERT INTO t VALUES(%d,'%s');\n", i, strings.Repeat("x", 60))
	}
	blob := strings.Repeat("ab", MaxStatement/2+1000)
	c := newCluster(t, "on")
	told, err := c.load(frame("CREATE TABLE t(a, b);\n"+b.String()+"CREATE TABLE big(x);\nINSERT INTO big VALUES(X'"+blob+"');"), Options{})
	if err != nil || !strings.Contains(told, "loaded 20,001 rows into 2 tables") {
		t.Fatalf("%v, %.1000s", err, told)
	}
	if rows, err := c.run(Request{SQL: "select length(x) from big"}); err != nil || rows[0][0] != int64(len(blob)/2) {
		t.Errorf("%v, %v", rows, err)
	}
	if c.requests < 20_000/importRows {
		t.Errorf("it took %d requests", c.requests)
	}
	c = newCluster(t, "on")
	if told, err := c.load(frame("CREATE TABLE t(a, b);\n"+b.String()), Options{}); err != nil || c.largest > 2*importBytes {
		t.Errorf("%v, the largest request has %d bytes; %s", err, c.largest, told)
	}
}

// Circles of rows and chains in any direction load with foreign keys on.
func TestLoadCircles(t *testing.T) {
	script := frame(`CREATE TABLE a(id INTEGER PRIMARY KEY, b NOT NULL REFERENCES b(id));
INSERT INTO a VALUES(1,10); INSERT INTO a VALUES(2,20); INSERT INTO a VALUES(3,10);
CREATE TABLE b(id INTEGER PRIMARY KEY, a NOT NULL REFERENCES a(id));
INSERT INTO b VALUES(10,1); INSERT INTO b VALUES(20,2);
CREATE TABLE chain(id INTEGER PRIMARY KEY, next REFERENCES chain(id));
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) INSERT INTO chain SELECT i, nullif(i + 1, 2001) FROM n;`)
	c := newCluster(t, "on")
	if told, err := c.load(script, Options{}); err != nil || dumped(t, c.conn) != staged(t, script) {
		t.Errorf("%v, %s", err, told)
	}
}

// What is wrong is said with its line before the cluster has changed, where it can be known; and with --keep-going too nothing of
// the script is run behind it.
func TestLoadRefused(t *testing.T) {
	tangled := "CREATE TABLE t(rowid, oid, _rowid_, k TEXT PRIMARY KEY, p REFERENCES t(k));\nINSERT INTO t(k) VALUES('a');"
	for name, test := range map[string]struct{ script, says string }{
		"a wrong statement":  {frame("CREATE TABLE t(a);\nINSERT INTO nowhere VALUES(1);"), "error: no such table: nowhere (the script begins like a dump of sqlite3 and is tried as one)\n  at d.sql:4\n"},
		"cut off":            {"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE t(a);\n", "ends without COMMIT"},
		"cut in a statement": {"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE t(a);\nINSERT INTO t VALUES('x", "error: unrecognized token"},
		"rolled back":        {"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE t(a);\nROLLBACK; -- due to errors\n", "ends with ROLLBACK"},
		"broken keys":        {frame("CREATE TABLE p(id INTEGER PRIMARY KEY);\nCREATE TABLE c(p REFERENCES p);\nINSERT INTO c VALUES(7);"), "1 row of the dump break foreign keys, which are on in this cluster (row 1 of c refers to no row of p): mend the dump"},
		"contentless":        {frame("CREATE VIRTUAL TABLE f USING fts5(x, content='');"), "table f (d.sql:3) is a full-text table without content"},
		"another module":     {frame("CREATE VIRTUAL TABLE f USING fts5vocab(x, row);"), "table f (d.sql:3) is a virtual table of a module that a cluster does not have"},
		"attached":           {frame("ATTACH 'x.db' AS x;"), "too many attached databases"},
		"an existing table":  {frame("CREATE TABLE old(a);\nCREATE TABLE t(a);"), "making the schema: table old already exists"},
		"tangled":            {frame(tangled), "table t (d.sql:3): the columns of table t have taken all names of the rowid: the rows refer to each other in too tangled a way, and foreign keys are on: `rsqld set sql.foreign_keys=off`"},
	} {
		for _, keepGoing := range []bool{false, true} {
			c := newCluster(t, "on")
			if _, err := c.run(Request{SQL: "create table old(kept)"}); err != nil {
				t.Fatal(err)
			}
			before := dumped(t, c.conn)
			told, err := c.load(test.script+"\nCREATE TABLE behind(x);", Options{KeepGoing: keepGoing})
			if err == nil || !strings.Contains(told, test.says) || strings.Count(told, "nothing of d.sql was loaded") != 1 {
				t.Errorf("%s: %v, says %q", name, err, told)
			}
			if after := dumped(t, c.conn); after != before {
				t.Errorf("%s: it has changed the cluster:\n%s", name, after)
			}
		}
	}
	c := newCluster(t, "off")
	if told, err := c.load(frame(tangled), Options{}); err != nil {
		t.Errorf("with foreign keys off: %v, %s", err, told)
	}
	broken := frame("CREATE TABLE p(id INTEGER PRIMARY KEY);\nCREATE TABLE c(p REFERENCES p);\nINSERT INTO c VALUES(7);")
	if told, err := c.load(broken, Options{}); err != nil || !strings.Contains(told, `warning: 1 row of table c refer to nothing: PRAGMA foreign_key_check("c") lists them`) {
		t.Errorf("broken keys with foreign keys off: %v, %s", err, told)
	}
}

// A statement that is too long ends a dump, with --keep-going too: what follows it is not the dump any more.
func TestLoadTooLong(t *testing.T) {
	defer func(limit int) { maxDumpStatement = limit }(maxDumpStatement)
	maxDumpStatement = 1000
	c := newCluster(t, "on")
	told, err := c.load(frame("CREATE TABLE t(a);\nINSERT INTO t VALUES('"+strings.Repeat("x\n", 600)+"');"), Options{KeepGoing: true})
	if err == nil || c.requests > 0 || !strings.Contains(told, "longer than") || !strings.Contains(told, "nothing of d.sql was loaded") {
		t.Errorf("%v, %d requests, %s", err, c.requests, told)
	}
}

// A load that fails on its way says what is loaded; an interrupt does too.
func TestLoadFails(t *testing.T) {
	script := frame("CREATE TABLE one(a);\nINSERT INTO one VALUES(1);\nINSERT INTO one VALUES(2);\nCREATE TABLE two(a);\nINSERT INTO two VALUES('stop');\nCREATE TABLE three(a);")
	interrupts := make(chan os.Signal)
	for name, refuse := range map[string]func() error{
		"lost": func() error { return &Error{Class: ClassNoQuorum, Message: "no quorum", Offset: -1} },
		"interrupted": func() error {
			interrupts <- os.Interrupt
			return &Error{Class: ClassCancelled, Message: "cancelled", Offset: -1}
		},
	} {
		c := newCluster(t, "on")
		c.refuse = func(r Request) error {
			if len(r.Args) == 2 && r.Args[1] == "stop" {
				return refuse()
			}
			return nil
		}
		told, err := c.load(script, Options{Interrupts: interrupts})
		if err == nil || !strings.Contains(told, "2 rows of d.sql are loaded (tables: one); to load it again, drop its tables first\n") {
			t.Errorf("%s: %v, says %q", name, err, told)
		}
		if name == "lost" && !strings.Contains(told, "error: loading table two (d.sql:6): 1 row behind the first 2 of the dump: no quorum") {
			t.Errorf("%s: says %q", name, told)
		}
	}
}

// An interrupt ends a statement of a dump that would run for ever, and nothing is loaded.
func TestLoadInterrupted(t *testing.T) {
	interrupts := make(chan os.Signal)
	var once sync.Once
	now := func() time.Time { // it is asked when the first statement has been taken for a dump's
		once.Do(func() { go func() { interrupts <- os.Interrupt }() })
		return time.Now()
	}
	c := newCluster(t, "on")
	told, err := c.load("PRAGMA foreign_keys=OFF; BEGIN TRANSACTION; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n; COMMIT;",
		Options{Interrupts: interrupts, Now: now})
	var exit *Exit
	if !errors.As(err, &exit) || exit.Code != ExitInterrupted || c.requests > 0 || told != "nothing of d.sql was loaded\ninterrupted\n" {
		t.Errorf("%v, %d requests, says %q", err, c.requests, told)
	}
}

// Scripts that only look like a dump at first run as scripts.
func TestNoLoad(t *testing.T) {
	for name, script := range map[string]string{
		"no transaction":  "PRAGMA foreign_keys=OFF;\nCREATE TABLE t(a);",
		"the pragma":      "PRAGMA foreign_keys=OFF;",
		"later":           "SELECT 1;\nPRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE t(a);\nCOMMIT;",
		"another setting": "PRAGMA foreign_keys=ON;\nBEGIN TRANSACTION;\nCREATE TABLE t(a);\nCOMMIT;",
	} {
		c := newCluster(t, "on")
		want := len(strings.Split(script, "\n"))
		if told, err := c.load(script, Options{}); err != nil || c.requests != want {
			t.Errorf("%s: %d requests instead of %d, %v, %s", name, c.requests, want, err, told)
		}
	}
}
