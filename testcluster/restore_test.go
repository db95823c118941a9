package testcluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/db/sqlite"
)

// stamped are writers that remember at which index of the log each of their rows was written.
type stamped struct {
	stop  chan struct{}
	group sync.WaitGroup

	mu      sync.Mutex
	next    int64
	written map[int64]uint64 // key → index; zero: the outcome is unknown
}

// startStamped runs a writer per node on the table stamped, which exists.
func startStamped(t *testing.T, nodes ...*process) *stamped {
	w := &stamped{stop: make(chan struct{}), written: make(map[int64]uint64)}
	for _, p := range nodes {
		w.group.Go(func() {
			for {
				select {
				case <-w.stop:
					return
				default:
				}
				w.session(p.config())
			}
		})
	}
	return w
}

// session writes row after row, until an error.
func (w *stamped) session(config driver.Config) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	withConn(ctx, config, func(c *driver.Conn) error { // the next session goes on after any error
		for {
			select {
			case <-w.stop:
				return nil
			default:
			}
			w.mu.Lock()
			w.next++
			key := w.next
			w.written[key] = 0
			w.mu.Unlock()
			results, err := c.Execute(ctx, driver.Request{SQL: "insert into stamped values(?)", Args: []any{key}})
			if err != nil {
				return err
			}
			var index uint64
			for results.NextResult() {
				for results.Next() {
				}
				index = results.Done().Index
			}
			if err := errors.Join(results.Err(), results.Close()); err != nil {
				return err
			}
			w.mu.Lock()
			w.written[key] = index
			w.mu.Unlock()
		}
	})
}

// await waits for so many more rows.
func (w *stamped) await(t *testing.T, more int) {
	t.Helper()
	count := func() (n int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, index := range w.written {
			if index > 0 {
				n++
			}
		}
		return n
	}
	target := count() + more
	eventually(t, "more rows", func(context.Context) error {
		if n := count(); n < target {
			return fmt.Errorf("%d of %d", n, target)
		}
		return nil
	})
}

func (w *stamped) finish() {
	close(w.stop)
	w.group.Wait()
}

// check proves on a node: what was in the file is there, and what was acknowledged after the restore; nothing that was
// acknowledged before it and is not in the file.
func (w *stamped) check(t *testing.T, p *process, file map[int64]bool, restored uint64) {
	t.Helper()
	rows, err := p.local(t.Context(), "select k, count(*) from stamped group by k")
	if err != nil {
		t.Fatal(err)
	}
	present := make(map[int64]bool)
	for _, row := range rows {
		if present[row[0].(int64)] = true; row[1] != int64(1) {
			t.Errorf("%s: %d is there %v times", p.name, row[0], row[1])
		}
	}
	before, after := 0, 0
	for key, index := range w.written {
		if index == 0 && !file[key] {
			continue // nobody knows
		}
		if index > restored {
			after++
		} else {
			before++
		}
		if want := file[key] || index > restored; present[key] != want {
			t.Errorf("%s: key %d, written at %d: there %t, want %t (restored at %d)", p.name, key, index, present[key], want, restored)
		}
	}
	if before == 0 || after == 0 {
		t.Errorf("%d rows before the restore and %d after it prove little", before, after)
	}
}

var restoredAt = regexp.MustCompile(`restored .* as of index (\d+), `)

