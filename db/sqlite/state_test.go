package sqlite

import (
	"fmt"
	"testing"
)

// counters are the three functions that remember what the connection did.
const counters = "SELECT last_insert_rowid() || ' ' || changes() || ' ' || total_changes()"

// After ResetState the counters are those of a new connection, for SQL and for Go, also inside a transaction; and they
// count on from there.
func TestResetState(t *testing.T) {
	c := memory(t)
	mustExec(t, c, "CREATE TABLE t(a); BEGIN; INSERT INTO t VALUES (1), (2), (3); UPDATE t SET a = 0")
	if got := ask(t, c, counters); got != "3 3 6" {
		t.Fatalf("before: got %s, want 3 3 6", got)
	}
	c.ResetState()
	if got := ask(t, c, counters); got != "0 0 0" {
		t.Errorf("after ResetState: got %s, want 0 0 0", got)
	}
	if got := fmt.Sprint(c.LastInsertRowID(), c.Changes(), c.TotalChanges()); got != "0 0 0" {
		t.Errorf("after ResetState: got %s, want 0 0 0", got)
	}
	mustExec(t, c, "INSERT INTO t VALUES (4), (5); COMMIT")
	if got := ask(t, c, counters); got != "5 2 2" {
		t.Errorf("after another insert: got %s, want 5 2 2", got)
	}
}

// Autocommit and TxnState follow the transaction, also when a statement ends it by failing.
func TestTransactionState(t *testing.T) {
	c := memory(t)
	mustExec(t, c, "CREATE TABLE t(a UNIQUE); INSERT INTO t VALUES (1)")
	want := func(when string, autocommit bool, state TxnState) {
		t.Helper()
		if c.Autocommit() != autocommit || c.TxnState() != state {
			t.Errorf("%s: got %t %d, want %t %d", when, c.Autocommit(), c.TxnState(), autocommit, state)
		}
	}
	want("at rest", true, TxnNone)
	mustExec(t, c, "BEGIN")
	want("after BEGIN", false, TxnNone)
	mustExec(t, c, "SELECT * FROM t")
	want("after a read", false, TxnRead)
	mustExec(t, c, "INSERT INTO t VALUES (2)")
	want("after a write", false, TxnWrite)
	wantCode(t, "OR ROLLBACK", run(c, "INSERT OR ROLLBACK INTO t VALUES (1)"), CodeConstraint|8<<8)
	want("after OR ROLLBACK", true, TxnNone)
}

// DeferredFKs shows a violation that the end of the transaction would find, and only that.
func TestDeferredFKs(t *testing.T) {
	c := memory(t)
	mustExec(t, c, `PRAGMA foreign_keys=1; CREATE TABLE p(i INTEGER PRIMARY KEY);
		CREATE TABLE t(p REFERENCES p DEFERRABLE INITIALLY DEFERRED); BEGIN; SAVEPOINT s`)
	for _, step := range []struct {
		sql  string
		want bool
	}{{"INSERT INTO t VALUES (NULL)", false}, {"INSERT INTO t VALUES (1)", true}, {"RELEASE s", true}, {"INSERT INTO p VALUES (1)", false}} {
		mustExec(t, c, step.sql)
		n, err := c.DeferredFKs()
		if err != nil || (n != 0) != step.want {
			t.Errorf("after %s: got %d, %v; want a violation: %t", step.sql, n, err, step.want)
		}
	}
	mustExec(t, c, "COMMIT")
}

// Switches and limits are set and read; a switch that SQLite does not know is an error.
func TestConfigAndLimits(t *testing.T) {
	c := memory(t)
	if err := c.Config(ConfigForeignKeys, true); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, c, "PRAGMA foreign_keys"); got != "1" {
		t.Errorf("got foreign_keys %s, want 1", got)
	}
	if err := c.Config(9999, true); err == nil {
		t.Error("switch 9999 was accepted")
	}
	c.Limit(LimitVariableNumber, 10)
	if got := c.Limit(LimitVariableNumber, -1); got != 10 {
		t.Errorf("got limit %d, want 10", got)
	}
	_, _, err := c.Prepare("SELECT ?11")
	wantCode(t, "parameter beyond the limit", err, CodeError)
}

// SchemaVersion changes with the schema, is the same for all connections, and is not the authorizer's business.
func TestSchemaVersion(t *testing.T) {
	path := tempFile(t)
	writer := mustOpen(t, path, WriterOptions(NewClock()))
	reader := mustOpen(t, path, ReaderOptions())
	reader.SetAuthorizer("user", func(Action) Decision { return Deny("no") })
	version := func(c *Conn) int64 {
		v, err := c.SchemaVersion()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	before := version(reader)
	mustExec(t, writer, "CREATE TABLE t(a)")
	after := version(reader)
	if after == before || version(writer) != after {
		t.Errorf("got %d, then %d on the reader and %d on the writer", before, after, version(writer))
	}
	mustExec(t, writer, "INSERT INTO t VALUES (1)")
	if got := version(reader); got != after {
		t.Errorf("an insert makes it %d, want %d", got, after)
	}
}

// DeferredFKs is not zero when COMMIT would fail because more violations were mended than made, and ClearDeferredFKs
// makes the next statement begin at none.
func TestDeferredFKsOfOldRows(t *testing.T) {
	c := memory(t)
	mustExec(t, c, `PRAGMA foreign_keys=0; CREATE TABLE p(i INTEGER PRIMARY KEY);
		CREATE TABLE t(p REFERENCES p DEFERRABLE INITIALLY DEFERRED); INSERT INTO t VALUES (9), (9), (9); PRAGMA foreign_keys=1;
		BEGIN; INSERT INTO t VALUES (9); INSERT INTO p VALUES (9)`)
	if n, err := c.DeferredFKs(); err != nil || n >= 0 {
		t.Errorf("got %d, %v, want less than 0", n, err)
	}
	wantCode(t, "COMMIT", run(c, "COMMIT"), CodeConstraint|3<<8)
	c.ClearDeferredFKs()
	if n, _ := c.DeferredFKs(); n != 0 {
		t.Errorf("after ClearDeferredFKs: %d", n)
	}
	mustExec(t, c, "COMMIT")
}
