package engine

import (
	"fmt"

	"github.com/rsqld/rsqld/raft"
)

// Durable makes everything applied so far durable and returns how far that is. Whoever drops entries of the raft log calls
// it first: batches are not synced one by one, so that after a loss of power the entries since the last sync are applied
// again, and must still be there. It waits for a running Apply,
// and for the end of a transaction.
//
// It costs one sync of SQLite's write-ahead log, whatever reads go on. After an error nothing is known to be durable, and
// the database is opened again by the next call, as after an error of Apply.
func (e *Engine) Durable() (raft.Base, error) {
	e.settle()
	defer e.applying.Unlock()
	if err := e.reopen(); err != nil {
		return raft.Base{}, err
	}
	if err := e.writer.sync(); err != nil {
		e.abandon()
		return raft.Base{}, fmt.Errorf("making what is applied durable: %w", err)
	}
	return e.committed.Load().base, nil
}

// sync commits once with synchronous=FULL, which syncs the whole write-ahead log: everything committed before is durable
// with it. The row is changed and changed back, because a commit without a change writes nothing and syncs nothing.
func (w *writer) sync() error {
	if err := w.conn.Exec("PRAGMA synchronous=FULL"); err != nil { // acts outside of a transaction only
		return err
	}
	if err := w.begin(); err != nil {
		return err
	}
	if err := execInternal(w.conn, "UPDATE _rsqld_meta SET entry_time = entry_time + 1"); err != nil {
		return err
	}
	if err := w.commit(); err != nil { // stores the row as it was
		return err
	}
	return w.conn.Exec("PRAGMA synchronous=NORMAL")
}
