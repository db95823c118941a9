package db_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// How many reads are open and how long one may run are settings of the node, and the error names them.
func TestReaderLimits(t *testing.T) {
	dir := t.TempDir()
	n := openWith(t, db.Config{Data: dir, MaxReaders: 1, ReaderTimeout: 300 * time.Millisecond})
	conn := open(t, n, dir)
	begun := time.Now()
	_, err := run(t, conn, driver.Request{SQL: "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"})
	if !errors.Is(err, driver.ErrCancelled) || !strings.Contains(err.Error(), "sql.reader_timeout") || time.Since(begun) > 10*time.Second {
		t.Errorf("an endless read ended with %v after %v", err, time.Since(begun))
	}
	expect(t, conn, driver.Request{SQL: "select 1"}, "[[1]]")
	for name, config := range map[string]db.Config{"less than no readers": {MaxReaders: -1}, "a negative time": {ReaderTimeout: -1},
		"more statements than an entry holds": {MaxStatements: 1_000_000}} {
		config.Data = t.TempDir()
		if _, err := db.Open(t.Context(), config); !errors.Is(err, db.ErrUsage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A read that finds every reader taken waits, and says so if its time is over before one is free. A client that does not take
// its rows holds one until it goes or sql.reader_timeout ends it.
func TestReadersAreTaken(t *testing.T) {
	dir := t.TempDir()
	n := openWith(t, db.Config{Data: dir, MaxReaders: 1})
	slow, other := open(t, n, dir), greeted(t, n, dir)
	const endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select hex(zeroblob(10000)) from n"
	results, err := slow.Execute(t.Context(), driver.Request{SQL: endless})
	if err != nil || !results.NextResult() || !results.Next() {
		t.Fatal("no row comes", err)
	}
	other.execute(&sqlpb.Execute{TimeoutMs: 200}, "select 1")
	if e := other.answer().err; e.GetClass() != sqlpb.Class_CLASS_BUSY || !strings.Contains(e.GetMessage(), "sql.max_readers") {
		t.Errorf("beside a reader that is taken: %v", e)
	}
	if err := results.Close(); err != nil {
		t.Fatal(err)
	}
	other.execute(&sqlpb.Execute{}, "select 1")
	if a := other.answer(); a.err != nil {
		t.Errorf("when it is free: %v", a.err)
	}
}

// How many statements one request holds is a setting of the node.
func TestMaxStatements(t *testing.T) {
	dir := t.TempDir()
	n := openWith(t, db.Config{Data: dir, MaxStatements: 2})
	r := greeted(t, n, dir)
	r.execute(&sqlpb.Execute{}, "select 1", "select 2")
	if a := r.answer(); a.err != nil {
		t.Errorf("two statements: %v", a.err)
	}
	r.execute(&sqlpb.Execute{}, "select 1", "select 2", "select 3")
	if e := r.answer().err; e.GetClass() != sqlpb.Class_CLASS_TOO_LARGE || !strings.Contains(e.GetMessage(), "may hold 2 (limit max_statements)") {
		t.Errorf("three statements: %v", e)
	}
}
