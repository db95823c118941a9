package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/replica"
	"github.com/rsqld/rsqld/transport"
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
	// unchanged says that the failing statement changed nothing, and that the message should say so.
	unchanged bool
	// applied says that the failing statement was executed all the same.
	applied bool
	// again says that the outcome is not known and that the same write, of the same session and number, may be sent again: it
	// happens once.
	again bool
}

func (e *Error) Error() string {
	if e.unchanged {
		return e.Message + "; nothing was changed"
	}
	return e.Message
}

// notExecuted reports whether the request may be tried again because nothing of it was executed.
func (e *Error) notExecuted() bool {
	return e.Class == sqlpb.Class_CLASS_NO_QUORUM && e.Retry == sqlpb.Retry_RETRY_SAME
}

// after completes the error of a statement that follows others of its request, of which writes were executed: the
// request must not be sent again, and the client should know how far it came.
func (e *Error) after(statements, writes int) *Error {
	if statements == 0 {
		return e
	}
	if e.Retry == sqlpb.Retry_RETRY_SAME {
		e.Retry = sqlpb.Retry_RETRY_NEVER
	}
	if writes == 0 || e.Class == sqlpb.Class_CLASS_SQL || e.Class == sqlpb.Class_CLASS_PROTOCOL {
		return e
	}
	e.unchanged = false
	if e.applied || e.Class == sqlpb.Class_CLASS_OUTCOME_UNKNOWN {
		e.Message = fmt.Sprintf("%s (%s before it was executed)", e.Message, counted(statements))
	} else {
		e.Message = fmt.Sprintf("%s (%s before it was executed; it and what follows were not)", e.Message, counted(statements))
	}
	return e
}

func counted(statements int) string {
	if statements == 1 {
		return "the statement"
	}
	return fmt.Sprintf("each of the %d statements", statements)
}

// Bounds of the texts in an error, in bytes. Without them an error could be longer than a frame may be.
const (
	maxErrorMessage = 16 << 10
	maxErrorSQL     = 64 << 10
)

// failure is the frame that tells of e. Request zero is the session as a whole.
func failure(request uint64, e *Error) *sqlpb.ServerFrame {
	return &sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Error{Error: &sqlpb.Error{
		Id: request, Class: e.Class, Retry: e.Retry, Code: e.Code, ExtendedCode: e.Extended, Message: wireText(e.Error(), maxErrorMessage),
		Offset: e.offset(), Sql: wireText(e.SQL, maxErrorSQL), Statement: e.statement,
	}}}
}

// wireText makes text what a frame can hold: at most limit bytes of valid UTF-8. Messages of SQLite may quote values,
// which need not be.
func wireText(text string, limit int) string {
	if len(text) > limit {
		text = text[:limit]
	}
	return strings.ToValidUTF8(text, "")
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

// busy says that something else is in the way and nothing was changed.
func busy(why string) *Error {
	return &Error{Class: sqlpb.Class_CLASS_BUSY, Retry: sqlpb.Retry_RETRY_SAME, Message: "busy: " + why + "; try again", unchanged: true}
}

func shuttingDown() *Error {
	return &Error{Class: sqlpb.Class_CLASS_SHUTTING_DOWN, Retry: sqlpb.Retry_RETRY_SAME,
		Message: "this node is shutting down; ask another"}
}

func outcomeUnknown(err error) *Error {
	return &Error{Class: sqlpb.Class_CLASS_OUTCOME_UNKNOWN,
		Message: fmt.Sprintf("the outcome of the write is unknown: %v; read before writing it again", err)}
}

// ended says why ctx ended a request that had changed nothing.
func ended(ctx context.Context) *Error {
	e := &Error{Class: sqlpb.Class_CLASS_CANCELLED, Message: "cancelled by the client", unchanged: true}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errClosing), errors.Is(cause, transport.ErrClosed): // the latter where the endpoint was faster
		return shuttingDown()
	case errors.Is(cause, engine.ErrReaderTimeout):
		e.Message = cause.Error()
	case errors.Is(cause, context.DeadlineExceeded):
		e.Message = "the deadline passed before the request was done"
	}
	return e
}

