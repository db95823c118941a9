package engine

import (
	"fmt"

	"github.com/rsqld/rsqld/db/sqlite"
)

// ownStatements are those that the writer runs around every entry and every batch. They are prepared once and die with
// the connection; SQLite prepares one again by itself when the schema has changed.
type ownStatements struct {
	begin, commit      *sqlite.Stmt // around a batch
	savepoint, release *sqlite.Stmt // around an entry
	meta               metaStatement
	session            sessionStatements
}

func (o *ownStatements) prepare(conn *sqlite.Conn) error {
	for _, own := range []struct {
		stmt **sqlite.Stmt
		sql  string
	}{
		{&o.begin, "BEGIN IMMEDIATE"},
		{&o.commit, "COMMIT"},
		{&o.savepoint, "SAVEPOINT _rsqld_entry"},
		{&o.release, "RELEASE _rsqld_entry"},
		{&o.meta.stmt, `UPDATE _rsqld_meta SET applied_index = ?, applied_term = ?, entry_time = ?, configuration_index = ?,
			chain = ?, cluster = ?, configuration = ? WHERE id = 1`},
		{&o.session.find, "SELECT seq, entry, time, result FROM _rsqld_sessions WHERE id = ?"},
		{&o.session.store, `INSERT INTO _rsqld_sessions VALUES (?1, ?2, ?3, ?4, ?5)
			ON CONFLICT (id) DO UPDATE SET seq = ?2, entry = ?3, time = ?4, result = ?5`},
		{&o.session.sweep, "DELETE FROM _rsqld_sessions WHERE time < ?"},
	} {
		var err error
		if *own.stmt, err = conn.Internal(own.sql); err != nil {
			return fmt.Errorf("preparing %q: %w", own.sql, err)
		}
	}
	return nil
}

// once runs a statement without rows and makes it ready for the next time.
func once(stmt *sqlite.Stmt) error {
	if _, err := stmt.Step(); err != nil {
		// It has the same error to say, which Reset knows was said.
		_ = stmt.Reset()
		return err
	}
	return stmt.Reset()
}

// metaStatement writes the row of _rsqld_meta.
type metaStatement struct {
	stmt *sqlite.Stmt
	// configuration is the memory that a configuration is encoded in.
	configuration []byte
}

// store writes what moved with a batch.
func (m *metaStatement) store(s *state) (err error) {
	m.configuration = m.configuration[:0]
	if s.base.ConfigurationIndex != 0 {
		if m.configuration, err = s.base.Configuration.AppendBinary(m.configuration); err != nil {
			return fmt.Errorf("encoding the configuration: %w", err)
		}
	}
	for i, v := range [...]int64{
		int64(s.base.Applied.Index), int64(s.base.Applied.Term), s.time, int64(s.base.ConfigurationIndex), int64(s.chain.Hash),
	} {
		if err := m.stmt.BindInt64(i+1, v); err != nil {
			return err
		}
	}
	if err := m.stmt.BindBlob(6, s.cluster[:]); err != nil {
		return err
	}
	if err := m.stmt.BindBlob(7, m.configuration); err != nil {
		return err
	}
	return once(m.stmt)
}
