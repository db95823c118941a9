package sqlite

import (
	"errors"
	"testing"
	"time"
)

// A checkpoint with a pace never leaves more than so many bytes of the database file without a sync, pauses after each,
// and moves everything; a sync that fails is its error.
func TestPace(t *testing.T) {
	const bytes = 1 << 20
	path := tempFile(t)
	writer := mustOpen(t, path, WriterOptions(NewClock()))
	mustExec(t, writer, "CREATE TABLE t(a); INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10) SELECT randomblob(1000000) FROM n")
	var unsynced, most int
	syncs, pauses, failing := 0, 0, true
	o := CheckpointOptions()
	o.Pace = &Pace{Bytes: bytes, Pause: func(time.Duration) { pauses++ }}
	o.Fault = func(op FaultOp, file string, _ int64, n int) int {
		switch {
		case file != "main.sqlite":
		case op == FaultWrite:
			unsynced += n
			most = max(most, unsynced)
		case op == FaultSync && failing && syncs == 3:
			return 1034 // SQLITE_IOERR_FSYNC
		case op == FaultSync:
			syncs++
			unsynced = 0
		}
		return 0
	}
	c := mustOpen(t, path, o)
	var failed *Error
	if _, _, err := c.WALCheckpointPassive(); !errors.As(err, &failed) || failed.Extended != 1034 {
		t.Fatalf("with a sync that fails: %v", err)
	}
	failing = false
	log, done, err := c.WALCheckpointPassive()
	if err != nil || done != log {
		t.Fatalf("%d of %d frames, %v", done, log, err)
	}
	if most > bytes+PageSize || pauses < 9 || syncs < pauses {
		t.Errorf("%d bytes without a sync at most, %d syncs, %d pauses", most, syncs, pauses)
	}
	mustExec(t, writer, "PRAGMA integrity_check")
}
