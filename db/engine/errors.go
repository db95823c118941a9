package engine

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/rsqld/rsqld/db/sqlite"
)

// What a caller may do wrong.
var (
	// ErrClosed is returned by every call on a closed Engine.
	ErrClosed = errors.New("the database is closed")
	// ErrNotRead is returned by Query for a statement that is not a read.
	ErrNotRead = errors.New("the statement writes and must go through the log")
	// ErrSeveral is returned by Query for a text of more than one statement.
	ErrSeveral = errors.New("one statement was expected and another follows it")
	// ErrReaderTimeout ends a read that ran longer than Config.ReaderTimeout (sql.reader_timeout): an old read keeps
	// the write-ahead log of SQLite from being reused.
	ErrReaderTimeout = errors.New("the read ran longer than sql.reader_timeout allows: select less at a time")
)

// Refusals of the cluster's own commands. They are results: the same on every replica.
var (
	// ErrBootstrapped refuses a second Bootstrap.
	ErrBootstrapped = errors.New("the cluster was bootstrapped before")
	// ErrNotBootstrapped refuses what needs a cluster before there is one.
	ErrNotBootstrapped = errors.New("the cluster was not bootstrapped yet")
	// ErrTokenUnknown refuses a token that was never minted or was replaced.
	ErrTokenUnknown = errors.New("the token is not known: mint one with `rsqld token`")
	// ErrTokenExpired refuses a token whose time is over.
	ErrTokenExpired = errors.New("the token has expired: mint another with `rsqld token`")
	// ErrTokenUsed refuses a token that has admitted as many nodes as it may.
	ErrTokenUsed = errors.New("the token was used up: mint another with `rsqld token`")
	// ErrTokenLearner refuses a voter with a learner's token.
	ErrTokenLearner = errors.New("the token admits learners only: join with --learner, or mint one with `rsqld token`")
	// ErrTokenExists refuses to mint a token id that is known with another key.
	ErrTokenExists = errors.New("a token with this id exists")
	// ErrMemberUnknown refuses to change a member that is not there.
	ErrMemberUnknown = errors.New("there is no such member")
	// ErrMemberRemoved refuses a node that was removed from the cluster: its id is never given out again.
	ErrMemberRemoved = errors.New("this node was removed from the cluster: delete its data directory and join as a new node")
	// ErrMemberKey refuses to admit a node without a public key.
	ErrMemberKey = errors.New("the joining node gave no public key")
)

// PolicyError refuses a statement because its effect could differ between replicas or reach outside the database. Its
// text says what is refused and what to do instead.
type PolicyError struct {
	// Feature is what was refused, in lower case: "attach", "pragma journal_mode".
	Feature string
	// Reason says why, and what to do instead.
	Reason string
}

func (e *PolicyError) Error() string {
	return fmt.Sprintf("%s is not supported: %s", e.Feature, e.Reason)
}

// LimitError says that a statement, an entry or a transaction did more than a limit allows. Every replica counts what an entry
// does alike, so that it is as deterministic as a constraint.
type LimitError struct {
	// Setting is the name of the limit: that of a setting of the cluster, or of a limit that is fixed.
	Setting string
	// Limit is its value.
	Limit int64
	// Unit is what is counted.
	Unit string
}

func (e *LimitError) Error() string {
	of := "limit"
	if _, set := settingDefaults[e.Setting]; set {
		of = "limit of the setting"
	}
	return fmt.Sprintf("too_large: more than %d %s, the %s %s: do it in smaller parts", e.Limit, e.Unit, of, e.Setting)
}

// ArgumentError says that the arguments do not fit the statements.
type ArgumentError struct {
	// Reason says how many or which were expected and given.
	Reason string
}

func (e *ArgumentError) Error() string { return e.Reason }

// VetoError refuses the rowid 9223372036854775807. SQLite would choose the next rowid of that table at random, and each
// replica another.
type VetoError struct {
	Table string
}

func (e *VetoError) Error() string {
	return fmt.Sprintf("table %q may not hold the rowid 9223372036854775807: the rowid after it would be random; use a smaller one", e.Table)
}

// Codes that the engine's own refusals have in a Result, after SQLite's meanings (sqlite.org/rescode.html).
const (
	codeError  = 1
	codeFull   = 13
	codeTooBig = 18
	codeAuth   = 23
	codeRange  = 25
)

// codeForeignKey is the extended code of a violated foreign key.
const codeForeignKey = 787

// codeLockedVTable is SQLITE_LOCKED_VTAB: an R-tree is written by the statement that reads it. It is about one connection,
// and on the writer no statement is open but those of the entry.
const codeLockedVTable = 518

// codes returns the primary and the extended code of a result's error.
func codes(err error) (code, extended int) {
	var (
		fromSQLite *sqlite.Error
		policy     *PolicyError
		limit      *LimitError
		argument   *ArgumentError
	)
	switch {
	case err == nil:
		return 0, 0
	case errors.As(err, &fromSQLite):
		return fromSQLite.Code, fromSQLite.Extended
	case errors.As(err, &policy):
		return codeAuth, codeAuth
	case errors.As(err, &limit):
		return codeTooBig, codeTooBig
	case errors.As(err, &argument):
		return codeRange, codeRange
	}
	return codeError, codeError
}

// refusal makes an error of a command deterministic that has no type or sentinel of its own.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

// refusals are the sentinels that become results.
var refusals = []error{
	ErrBootstrapped, ErrNotBootstrapped, ErrTokenUnknown, ErrTokenExpired, ErrTokenUsed, ErrTokenLearner, ErrTokenExists, ErrMemberUnknown,
	ErrMemberRemoved, ErrMemberKey, ErrStepDiffers, ErrAbandoned,
}

// deterministic reports whether err is a function of the entry and the rows alone, and so becomes the entry's result.
// What is not known to be is the environment's: nothing may be recorded.
func deterministic(err error) bool {
	var fromSQLite *sqlite.Error
	if errors.As(err, &fromSQLite) {
		return fromSQLite.Extended == codeLockedVTable || sqlite.Class(fromSQLite.Extended) == sqlite.Deterministic
	}
	for _, own := range []any{new(*PolicyError), new(*LimitError), new(*ArgumentError), new(*VetoError), new(*refusal)} {
		if errors.As(err, own) {
			return true
		}
	}
	return slices.ContainsFunc(refusals, func(sentinel error) bool { return errors.Is(err, sentinel) })
}

// Damaged reports whether an error of Apply or Base says that the database's content is damaged: what was written cannot be
// read, so that nothing but another copy helps. Other errors of the environment may pass.
func Damaged(err error) bool {
	var failed *sqlite.Error
	if !errors.As(err, &failed) {
		return false
	}
	return failed.Code == sqlite.CodeCorrupt || failed.Code == sqlite.CodeNotADB
}

// Full reports whether something is full: the disk, or (of no error of Apply) an AUTOINCREMENT table. SQLite says so of its
// files, and the operating system of a file that a restore copies.
func Full(err error) bool {
	var failed *sqlite.Error
	return errors.As(err, &failed) && failed.Code == codeFull || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EFBIG)
}
