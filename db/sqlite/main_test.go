package sqlite

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// childTask, in the environment, makes the test binary do a task in a process of its own and print the outcome.
const childTask = "RSQLD_SQLITE_CHILD"

func TestMain(m *testing.M) {
	if task := os.Getenv(childTask); task != "" {
		runChild(task)
		return
	}
	flag.Parse()
	if f := flag.Lookup("test.bench"); f == nil || f.Value.String() == "" {
		countMemory() // it costs a little: benchmarks run as the program does
	}
	os.Exit(m.Run())
}

// countMemory makes SQLite count the bytes it has from its allocator. It must come before the first Open.
func countMemory() {
	tls := libc.NewTLS()
	defer tls.Close()
	args := libc.NewVaList(int32(1))
	defer libc.Xfree(tls, args)
	if rc := lib.Xsqlite3_config(tls, lib.SQLITE_CONFIG_MEMSTATUS, args); rc != lib.SQLITE_OK {
		panic(fmt.Sprintf("configuring memory status: result code %d", rc))
	}
}

// runChild does a child's task.
func runChild(task string) {
	name, argument, _ := strings.Cut(task, " ")
	switch name {
	case "selftest":
		fmt.Printf("%v %x", SelfTest(), Fingerprint())
	case "open":
		c, err := Open(argument, Options{})
		if err == nil {
			err = c.Exec("SELECT count(*) FROM sqlite_schema")
			c.Close()
		}
		fmt.Print(err)
	}
}

// child runs a task in another process and returns what it printed.
func child(t *testing.T, task string, env ...string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), childTask+"="+task), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("child %q: %v\n%s", task, err, out)
	}
	return string(out)
}

// tempFile is the path of a database that does not exist yet.
func tempFile(t testing.TB) string { return filepath.Join(t.TempDir(), "main.sqlite") }

// mustOpen opens a connection that the test closes.
func mustOpen(t testing.TB, path string, o Options) *Conn {
	t.Helper()
	c, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// memory opens a private database in memory.
func memory(t testing.TB) *Conn { return mustOpen(t, ":memory:", Options{Create: true}) }

// mustExec runs SQL that must succeed.
func mustExec(t testing.TB, c *Conn, sql string) {
	t.Helper()
	if err := c.Exec(sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// ask is the first column of the first row, seen by the authorizer.
func ask(t testing.TB, c *Conn, sql string) string {
	t.Helper()
	s, _, err := c.Prepare(sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	defer s.Release()
	if row, err := s.Step(); err != nil || !row {
		t.Fatalf("%s: row %t, error %v", sql, row, err)
	}
	return s.ColumnText(0)
}

// run prepares and runs one statement to its end.
func run(c *Conn, sql string) error {
	s, _, err := c.Prepare(sql)
	if err != nil || s == nil {
		return err
	}
	return s.drain()
}

// wantCode checks the extended code of an error.
func wantCode(t testing.TB, what string, err error, extended int) *Error {
	t.Helper()
	e := asError(err)
	if e == nil {
		t.Fatalf("%s: got error %v, want code %d", what, err, extended)
	}
	if e.Extended != extended || e.Code != extended&0xff {
		t.Fatalf("%s: got code %d/%d (%v), want %d", what, e.Code, e.Extended, err, extended)
	}
	return e
}
