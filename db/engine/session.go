package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
)

// A write happens once, however often it is sent. An entry names its session and the number of the session's write; the
// newest number of each session and what it came to are a row of _rsqld_sessions, written in the transaction of the write. An
// entry with that number again is not executed: its result is the row's.
//
// Rows cannot be kept for ever. The first half of a session's id is the time at which it was made, and an entry whose
// session has no row is executed only within SessionLifetime of that. A row is kept for longer than that after its write:
// so a session without a row has written nothing that could be meant. All of it is counted in entry times, which are
// the same on every replica and never fall.

const (
	// SessionLifetime is how long after a session was made its first write may come, and for how long at least the result
	// of its newest write is kept.
	SessionLifetime = time.Hour
	// sessionMargin is how far the clock that made a session's id may be ahead of entry times.
	sessionMargin = 10 * time.Minute
	// sweepInterval is the number of entries between two removals of rows that are too old to count.
	sweepInterval = 1024
)

var (
	// ErrSessionExpired refuses a write whose session is unknown and too old for that to mean anything: it may have been
	// executed before, or not.
	ErrSessionExpired = errors.New("the session is not known any more, and the write may have been executed under it before")
	// ErrSessionAhead refuses the first write of a session that was made later than now.
	ErrSessionAhead = fmt.Errorf("the session was made by a node whose clock is more than %v ahead", sessionMargin)
	// ErrSessionOrder refuses a write whose session has a newer one.
	ErrSessionOrder = errors.New("the session has written something newer since")
)

// maxKnownSessions bounds sessionStatements.known.
const maxKnownSessions = 1 << 13

// sessionStatements are those of the table of sessions.
type sessionStatements struct {
	find, store, sweep *sqlite.Stmt
	// encoded is the memory that a result is encoded in.
	encoded []byte
	// known is what some rows say, as of the open transaction: nearly every write is its session's next one, for which
	// nothing else of the row matters.
	known map[[16]byte]knownSession
}

// knownSession is a part of a row.
type knownSession struct {
	seq  uint64
	time int64
}

// next reports whether a command is known to be the next write of a session whose row counts.
func (s *sessionStatements) next(c *commandpb.Command, now int64) bool {
	row, known := s.known[[16]byte(c.Session)]
	return known && c.Seq > row.seq && now-row.time < int64(SessionLifetime+sessionMargin)
}

// note remembers what was stored.
func (s *sessionStatements) note(c *commandpb.Command, now int64) {
	if s.known == nil || len(s.known) >= maxKnownSessions {
		s.known = make(map[[16]byte]knownSession)
	}
	s.known[[16]byte(c.Session)] = knownSession{c.Seq, now}
}

// forget is called when rows may have become others than were stored.
func (s *sessionStatements) forget() { s.known = nil }

// numbered reports whether a command is a session's write.
func numbered(c *commandpb.Command) bool { return len(c.Session) == 16 && c.Seq != 0 }

// recall returns the result of a command that must not be executed, because its session has written it before or may have.
// It is nil for all others. The clock is set.
func (w *writer) recall(index raft.Index, c *commandpb.Command) (*Result, error) {
	if !numbered(c) || w.own.session.next(c, w.state.time) {
		return nil, nil
	}
	find := w.own.session.find
	if err := find.BindBlob(1, c.Session); err != nil {
		return nil, err
	}
	row, err := find.Step()
	if err != nil {
		_ = find.Reset() // it has the same error to say
		return nil, err
	}
	if row && w.state.time-find.ColumnInt64(2) < int64(SessionLifetime+sessionMargin) {
		r, err := again(index, c, find)
		return r, errors.Join(err, find.Reset())
	}
	if err := find.Reset(); err != nil {
		return nil, err
	}
	made := int64(binary.BigEndian.Uint64(c.Session))
	switch age := w.state.time - made; {
	case made < 0 || age < -int64(sessionMargin):
		return refusalOf(index, ErrSessionAhead), nil
	case age >= int64(SessionLifetime):
		return refusalOf(index, ErrSessionExpired), nil
	}
	return nil, nil
}

// again judges a command by the row of its session: nil if it is to be executed.
func again(index raft.Index, c *commandpb.Command, row *sqlite.Stmt) (*Result, error) {
	switch newest := uint64(row.ColumnInt64(0)); {
	case c.Seq > newest:
		return nil, nil
	case c.Seq < newest:
		return refusalOf(index, ErrSessionOrder), nil
	}
	r, err := decodeResult(row.ColumnRaw(3))
	if err != nil {
		return nil, fmt.Errorf("reading the result of a session's newest write: %w", err)
	}
	r.Index, r.Repeated = raft.Index(row.ColumnInt64(1)), true
	return r, nil
}

