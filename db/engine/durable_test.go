package engine

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rsqld/rsqld/db/sqlite"
)

// Durable syncs the write-ahead log after its last frame was written, every time it is called, and changes nothing. Apply
// does not.
func TestDurable(t *testing.T) {
	var syncs, writes atomic.Int64 // writes to the log since its last sync
	var broken atomic.Bool
	e := openEngine(t, Config{Fault: func(op sqlite.FaultOp, file string, offset int64, n int) int {
		switch {
		case !strings.HasSuffix(file, "-wal"):
		case op == sqlite.FaultSync && broken.Load():
			return 1034 // SQLITE_IOERR_FSYNC
		case op == sqlite.FaultSync:
			syncs.Add(1)
			writes.Store(0)
		case op == sqlite.FaultWrite:
			writes.Add(1)
		}
		return 0
	}})
	l := newLog(t)
	l.must(e, "create table t(a)")
	before := syncs.Load()
	for range 3 {
		l.must(e, "insert into t values(1)")
	}
	if syncs.Load() != before || writes.Load() == 0 {
		t.Fatalf("%d syncs by Apply, %d writes", syncs.Load()-before, writes.Load())
	}
	reading, release, read := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() { // a checkpoint would not be complete
		var once sync.Once
		_, err := e.Query(t.Context(), "select * from t", nil, &rows{onRow: func() error { once.Do(func() { close(reading) }); <-release; return nil }})
		read <- err
	}()
	<-reading
	base, chain, changed := mustBase(t, e), e.Chain(), e.LastTime()
	for range 2 {
		before = syncs.Load()
		if durable, err := e.Durable(); err != nil || durable.Applied.Index != 4 {
			t.Fatalf("durable up to %v, %v, want 4", durable, err)
		}
		if syncs.Load() == before || writes.Load() != 0 {
			t.Errorf("%d syncs, and %d writes after the last", syncs.Load()-before, writes.Load())
		}
	}
	close(release)
	if err := <-read; err != nil {
		t.Error(err)
	}
	if again := mustBase(t, e); again.Applied != base.Applied || e.Chain() != chain || e.LastTime() != changed {
		t.Errorf("Durable changed %v to %v", base.Applied, again.Applied)
	}
	broken.Store(true)
	var failed *sqlite.Error
	if _, err := e.Durable(); !errors.As(err, &failed) || failed.Code != sqlite.CodeIOErr {
		t.Errorf("on a broken disk: %v", err)
	}
	broken.Store(false)
	l.must(e, "insert into t values(1)")
	before = syncs.Load()
	l.must(e, "insert into t values(1)")
	if syncs.Load() != before {
		t.Error("Apply syncs after a Durable that failed")
	}
	if durable, err := e.Durable(); err != nil || durable.Applied.Index != 6 {
		t.Errorf("afterwards: %v, %v", durable, err)
	}
}
