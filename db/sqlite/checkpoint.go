package sqlite

import (
	"fmt"

	lib "modernc.org/sqlite/lib"
)

// CheckpointMode says how hard a checkpoint tries (https://sqlite.org/c3ref/wal_checkpoint_v2.html).
type CheckpointMode int

// The checkpoint modes.
const (
	CheckpointPassive  CheckpointMode = 0 // what no reader holds back; waits for nobody
	CheckpointFull     CheckpointMode = 1 // waits for writers and readers
	CheckpointRestart  CheckpointMode = 2 // and lets the next writer begin the WAL anew
	CheckpointTruncate CheckpointMode = 3 // and cuts the WAL file to nothing
)

// WALCheckpointPassive copies pages from the WAL to the database as far as readers allow, beside a writer on another
// connection. log is the number of frames in the WAL, done how many of them are in the database; they are equal when
// nothing is left. A checkpoint that another connection runs at this moment is CodeBusy.
func (c *Conn) WALCheckpointPassive() (log, done int, err error) {
	return c.WALCheckpoint(CheckpointPassive)
}

// WALCheckpoint runs a checkpoint of the given mode; see WALCheckpointPassive. -1 frames: the database has no WAL.
func (c *Conn) WALCheckpoint(mode CheckpointMode) (log, done int, err error) {
	if c.db == 0 {
		return 0, 0, ErrClosed
	}
	name, end := c.lend("main")
	defer end()
	rc := lib.Xsqlite3_wal_checkpoint_v2(c.tls, c.db, name, int32(mode), c.mem+slotA, c.mem+slotB)
	if rc != lib.SQLITE_OK {
		return 0, 0, fmt.Errorf("checkpointing the wal: %w", c.failure(rc))
	}
	return int(*at[int32](c.mem + slotA)), int(*at[int32](c.mem + slotB)), nil
}
