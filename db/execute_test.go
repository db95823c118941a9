package db_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// A text of several statements is executed one by one, each write an entry of its own; an atomic one is one entry, of
// which all or nothing is done.
func TestScripts(t *testing.T) {
	dir := t.TempDir()
	r := greeted(t, openNode(t, dir), dir)
	r.execute(&sqlpb.Execute{Seq: 1}, "create table t(x integer primary key); ; insert into t values(?), (?) -- two\n; select x from t where x > ?;")
	if a := r.answer(); a.err == nil || !strings.Contains(a.err.Message, "argument") {
		t.Fatalf("without arguments: %v", a.err) // after the first statement, which is done
	}
	x := &sqlpb.Execute{Seq: 5, Statements: []*sqlpb.Statement{
		{Sql: "insert into t values(?), (?); ; select x from t where x >= ? -- rest", Args: integers(1, 2, 2)},
		{Sql: " -- nothing"},
		{Sql: "update t set x = x + 10 where x = $old", Args: []*sqlpb.Argument{{Name: "old", Value: integer(1)}}},
	}}
	r.execute(x)
	a := r.answer()
	if a.err != nil || fmt.Sprint(a.rows) != "[[2]]" || len(a.dones) != 3 {
		t.Fatalf("the script answers %v, %v, %v", a.rows, a.dones, a.err)
	}
	insert, read, update := a.dones[0], a.dones[1], a.dones[2]
	if !insert.Wrote || insert.RowsAffected != 2 || insert.LastInsertId != 2 || read.Wrote || !update.Wrote ||
		update.Index != insert.Index+1 || read.Index < insert.Index || !insert.More || !read.More || update.More {
		t.Errorf("the statements end with %v", a.dones)
	}
	r.execute(&sqlpb.Execute{Seq: 10, Atomic: true}, "insert into t values(100)", "insert into t values(101); insert into t values(2)")
	if a := r.answer(); a.err.GetExtendedCode() != 1555 || a.err.Statement != 1 || !strings.Contains(a.err.Sql, "values(2)") || strings.Contains(a.err.Sql, "101") || len(a.dones) != 0 {
		t.Errorf("an atomic request whose last statement fails ends with %v, %v", a.err, a.dones)
	}
	r.execute(&sqlpb.Execute{Seq: 20}, "insert into t values(200)", "insert into t values(201); insert into t values(2); insert into t values(202)")
	if a := r.answer(); a.err.GetExtendedCode() != 1555 || a.err.Statement != 1 || len(a.dones) != 2 || !a.dones[1].More {
		t.Errorf("a request whose third statement fails ends with %v, %v", a.err, a.dones)
	}
	r.execute(&sqlpb.Execute{Seq: 30, Atomic: true}, "insert into t values(300); insert into t values(301)", "select count(*) from t")
	if a := r.answer(); a.err != nil || fmt.Sprint(a.rows) != "[[6]]" || len(a.dones) != 3 || a.dones[0].Index != a.dones[2].Index {
		t.Errorf("an atomic request answers %v, %v, %v", a.rows, a.dones, a.err)
	}
	r.execute(&sqlpb.Execute{Seq: 40}, "", " ; -- nothing at all", "/* c */")
	if a := r.answer(); a.err != nil || len(a.dones) != 1 || len(a.rows) != 0 || a.dones[0].Wrote {
		t.Errorf("a request of comments answers %v, %v", a.dones, a.err)
	}
	r.execute(&sqlpb.Execute{}, "select group_concat(x) from (select x from t order by x)")
	if a := r.answer(); fmt.Sprint(a.rows) != "[[2 11 200 201 300 301]]" && fmt.Sprint(a.rows) != "[[2,11,200,201,300,301]]" {
		t.Errorf("the table holds %v", a.rows)
	}
}

func integer(v int64) *sqlpb.Value {
	return &sqlpb.Value{Kind: &sqlpb.Value_Integer{Integer: v}}
}

func integers(values ...int64) (args []*sqlpb.Argument) {
	for _, v := range values {
		args = append(args, &sqlpb.Argument{Value: integer(v)})
	}
	return args
}

// An error names the statement, its text, and the place in that text, wherever it stands in the request.
func TestErrorPlaces(t *testing.T) {
	dir := t.TempDir()
	r := greeted(t, openNode(t, dir), dir)
	r.execute(&sqlpb.Execute{Seq: 1}, "create table t(x)")
	r.answer()
	for i, test := range []struct {
		atomic    bool
		sql       []string
		statement uint32
		at        string // what stands at the offset of the error's text
	}{
		{false, []string{"selec 1"}, 0, "selec"},
		{false, []string{"select 1", "select x, nope from t"}, 1, "nope"},
		{false, []string{"select 1; select 2; select nope from t; select 3"}, 0, "nope"},
		{false, []string{"select 1", "insert into t values(1); insert into t values(nope)"}, 1, "nope"},
		{true, []string{"insert into t values(1)", "insert into t values(2); select nope from t"}, 1, "nope"},
		{true, []string{"select 1; select nope from t"}, 0, "nope"},
	} {
		r.execute(&sqlpb.Execute{Seq: uint64(10 * (i + 1)), Atomic: test.atomic}, test.sql...)
		e := r.answer().err
		if e == nil || e.Statement != test.statement || e.Offset < 0 || int(e.Offset) > len(e.Sql) || !strings.HasPrefix(e.Sql[e.Offset:], test.at) {
			t.Errorf("%q (atomic %t) fails with %v; want statement %d, offset at %q", test.sql, test.atomic, e, test.statement, test.at)
		}
	}
}

