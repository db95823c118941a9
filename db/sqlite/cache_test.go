package sqlite

import (
	"fmt"
	"testing"
)

// handleOf prepares through the cache, releases, and names the statement that was used.
func handleOf(t *testing.T, c *Conn, sql string) *Stmt {
	t.Helper()
	s, _, err := c.Cached(sql)
	if err != nil {
		t.Fatal(err)
	}
	s.Release()
	return s
}

// The same text is compiled once, keeps its tail, and comes back reset and without bindings.
func TestCacheReuses(t *testing.T) {
	c := memory(t)
	const sql = "SELECT ?1; SELECT 2"
	s, tail, err := c.Cached(sql)
	if err != nil || tail != " SELECT 2" {
		t.Fatal(tail, err)
	}
	if err := s.BindInt64(1, 7); err != nil {
		t.Fatal(err)
	}
	if row, err := s.Step(); err != nil || !row {
		t.Fatal(row, err)
	}
	s.Release()
	again, tail, err := c.Cached(sql)
	if err != nil || tail != " SELECT 2" {
		t.Fatal(tail, err)
	}
	defer again.Release()
	if again != s {
		t.Error("the statement was compiled again")
	}
	if row, err := again.Step(); err != nil || !row || again.ColumnType(0) != Null {
		t.Errorf("row %t, error %v, type %d: want a fresh run with NULL", row, err, again.ColumnType(0))
	}
}

// A statement in use is not handed out twice.
func TestCacheInUse(t *testing.T) {
	c := memory(t)
	a, _, err := c.Cached("SELECT 1")
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := c.Cached("SELECT 1")
	if err != nil {
		t.Fatal(err)
	}
	if a == b {
		t.Fatal("two users have one statement")
	}
	a.Release()
	b.Release()
	if n := len(c.statements); n != 1 {
		t.Errorf("%d statements are kept for one text, want 1", n)
	}
}

// The least recently used statement goes when the cache is full, and a very long text is not kept.
func TestCacheEvicts(t *testing.T) {
	c := mustOpen(t, ":memory:", Options{Create: true, CachedStatements: 3})
	var first [4]*Stmt
	for i := range 3 {
		first[i] = handleOf(t, c, fmt.Sprintf("SELECT %d", i))
	}
	handleOf(t, c, "SELECT 0")
	first[3] = handleOf(t, c, "SELECT 3") // in the place of SELECT 1
	for i, kept := range []bool{true, false, true, true} {
		if i == 1 {
			continue
		}
		if (handleOf(t, c, fmt.Sprintf("SELECT %d", i)) == first[i]) != kept {
			t.Errorf("SELECT %d: kept %t, want %t", i, !kept, kept)
		}
	}
	if handleOf(t, c, "SELECT 1") == first[1] {
		t.Error("SELECT 1 was kept in a full cache")
	}
	long := fmt.Sprintf("SELECT 1 -- %0*d", maxCachedSQL, 0)
	if handleOf(t, c, long) == handleOf(t, c, long) {
		t.Error("a very long text was kept")
	}
	c.ClearCache()
	if len(c.statements) != 0 || len(c.cache.kept) != 0 {
		t.Errorf("%d statements after ClearCache, want 0", len(c.statements))
	}
}

// A cached statement sees a changed schema, and takes exactly the steps of a fresh one: a step budget counts alike on
// a replica that has just been restarted.
func TestCacheAfterSchemaChange(t *testing.T) {
	warm, cold := memory(t), memory(t)
	const query = "SELECT * FROM t WHERE a = 3"
	steps := func(c *Conn) (int, int64) {
		s, _, err := c.Cached(query)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Release()
		for {
			row, err := s.Step()
			if err != nil {
				t.Fatal(err)
			}
			if !row {
				return s.ColumnCount(), s.Steps()
			}
		}
	}
	const schema, change = "CREATE TABLE t(a, b); INSERT INTO t VALUES (3, 1)", "ALTER TABLE t ADD COLUMN c; CREATE TABLE other(a)"
	mustExec(t, warm, schema)
	if columns, _ := steps(warm); columns != 2 {
		t.Fatalf("got %d columns, want 2", columns)
	}
	mustExec(t, warm, change)
	mustExec(t, cold, schema+";"+change)
	columns, got := steps(warm)
	_, want := steps(cold)
	if columns != 3 || got != want || got == 0 {
		t.Errorf("got %d columns in %d steps, want 3 in %d", columns, got, want)
	}
}

// What one policy prepared, another does not find.
func TestCacheIsKeyedByPolicy(t *testing.T) {
	c := memory(t)
	mustExec(t, c, "CREATE TABLE secret(a)")
	const query = "SELECT a FROM secret"
	c.SetAuthorizer("admin", func(Action) Decision { return Allow })
	admin := handleOf(t, c, query)
	c.SetAuthorizer("reader", func(a Action) Decision {
		if a.Arg1 == "secret" {
			return Deny("table secret is not for readers")
		}
		return Allow
	})
	_, _, err := c.Cached(query)
	wantCode(t, "as reader", err, CodeAuth)
	c.SetAuthorizer("admin", nil)
	if handleOf(t, c, query) != admin {
		t.Error("the first policy's statement is lost")
	}
}
