package driver

import (
	"context"
	"errors"
	"fmt"

	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// Class says what kind of failure an [Error] is.
type Class string

const (
	// ClassSQL is an error of the statement. It is deterministic: nothing of the statement was done, and it fails the
	// same way again as long as the rows are the same.
	ClassSQL Class = "sql"
	// ClassBusy: another writer or another change of the cluster is in the way.
	ClassBusy Class = "busy"
	// ClassNoQuorum: too few voters are reachable.
	ClassNoQuorum Class = "no_quorum"
	// ClassOutcomeUnknown: a write was sent, and whether it was executed cannot be known.
	ClassOutcomeUnknown Class = "outcome_unknown"
	// ClassStale: the node is behind what the read asks for.
	ClassStale Class = "stale"
	// ClassTooLarge: a limit was exceeded; the message names it.
	ClassTooLarge Class = "too_large"
	// ClassDenied: the credential's role may not do this.
	ClassDenied Class = "denied"
	// ClassCancelled: the context ended. Nothing was written.
	ClassCancelled Class = "cancelled"
	// ClassShuttingDown: the node is about to stop.
	ClassShuttingDown Class = "shutting_down"
	// ClassProtocol: one end did not understand the other, or a request made no sense.
	ClassProtocol Class = "protocol"
)

var classes = map[sqlpb.Class]Class{
	sqlpb.Class_CLASS_SQL: ClassSQL, sqlpb.Class_CLASS_BUSY: ClassBusy, sqlpb.Class_CLASS_NO_QUORUM: ClassNoQuorum,
	sqlpb.Class_CLASS_OUTCOME_UNKNOWN: ClassOutcomeUnknown, sqlpb.Class_CLASS_STALE: ClassStale,
	sqlpb.Class_CLASS_TOO_LARGE: ClassTooLarge, sqlpb.Class_CLASS_DENIED: ClassDenied,
	sqlpb.Class_CLASS_CANCELLED: ClassCancelled, sqlpb.Class_CLASS_SHUTTING_DOWN: ClassShuttingDown,
	sqlpb.Class_CLASS_PROTOCOL: ClassProtocol,
}

// Retry says what may be done about an [Error].
type Retry string

const (
	// RetryNever: sending the same again is not safe, or of no use.
	RetryNever Retry = "never"
	// RetrySame: nothing was executed; the same request may be sent again.
	RetrySame Retry = "same"
	// RetryTransaction: the whole transaction may be run again.
	RetryTransaction Retry = "whole transaction"
)

var retries = map[sqlpb.Retry]Retry{
	sqlpb.Retry_RETRY_NEVER: RetryNever, sqlpb.Retry_RETRY_SAME: RetrySame, sqlpb.Retry_RETRY_TRANSACTION: RetryTransaction,
}

// Error is a failure that the cluster reported, or that the driver reports in its stead (ClassOutcomeUnknown and
// ClassCancelled when a node cannot be asked any more).
type Error struct {
	Code         int    // SQLite's primary result code, or zero
	ExtendedCode int    // SQLite's extended result code, or zero
	Message      string // lower case, what was wrong with what
	Offset       int    // byte offset into the statement's text, or -1
	Class        Class
	Retry        Retry
	SQL          string // text of the statement that failed, if a request held several

	cause error // of the driver's own errors
}

func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause of an error that the driver made: that of the lost connection, or of the context's end.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether e is of the kind that a sentinel of this package names.
func (e *Error) Is(target error) bool {
	kind, ok := target.(*sentinel)
	return ok && kind.matches(e)
}

// sentinel is a kind of Error.
type sentinel struct {
	text    string
	matches func(*Error) bool
}

func (s *sentinel) Error() string { return s.text }

func ofClass(text string, class Class) error {
	return &sentinel{text, func(e *Error) bool { return e.Class == class }}
}

// ofCode makes a sentinel of extended codes; a primary code (below 256) stands for all its extended ones.
func ofCode(text string, codes ...int) error {
	return &sentinel{text, func(e *Error) bool {
		for _, code := range codes {
			if e.Class == ClassSQL && (e.ExtendedCode == code || code < 256 && (e.Code == code || e.ExtendedCode&0xff == code)) {
				return true
			}
		}
		return false
	}}
}

// Kinds of errors, for [errors.Is]. The numbers are SQLite's (https://www.sqlite.org/rescode.html).
var (
	ErrConstraint = ofCode("constraint failed", 19)
	ErrUnique     = ofCode("unique constraint failed", 2067, 1555, 2579) // UNIQUE, PRIMARY KEY, rowid
	ErrPrimaryKey = ofCode("primary key constraint failed", 1555, 2579)  // rowid too; each is ErrUnique as well
	ErrForeignKey = ofCode("foreign key constraint failed", 787)
	ErrNotNull    = ofCode("not null constraint failed", 1299)
	ErrCheck      = ofCode("check constraint failed", 275)

	ErrBusy           = ofClass("busy", ClassBusy)
	ErrNoQuorum       = ofClass("no quorum", ClassNoQuorum)
	ErrOutcomeUnknown = ofClass("outcome unknown", ClassOutcomeUnknown)
	ErrStale          = ofClass("stale", ClassStale)
	ErrTooLarge       = ofClass("too large", ClassTooLarge)
	ErrDenied         = ofClass("denied", ClassDenied)
	ErrCancelled      = ofClass("cancelled", ClassCancelled)
	ErrShuttingDown   = ofClass("shutting down", ClassShuttingDown)
	ErrProtocol       = ofClass("protocol error", ClassProtocol)
)

// Errors that are no [*Error], because no node had anything to say.
var (
	// ErrUnreachable says that no node could be reached. Nothing was executed.
	ErrUnreachable = errors.New("cannot reach the cluster")
	// ErrClosed says that the Conn or Connector was closed before.
	ErrClosed = errors.New("closed")
)

// wireError is an error as the server sent it.
func wireError(e *sqlpb.Error) *Error {
	class, known := classes[e.Class]
	if !known {
		class = ClassProtocol
	}
	retry, known := retries[e.Retry]
	if !known {
		retry = RetryNever // what a newer server permits beyond that, this driver does not know how to do
	}
	return &Error{Code: int(e.Code), ExtendedCode: int(e.ExtendedCode), Message: e.Message, Offset: int(e.Offset),
		Class: class, Retry: retry, SQL: e.Sql}
}

// lost is the error of a request that was sent and whose answer will not come.
func lost(node string, mayWrite bool, cause error) *Error {
	if mayWrite {
		return &Error{Class: ClassOutcomeUnknown, Retry: RetryNever, Offset: -1, cause: cause, Message: fmt.Sprintf(
			"outcome unknown: lost %s after the request was sent and before its answer (%v); see whether it was executed before you send it again", node, cause)}
	}
	return &Error{Class: ClassShuttingDown, Retry: RetrySame, Offset: -1, cause: cause, Message: fmt.Sprintf(
		"lost %s in the middle of the answer (%v); the request may be sent again", node, cause)}
}

// ended is the error of a request that its context ended and that has certainly not written.
func ended(ctx context.Context) *Error {
	return &Error{Class: ClassCancelled, Retry: RetrySame, Offset: -1, cause: context.Cause(ctx),
		Message: fmt.Sprintf("cancelled: %v", context.Cause(ctx))}
}

func protocolError(format string, args ...any) *Error {
	return &Error{Class: ClassProtocol, Retry: RetryNever, Offset: -1, Message: fmt.Sprintf(format, args...)}
}
