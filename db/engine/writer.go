package engine

import (
	"errors"
	"fmt"
	"math"

	"github.com/rsqld/rsqld/db/sqlite"
)

// writer is the one connection that changes the database, with the state that its transaction has come to. After an
// error of the environment it is closed and another is opened: what SQLite keeps in memory is not trusted then.
type writer struct {
	conn  *sqlite.Conn
	clock *sqlite.Clock
	meter meter
	users *preparer
	own   ownStatements
	// state is that of the open transaction; outside of one it is what was committed.
	state state
	// changed says that the open transaction wrote the internal tables beyond _rsqld_meta.
	changed bool
	// committing is set while the writer's own COMMIT runs. No other commit is allowed: an error of the disk that SQLite
	// told nobody may have ended the transaction of the batch, and each statement after it would commit by itself.
	committing bool
	// frames is how long the write-ahead log was at the newest commit.
	frames int
	// verify is the verification that the newest entry of the open batch asks for, if it is one: the batch ends with it.
	verify verification
	// left is what the entry that is executed leaves in the connection.
	left leftovers
	// sequence is how a full AUTOINCREMENT table is told from a full disk.
	sequence sequenceWatch
	// leftOut are the ingredients of determinism that a test does without.
	leftOut ingredient
}

// openWriter opens the writer of the database at path. The settings that hold for it are in the database itself.
func openWriter(path string, isNew bool, fault sqlite.FaultFunc) (*writer, error) {
	w := &writer{clock: sqlite.NewClock()}
	options := sqlite.WriterOptions(w.clock)
	options.Create = isNew
	options.Fault = fault
	var err error
	if w.conn, err = sqlite.Open(path, options); err != nil {
		return nil, fmt.Errorf("opening %s for writing: %w", path, err)
	}
	if err := w.prepare(isNew); err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s for writing: %w", path, err), w.conn.Close())
	}
	return w, nil
}

func (w *writer) prepare(isNew bool) error {
	if isNew {
		if err := createSchema(w.conn); err != nil {
			return err
		}
	}
	if err := w.load(); err != nil {
		return err
	}
	w.conn.SetProgress(stepsPerTick, func() bool {
		return w.conn.TopLevel() && w.meter.tick()
	})
	w.conn.SetUpdateHook(func(u sqlite.Update) {
		if w.has(ingredientVeto) {
			w.meter.changed(u)
		}
	})
	w.conn.SetCommitHook(func(frames int) { w.frames = frames })
	w.conn.SetCommitGuard(func() bool { return w.committing })
	w.users = newPreparer(w.conn, roleWriter, func() settings { return w.state.limits })
	if err := w.forgetSchema(); err != nil {
		return err
	}
	if err := w.own.prepare(w.conn); err != nil {
		return err
	}
	return w.conn.TakeRefusal()
}

// load reads the state and makes the connection follow the settings in it. It must be called outside a transaction,
// where alone PRAGMA foreign_keys acts.
func (w *writer) load() error {
	s, err := loadState(w.conn)
	if err != nil {
		return err
	}
	w.state, w.changed = *s, false
	w.own.session.forget()
	w.meter.limits = s.limits
	s.limits.limit(w.conn)
	for name, on := range map[string]bool{"foreign_keys": s.limits.foreignKeys, "recursive_triggers": s.limits.recursiveTriggers} {
		if err := w.conn.Exec(fmt.Sprintf("PRAGMA %s=%s", name, switchWord(on))); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	return nil
}

// forgetSchema makes SQLite read the schema and the statistics again. SQLite keeps both in memory, and after a
// rolled-back ANALYZE or a DROP INDEX what it keeps is not what a restart would read: a query without ORDER BY could
// then choose other rows.
func (w *writer) forgetSchema() error {
	if !w.has(ingredientSchema) {
		return nil
	}
	if err := w.conn.Exec("PRAGMA writable_schema=RESET"); err != nil {
		return fmt.Errorf("forgetting the schema: %w", err)
	}
	return nil
}

// begin opens the transaction of a batch.
func (w *writer) begin() error { return once(w.own.begin) }

// commit ends the transaction of a batch: how far it came is written in it. If the disk refused anything that the batch
// asked of it, the batch fails, whether SQLite said so or not. After an error the writer must be opened again to know
// whether it was committed.
func (w *writer) commit() error {
	if err := w.own.meta.store(&w.state); err != nil {
		return fmt.Errorf("writing how far the batch came: %w", err)
	}
	if err := w.conn.TakeRefusal(); err != nil {
		return fmt.Errorf("committing what was done without: %w", err)
	}
	w.committing = true
	defer func() { w.committing = false }()
	if err := once(w.own.commit); err != nil {
		return fmt.Errorf("committing the batch: %w", err)
	}
	return nil
}

// settle makes the writer follow what the batch that was committed says about the cluster. After an error the batch is
// committed all the same.
func (w *writer) settle() error {
	if !w.changed {
		return nil
	}
	if err := w.load(); err != nil {
		return fmt.Errorf("reading what a committed batch has changed: %w", err)
	}
	return w.conn.TakeRefusal()
}

// undone puts the state back to what was committed, after the transaction was rolled back.
func (w *writer) undone(committed *state) {
	w.state, w.changed = *committed, false
	w.own.session.forget()
}

func (w *writer) close() error {
	if err := w.conn.Close(); err != nil {
		return fmt.Errorf("closing the writer: %w", err)
	}
	return nil
}

// sequenceWatch tells a full AUTOINCREMENT table, which is deterministic, from a full disk, which is not: SQLite has one
// code for both. A table is full if and only if a row of sqlite_sequence held the largest rowid before the statement.
// When the statement undid the whole transaction with it, that row can be looked for no more; then the entry is run a
// second time with the watch on.
type sequenceWatch struct {
	on   bool
	full bool
}

// look notes whether a sequence is full now. It is called before each statement while the watch is on.
func (s *sequenceWatch) look(conn *sqlite.Conn) error {
	there, err := queryInt(conn, "SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_sequence'")
	if err != nil || there == 0 {
		s.full = false
		return err
	}
	count, err := queryInt(conn, fmt.Sprintf("SELECT count(*) FROM sqlite_sequence WHERE seq >= %d", int64(math.MaxInt64)))
	s.full = count > 0
	return err
}
