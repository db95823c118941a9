package repl

import (
	"context"
	"fmt"
)

// Client is a session with a cluster. The shell uses it from one goroutine at a time; the end of a context cancels the
// request on the server and leaves the session usable.
type Client interface {
	// Execute runs the statements of a request. An error says that none of its results will come.
	Execute(ctx context.Context, request Request) (Results, error)
	// Control asks the node about the cluster, or to change it. It is answered as rows.
	Control(ctx context.Context, verb string, args ...string) (Results, error)
	// Place is where the session is now. It changes when the session had to move to another node.
	Place() Place
	// Transaction says how the session's transaction stands.
	Transaction() Transaction
	Close() error
}

// Transaction is how the transaction of a session stands.
type Transaction int

// A transaction that has failed was undone: all that is left is to end it.
const (
	TransactionNone Transaction = iota
	TransactionOpen
	TransactionFailed
)

// Place is the node that a session talks to.
type Place struct {
	Node    uint64 // id; zero: not connected
	Name    string
	Address string // host:port
	Leader  bool   // the node leads, as far as the session has been told
	Product string // program and version; may be empty
}

// String is the place as a person reads it: "n3 (follower)".
func (p Place) String() string {
	if p.Leader {
		return p.name() + " (leader)"
	}
	return p.name() + " (follower)"
}

func (p Place) name() string {
	if p.Name == "" {
		return fmt.Sprintf("node %d", p.Node)
	}
	return p.Name
}

// Request is SQL with its arguments.
type Request struct {
	SQL      string
	Args     []any  // positional: nil, int64, float64, string or []byte
	Level    string // one of Levels; empty: the session's own
	Atomic   bool   // all statements or none
	ReadOnly bool   // refuse anything that writes
}

// Levels are the read levels, weakest first.
var Levels = []string{"local", "session", "linearizable", "strong"}

// Results are the results of a request's statements, in order: NextResult moves to the first and to each further one,
// Next moves from row to row within it. After NextResult returned false, Err says whether that was the end or a failure.
type Results interface {
	NextResult() bool
	Columns() []Column // empty: a statement without rows
	Next() bool
	Row() []any // nil, int64, float64, string or []byte each; valid until Next
	Done() Done // valid when Next has returned false
	Err() error
	Close() error
}

// Column is a column of a result.
type Column struct {
	Name         string
	DeclaredType string // upper case; empty for expressions
}

// Done ends one statement's result.
type Done struct {
	RowsAffected int64
	LastInsertID int64
	Index        uint64 // log index of the write, or the applied index that the read saw
	Wrote        bool
}

// Class says what kind of failure an Error is, and so what a person can do about it.
type Class string

// The classes of the SQL protocol.
const (
	ClassSQL            Class = "sql" // deterministic: the same statement fails the same way
	ClassBusy           Class = "busy"
	ClassNoQuorum       Class = "no_quorum"
	ClassOutcomeUnknown Class = "outcome_unknown"
	ClassStale          Class = "stale"
	ClassTooLarge       Class = "too_large"
	ClassDenied         Class = "denied"
	ClassCancelled      Class = "cancelled"
	ClassShuttingDown   Class = "shutting_down"
	ClassProtocol       Class = "protocol"
)

// Error is a failure that the cluster reported.
type Error struct {
	Class    Class
	Code     int // SQLite's primary code, or zero
	Extended int
	Message  string
	Offset   int // byte offset into the statement's text, or -1
}

// Error is the server's message, which needs no prefix.
func (e *Error) Error() string { return e.Message }
