package sqlite

import "testing"

// Each extended code is sorted as the design says; what is not known is the environment's.
func TestClass(t *testing.T) {
	for code, want := range map[int]ErrorClass{
		CodeError: Deterministic, CodeErrorMissingCollation: Deterministic, CodeAbort: Deterministic, CodeTooBig: Deterministic,
		CodeConstraint: Deterministic, 1555: Deterministic, 2067: Deterministic, 787: Deterministic, 1811: Deterministic,
		CodeMismatch: Deterministic, CodeAuth: Deterministic, CodeRange: Deterministic, CodeCorruptVTable: Deterministic,

		CodeOK: Environment, CodeInternal: Environment, CodePerm: Environment, CodeBusy: Environment, CodeLocked: Environment,
		CodeNoMem: Environment, CodeReadOnly: Environment, CodeInterrupt: Environment, CodeIOErr: Environment, 778: Environment,
		CodeCorrupt: Environment, 523: Environment, 779: Environment, CodeNotFound: Environment, CodeFull: Environment,
		CodeCantOpen: Environment, CodeProtocol: Environment, CodeSchema: Environment, CodeMisuse: Environment,
		CodeNoLFS: Environment, CodeFormat: Environment, CodeNotADB: Environment, CodeAbortRollback: Environment,
		513: Environment, 531: Environment, 769: Environment, 262: Environment, 518: Environment, 99: Environment, -1: Environment,
	} {
		if got := Class(code); got != want {
			t.Errorf("code %d: got %s, want %s", code, got, want)
		}
	}
}

// The failures that statements can bring about are deterministic, and carry the codes they are sorted by.
func TestStatementsFailDeterministically(t *testing.T) {
	c := memory(t)
	mustExec(t, c, `CREATE TABLE t(a INTEGER PRIMARY KEY, b NOT NULL UNIQUE CHECK (b < 100));
		INSERT INTO t VALUES (1, 1);
		CREATE TABLE s(i INT) STRICT;
		CREATE TRIGGER tr BEFORE DELETE ON t BEGIN SELECT RAISE(ABORT, 'never'); END;
		CREATE VIRTUAL TABLE f USING fts5(b, content='t', content_rowid='a');
		INSERT INTO f(rowid, b) VALUES (1, 'x'), (2, 'x')`)
	for sql, code := range map[string]int{
		"SELEKT":                           CodeError,
		"SELECT 1 COLLATE nowhere < 2":     CodeErrorMissingCollation,
		"INSERT INTO t VALUES (1, 2)":      CodeConstraint | 6<<8,
		"INSERT INTO t VALUES (2, 1)":      CodeConstraint | 8<<8,
		"INSERT INTO t VALUES (2, NULL)":   CodeConstraint | 5<<8,
		"INSERT INTO t VALUES (2, 100)":    CodeConstraint | 1<<8,
		"INSERT INTO s VALUES ('x')":       CodeConstraint | 12<<8,
		"INSERT INTO t VALUES ('x', 2)":    CodeMismatch,
		"DELETE FROM t":                    CodeConstraint | 7<<8,
		"SELECT zeroblob(3000000000)":      CodeTooBig,
		"SELECT abs(-9223372036854775808)": CodeError,
		"SELECT b FROM f('x')":             CodeCorruptVTable,
	} {
		s, _, err := c.Prepare(sql)
		for row := err == nil; row; {
			row, err = s.Step()
		}
		e := wantCode(t, sql, err, code)
		if Class(e.Extended) != Deterministic {
			t.Errorf("%s: code %d is %s", sql, e.Extended, Class(e.Extended))
		}
	}
}
