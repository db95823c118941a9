package engine

import (
	"fmt"

	"github.com/rsqld/rsqld/db/sqlite"
)

// FormatVersion is the version of the internal tables that this program reads and writes.
const FormatVersion = 2

// The internal tables. They are in the database itself so that they change in the same transaction as the rows.
//
// _rsqld_meta has one row, written once per batch. Indexes, terms and the chain are unsigned and stored as the signed
// integer of the same bits.
const schemaSQL = `
CREATE TABLE _rsqld_meta (
	id                  INTEGER PRIMARY KEY CHECK (id = 1),
	format              INTEGER NOT NULL,
	cluster             BLOB NOT NULL,    -- 16 bytes, zero before Bootstrap
	applied_index       INTEGER NOT NULL,
	applied_term        INTEGER NOT NULL,
	entry_time          INTEGER NOT NULL, -- newest entry time, Unix nanoseconds
	configuration_index INTEGER NOT NULL, -- of the last configuration applied
	configuration       BLOB NOT NULL,    -- raft.Configuration, empty before the first
	chain               INTEGER NOT NULL  -- result chain as of applied_index
) STRICT;
INSERT INTO _rsqld_meta VALUES (1, 2, zeroblob(16), 0, 0, 0, 0, x'', 0);

CREATE TABLE _rsqld_settings (
	name  TEXT PRIMARY KEY,
	value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE _rsqld_members (
	id         INTEGER PRIMARY KEY,       -- index of the entry that admitted it; 1 is the founder
	name       TEXT NOT NULL,
	address    TEXT NOT NULL,
	learner    INTEGER NOT NULL,
	public_key BLOB NOT NULL UNIQUE,
	removed    INTEGER NOT NULL DEFAULT 0 -- its key stays, so that joining again with it gives the same id
) STRICT;

CREATE TABLE _rsqld_tokens (
	id       BLOB PRIMARY KEY,
	key      BLOB NOT NULL,
	learner  INTEGER NOT NULL,
	uses     INTEGER NOT NULL,            -- allowed; 0: any number
	used     INTEGER NOT NULL,
	expires  INTEGER NOT NULL,            -- entry time in Unix nanoseconds; 0: never
	standing INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE _rsqld_sessions (
	id     BLOB PRIMARY KEY,              -- 16 bytes, of which the first 8 are when it was made, Unix nanoseconds
	seq    INTEGER NOT NULL,              -- of the newest write
	entry  INTEGER NOT NULL,              -- index of the entry that executed it
	time   INTEGER NOT NULL,              -- entry time
	result BLOB NOT NULL                  -- command.StoredResult
) STRICT, WITHOUT ROWID;
`

// internalTables are those of schemaSQL.
var internalTables = map[string]bool{
	"_rsqld_meta": true, "_rsqld_settings": true, "_rsqld_members": true, "_rsqld_tokens": true, "_rsqld_sessions": true,
}

// createSchema makes the internal tables in one transaction unless they are there.
func createSchema(conn *sqlite.Conn) error {
	there, err := queryInt(conn, "SELECT count(*) FROM sqlite_schema WHERE name = '_rsqld_meta'")
	if err != nil || there > 0 {
		return err
	}
	if err := conn.Exec("BEGIN IMMEDIATE;" + schemaSQL + "COMMIT"); err != nil {
		return fmt.Errorf("creating the internal tables: %w", err)
	}
	return nil
}

// queryInt returns the first column of the one row of internal SQL.
func queryInt(conn *sqlite.Conn, sql string) (int64, error) {
	stmt, err := conn.Internal(sql)
	if err != nil {
		return 0, err
	}
	defer stmt.Release()
	row, err := stmt.Step()
	if err != nil {
		return 0, err
	}
	if !row {
		return 0, fmt.Errorf("%q gave no row", sql)
	}
	return stmt.ColumnInt64(0), nil
}

// execInternal runs one internal statement with arguments, each an int64, a string or bytes.
func execInternal(conn *sqlite.Conn, sql string, args ...any) error {
	stmt, err := conn.Internal(sql)
	if err != nil {
		return err
	}
	defer stmt.Release()
	for i, arg := range args {
		if err := bindInternal(stmt, i+1, arg); err != nil {
			return err
		}
	}
	_, err = stmt.Step()
	return err
}

func bindInternal(stmt *sqlite.Stmt, number int, arg any) error {
	switch v := arg.(type) {
	case int64:
		return stmt.BindInt64(number, v)
	case string:
		return stmt.BindText(number, v)
	case []byte:
		return stmt.BindBlob(number, v)
	case bool:
		if v {
			return stmt.BindInt64(number, 1)
		}
		return stmt.BindInt64(number, 0)
	}
	return fmt.Errorf("binding a %T: no such kind of internal argument", arg)
}

// queryInternal calls row for each row of internal SQL.
func queryInternal(conn *sqlite.Conn, sql string, row func(*sqlite.Stmt) error, args ...any) error {
	stmt, err := conn.Internal(sql)
	if err != nil {
		return err
	}
	defer stmt.Release()
	for i, arg := range args {
		if err := bindInternal(stmt, i+1, arg); err != nil {
			return err
		}
	}
	for {
		more, err := stmt.Step()
		if err != nil || !more {
			return err
		}
		if err := row(stmt); err != nil {
			return err
		}
	}
}
