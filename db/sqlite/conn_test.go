package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// The option sets give the settings they promise, on a new file and on an old one.
func TestOptionSets(t *testing.T) {
	path := tempFile(t)
	for range 2 {
		writer := mustOpen(t, path, WriterOptions(NewClock()))
		mustExec(t, writer, "CREATE TABLE IF NOT EXISTS t(a)")
		reader := mustOpen(t, path, ReaderOptions())
		checkpointer := mustOpen(t, path, CheckpointOptions())
		for _, test := range []struct {
			c              *Conn
			pragma, answer string
		}{
			{writer, "journal_mode", "wal"}, {writer, "synchronous", "1"}, {writer, "auto_vacuum", "2"}, {writer, "page_size", "4096"},
			{writer, "temp_store", "2"}, {writer, "cache_size", "-65536"}, {writer, "mmap_size", "0"}, {writer, "wal_autocheckpoint", "0"},
			{writer, "journal_size_limit", "67108864"}, {writer, "busy_timeout", "5000"}, {writer, "trusted_schema", "0"}, {writer, "secure_delete", "0"},
			{writer, "foreign_keys", "0"}, {writer, "query_only", "0"},
			{reader, "query_only", "1"}, {reader, "busy_timeout", "5000"}, {reader, "cache_size", "-8192"}, {reader, "trusted_schema", "0"},
			{reader, "mmap_size", "2147418112"},
			{checkpointer, "journal_mode", "wal"}, {checkpointer, "wal_autocheckpoint", "0"},
		} {
			if got := ask(t, test.c, "PRAGMA "+test.pragma); got != test.answer {
				t.Errorf("%s: got %s, want %s", test.pragma, got, test.answer)
			}
		}
		if writer.Limit(LimitAttached, -1) != 0 {
			t.Error("the writer can attach")
		}
		mustExec(t, writer, "PRAGMA writable_schema=1")
		wantCode(t, "writing the schema", run(writer, "DELETE FROM sqlite_schema"), CodeError)
		wantCode(t, "writing on a reader", run(reader, "INSERT INTO t VALUES (1)"), CodeReadOnly)
		for _, c := range []*Conn{checkpointer, reader, writer} {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// What cannot be opened is an error that names the path, and leaves nothing behind.
func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "text"), []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	before := allocations.Load()
	for _, test := range []struct {
		path string
		o    Options
		code int
	}{
		{filepath.Join(dir, "missing"), Options{}, CodeCantOpen},
		{filepath.Join(dir, "missing"), ReaderOptions(), CodeCantOpen},
		{filepath.Join(dir, "no", "directory"), WriterOptions(NewClock()), CodeCantOpen},
		{filepath.Join(dir, "text"), WriterOptions(NewClock()), CodeNotADB},
	} {
		c, err := Open(test.path, test.o)
		if c != nil {
			t.Fatalf("%s was opened", test.path)
		}
		wantCode(t, test.path, err, test.code)
		if !strings.Contains(err.Error(), test.path) {
			t.Errorf("the error does not name the path: %v", err)
		}
	}
	if _, err := Open("a\x00b", Options{}); err == nil || !strings.Contains(err.Error(), "NUL byte at offset 1") {
		t.Errorf("a path with a NUL byte: got %v", err)
	}
	_, err := Open(":memory:", Options{Create: true, Pragmas: []Pragma{{Name: "journal_mode", Value: "wal", Want: "wal"}}})
	if err == nil || !strings.Contains(err.Error(), `PRAGMA journal_mode=wal: the database answers "memory", want "wal"`) {
		t.Errorf("a pragma without effect: got %v", err)
	}
	if got := allocations.Load(); got != before {
		t.Errorf("%d blocks of memory are left", got-before)
	}
}

// Close frees everything: statements, cache, hooks, VFS and SQLite's own memory.
func TestCloseFreesEverything(t *testing.T) {
	tls := libc.NewTLS()
	defer tls.Close()
	use := func() {
		path := tempFile(t)
		o := WriterOptions(NewClock())
		o.Fault = func(FaultOp, string, int64, int) int { return 0 }
		c, err := Open(path, o)
		if err != nil {
			t.Fatal(err)
		}
		c.SetAuthorizer("user", func(Action) Decision { return Allow })
		c.SetUpdateHook(func(Update) {})
		c.SetProgress(100, func() bool { return false })
		if err := c.Exec("CREATE TABLE t(a); BEGIN; INSERT INTO t VALUES (randomblob(100000))"); err != nil {
			t.Fatal(err)
		}
		for i := range 300 { // cached, abandoned in the middle of a run, and never released
			s, _, err := c.Cached(fmt.Sprintf("SELECT a, %d, ? FROM t", i))
			if err == nil {
				err = s.BindBlob(1, make([]byte, 20000))
			}
			if err == nil {
				_, err = s.Step()
			}
			if err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 {
				s.Release()
			}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	use() // what lives as long as the process is there after the first time
	blocks, bytes := allocations.Load(), lib.Xsqlite3_memory_used(tls)
	if bytes == 0 {
		t.Fatal("sqlite does not count its memory")
	}
	for range 3 {
		use()
	}
	if got := allocations.Load(); got != blocks {
		t.Errorf("%d blocks are left", got-blocks)
	}
	if got := lib.Xsqlite3_memory_used(tls); got != bytes {
		t.Errorf("%d bytes of sqlite are left", got-bytes)
	}
	faultyFiles.Range(func(_, f any) bool { t.Errorf("file %q is left", f.(*faultyFile).name); return true })
}

// An interrupt from another goroutine ends a statement that would never end.
func TestInterruptRunning(t *testing.T) {
	c := memory(t)
	started := make(chan struct{})
	var once sync.Once
	c.SetProgress(1000, func() bool { once.Do(func() { close(started) }); return false })
	go func() {
		<-started
		c.Interrupt()
	}()
	wantCode(t, "an endless recursion", run(c, endless), CodeInterrupt)
	if c.Interrupted() {
		t.Error("the interrupt is still waiting")
	}
	if got := ask(t, c, "SELECT 1"); got != "1" {
		t.Errorf("the next statement: got %s", got)
	}
}

// An interrupt that comes before its statement is not lost, is delivered once, and can be taken back.
func TestInterruptBefore(t *testing.T) {
	c := memory(t)
	s, _, err := c.Prepare("SELECT 1")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	c.Interrupt()
	_, err = s.Step()
	wantCode(t, "Step", err, CodeInterrupt)
	if row, err := s.Step(); err != nil || !row {
		t.Errorf("the second Step: row %t, error %v", row, err)
	}
	c.Interrupt()
	_, _, err = c.Prepare("SELECT 1")
	wantCode(t, "Prepare", err, CodeInterrupt)
	c.Interrupt()
	c.ClearInterrupt()
	if got := ask(t, c, "SELECT 1"); got != "1" {
		t.Errorf("after ClearInterrupt: got %s", got)
	}
	// SQLite forgets an interrupt that arrives as the first step begins: the progress callback does not.
	c.interrupted.Store(true)
	s2, err := c.Internal(endless)
	if err == nil {
		t.Fatal("the flag was not seen by Prepare")
	}
	s2, err = c.Internal(endless)
	if err != nil {
		t.Fatal(err)
	}
	defer s2.Release()
	c.SetProgress(1000, func() bool { c.interrupted.Store(true); return false })
	_, err = s2.Step()
	wantCode(t, "an interrupt without SQLite's flag", err, CodeInterrupt)
}

// Interrupt may be called at any time, beside Close too.
func TestInterruptAgainstClose(t *testing.T) {
	for range 20 {
		c, err := Open(":memory:", Options{Create: true})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for range 50 {
					c.Interrupt()
				}
			})
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
}

// Another process is locked out of a database that is open here.
func TestOtherProcessIsLockedOut(t *testing.T) {
	if baseVFS() != "unix-excl" {
		t.Logf("vfs %q shares files with other processes: only the lock of the data directory keeps them out", baseVFS())
		return
	}
	path := tempFile(t)
	c := mustOpen(t, path, WriterOptions(NewClock()))
	mustExec(t, c, "CREATE TABLE t(a)")
	if got := child(t, "open "+path); !strings.Contains(got, "database is locked") {
		t.Errorf("another process: got %q, want that the database is locked", got)
	}
	if _, err := os.Stat(path + "-shm"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a shared memory file: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if got := child(t, "open "+path); got != "<nil>" {
		t.Errorf("another process after Close: got %q", got)
	}
}

// One writer and four readers run in parallel; each reader sees only whole transactions, and never an older one.
func TestWriterAndReaders(t *testing.T) {
	path := tempFile(t)
	writer := mustOpen(t, path, WriterOptions(NewClock()))
	mustExec(t, writer, "CREATE TABLE t(a, b)")
	const transactions = 60
	deadline := time.Now().Add(time.Minute)
	var wg sync.WaitGroup
	for range 4 {
		reader := mustOpen(t, path, ReaderOptions())
		wg.Go(func() {
			last := int64(0)
			for last < 2*transactions && time.Now().Before(deadline) {
				s, _, err := reader.Cached("SELECT count(*), sum(b) FROM t")
				if err == nil {
					_, err = s.Step()
				}
				if err != nil {
					t.Error(err)
					return
				}
				n, sum := s.ColumnInt64(0), s.ColumnInt64(1)
				s.Release()
				if n < last || n%2 != 0 || sum != 0 {
					t.Errorf("after %d rows: got %d rows with the sum %d", last, n, sum)
					return
				}
				last = n
			}
			if last < 2*transactions {
				t.Errorf("saw %d rows in a minute, want %d", last, 2*transactions)
			}
		})
	}
	for i := range transactions {
		mustExec(t, writer, fmt.Sprintf("BEGIN; INSERT INTO t VALUES (%[1]d, %[1]d); INSERT INTO t VALUES (%[1]d, -%[1]d); COMMIT", i))
		if i%20 == 19 {
			if _, _, err := writer.WALCheckpointPassive(); err != nil {
				t.Error(err)
			}
		}
	}
	wg.Wait()
}
