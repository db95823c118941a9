package engine

import (
	"errors"
	"fmt"

	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
)

// errReaders says that a checkpoint was held up.
var errReaders = errors.New("readers hold up the checkpoint")

// Durable makes everything applied so far durable and returns how far that is: what was committed with
// synchronous=NORMAL is in SQLite's write-ahead log, which a loss of power may cut (sqlite.org/pragma.html#pragma_synchronous).
// Only a complete checkpoint, which syncs both files, allows to drop entries of the Raft log. It waits for a running Apply.
func (e *Engine) Durable() (raft.Base, error) {
	e.applying.Lock()
	defer e.applying.Unlock()
	if err := e.reopen(); err != nil {
		return raft.Base{}, err
	}
	frames, moved, err := e.writer.conn.WALCheckpoint(sqlite.CheckpointFull)
	if err == nil && moved < frames {
		err = errReaders
	}
	if err != nil {
		return raft.Base{}, fmt.Errorf("making the database durable: %w", err)
	}
	return e.committed.Load().base, nil
}