func refusalOf(index raft.Index, err error) *Result {
	r := &Result{Index: index, Err: err, Repeated: true}
	r.Code, r.Extended = codes(err)
	return r
}

// remember writes the row of a command's session, in the transaction of the command and whatever it came to.
func (w *writer) remember(c *commandpb.Command, r *Result) error {
	if r.Repeated || !numbered(c) {
		return nil
	}
	encoded, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(w.own.session.encoded[:0], encodeResult(r))
	if err != nil {
		return fmt.Errorf("encoding the result of a session's write: %w", err)
	}
	w.own.session.encoded = encoded
	store := w.own.session.store
	if err := errors.Join(store.BindBlob(1, c.Session), store.BindInt64(2, int64(c.Seq)), store.BindInt64(3, int64(r.Index)),
		store.BindInt64(4, w.state.time), store.BindBlob(5, encoded)); err != nil {
		return err
	}
	if err := once(store); err != nil {
		return err
	}
	w.own.session.note(c, w.state.time)
	return nil
}

// sweep removes the rows that count for nothing any more, at entries that every replica agrees on.
func (w *writer) sweep(index raft.Index) error {
	if index%sweepInterval != 0 {
		return nil
	}
	stmt := w.own.session.sweep
	if err := stmt.BindInt64(1, w.state.time-int64(SessionLifetime+sessionMargin)); err != nil {
		return err
	}
	return once(stmt)
}

// RecalledError is an error of this package's, told once more. SQLite's are *sqlite.Error again.
type RecalledError struct {
	// Kind says what error it was.
	Kind    commandpb.StoredError_Kind
	Message string
}

func (e *RecalledError) Error() string { return e.Message }

func encodeResult(r *Result) *commandpb.StoredResult {
	stored := new(commandpb.StoredResult)
	if r.Err != nil {
		stored.Error = encodeError(r)
		return stored
	}
	for i := range r.Statements {
		s := &r.Statements[i]
		one := &commandpb.StoredStatement{
			RowsAffected: s.RowsAffected, LastInsertId: s.LastInsertID, Rows: s.Rows, RowCount: uint32(s.RowCount), RowsDropped: s.RowsDropped,
		}
		for _, c := range s.Columns {
			one.Columns = append(one.Columns, &commandpb.StoredColumn{Name: c.Name, DeclaredType: c.DeclaredType})
		}
		stored.Statements = append(stored.Statements, one)
	}
	return stored
}

func encodeError(r *Result) *commandpb.StoredError {
	stored := &commandpb.StoredError{Code: int32(r.Code), Extended: int32(r.Extended), Message: []byte(r.Err.Error()), Offset: -1,
		Statement: uint32(r.Statement), Sql: []byte(r.SQL)}
	var (
		fromSQLite *sqlite.Error
		policy     *PolicyError
		limit      *LimitError
		argument   *ArgumentError
	)
	switch {
	case errors.As(r.Err, &fromSQLite):
		stored.Kind, stored.Message, stored.Offset = commandpb.StoredError_KIND_SQL, []byte(fromSQLite.Message), int32(fromSQLite.Offset)
	case errors.As(r.Err, &policy):
		stored.Kind = commandpb.StoredError_KIND_POLICY
	case errors.As(r.Err, &limit):
		stored.Kind = commandpb.StoredError_KIND_LIMIT
	case errors.As(r.Err, &argument):
		stored.Kind = commandpb.StoredError_KIND_ARGUMENT
	}
	return stored
}

func decodeResult(b []byte) (*Result, error) {
	stored := new(commandpb.StoredResult)
	if err := proto.Unmarshal(b, stored); err != nil {
		return nil, err
	}
	r := new(Result)
	if e := stored.Error; e != nil {
		r.Code, r.Extended, r.Statement, r.SQL = int(e.Code), int(e.Extended), int(e.Statement), string(e.Sql)
		if r.Err = error(&RecalledError{e.Kind, string(e.Message)}); e.Kind == commandpb.StoredError_KIND_SQL {
			r.Err = &sqlite.Error{Code: r.Code, Extended: r.Extended, Message: string(e.Message), Offset: int(e.Offset)}
		}
		return r, nil
	}
	for _, s := range stored.Statements {
		one := StatementResult{
			RowsAffected: s.RowsAffected, LastInsertID: s.LastInsertId, Rows: s.Rows, RowCount: int(s.RowCount), RowsDropped: s.RowsDropped,
		}
		for _, c := range s.Columns {
			one.Columns = append(one.Columns, Column{c.Name, c.DeclaredType})
		}
		r.add(one)
	}
	return r, nil
}
