package sqlite

import (
	"errors"
	"strings"
	"testing"
)

// refusing opens a writer whose disk refuses an operation on its files whenever on returns true.
func refusing(t *testing.T, path string, on func(op FaultOp, file string) bool) *Conn {
	t.Helper()
	o := WriterOptions(NewClock())
	o.Fault = func(op FaultOp, file string, _ int64, _ int) int {
		if on(op, file) {
			return codeIOErrRead
		}
		return 0
	}
	return mustOpen(t, path, o)
}

// What the disk refuses is noted although SQLite does not tell: a database whose statistics cannot be read is planned for
// without them. The note is there once, and names the file.
func TestRefusalThatSQLiteKeepsToItself(t *testing.T) {
	path := tempFile(t)
	setup := mustOpen(t, path, WriterOptions(NewClock()))
	mustExec(t, setup, "CREATE TABLE t(a); CREATE INDEX i ON t(a); INSERT INTO t VALUES (1), (1); ANALYZE; PRAGMA wal_checkpoint(TRUNCATE)")
	reads, fails := 0, 0
	c := refusing(t, path, func(op FaultOp, file string) bool {
		if op == FaultRead && file == "main.sqlite" && fails > 0 {
			reads++
			return reads == fails
		}
		return false
	})
	silent := 0
	for fails = 1; ; fails++ {
		reads = 0
		mustExec(t, c, "PRAGMA writable_schema=RESET; PRAGMA shrink_memory")
		err := c.Exec("SELECT * FROM t WHERE a = 1")
		refused := c.TakeRefusal()
		if reads < fails {
			if err != nil || refused != nil {
				t.Errorf("without a refusal: %v, %v", err, refused)
			}
			break
		}
		var noted *Error
		if !errors.As(refused, &noted) || noted.Extended != codeIOErrRead || !strings.Contains(noted.Message, "a read of main.sqlite failed") {
			t.Errorf("read %d was refused, SQLite says %v, the note is %v", fails, err, refused)
		}
		if err == nil {
			silent++
		}
		if again := c.TakeRefusal(); again != nil {
			t.Errorf("the note is there twice: %v", again)
		}
	}
	if silent == 0 {
		t.Error("SQLite has told every refusal: the test does not reach what it is for")
	}
}

// A commit that the guard does not allow undoes the transaction, with the code that says so; one that it allows, and a
// transaction that wrote nothing, are left alone.
func TestCommitGuard(t *testing.T) {
	c := mustOpen(t, tempFile(t), WriterOptions(NewClock()))
	mustExec(t, c, "CREATE TABLE t(a); INSERT INTO t VALUES (1)")
	allowed, asked := false, 0
	c.SetCommitGuard(func() bool { asked++; return allowed })
	for _, sql := range []string{"INSERT INTO t VALUES (2)", "BEGIN; INSERT INTO t VALUES (2); COMMIT"} {
		e := wantCode(t, sql, c.Exec(sql), CodeConstraintCommitHook)
		if Class(e.Extended) != Environment {
			t.Errorf("%s: class %s", sql, Class(e.Extended))
		}
	}
	mustExec(t, c, "BEGIN; SELECT * FROM t; COMMIT; BEGIN; INSERT INTO t VALUES (2); ROLLBACK")
	if asked != 2 {
		t.Errorf("asked %d times, want 2", asked)
	}
	allowed = true
	mustExec(t, c, "INSERT INTO t VALUES (3)")
	c.SetCommitGuard(nil)
	allowed = false
	mustExec(t, c, "INSERT INTO t VALUES (4)")
	if got := ask(t, c, "SELECT group_concat(a) FROM t"); got != "1,3,4" {
		t.Errorf("the table holds %s, want 1,3,4", got)
	}
}
