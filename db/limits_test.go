package db_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/db/driver"
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
	if _, err := db.Open(t.Context(), db.Config{Data: t.TempDir(), MaxReaders: -1}); !errors.Is(err, db.ErrUsage) {
		t.Errorf("less than no readers: %v", err)
	}
}
