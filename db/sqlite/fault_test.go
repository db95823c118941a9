package sqlite

import (
	"fmt"
	"strings"
	"testing"
)

const (
	codeIOErrRead  = CodeIOErr | 1<<8
	codeIOErrWrite = CodeIOErr | 3<<8
	codeIOErrFsync = CodeIOErr | 4<<8
	codeIOErrTrunc = CodeIOErr | 6<<8
)

// An injected fault is the environment's error with exactly its code; the transaction is undone, and when the fault
// has passed the database is whole and works on.
func TestFaults(t *testing.T) {
	for _, test := range []struct {
		op   FaultOp
		file string // a suffix
		code int
		sql  string
	}{
		{FaultWrite, "-wal", CodeFull, "INSERT INTO t VALUES (2)"},
		{FaultWrite, "-wal", codeIOErrWrite, "INSERT INTO t VALUES (2)"},
		{FaultSync, "-wal", codeIOErrFsync, "PRAGMA synchronous=FULL; INSERT INTO t VALUES (2)"},
		{FaultSync, ".sqlite", codeIOErrFsync, "PRAGMA wal_checkpoint(TRUNCATE)"},
		{FaultTruncate, "-wal", codeIOErrTrunc, "PRAGMA wal_checkpoint(TRUNCATE)"},
		{FaultWrite, ".sqlite", CodeFull, "PRAGMA wal_checkpoint(TRUNCATE)"},
		{FaultRead, "-wal", codeIOErrRead, "PRAGMA shrink_memory; SELECT sum(length(a)) FROM t"},
	} {
		t.Run(fmt.Sprint(test.op, test.file, test.code), func(t *testing.T) {
			armed, met := false, 0
			o := WriterOptions(NewClock())
			o.Fault = func(op FaultOp, file string, _ int64, _ int) int {
				if armed && op == test.op && strings.HasSuffix(file, test.file) {
					met++
					return test.code
				}
				return 0
			}
			c := mustOpen(t, tempFile(t), o)
			mustExec(t, c, "CREATE TABLE t(a); INSERT INTO t VALUES (1)")
			armed = true
			e := wantCode(t, test.sql, c.Exec(test.sql), test.code)
			if met == 0 || Class(e.Extended) != Environment {
				t.Errorf("%d faults, class %s", met, Class(e.Extended))
			}
			armed = false
			c.Exec("ROLLBACK") // an error is: there is no transaction left
			if got := ask(t, c, "SELECT count(*) || (SELECT integrity_check FROM pragma_integrity_check) FROM t"); got != "1ok" {
				t.Errorf("afterwards: got %q, want 1ok", got)
			}
			mustExec(t, c, "INSERT INTO t VALUES (3); PRAGMA wal_checkpoint(TRUNCATE)")
			if got := ask(t, c, "SELECT group_concat(a) FROM t"); got != "1,3" {
				t.Errorf("working on: got %q, want 1,3", got)
			}
		})
	}
}

// A file that cannot be opened is an error of Open, and nothing is left behind.
func TestFaultAtOpen(t *testing.T) {
	before := allocations.Load()
	o := WriterOptions(NewClock())
	o.Fault = func(op FaultOp, file string, _ int64, _ int) int {
		if op == FaultOpen && file == "main.sqlite" {
			return CodeCantOpen
		}
		return 0
	}
	_, err := Open(tempFile(t), o)
	wantCode(t, "Open", err, CodeCantOpen)
	if got := allocations.Load(); got != before {
		t.Errorf("%d blocks of memory are left", got-before)
	}
}
