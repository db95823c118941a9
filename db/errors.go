package db

import (
	"context"
	"errors"
	"fmt"

	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/replica"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// Error is what a request ends with when it fails. Its class and retry tell a client what to do; its message is lower
// case and says what was wrong with what.
type Error struct {
	Class          sqlpb.Class
	Retry          sqlpb.Retry
	Code, Extended int32 // SQLite's, or zero
	Message        string
	Offset         int32  // byte offset into SQL, or -1
	SQL            string // the failing statement, when a script held several
	statement      uint32 // which statement of the request
}

func (e *Error) Error() string { return e.Message }

// notExecuted reports whether the request may be tried again because nothing of it was executed.
func (e *Error) notExecuted() bool {
	return e.Class == sqlpb.Class_CLASS_NO_QUORUM && e.Retry == sqlpb.Retry_RETRY_SAME
}

// failure is the frame that tells of e. Request zero is the session as a whole.
func failure(request uint64, e *Error) *sqlpb.ServerFrame {
	return &sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Error{Error: &sqlpb.Error{
		Id: request, Class: e.Class, Retry: e.Retry, Code: e.Code, ExtendedCode: e.Extended, Message: e.Message,
		Offset: e.offset(), Sql: e.SQL, Statement: e.statement,
	}}}
}

// offset is -1 unless SQLite named a place: only errors of class sql have one.
func (e *Error) offset() int32 {
	if e.Class != sqlpb.Class_CLASS_SQL {
		return -1
	}
	return e.Offset
}

func protocolError(format string, args ...any) *Error {
	return &Error{Class: sqlpb.Class_CLASS_PROTOCOL, Message: fmt.Sprintf(format, args...)}
}

func denied(format string, args ...any) *Error {
	return &Error{Class: sqlpb.Class_CLASS_DENIED, Message: fmt.Sprintf(format, args...)}
}

func tooLarge(format string, args ...any) *Error {
	return &Error{Class: sqlpb.Class_CLASS_TOO_LARGE, Message: fmt.Sprintf(format, args...)}
}

func shuttingDown() *Error {
	return &Error{Class: sqlpb.Class_CLASS_SHUTTING_DOWN, Retry: sqlpb.Retry_RETRY_SAME,
		Message: "this node is shutting down; ask another"}
}

func outcomeUnknown(err error) *Error {
	return &Error{Class: sqlpb.Class_CLASS_OUTCOME_UNKNOWN,
		Message: fmt.Sprintf("the outcome of the write is unknown: %v; read before writing it again", err)}
}

// noQuorum says that nothing was executed because no leader is to be had.
func (n *Node) noQuorum() *Error {
	reached, voters := n.reachableVoters()
	return &Error{Class: sqlpb.Class_CLASS_NO_QUORUM, Retry: sqlpb.Retry_RETRY_SAME,
		Message: fmt.Sprintf("no quorum: this node can reach %d of %d voters; reads at level local still work", reached, voters)}
}

// ended says why ctx ended a request that had changed nothing.
func ended(ctx context.Context) *Error {
	cause := context.Cause(ctx)
	if errors.Is(cause, errClosing) {
		return shuttingDown()
	}
	if errors.Is(cause, context.DeadlineExceeded) {
		return &Error{Class: sqlpb.Class_CLASS_CANCELLED, Message: "the deadline passed before the request was done; nothing was changed"}
	}
	return &Error{Class: sqlpb.Class_CLASS_CANCELLED, Message: "cancelled by the client; nothing was changed"}
}

// proposalError translates what became of a proposal that was not applied. ctx is the one it waited with.
func (n *Node) proposalError(ctx context.Context, err error) *Error {
	switch {
	case errors.Is(err, replica.ErrOutcomeUnknown):
		return outcomeUnknown(err)
	case errors.Is(context.Cause(ctx), errNoQuorum):
		return n.noQuorum()
	case ctx.Err() != nil:
		return ended(ctx)
	case errors.Is(err, raft.ErrBusy):
		return &Error{Class: sqlpb.Class_CLASS_BUSY, Retry: sqlpb.Retry_RETRY_SAME,
			Message: "busy: too many writes wait for the log; nothing was changed, try again"}
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrTermChanged), errors.Is(err, raft.ErrTransferring),
		errors.Is(err, replica.ErrDropped):
		return n.noQuorum()
	case errors.Is(err, replica.ErrClosed):
		return shuttingDown()
	}
	return &Error{Class: sqlpb.Class_CLASS_TOO_LARGE, Message: err.Error()}
}

// sqlError translates what the engine answers to SQL, deterministic all of it: SQLite's own errors with code and place,
// refusals by policy, limits that an entry passed.
func sqlError(err error) *Error {
	e := &Error{Class: sqlpb.Class_CLASS_SQL, Code: codeError, Extended: codeError, Message: err.Error(), Offset: -1}
	var (
		fromSQLite *sqlite.Error
		policy     *engine.PolicyError
		limit      *engine.LimitError
	)
	switch {
	case errors.As(err, &fromSQLite):
		e.Code, e.Extended, e.Offset = int32(fromSQLite.Code), int32(fromSQLite.Extended), int32(fromSQLite.Offset)
		e.Message = fromSQLite.Message
	case errors.As(err, &policy):
		e.Class, e.Code, e.Extended = sqlpb.Class_CLASS_DENIED, codeAuth, codeAuth
	case errors.As(err, &limit):
		e.Class, e.Code, e.Extended = sqlpb.Class_CLASS_TOO_LARGE, codeTooBig, codeTooBig
	case errors.Is(err, engine.ErrReaderTimeout):
		e.Class, e.Code, e.Extended = sqlpb.Class_CLASS_CANCELLED, 0, 0
	case errors.Is(err, engine.ErrClosed):
		return shuttingDown()
	}
	return e
}

// SQLite's result codes of refusals that are not SQLite's own (sqlite.org/rescode.html).
const (
	codeError  = 1
	codeTooBig = 18
	codeAuth   = 23
)

// entryError is the error of an entry that was rolled back.
func entryError(r *engine.Result) *Error {
	e := sqlError(r.Err)
	if r.Code != 0 {
		e.Code, e.Extended = int32(r.Code), int32(r.Extended)
	}
	e.statement, e.SQL = uint32(r.Statement), r.SQL
	return e
}
