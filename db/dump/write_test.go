package dump

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/sqlite"
)

// database opens a new database as any program does, and fills it.
func database(t testing.TB, sql ...string) *sqlite.Conn {
	t.Helper()
	conn, err := sqlite.Open(filepath.Join(t.TempDir(), "test.sqlite"), sqlite.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	must(t, conn, sql...)
	return conn
}

func must(t testing.TB, conn *sqlite.Conn, sql ...string) {
	t.Helper()
	for _, text := range sql {
		if err := conn.Exec(text); err != nil {
			t.Fatalf("%.300s: %v", text, err)
		}
	}
}

func written(t testing.TB, conn *sqlite.Conn, o Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(t.Context(), conn, &b, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// content returns schema and rows, each with its rowid and the storage classes of its values, bit by bit.
func content(t testing.TB, conn *sqlite.Conn) (lines []string) {
	t.Helper()
	s, err := Read(conn)
	if err != nil {
		t.Fatal(err)
	}
	lines = append(lines, fmt.Sprint(s.UserVersion, s.ApplicationID, s.Analyzed))
	for _, o := range slices.Concat(s.Indexes, s.Views, s.Triggers) {
		lines = append(lines, o.Name+" on "+o.Table+": "+o.SQL)
	}
	for _, table := range s.Tables {
		lines = append(lines, table.Name+": "+table.SQL, fmt.Sprint(table.Config))
		err := query(conn, table.Select, func(row *sqlite.Stmt) error {
			line := table.Name
			for i := range row.ColumnCount() {
				v := row.Column(i)
				line += fmt.Sprintf(" %d:%d:%x:%x", v.Type, v.Int, math.Float64bits(v.Float), v.Bytes)
			}
			lines = append(lines, line)
			return nil
		})
		if err != nil {
			t.Fatal(table.Name, err)
		}
	}
	if err := Sequences(conn, s.Tables, func(table string, v sqlite.Value) error {
		lines = append(lines, fmt.Sprint("sequence ", table, v))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return lines
}

// hard is what dumps get wrong.
var hard = []string{
	`pragma user_version = 7; pragma application_id = -5`,
	`create table plain(a, b text, c real, d integer); insert into plain(rowid, a) values(5, 'five'), (-3, 'minus three'), (9, x''), (10, '')`,
	`create table "sel ect"("group" primary key, "qu""ote" text, [br a] int, "ünï" blob); insert into "sel ect" values('it''s', 'line
 break', 1, x'00ff'), ('nul' || char(0) || 'nul', cast(x'ff00' as text), 2, 'a'||char(13)||char(10)||'b'), ('.quit', '--', 3, '/* ')`,
	`create table numbers(x); insert into numbers values(9223372036854775807), (-9223372036854775808), (9e999), (-9e999), (0.1), (1e300), (5e-324), (-0.0), (100.0), (1e15), (123456789012345678.0), (null), (1.7976931348623157e308)`,
	`create table auto(id integer primary key autoincrement, x); insert into auto(x) values(1), (2), (3); delete from auto where id = 3`,
	`create table keyed(a, b, primary key(b, a)) without rowid; insert into keyed values(1, 'z'), (2, 'a')`,
	`create table down(id integer primary key desc, x); insert into down values(5, 'a'), (3, 'b')`,
	`create table named(rowid, _rowid_, x); insert into named values(1, 2, 3), (1, 2, 4); delete from named where x = 3`,
	`create table computed(a, b as (a * 2), c as (a + 1) stored, d); insert into computed(a, d) values(4, 'd')`,
	`create table strict(i int, r real, t text, b blob, x any) strict; insert into strict values(1, 2, '3', x'04', '5')`,
	`create table parent(id integer primary key, child references child(id)); create table child(id integer primary key, p references parent(id)); insert into parent values(1, 2); insert into child values(2, 1)`,
	`create view later as select * from earlier`, "create view earlier as select a from plain -- a comment at the end\n",
	`create table log(x); create trigger noted after insert on plain begin insert into log values(new.a || ';'); end`,
	`create trigger through instead of insert on earlier begin insert into plain(a) values(new.a); end`,
	`create index partial on plain(lower(b)) where b is not null; create unique index "un ique" on keyed(a)`,
	`create virtual table docs using fts5(title, body, extra unindexed, tokenize = 'porter unicode61', prefix = '2 3'); insert into docs(rowid, title, body, extra) values(7, 'Running', 'the runner ran', 1), (2, 'Nothing', null, x'00')`,
	`insert into docs(docs, rank) values('pgsz', 1000); insert into docs(docs, rank) values('rank', 'bm25(10.0, 5.0)')`,
	`create virtual table over using fts5(b, content = "plain", content_rowid = rowid); update plain set b = 'some text' where rowid = 5; insert into over(over) values('rebuild')`,
	`create virtual table bare using fts5(words, content = ''); insert into bare(rowid, words) values(3, 'only the index')`,
	`create virtual table boxes using rtree(id, x0, x1, y0, y1, +label); insert into boxes with recursive n(i) as (select 1 union all select i + 1 from n where i < 120) select i, i * 0.1, i * 0.1 + 1, -i, i, 'box ' || i from n`,
	`create virtual table grid using rtree_i32(id, x0, x1); insert into grid values(1, -5, 7)`,
	`create virtual table shapes using geopoly(name); insert into shapes(rowid, name, _shape) values(4, 'square', '[[0,0],[1,0],[1,1],[0,1],[0,0]]')`,
	`analyze`,
}

// What a dump writes gives plain SQLite the same content, bit by bit, with the virtual tables at work; a dump of that
// is the same text.
func TestWrite(t *testing.T) {
	from := database(t, hard...)
	script := written(t, from, Options{Comment: "a test"})
	to := database(t, script)
	want, got := content(t, from), content(t, to)
	if !slices.Equal(want, got) {
		for i := range max(len(want), len(got)) {
			if i >= len(want) || i >= len(got) || want[i] != got[i] {
				t.Fatalf("line %d of %d and %d:\n%q\n%q\nof\n%s", i, len(want), len(got), want[min(i, len(want)-1)], got[min(i, len(got)-1)], script)
			}
		}
	}
	for sql, want := range map[string]string{
		"select rowid from docs where docs match 'run' order by rank":                        "7",
		"select rowid from over where over match 'text'":                                     "5",
		"select rowid from bare where bare match 'index'":                                    "3",
		"select count(*) from boxes where x0 < 3 and x1 > 2.5":                               "14",
		"select name from shapes where geopoly_overlap(_shape, '[[0,0],[1,0],[1,1],[0,0]]')": "square",
		"pragma integrity_check":                                                             "ok",
		"select count(*) from log":                                                           "0",
	} {
		var answer string
		if err := query(to, sql, func(row *sqlite.Stmt) error { answer += row.ColumnText(0); return nil }); err != nil || answer != want {
			t.Errorf("%s: %q, %v; want %q", sql, answer, err, want)
		}
	}
	if again := written(t, to, Options{Comment: "a test"}); again != script {
		t.Error("a dump of what was loaded is another text")
	}
	if !strings.HasPrefix(script, "-- a test\nPRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n") || !strings.HasSuffix(script, "\nCOMMIT;\n") {
		t.Error("the script has not the frame of a dump")
	}
}

// The sqlite3 that a machine may have loads a dump, and gives back the same content.
func TestWriteForShell(t *testing.T) {
	shell, err := exec.LookPath("sqlite3")
	if err != nil {
		t.Log("this machine has no sqlite3")
		return
	}
	from := database(t, slices.DeleteFunc(slices.Clone(hard), func(sql string) bool { return strings.Contains(sql, "geopoly") })...)
	path := filepath.Join(t.TempDir(), "loaded.sqlite")
	c := exec.Command(shell, "-bail", path)
	c.Stdin = strings.NewReader(written(t, from, Options{}))
	if out, err := c.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%v: %s", err, out)
	}
	to, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	if want, got := content(t, from), content(t, to); !slices.Equal(want, got) {
		t.Errorf("%d lines and %d:\n%s\n%s", len(want), len(got), strings.Join(want, "\n"), strings.Join(got, "\n"))
	}
}

// Every real is the same number again after it was written and read: SQLite reads decimal digits by rounding of its
// own.
func TestReals(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	conn := database(t)
	check := func(f float64) {
		if math.IsNaN(f) {
			return
		}
		literal := appendReal(nil, f)
		stmt, _, err := conn.Prepare("SELECT " + string(literal))
		if err != nil {
			t.Fatal(err)
		}
		defer stmt.Release()
		if _, err := stmt.Step(); err != nil {
			t.Fatal(err)
		}
		if got := stmt.Column(0); got.Type != sqlite.Float || math.Float64bits(got.Float) != math.Float64bits(f) {
			t.Errorf("%x is written %s and read as %x", math.Float64bits(f), literal, math.Float64bits(got.Float))
		}
	}
	for _, f := range []float64{0, math.Copysign(0, -1), 0.1, 1e15, 1e16, 1e22, 1e23, math.MaxFloat64, math.SmallestNonzeroFloat64, math.Inf(1), math.Inf(-1), 2.2250738585072011e-308, 9007199254740993} {
		check(f)
	}
	for range 50_000 {
		check(math.Float64frombits(random.Uint64()))
		check(float64(random.Int64N(1e17)) / 1e4)
	}
}

// A dump of chosen tables has them, their indexes and triggers, and nothing of the file's header.
func TestWriteChosen(t *testing.T) {
	from := database(t, hard...)
	got := written(t, from, Options{Tables: []string{"PLA%", "docs"}})
	for _, want := range []string{"CREATE TABLE plain", "CREATE INDEX partial", "CREATE TRIGGER noted", "CREATE VIRTUAL TABLE docs"} {
		if !strings.Contains(got, want) {
			t.Errorf("it has no %s", want)
		}
	}
	for _, other := range []string{"keyed", "earlier -- a", "user_version", "docs_data"} {
		if strings.Contains(got, other) {
			t.Errorf("it has %s:\n%s", other, got)
		}
	}
}

// limited takes so many bytes.
type limited int

func (l *limited) Write(p []byte) (int, error) {
	if *l -= limited(len(p)); *l < 0 {
		return 0, os.ErrClosed
	}
	return len(p), nil
}

// A dump ends with the context, and with a writer that takes no more.
func TestWriteEnds(t *testing.T) {
	from := database(t, "create table t(x); insert into t with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000) select i from n")
	why := errors.New("no more")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := Write(ctx, from, &bytes.Buffer{}, Options{}); !errors.Is(err, why) {
		t.Errorf("with an ended context: %v", err)
	}
	room := limited(100_000)
	if err := Write(t.Context(), from, &room, Options{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("with a writer that is full: %v", err)
	}
}