// refusals are errors of proposals that were certainly not made, because of what was asked for.
var refusals = []error{
	raft.ErrUnsupportedChange, raft.ErrMember, raft.ErrReused, raft.ErrTooManyMembers, raft.ErrNotMember, raft.ErrNotLearner,
	raft.ErrNotVoter, raft.ErrLastVoter,
}

// proposalError translates what became of a proposal that was not applied. ctx is the one it waited with.
func (n *Node) proposalError(ctx context.Context, err error) *Error {
	is := func(target error) bool { return errors.Is(err, target) }
	switch {
	case is(replica.ErrOutcomeUnknown):
		if is(errNoQuorum) {
			err = errNoQuorum
		}
		return outcomeUnknown(err)
	case is(errNoQuorum):
		return n.noQuorum()
	case ctx.Err() != nil:
		return ended(ctx)
	case is(raft.ErrBusy):
		return busy("too many writes wait for the log")
	case is(replica.ErrNoRoom):
		return n.noRoom(err)
	case is(raft.ErrNotCaughtUp):
		return busy(err.Error())
	case is(raft.ErrNotLeader), is(raft.ErrTermChanged), is(raft.ErrTransferring), is(replica.ErrDropped):
		return n.noQuorum()
	case is(replica.ErrClosed):
		return shuttingDown()
	case is(replica.ErrTooLarge):
		return tooLarge("%v", err)
	case slices.ContainsFunc(refusals, is):
		return protocolError("%v", err)
	}
	return outcomeUnknown(err)
}

// sqlError translates what the engine answers to SQL, deterministic all of it: SQLite's own errors with code and place,
// refusals by policy, limits that an entry passed.
func sqlError(err error) *Error {
	e := &Error{Class: sqlpb.Class_CLASS_SQL, Code: codeError, Extended: codeError, Message: err.Error(), Offset: -1}
	var (
		fromSQLite *sqlite.Error
		policy     *engine.PolicyError
		limit      *engine.LimitError
		argument   *engine.ArgumentError
		recalled   *engine.RecalledError
	)
	switch {
	case errors.As(err, &recalled):
		return recalledError(recalled)
	case errors.Is(err, engine.ErrSessionExpired):
		return outcomeUnknown(err)
	case errors.Is(err, engine.ErrSessionOrder), errors.Is(err, engine.ErrSessionAhead):
		return protocolError("not executed: %v", err)
	case errors.As(err, &fromSQLite):
		e.Code, e.Extended, e.Offset = int32(fromSQLite.Code), int32(fromSQLite.Extended), int32(fromSQLite.Offset)
		e.Message = fromSQLite.Message
	case errors.As(err, &policy):
		e.Class, e.Code, e.Extended = sqlpb.Class_CLASS_DENIED, codeAuth, codeAuth
	case errors.As(err, &limit):
		e.Class, e.Code, e.Extended = sqlpb.Class_CLASS_TOO_LARGE, codeTooBig, codeTooBig
	case errors.Is(err, engine.ErrReaderTimeout):
		e.Class, e.Code, e.Extended = sqlpb.Class_CLASS_CANCELLED, 0, 0
	case errors.As(err, &argument):
		e.Code, e.Extended = codeRange, codeRange
	case errors.Is(err, engine.ErrClosed):
		return shuttingDown()
	case errors.Is(err, engine.ErrQuarantined):
		return quarantinedError(err)
	}
	return e
}

// recalledError is the error of a write that is told once more: the same one as the first time.
func recalledError(r *engine.RecalledError) *Error {
	e := &Error{Class: sqlpb.Class_CLASS_SQL, Message: r.Message, Offset: -1} // entryError adds the codes
	switch r.Kind {
	case commandpb.StoredError_KIND_POLICY:
		e.Class = sqlpb.Class_CLASS_DENIED
	case commandpb.StoredError_KIND_LIMIT:
		e.Class = sqlpb.Class_CLASS_TOO_LARGE
	}
	return e
}

// SQLite's result codes of refusals that are not SQLite's own (sqlite.org/rescode.html).
const (
	codeError  = 1
	codeTooBig = 18
	codeAuth   = 23
	codeRange  = 25
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
