package sqlite

import (
	"errors"
	"fmt"
)

// Errors of the binding itself.
var (
	// ErrClosed: the connection, or the statement's connection, is closed.
	ErrClosed = errors.New("sqlite connection is closed")
	// errNoMemory: C memory is exhausted; reported as CodeNoMem where a statement is concerned.
	errNoMemory = errors.New("out of memory")
)

// Error is a failure that SQLite reported, or that the binding reports in SQLite's terms.
type Error struct {
	Code     int    // primary result code, 1..26: one of the Code constants
	Extended int    // extended result code; its low byte is Code
	Message  string // SQLite's message, or the reason of the Decision that denied the statement
	Offset   int    // byte offset of the culprit in the SQL text given to Prepare, -1 if unknown
}

// Error is the message with the extended code.
func (e *Error) Error() string { return fmt.Sprintf("%s (sqlite code %d)", e.Message, e.Extended) }

// newError makes an Error from an extended code.
func newError(extended int, offset int, format string, args ...any) *Error {
	return &Error{Code: extended & 0xff, Extended: extended, Message: fmt.Sprintf(format, args...), Offset: offset}
}

// Primary result codes (https://sqlite.org/rescode.html).
const (
	CodeOK         = 0
	CodeError      = 1
	CodeInternal   = 2
	CodePerm       = 3
	CodeAbort      = 4
	CodeBusy       = 5
	CodeLocked     = 6
	CodeNoMem      = 7
	CodeReadOnly   = 8
	CodeInterrupt  = 9
	CodeIOErr      = 10
	CodeCorrupt    = 11
	CodeNotFound   = 12
	CodeFull       = 13
	CodeCantOpen   = 14
	CodeProtocol   = 15
	CodeEmpty      = 16
	CodeSchema     = 17
	CodeTooBig     = 18
	CodeConstraint = 19
	CodeMismatch   = 20
	CodeMisuse     = 21
	CodeNoLFS      = 22
	CodeAuth       = 23
	CodeFormat     = 24
	CodeRange      = 25
	CodeNotADB     = 26
)

// Extended result codes that a caller of this package decides by.
const (
	CodeErrorMissingCollation = CodeError | 1<<8      // 257: no such collation sequence
	CodeCorruptVTable         = CodeCorrupt | 1<<8    // 267: a virtual table disagrees with its content
	CodeAbortRollback         = CodeAbort | 2<<8      // 516: the transaction was rolled back under a running statement
	CodeConstraintCommitHook  = CodeConstraint | 2<<8 // 531: a commit that SetCommitGuard's function does not allow
)

// ErrorClass says whose fault a failure is.
type ErrorClass uint8

const (
	// Deterministic failures come from the statement and the rows: every replica has the same.
	Deterministic ErrorClass = iota + 1
	// Environment failures come from the machine, or their origin is not certain: nothing is recorded, the node
	// stops applying.
	Environment
)

// String is the class's name.
func (c ErrorClass) String() string {
	switch c {
	case Deterministic:
		return "deterministic"
	case Environment:
		return "environment"
	}
	return fmt.Sprintf("ErrorClass(%d)", uint8(c))
}

// deterministicCodes are the extended codes that the statement and the rows alone decide. Constraints (19) are added
// in Class with all their extensions but one.
var deterministicCodes = map[int]bool{
	CodeError:                 true,
	CodeErrorMissingCollation: true, // COLLATE with an unknown name
	CodeAbort:                 true,
	CodeTooBig:                true,
	CodeMismatch:              true,
	CodeAuth:                  true,
	CodeRange:                 true,
	CodeCorruptVTable:         true, // FTS5 with external content: statements can bring it about
}

// Class sorts an extended result code. What is not known to be deterministic is the environment's.
//
// CodeFull is Environment although AUTOINCREMENT at its largest key gives it too: a caller that gets it looks whether
// a row of sqlite_sequence holds the largest integer. CodeLocked is Environment: no cursor stays open on a writer, so
// no statement of a client can bring it about. CodeConstraintCommitHook is Environment: a transaction ended that should
// not have.
func Class(extended int) ErrorClass {
	if extended&0xff == CodeConstraint && extended != CodeConstraintCommitHook || deterministicCodes[extended] {
		return Deterministic
	}
	return Environment
}
