package sqlite

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// logWrites opens a writer that notes the size of every write to its log.
func logWrites(t *testing.T) (c *Conn, path string, sizes *[]int) {
	sizes = new([]int)
	o := WriterOptions(NewClock())
	o.Fault = func(op FaultOp, file string, _ int64, n int) int {
		if op == FaultWrite && strings.HasSuffix(file, "-wal") {
			*sizes = append(*sizes, n)
		}
		return 0
	}
	path = tempFile(t)
	return mustOpen(t, path, o), path, sizes
}

// A commit of a few pages is one write to the log, in a log that was begun anew too; a long one is as few as fit.
func TestCommitIsOneWrite(t *testing.T) {
	c, _, sizes := logWrites(t)
	mustExec(t, c, "CREATE TABLE t(a, b); CREATE INDEX t_b ON t(b); INSERT INTO t VALUES (0, 0)")
	const frame = frameHeaderSize + PageSize
	for _, test := range []struct {
		sql  string
		want []int
	}{
		{"INSERT INTO t VALUES (1, 2)", []int{2 * frame}},
		{"UPDATE t SET a = 3", []int{frame}},
		{"PRAGMA wal_checkpoint(PASSIVE)", nil},
		{"INSERT INTO t VALUES (4, 5)", []int{walHeaderSize, 2 * frame}},
		{"BEGIN; INSERT INTO t VALUES (6, 7); ROLLBACK", nil},
		{"UPDATE t SET a = zeroblob(20 * 4096) WHERE b = 5", []int{walRoom, 7 * frame}},
	} {
		*sizes = nil
		mustExec(t, c, test.sql)
		if fmt.Sprint(*sizes) != fmt.Sprint(test.want) {
			t.Errorf("%s: writes of %v bytes, want %v", test.sql, *sizes, test.want)
		}
	}
}

// After every commit the files on the disk hold exactly what was committed, as a kill at that moment would leave them:
// also when pages did not fit into memory, were written to the log early and then again, or were rolled back.
func TestLogIsWholeAfterEachCommit(t *testing.T) {
	c, path, sizes := logWrites(t)
	mustExec(t, c, "PRAGMA cache_size=10; CREATE TABLE t(id INTEGER PRIMARY KEY, a); "+
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) INSERT INTO t SELECT i, zeroblob(1000) FROM n")
	random := rand.New(rand.NewPCG(1, 2))
	committed, rewritten := "", 0
	const content = "SELECT (SELECT count(*) || ' ' || total(length(a)) || ' ' || total(unicode(a) * id) FROM t) || (SELECT integrity_check FROM pragma_integrity_check)"
	for i := range 40 {
		*sizes = nil
		mustExec(t, c, "BEGIN")
		for range random.IntN(30) {
			id := random.IntN(200) + 1
			switch random.IntN(4) {
			case 0: // a savepoint that is undone
				mustExec(t, c, fmt.Sprintf("SAVEPOINT s; UPDATE t SET a = 'lost' WHERE id > %d; ROLLBACK TO s; RELEASE s", id))
			case 1: // pages all over the table, more than fit into memory
				mustExec(t, c, fmt.Sprintf("UPDATE t SET a = char(%d) || substr(a, 2) WHERE id %% 7 = %d", 65+i, id%7))
			default:
				mustExec(t, c, fmt.Sprintf("REPLACE INTO t VALUES (%d, printf('%%.*c', %d, '%c'))", id, random.IntN(3000)+1, 'a'+i%26))
			}
		}
		switch random.IntN(5) {
		case 0:
			mustExec(t, c, "ROLLBACK")
		default:
			mustExec(t, c, "COMMIT")
			committed = ask(t, c, content)
		}
		for _, n := range *sizes {
			if n == frameHeaderSize {
				rewritten++
			}
		}
		if committed != "" && asKilled(t, path, content) != committed {
			t.Fatalf("after transaction %d the files hold %s, want %s", i, asKilled(t, path, content), committed)
		}
		if random.IntN(8) == 0 {
			mustExec(t, c, "PRAGMA wal_checkpoint(PASSIVE)")
		}
	}
	if rewritten == 0 {
		t.Error("no transaction wrote a page twice: the test does not reach what it is for")
	}
}

// asKilled asks a copy of the files.
func asKilled(t *testing.T, path, sql string) string {
	t.Helper()
	to := tempFile(t)
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Clean(to+suffix), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Open(to, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return ask(t, c, sql)
}