// A request that ends in its middle says what was done before, and that it must not be sent again.
func TestPartlyExecuted(t *testing.T) {
	dir := t.TempDir()
	r := greeted(t, openNode(t, dir), dir)
	r.execute(&sqlpb.Execute{Seq: 1}, "create table t(x)")
	r.answer()
	r.execute(&sqlpb.Execute{Seq: 2, TimeoutMs: 200}, "insert into t values(1); insert into t values(2) returning x", endless)
	a := r.answer()
	want := "the deadline passed before the request was done (each of the 2 statements before it was executed; it and what follows were not)"
	if a.err.GetMessage() != want || a.err.Retry != sqlpb.Retry_RETRY_NEVER || a.err.Statement != 1 || len(a.dones) != 2 || fmt.Sprint(a.rows) != "[[2]]" {
		t.Errorf("it ends with %v after %v and %v", a.err, a.dones, a.rows)
	}
	r.execute(&sqlpb.Execute{Seq: 4, MinIndex: 1 << 40, TimeoutMs: 100}, "insert into t values(3); select 1")
	a = r.answer()
	if a.err.GetClass() != sqlpb.Class_CLASS_STALE || a.err.Retry != sqlpb.Retry_RETRY_NEVER || !strings.Contains(a.err.Message, "the statement before it was executed") {
		t.Errorf("a stale read after a write ends with %v", a.err)
	}
	r.execute(&sqlpb.Execute{MinIndex: 1 << 40, TimeoutMs: 30}, "select 1")
	if a = r.answer(); a.err.GetRetry() != sqlpb.Retry_RETRY_SAME {
		t.Errorf("a stale read alone ends with %v", a.err)
	}
}

// Messages of SQLite may quote bytes that are no text; the client gets an answer all the same.
func TestErrorOfBytes(t *testing.T) {
	dir := t.TempDir()
	r := greeted(t, openNode(t, dir), dir)
	r.execute(&sqlpb.Execute{Seq: 1, Atomic: true}, `create table t(x);
		create trigger g before insert on t begin select raise(abort, new.x); end`)
	if a := r.answer(); a.err != nil {
		t.Fatal(a.err)
	}
	r.execute(&sqlpb.Execute{Seq: 2}, "insert into t values(cast(x'41ff42' as text))")
	if a := r.answer(); a.err.GetMessage() != "AB" {
		t.Errorf("the error is %v", a.err)
	}
}

// Rows that a write returns come in frames of the usual size. More than 1 MiB of them are not kept: the client hears that
// the write was applied.
func TestReturning(t *testing.T) {
	dir := t.TempDir()
	r := greeted(t, openNode(t, dir), dir)
	r.execute(&sqlpb.Execute{Seq: 1}, "create table t(x integer primary key, y)")
	r.answer()
	const insert = "insert into t(y) select ? from (with recursive c(x) as (select 1 union all select x + 1 from c) select x from c limit ?) returning x, y"
	text := strings.Repeat("y", 1000)
	many := func(rows int64) []*sqlpb.Argument {
		return []*sqlpb.Argument{{Value: &sqlpb.Value{Kind: &sqlpb.Value_Text{Text: []byte(text)}}}, {Value: integer(rows)}}
	}
	r.execute(&sqlpb.Execute{Seq: 2, Statements: []*sqlpb.Statement{{Sql: insert, Args: many(1000)}}})
	a := r.answer()
	if a.err != nil || len(a.rows) != 1000 || fmt.Sprint(a.rows[999]) != fmt.Sprintf("[1000 %s]", text) {
		t.Fatalf("it returns %d rows, %v", len(a.rows), a.err)
	}
	for _, size := range a.frames {
		if size > 66<<10 {
			t.Errorf("a frame has %d bytes of rows", size)
		}
	}
	if len(a.frames) < 15 {
		t.Errorf("%d frames", len(a.frames))
	}
	r.execute(&sqlpb.Execute{Seq: 3, Statements: []*sqlpb.Statement{{Sql: insert, Args: many(1100)}}})
	a = r.answer()
	if a.err.GetClass() != sqlpb.Class_CLASS_TOO_LARGE || a.err.Retry != sqlpb.Retry_RETRY_NEVER || len(a.rows) != 0 ||
		!strings.HasPrefix(a.err.Message, "applied at index ") || !strings.Contains(a.err.Message, "rows not kept (over 1 MiB)") {
		t.Errorf("too many rows end with %v", a.err)
	}
	r.execute(&sqlpb.Execute{}, "select count(*) from t")
	if a := r.answer(); fmt.Sprint(a.rows) != "[[2100]]" {
		t.Errorf("the table holds %v rows", a.rows)
	}
}

