package testcluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rsqld/rsqld/db/driver"
	sqldump "github.com/rsqld/rsqld/db/dump"
	"github.com/rsqld/rsqld/db/sqlite"
)

// fileRows returns the rows of a query on a database file, opened as any program does.
func fileRows(t *testing.T, path, sql string) (rows []string) {
	t.Helper()
	conn, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stmt, err := conn.Internal(sql)
	if err != nil {
		t.Fatal(err)
	}
	defer stmt.Release()
	for {
		more, err := stmt.Step()
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			return rows
		}
		var row []string
		for i := range stmt.ColumnCount() {
			row = append(row, stmt.ColumnText(i))
		}
		rows = append(rows, strings.Join(row, "|"))
	}
}

// acknowledged returns the keys that were acknowledged so far.
func (w *writers) acknowledged() (keys []int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, outcome := range w.outcome {
		if outcome == "acked" {
			keys = append(keys, key)
		}
	}
	return keys
}

// TestBackupCommand proves: beside running writers, rsqld backup through a follower brings one sound plain file with every write
// that was acknowledged before it began, as of the index that it says; and with the writers gone it holds exactly what the cluster
// does.
func TestBackupCommand(t *testing.T) {
	nodes := trio(t)
	follower := except(nodes, leaderOf(t, nodes...))[0]
	w := startWriters(t, 4, nodes...)
	w.awaitAcks(200)
	dir := t.TempDir()
	path := filepath.Join(dir, "busy.sqlite")
	before := w.acknowledged()
	printed, code := follower.subcommand("backup", path)
	if code != 0 || !strings.Contains(printed, "backed up as of index ") || !strings.Contains(printed, "from "+follower.name) {
		t.Fatalf("exit %d: %s", code, printed)
	}
	w.awaitAcks(20)
	w.finish()
	present := make(map[string]bool)
	for _, key := range fileRows(t, path, "select k from written") {
		present[key] = true
	}
	for _, key := range before {
		if !present[fmt.Sprint(key)] {
			t.Fatalf("key %d was acknowledged before the backup of %d keys, and is not in it", key, len(present))
		}
	}
	if got := fileRows(t, path, "pragma integrity_check"); fmt.Sprint(got) != "[ok]" {
		t.Errorf("integrity_check: %v", got)
	}
	if got := fileRows(t, path, "select name from sqlite_schema"); fmt.Sprint(got) != "[written]" {
		t.Errorf("the schema holds %v", got)
	}

	quiet := filepath.Join(dir, "quiet.sqlite")
	if printed, code := follower.subcommand("backup", quiet); code != 0 {
		t.Fatalf("exit %d: %s", code, printed)
	}
	const all = "select rowid, k, writer from written order by k"
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := withConn(ctx, nodes[0].config(), func(c *driver.Conn) error {
		rows, err := query(ctx, c, driver.LevelStrong, all)
		got := fileRows(t, quiet, all)
		if len(got) != len(rows) {
			return fmt.Errorf("the backup has %d rows and the cluster %d", len(got), len(rows))
		}
		for i, row := range rows {
			if want := fmt.Sprintf("%d|%d|%d", row...); got[i] != want {
				return fmt.Errorf("row %d is %q and should be %q", i, got[i], want)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestBackupKilled proves: a backup that is killed in the middle leaves no file; one whose node dies is made by another node, or
// leaves none; without a quorum --local still makes one.
func TestBackupKilled(t *testing.T) {
	nodes := trio(t)
	nodes[0].exec("create table t(x)", "insert into t with recursive n(i) as (select 1 union all select i + 1 from n where i < 40) select randomblob(500000) from n")
	dir := t.TempDir()
	path := filepath.Join(dir, "b.sqlite")
	begin := func(p *process) *exec.Cmd {
		c := exec.Command(binary, "backup", "--addr", p.address, "--cred", adminOf(p), path)
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		p.eventually("a backup to begin", func(context.Context) error {
			if partial, _ := filepath.Glob(filepath.Join(dir, "*.partial")); len(partial) == 0 {
				return errors.New("no partial file")
			}
			return nil
		})
		return c
	}
	ended := func(c *exec.Cmd) int {
		c.Wait() // the exit code says it
		return c.ProcessState.ExitCode()
	}

	c := begin(nodes[1])
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	code := ended(c)
	if left, _ := os.ReadDir(dir); code != 130 || len(left) != 0 {
		t.Errorf("a backup that got a signal exits with %d and leaves %v", code, left)
	}

	c = begin(nodes[1])
	nodes[1].kill()
	code = ended(c)
	switch left, _ := os.ReadDir(dir); {
	case code == 0 && len(left) == 1 && left[0].Name() == filepath.Base(path): // another node made it
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	case code != 1 || len(left) != 0:
		t.Errorf("a backup whose node died exits with %d and leaves %v", code, left)
	}

	nodes[2].kill()
	if printed, code := nodes[0].subcommand("backup", path); code != 1 || !strings.Contains(printed, "quorum") {
		t.Errorf("without a quorum it exits with %d: %s", code, printed)
	}
	if printed, code := nodes[0].subcommand("backup", "--local", path); code != 0 {
		t.Errorf("--local without a quorum exits with %d: %s", code, printed)
	}
	if got := fileRows(t, path, "select count(*) from t"); fmt.Sprint(got) != "[40]" {
		t.Errorf("it holds %v rows", got)
	}
}

// plainDump is a script run by plain SQLite, as a dump of it.
func plainDump(t *testing.T, script string) string {
	t.Helper()
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := sqlite.Open(filepath.Join(t.TempDir(), "plain.sqlite"), sqlite.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec(string(text) + "; PRAGMA writable_schema=RESET"); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := sqldump.Write(t.Context(), conn, &b, sqldump.Options{}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestDumpAndLoadCommands proves: a dump that sqlite3 has written, with its tables in a bad order, loads through a follower with
// foreign keys on; what another node then dumps gives plain SQLite the same content, and an emptied cluster too.
func TestDumpAndLoadCommands(t *testing.T) {
	nodes := trio(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	followers := except(nodes, leaderOf(t, nodes...))
	const given = "../db/dump/testdata/sqlite3.sql"
	want := plainDump(t, given)
	load := func(p *process, path string) {
		t.Helper()
		printed, code := p.subcommand("sql", "-f", path)
		if code != 0 || !strings.Contains(printed, "loaded 9 rows into 5 tables") || !strings.Contains(printed, "none is broken") {
			t.Fatalf("loading %s exits with %d: %s", path, code, printed)
		}
	}
	dumped := func(p *process, name string) string {
		t.Helper()
		path := filepath.Join(t.TempDir(), name)
		if printed, code := p.subcommand("dump", path); code != 0 || !strings.Contains(printed, "dumped as of index ") {
			t.Fatalf("dumping exits with %d: %s", code, printed)
		}
		return path
	}
	load(followers[0], given)
	first := dumped(followers[1], "first.sql")
	if got := plainDump(t, first); got != want {
		t.Errorf("dumped\n%s\nwant\n%s", got, want)
	}
	equalContent(ctx, t, nodes)
	dropAll(ctx, t, nodes)
	load(followers[1], first)
	if got := plainDump(t, dumped(nodes[0], "second.sql")); got != want {
		t.Errorf("dumped again\n%s\nwant\n%s", got, want)
	}
	equalContent(ctx, t, nodes)

	copied := filepath.Join(t.TempDir(), "b.sqlite")
	if printed, code := followers[0].subcommand("backup", copied); code != 0 {
		t.Fatal(printed)
	}
	if got := fileRows(t, copied, "select group_concat(rowid) from notes where notes match 'fox OR dogs'"); fmt.Sprint(got) != "[3,8]" {
		t.Errorf("the backup finds %v", got)
	}
}

// TestLoadKilled proves: a load that gets a signal while its dump is still being read leaves neither a file nor a table.
func TestLoadKilled(t *testing.T) {
	n := newProcess(t, "n1").start()
	dir := t.TempDir()
	c := exec.Command(binary, "sql", "--addr", n.address, "--cred", adminOf(n))
	c.Env = append(os.Environ(), "TMPDIR="+dir)
	var says syncBuffer
	c.Stdout, c.Stderr = &says, &says
	stdin, err := c.StdinPipe()
	if err == nil {
		err = c.Start()
	}
	if err == nil {
		_, err = stdin.Write([]byte("PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCREATE TABLE k(x);\n"))
	}
	if err != nil {
		t.Fatal(err)
	}
	n.eventually("a load to begin", func(context.Context) error {
		if begun, _ := filepath.Glob(filepath.Join(dir, "rsqld-load-*", "*")); len(begun) == 0 {
			return errors.New("no temporary database")
		}
		return nil
	})
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	c.Wait() // the exit code says it
	left, _ := os.ReadDir(dir)
	if code := c.ProcessState.ExitCode(); code != 130 || len(left) != 0 || says.String() != "nothing of stdin was loaded\ninterrupted\n" {
		t.Errorf("it exits with %d, leaves %v, and says %q", code, left, says.String())
	}
	if printed, code := n.subcommand("sql", "-c", "select count(*) from sqlite_schema where name = 'k'"); code != 0 || !strings.HasSuffix(printed, "\n0\n") {
		t.Errorf("exit %d: %s", code, printed)
	}
}
