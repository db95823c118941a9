package sqlite

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// The update hook sees each row with its operation, table and rowid, those of triggers too, and can be replaced and
// removed.
func TestUpdateHook(t *testing.T) {
	c := memory(t)
	mustExec(t, c, `CREATE TABLE t(a); CREATE TABLE log(n);
		CREATE TRIGGER tr AFTER DELETE ON t BEGIN INSERT INTO log VALUES (old.a); END`)
	var got []string
	c.SetUpdateHook(func(u Update) { got = append(got, "unused") })
	c.SetUpdateHook(func(u Update) { got = append(got, fmt.Sprint(u.Op, u.Table(), u.RowID)) })
	mustExec(t, c, "INSERT INTO t(rowid, a) VALUES (1, 1), (9223372036854775807, 2); UPDATE t SET a = 3 WHERE rowid = 1; DELETE FROM t WHERE a = 3")
	want := fmt.Sprintf("18t1 18t%d 23t1 9t1 18log1", int64(math.MaxInt64))
	if s := strings.ReplaceAll(strings.Join(got, " "), " t", "t"); strings.Join(strings.Fields(s), " ") != want {
		t.Errorf("got %s\nwant %s", s, want)
	}
	got = nil
	c.SetUpdateHook(nil)
	mustExec(t, c, "INSERT INTO t VALUES (5)")
	if len(got) != 0 {
		t.Errorf("a removed hook was called: %q", got)
	}
}

// The commit hook tells how long the log is after each commit that wrote to it, also when it was begun anew, and no more
// once it is removed.
func TestCommitHook(t *testing.T) {
	c := mustOpen(t, tempFile(t), WriterOptions(NewClock()))
	mustExec(t, c, "CREATE TABLE t(a)")
	var got []int
	c.SetCommitHook(func(frames int) { got = append(got, frames) })
	mustExec(t, c, "INSERT INTO t VALUES (1); SELECT * FROM t; BEGIN; INSERT INTO t VALUES (2); ROLLBACK; UPDATE t SET a = 3")
	if len(got) != 2 || got[1] != got[0]+1 {
		t.Fatalf("after two commits of one page each: %v", got)
	}
	if log, _, err := c.WALCheckpoint(-1); err != nil || log != got[1] { // only looks
		t.Errorf("the hook said %d frames, the log has %d, %v", got[1], log, err)
	}
	mustExec(t, c, "PRAGMA wal_checkpoint(PASSIVE); INSERT INTO t VALUES (4)")
	if len(got) != 3 || got[2] != 1 {
		t.Errorf("after a commit in a log begun anew: %v", got)
	}
	c.SetCommitHook(nil)
	mustExec(t, c, "INSERT INTO t VALUES (5)")
	if len(got) != 3 {
		t.Errorf("a removed hook was called: %v", got)
	}
}

const endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"

// A progress callback ends an endless statement, after a number of calls that is the same each time.
func TestProgressEndsAStatement(t *testing.T) {
	c := memory(t)
	for range 2 {
		calls := 0
		c.SetProgress(1000, func() bool { calls++; return calls == 50 })
		wantCode(t, "an endless recursion", run(c, endless), CodeInterrupt)
		if calls != 50 {
			t.Errorf("got %d calls, want 50", calls)
		}
	}
	c.SetProgress(0, nil)
	if got := ask(t, c, "SELECT 1"); got != "1" {
		t.Errorf("afterwards: got %s", got)
	}
}

// Top-level progress is the same whether a connection is warm or new, though the statements nested in FTS5 and the
// loading of the schema are not; internal SQL has none.
func TestTopLevelProgress(t *testing.T) {
	path := tempFile(t)
	setup := mustOpen(t, path, WriterOptions(NewClock()))
	mustExec(t, setup, `CREATE VIRTUAL TABLE f USING fts5(body); CREATE TABLE t(a, b);
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) INSERT INTO f SELECT 'word' || i || ' common' FROM n;
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) INSERT INTO t SELECT i, i FROM n`)
	count := func(c *Conn, internal bool) (top, all int) {
		c.SetProgress(10, func() bool {
			all++
			if c.TopLevel() {
				top++
			}
			return false
		})
		defer c.SetProgress(0, nil)
		s, _, err := c.Cached("INSERT INTO f SELECT 'again ' || a FROM t")
		if internal {
			s, err = c.Internal("INSERT INTO f SELECT 'again ' || a FROM t")
		}
		if err != nil {
			t.Fatal(err)
		}
		defer s.Release()
		if row, err := s.Step(); err != nil || row {
			t.Fatal(row, err)
		}
		return top, all
	}
	mustExec(t, setup, "BEGIN")
	warm, warmAll := count(setup, false)
	again, _ := count(setup, false)
	mustExec(t, setup, "ROLLBACK")
	if none, all := count(setup, true); none != 0 || all == 0 {
		t.Errorf("internal SQL: got %d of %d calls at the top level, want none", none, all)
	}
	fresh := mustOpen(t, path, WriterOptions(NewClock()))
	cold, _ := count(fresh, false)
	if warm == 0 || warm != again || warm != cold {
		t.Errorf("got %d calls at the top level, %d again, %d on a new connection: want the same", warm, again, cold)
	}
	if warm >= warmAll {
		t.Errorf("got %d calls of %d at the top level: FTS5 has nested ones", warm, warmAll)
	}
}

// Progress calls fall on the same steps of every run of a statement, whatever the runs before left over.
func TestStepsBeginAtZero(t *testing.T) {
	c := memory(t)
	mustExec(t, c, "CREATE TABLE t(a); INSERT INTO t VALUES (1), (2), (3), (4), (5), (6), (7)")
	s, _, err := c.Prepare("SELECT a FROM t")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	var runs [3]struct {
		calls int
		steps int64
	}
	for i := range runs {
		c.SetProgress(20, func() bool { runs[i].calls++; return false })
		for row := true; row; {
			if row, err = s.Step(); err != nil {
				t.Fatal(err)
			}
		}
		runs[i].steps = s.Steps()
		if err := s.Reset(); err != nil {
			t.Fatal(err)
		}
	}
	if runs[0].calls == 0 || runs[0].steps%20 == 0 || runs[1] != runs[0] || runs[2] != runs[0] {
		t.Errorf("got calls and steps %v: want the same each time, the steps no multiple of 20", runs)
	}
}