// restore runs rsqld restore through a node, and returns the index of the entry.
func (p *process) restore(path string) uint64 {
	p.t.Helper()
	printed, code := p.subcommand("restore", "--yes", path)
	found := restoredAt.FindStringSubmatch(printed)
	if code != 0 || found == nil {
		p.t.Fatalf("rsqld restore exits with %d: %s", code, printed)
	}
	index, err := strconv.ParseUint(found[1], 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return index
}

// verified proves that all nodes hold the same, by rsqld verify.
func verified(t *testing.T, nodes ...*process) {
	t.Helper()
	eventually(t, "rsqld verify to find all equal", func(context.Context) error {
		if printed, code := nodes[0].subcommand("verify"); code != 0 || strings.Count(printed, ",equal") != len(nodes) {
			return fmt.Errorf("exit %d: %s", code, printed)
		}
		return nil
	})
}

// foreignDatabase makes a database of another program that is in use: its newest rows are in its write-ahead log.
func foreignDatabase(t *testing.T, pageSize int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "foreign.db")
	conn, err := sqlite.Open(path, sqlite.Options{Create: true, Pragmas: []sqlite.Pragma{
		{Name: "page_size", Value: fmt.Sprint(pageSize)}, {Name: "journal_mode", Value: "wal"}, {Name: "wal_autocheckpoint", Value: "0"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	for _, sql := range []string{
		"create table plain(a)", "insert into plain(rowid, a) values(5, 'five'), (900, x'00ff')",
		"create table auto(id integer primary key autoincrement, v unique)", "insert into auto values(77, 'x')", "delete from auto",
		"create virtual table notes using fts5(body)", "insert into notes(rowid, body) values(33, 'the quick fox')",
		"create virtual table boxes using rtree(id, x0, x1)", "insert into boxes values(4, 1, 2)",
		"create table keyed(k primary key, v) without rowid", "insert into keyed values('k', 1.5)",
		"create trigger tr after insert on plain begin insert into keyed values(new.a, new.rowid); end",
		"create table big(x)", "insert into big with recursive n(i) as (select 1 union all select i + 1 from n where i < 40) select randomblob(50000) from n",
	} {
		if err := conn.Exec(sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	if found, err := os.Stat(path + "-wal"); err != nil || found.Size() < 2000000 {
		t.Fatalf("the write-ahead log: %v, %v", found, err)
	}
	return path
}

const foreignRows = `select (select group_concat(rowid || quote(a)) from plain) || (select group_concat(name || seq) from sqlite_sequence)
	|| (select group_concat(rowid || body) from notes where notes match 'fox') || (select group_concat(id || x1) from boxes)
	|| (select group_concat(k || v) from keyed) || (select count(*) || max(rowid) from big)`

// rsqld restore through a follower brings a backup, and then foreign databases with unfinished write-ahead logs and other page
// sizes, into a cluster that is written to: on every node there is what was in the file and what was written after the entry.
// Settings, members, tokens and credentials stay; a node that joins then gets the file.
func TestRestoreCommand(t *testing.T) {
	t.Parallel()
	nodes := trio(t)
	follower := except(nodes, leaderOf(t, nodes...))[0]
	nodes[0].exec("create table stamped(k integer primary key)")
	if printed, code := nodes[0].subcommand("set", "sql.max_rows=4321"); code != 0 {
		t.Fatal(printed)
	}
	token, code := nodes[0].subcommand("token")
	if code != 0 {
		t.Fatal(token)
	}
	w := startStamped(t, nodes...)
	w.await(t, 100)
	backup := filepath.Join(t.TempDir(), "b.sqlite")
	if printed, code := follower.subcommand("backup", backup); code != 0 {
		t.Fatal(printed)
	}
	w.await(t, 100)
	index := follower.restore(backup)
	w.await(t, 100)
	w.finish()
	inFile := make(map[int64]bool)
	for _, key := range fileRows(t, backup, "select k from stamped") {
		k, err := strconv.ParseInt(key, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		inFile[k] = true
	}
	settle(t, nodes...)
	for _, p := range nodes {
		w.check(t, p, inFile, index)
	}
	verified(t, nodes...)

	for _, pageSize := range []int{1024, 65536} {
		foreign := foreignDatabase(t, pageSize)
		want := fileRows(t, foreign, foreignRows)[0]
		follower.restore(foreign)
		for _, p := range nodes {
			p.eventuallyValue(want, foreignRows)
		}
		nodes[0].exec("insert into auto(v) values('next')", "insert into plain(a) values('last')")
		for _, p := range nodes {
			p.eventuallyValue("78 901 0", "select (select max(id) from auto) || ' ' || (select max(rowid) from plain) || ' ' || (select count(*) from sqlite_schema where name = 'stamped')")
		}
		verified(t, nodes...)
	}

	printed, code := follower.subcommand("sql", "-c", "insert into stamped values(0)")
	if code != 1 || !strings.Contains(printed, "no such table: stamped") {
		t.Errorf("a write to a table that is gone: exit %d, %s", code, printed)
	}
	if printed, code := follower.subcommand("sql", "-c", ".status"); code != 0 || !strings.Contains(printed, "setting.sql.max_rows,4321") || !strings.Contains(printed, "voters,3") {
		t.Errorf("exit %d: %s", code, printed)
	}
	late := newProcess(t, "n4", "--join", follower.address, "--token", strings.TrimSpace(token))
	founders.Store(late, nodes[0])
	late.start()
	nodes = append(nodes, late)
	awaitVoters(t, 4, nodes...)
	verified(t, nodes...)
}

// What is no database that can be restored is refused before anything has changed, and so is a restore that nobody has agreed to.
func TestRestoreRefuses(t *testing.T) {
	n := newProcess(t, "n1").start()
	n.exec("create table kept(x)")
	dir := t.TempDir()
	text, empty, corrupt := filepath.Join(dir, "text"), filepath.Join(dir, "empty"), filepath.Join(dir, "corrupt")
	if printed, code := n.subcommand("backup", corrupt); code != 0 {
		t.Fatal(printed)
	}
	content, err := os.ReadFile(corrupt)
	if err != nil {
		t.Fatal(err)
	}
	for i := 100; i < 110; i++ {
		content[i] ^= 0xff
	}
	if err := errors.Join(os.WriteFile(text, []byte("id,name\n"), 0o600), os.WriteFile(empty, nil, 0o600), os.WriteFile(corrupt, content, 0o600)); err != nil {
		t.Fatal(err)
	}
	before := n.applied(t.Context())
	for path, want := range map[string]string{text: "is no SQLite database", empty: "is no SQLite database", corrupt: "malformed", dir + "/none": "no such file"} {
		if printed, code := n.subcommand("restore", "--yes", path); code != 1 || !strings.Contains(printed, want) {
			t.Errorf("%s: exit %d, %s", path, code, printed)
		}
	}
	if printed, code := n.subcommand("restore", text); code != 2 || !strings.Contains(printed, "add --yes") {
		t.Errorf("without --yes: exit %d, %s", code, printed)
	}
	if after := n.applied(t.Context()); after != before {
		t.Errorf("the index went from %d to %d", before, after)
	}
	n.eventuallyValue(int64(0), "select count(*) from kept")
}

// backgroundRestore begins rsqld restore through a node. The returned function waits for its end.
func backgroundRestore(t *testing.T, through *process, path string) (c *exec.Cmd, end func() (printed string, code int)) {
	t.Helper()
	c = exec.Command(binary, "restore", "--yes", path, "--addr", through.address, "--cred", adminOf(through))
	out := new(syncBuffer)
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c, func() (string, int) {
		c.Wait() // the exit code says it
		return out.String(), c.ProcessState.ExitCode()
	}
}

// awaitStaged waits until a node has a file in its directory of restores that fits one of the patterns.
func (p *process) awaitStaged(patterns ...string) {
	p.t.Helper()
	p.eventually("to have "+patterns[0], func(context.Context) error {
		for _, pattern := range patterns {
			if found, _ := filepath.Glob(filepath.Join(p.data, "restore", pattern)); len(found) > 0 {
				return nil
			}
		}
		return errors.New("there is none")
	})
}

// numberedFile is a database whose rows all have one number, some megabytes.
func numberedFile(t *testing.T, number, megabytes int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), fmt.Sprintf("%d.db", number))
	conn, err := sqlite.Open(path, sqlite.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	err = conn.Exec(fmt.Sprintf(`create table t(number, filler); insert into t with recursive n(i) as
		(select 1 union all select i + 1 from n where i < %d) select %d, randomblob(100000) from n`, 10*megabytes, number))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// A node that is killed in the middle of a restore, the leader or the node that was asked, leaves the content of before or that
// of the file on all nodes, never both, and the exit code 0 only where it is that of the file.
func TestRestoreKilled(t *testing.T) {
	t.Parallel()
	nodes := trio(t)
	nodes[0].restore(numberedFile(t, 1, 1))
	now := "1"
	const content = "select group_concat(distinct number) || ' ' || count(*) from t"
	for round, when := range []string{"*.partial", "*.sqlite", "*.index", "*.partial"} {
		leader := leaderOf(t, nodes...)
		through := except(nodes, leader)[0]
		victim := leader
		if round == 3 {
			victim = through
		}
		path := numberedFile(t, round+2, 6)
		for _, p := range nodes { // what other rounds left would be taken for this one's
			for _, pattern := range []string{"*.partial", "*.index"} {
				left, _ := filepath.Glob(filepath.Join(p.data, "restore", pattern))
				for _, path := range left {
					os.Remove(path)
				}
			}
		}
		staged, _ := filepath.Glob(filepath.Join(victim.data, "restore", "*.sqlite"))
		_, end := backgroundRestore(t, through, path)
		if when == "*.sqlite" {
			victim.eventually("to have another file", func(context.Context) error {
				if found, _ := filepath.Glob(filepath.Join(victim.data, "restore", when)); len(found) == len(staged) {
					return errors.New("there is none")
				}
				return nil
			})
		} else {
			victim.awaitStaged(when)
		}
		victim.kill()
		printed, code := end()
		victim.start()
		settleAll(t, round, nodes...)
		got := nodes[0].value(content).(string)
		fresh := fmt.Sprintf("%d 60", round+2)
		t.Logf("killed %s at %s: exit %d, content %q\n%s", victim.name, when, code, got, printed)
		if before := now + " "; got != fresh && (code == 0 || !strings.HasPrefix(got, before)) {
			t.Errorf("round %d: the content is %q, and the exit code %d", round, got, code)
		}
		now, _, _ = strings.Cut(got, " ")
		for _, p := range nodes {
			p.eventuallyValue(got, content)
		}
		verified(t, nodes...)
	}
}

// settleAll waits until all nodes have applied the write of a round, which no round before has made.
func settleAll(t *testing.T, round int, nodes ...*process) {
	t.Helper()
	awaitVoters(t, len(nodes), nodes...)
	leader := leaderOf(t, nodes...)
	leader.eventually("to take a write", func(ctx context.Context) error {
		return execute(ctx, leader.config(), fmt.Sprintf("create table if not exists settling%d(x)", round))
	})
	for _, p := range nodes {
		p.eventuallyValue(int64(1), fmt.Sprintf("select count(*) from sqlite_schema where name = 'settling%d'", round))
	}
}

// An upload that is interrupted changes nothing, and the next one goes on where it was.
func TestRestoreInterrupted(t *testing.T) {
	t.Parallel()
	n := newProcess(t, "n1").start()
	n.exec("create table kept(x)")
	path := numberedFile(t, 1, 30)
	c, end := backgroundRestore(t, n, path)
	n.awaitStaged("*.partial")
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	printed, code := end()
	if code != 130 || !strings.Contains(printed, "interrupted") {
		t.Fatalf("it exits with %d: %s", code, printed)
	}
	n.eventuallyValue(int64(0), "select count(*) from kept")
	partials, _ := filepath.Glob(filepath.Join(n.data, "restore", "*.partial"))
	if len(partials) != 1 {
		t.Fatalf("what came is %v", partials)
	}
	found, err := os.Stat(partials[0])
	if err != nil || found.Size() == 0 {
		t.Fatal(found, err)
	}
	// What came stays what it is: were it sent again, this byte would be overwritten and the hash right.
	file, err := os.OpenFile(partials[0], os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteAt([]byte("?"), found.Size()-1); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if printed, code := n.subcommand("restore", "--yes", path); code != 1 || !strings.Contains(printed, "damaged on its way") {
		t.Errorf("with another byte in what came, exit %d: %s", code, printed)
	}
	n.restore(path)
	n.eventuallyValue("1 300", "select group_concat(distinct number) || ' ' || count(*) from t")
}
