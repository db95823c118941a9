package sqlite

import (
	"fmt"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// handle is the connection's own structure inside lib. Four things are only there: the counters that ResetState
// clears, those of foreign keys, how deep statements are nested, and which schema is in memory. The compiler checks the field names against
// the very version of lib that is linked, and SelfTest checks their meaning. db must not be 0.
func (c *Conn) handle() *lib.Tsqlite3 { return at[lib.Tsqlite3](c.db) }

// ResetState makes last_insert_rowid(), changes() and total_changes() 0, as on a new connection: what an entry
// computes from them must not depend on what this node ran before.
func (c *Conn) ResetState() {
	if c.db == 0 {
		return
	}
	lib.Xsqlite3_set_last_insert_rowid(c.tls, c.db, 0)
	db := c.handle()
	db.FnChange, db.FnTotalChange = 0, 0
}

// Changes is the number of rows that the last INSERT, UPDATE or DELETE changed, without triggers and foreign keys.
func (c *Conn) Changes() int64 {
	if c.db == 0 {
		return 0
	}
	return lib.Xsqlite3_changes64(c.tls, c.db)
}

// TotalChanges is the number of rows changed since Open or ResetState, triggers and foreign keys included.
func (c *Conn) TotalChanges() int64 {
	if c.db == 0 {
		return 0
	}
	return lib.Xsqlite3_total_changes64(c.tls, c.db)
}

// LastInsertRowID is the rowid of the last successful INSERT.
func (c *Conn) LastInsertRowID() int64 {
	if c.db == 0 {
		return 0
	}
	return lib.Xsqlite3_last_insert_rowid(c.tls, c.db)
}

// Autocommit is false inside BEGIN or SAVEPOINT. A statement that fails may end the transaction and make it true
// (OR ROLLBACK, RAISE(ROLLBACK), a full disk).
func (c *Conn) Autocommit() bool {
	return c.db == 0 || lib.Xsqlite3_get_autocommit(c.tls, c.db) != 0
}

// TxnState says how far a connection is in a transaction on the main database.
type TxnState int

// The transaction states.
const (
	TxnNone  TxnState = 0
	TxnRead  TxnState = 1
	TxnWrite TxnState = 2
)

// TxnState is the state of the main database.
func (c *Conn) TxnState() TxnState {
	if c.db == 0 {
		return TxnNone
	}
	name, done := c.lend("main")
	defer done()
	return TxnState(lib.Xsqlite3_txn_state(c.tls, c.db, name))
}

// DeferredFKs tells whether COMMIT would fail for a foreign key: 0 if not. Any other number is not a count: rows that
// violated a key before the transaction and are mended in it are taken off, which makes it negative.
//
// It is what COMMIT itself looks at; SQLITE_DBSTATUS_DEFERRED_FKS does not tell of a negative one.
func (c *Conn) DeferredFKs() (int, error) {
	if c.db == 0 {
		return 0, ErrClosed
	}
	db := c.handle()
	return int(db.FnDeferredCons + db.FnDeferredImmCons), nil
}

// ClearDeferredFKs forgets violations that wait for the end of the transaction. What DeferredFKs adds up may be 0 of two
// parts that are not: what comes next must not depend on them.
func (c *Conn) ClearDeferredFKs() {
	if c.db == 0 {
		return
	}
	db := c.handle()
	db.FnDeferredCons, db.FnDeferredImmCons = 0, 0
}

// Limit sets a limit and returns the one before; a negative value only reads. SQLite cuts a value that is larger than
// it was built for.
func (c *Conn) Limit(id Limit, value int) (old int) {
	if c.db == 0 {
		return 0
	}
	return int(lib.Xsqlite3_limit(c.tls, c.db, int32(id), int32(min(value, 1<<31-1))))
}

// Config sets a switch of the connection.
func (c *Conn) Config(id Config, on bool) error {
	if c.db == 0 {
		return ErrClosed
	}
	var value int32
	if on {
		value = 1
	}
	args := libc.VaList(c.mem+variadic, value, c.mem+slotA)
	if rc := lib.Xsqlite3_db_config(c.tls, c.db, int32(id), args); rc != lib.SQLITE_OK {
		return fmt.Errorf("configuring switch %d: %w", id, c.failure(rc))
	}
	if *at[int32](c.mem + slotA) != value {
		return fmt.Errorf("configuring switch %d: it stays %t", id, !on)
	}
	return nil
}

// SchemaVersion is the schema cookie of the database file: it changes with every change of the schema.
func (c *Conn) SchemaVersion() (int64, error) {
	s, err := c.Internal("PRAGMA schema_version")
	if err != nil {
		return 0, fmt.Errorf("reading the schema version: %w", err)
	}
	defer s.Release()
	if _, err := s.Step(); err != nil {
		return 0, fmt.Errorf("reading the schema version: %w", err)
	}
	return s.ColumnInt64(0), nil
}