// A result larger than memory streams: while a client reads a million rows, the node holds a window of them.
func TestLargeResult(t *testing.T) {
	dir := t.TempDir()
	r := greeted(t, openNode(t, dir), dir)
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const rows, peak = 1_000_000, 48 << 20
	text := strings.Repeat("x", 100)
	r.execute(&sqlpb.Execute{}, "with recursive c(x) as (select 1 union all select x + 1 from c limit 1000) select '"+text+"' from c a, c b")
	count, bytes := 0, 0
	for {
		frame := r.next()
		if frame.GetDone() != nil {
			break
		}
		if e := frame.GetError(); e != nil {
			t.Fatal(e)
		}
		count += int(frame.GetRows().GetCount())
		if bytes += len(frame.GetRows().GetPacked()); bytes%(16<<20) < 64<<10 {
			runtime.GC()
			if runtime.ReadMemStats(&now); now.HeapAlloc > before.HeapAlloc+peak {
				t.Fatalf("after %d bytes the heap has grown by %d", bytes, now.HeapAlloc-before.HeapAlloc)
			}
		}
	}
	if count != rows || bytes < rows*len(text) {
		t.Errorf("%d rows, %d bytes", count, bytes)
	}
}

// What a role may do is decided by what a statement is, not by what the client calls it.
func TestRoles(t *testing.T) {
	dir := t.TempDir()
	n := openNode(t, dir)
	admin := open(t, n, dir)
	mustRun(t, admin, "create table t(x)")
	reader := openAs(t, n, driver.Config{Cred: credential(t, dir, identity.RoleRead)})
	writer := openAs(t, n, driver.Config{Cred: credential(t, dir, identity.RoleWrite)})
	testRoles(t, reader, writer)
	for _, verb := range []string{"admit", "announce"} {
		if _, err := control(t, admin, verb, "x", "y"); err == nil || !strings.Contains(err.Error(), "no command") {
			t.Errorf("the administrator may %s: %v", verb, err)
		}
	}
	if _, err := control(t, openAs(t, n, driver.Config{Credential: filepath.Join(dir, "admin.pem")}), "token"); err != nil {
		t.Errorf("the administrator may not make a token: %v", err)
	}
}

// testRoles checks what a reader and a writer may do in a cluster that has the table t(x).
func testRoles(t *testing.T, reader, writer *driver.Conn) {
	t.Helper()
	for _, sql := range []string{
		"insert into t values(1)", "create table u(x)", "drop table if exists absent", "select 1; insert into t values(1)",
		"with a as (select 1) insert into t select * from a returning x", "pragma user_version = 3", "analyze",
	} {
		for _, request := range []driver.Request{{SQL: sql}, {SQL: sql, Atomic: true}, {SQL: sql, Level: driver.LevelLocal}, {SQL: sql, Level: driver.LevelStrong}} {
			if _, err := run(t, reader, request); !isDenied(err) {
				t.Errorf("a reader may run %+v: %v", request, err)
			}
		}
		if _, err := run(t, writer, driver.Request{SQL: sql, ReadOnly: true}); !isDenied(err) {
			t.Errorf("a read-only request may run %q: %v", sql, err)
		}
	}
	for _, level := range []driver.Level{driver.LevelLocal, driver.LevelSession, driver.LevelLinearizable, driver.LevelStrong} {
		if _, err := run(t, reader, driver.Request{SQL: "select count(*) from t; explain insert into t values(1)", Level: level}); err != nil {
			t.Errorf("a reader may not read at level %s: %v", level, err)
		}
		if _, err := run(t, reader, driver.Request{SQL: "select nope from t", Level: level}); err == nil || !strings.Contains(err.Error(), "no such column") {
			t.Errorf("a reader's mistake at level %s is answered by %v", level, err)
		}
	}
	for verb, args := range map[string][]string{"token": nil, "transfer": nil, "remove": {"1"}, "promote": {"1"}} {
		for name, conn := range map[string]*driver.Conn{"reader": reader, "writer": writer} {
			if _, err := control(t, conn, verb, args...); !isDenied(err) {
				t.Errorf("a %s may %s: %v", name, verb, err)
			}
		}
	}
	for _, verb := range []string{"nodes", "status", "health", "leader"} {
		if _, err := control(t, reader, verb); err != nil {
			t.Errorf("a reader may not ask for %s: %v", verb, err)
		}
	}
	if _, err := run(t, writer, driver.Request{SQL: "insert into t values(1)"}); err != nil {
		t.Errorf("a writer may not write: %v", err)
	}
}
