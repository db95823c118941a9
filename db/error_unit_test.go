package db

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/replica"
	"github.com/rsqld/rsqld/transport"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// openUnit opens a node for tests of what no client can bring about.
func openUnit(t *testing.T) *Node {
	t.Helper()
	n, err := Open(t.Context(), Config{Data: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return n
}

// Each fate of a proposal has its class, and only one that was certainly not made may be tried again.
func TestProposalErrors(t *testing.T) {
	n := openUnit(t)
	live := t.Context()
	ended, cancel := context.WithCancel(live)
	cancel()
	late, stop := context.WithDeadline(live, time.Now())
	defer stop()
	closing, over := context.WithCancelCause(live)
	over(errClosing)
	faster, lost := context.WithCancelCause(live)
	lost(transport.ErrClosed)
	unknown := fmt.Errorf("%w: %w", replica.ErrOutcomeUnknown, context.Canceled)
	never, same := sqlpb.Retry_RETRY_NEVER, sqlpb.Retry_RETRY_SAME
	for _, test := range []struct {
		ctx   context.Context
		err   error
		class sqlpb.Class
		retry sqlpb.Retry
	}{
		{live, raft.ErrNotLeader, sqlpb.Class_CLASS_NO_QUORUM, same},
		{live, raft.ErrTermChanged, sqlpb.Class_CLASS_NO_QUORUM, same},
		{live, raft.ErrTransferring, sqlpb.Class_CLASS_NO_QUORUM, same},
		{live, fmt.Errorf("at 7: %w", replica.ErrDropped), sqlpb.Class_CLASS_NO_QUORUM, same},
		{live, raft.ErrBusy, sqlpb.Class_CLASS_BUSY, same},
		{live, raft.ErrNotCaughtUp, sqlpb.Class_CLASS_BUSY, same},
		{live, replica.ErrClosed, sqlpb.Class_CLASS_SHUTTING_DOWN, same},
		{live, replica.ErrTooLarge, sqlpb.Class_CLASS_TOO_LARGE, never},
		{live, raft.ErrLastVoter, sqlpb.Class_CLASS_PROTOCOL, never},
		{live, unknown, sqlpb.Class_CLASS_OUTCOME_UNKNOWN, never},
		{ended, unknown, sqlpb.Class_CLASS_OUTCOME_UNKNOWN, never},
		{live, fmt.Errorf("%w: %w", replica.ErrOutcomeUnknown, errNoQuorum), sqlpb.Class_CLASS_OUTCOME_UNKNOWN, never},
		{closing, unknown, sqlpb.Class_CLASS_OUTCOME_UNKNOWN, never},
		{live, fmt.Errorf("nothing was proposed: %w", errNoQuorum), sqlpb.Class_CLASS_NO_QUORUM, same},
		{ended, context.Canceled, sqlpb.Class_CLASS_CANCELLED, never},
		{late, context.DeadlineExceeded, sqlpb.Class_CLASS_CANCELLED, never},
		{closing, context.Canceled, sqlpb.Class_CLASS_SHUTTING_DOWN, same},
		{faster, context.Canceled, sqlpb.Class_CLASS_SHUTTING_DOWN, same},
		{live, errors.New("an error that nobody has thought of"), sqlpb.Class_CLASS_OUTCOME_UNKNOWN, never},
	} {
		e := n.proposalError(test.ctx, test.err)
		if e.Class != test.class || e.Retry != test.retry {
			t.Errorf("%v (context: %v) becomes %v, %v: %v; want %v, %v", test.err, context.Cause(test.ctx), e.Class, e.Retry, e, test.class, test.retry)
		}
	}
}

// After a statement that was executed no error permits to send the request again, and each says what was done.
func TestErrorAfterStatements(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		err                *Error
		statements, writes int
		want               string
	}{
		{busy("x"), 0, 0, "busy: x; try again; nothing was changed"},
		{busy("x"), 1, 1, "busy: x; try again (the statement before it was executed; it and what follows were not)"},
		{ended(ctx), 3, 1, "cancelled by the client (each of the 3 statements before it was executed; it and what follows were not)"},
		{ended(ctx), 3, 0, "cancelled by the client; nothing was changed"},
		{outcomeUnknown(errors.New("x")), 1, 1, "the outcome of the write is unknown: x; read before writing it again (the statement before it was executed)"},
		{&Error{Class: sqlpb.Class_CLASS_SQL, Message: "near x"}, 2, 2, "near x"},
		{shuttingDown(), 1, 0, "this node is shutting down; ask another"},
		{&Error{Class: sqlpb.Class_CLASS_TOO_LARGE, Message: "applied", applied: true}, 1, 1, "applied (the statement before it was executed)"},
	} {
		before := test.err.Retry
		got := test.err.after(test.statements, test.writes)
		if got.Error() != test.want || test.statements > 0 && got.Retry != sqlpb.Retry_RETRY_NEVER || test.statements == 0 && got.Retry != before {
			t.Errorf("after %d statements: %q, %v; want %q", test.statements, got.Error(), got.Retry, test.want)
		}
	}
}

// Errors of the engine keep SQLite's codes, or have those that fit.
func TestSQLErrors(t *testing.T) {
	for _, test := range []struct {
		err    error
		class  sqlpb.Class
		code   int32
		offset int32
	}{
		{fmt.Errorf("x: %w", &sqlite.Error{Code: 19, Extended: 2067, Message: "m", Offset: 4}), sqlpb.Class_CLASS_SQL, 2067, 4},
		{&engine.PolicyError{Feature: "attach"}, sqlpb.Class_CLASS_DENIED, codeAuth, -1},
		{&engine.LimitError{}, sqlpb.Class_CLASS_TOO_LARGE, codeTooBig, -1},
		{&engine.ArgumentError{Reason: "x"}, sqlpb.Class_CLASS_SQL, codeRange, -1},
		{fmt.Errorf("x: %w", engine.ErrReaderTimeout), sqlpb.Class_CLASS_CANCELLED, 0, -1},
		{engine.ErrClosed, sqlpb.Class_CLASS_SHUTTING_DOWN, 0, -1},
		{engine.ErrNotRead, sqlpb.Class_CLASS_SQL, codeError, -1},
	} {
		e := failure(7, sqlError(test.err)).GetError()
		if e.Class != test.class || e.ExtendedCode != test.code || e.Offset != test.offset || e.Id != 7 {
			t.Errorf("%v becomes %v", test.err, e)
		}
	}
}

// No error is longer than a frame may be, or no text.
func TestErrorFits(t *testing.T) {
	long := strings.Repeat("ä", 20<<20)
	e := failure(1, &Error{Message: "\xff" + long, SQL: "x" + long}).GetError()
	if len(e.Message) > maxErrorMessage || len(e.Sql) > maxErrorSQL || !utf8.ValidString(e.Message) || !utf8.ValidString(e.Sql) || e.Message == "" || e.Sql == "" {
		t.Errorf("the message has %d bytes, the statement %d", len(e.Message), len(e.Sql))
	}
}

// A read that could not be made fresh is not fresh at the next attempt either.
func TestFreshAgain(t *testing.T) {
	n := openUnit(t)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, level := range []sqlpb.Level{sqlpb.Level_LEVEL_SESSION, sqlpb.Level_LEVEL_LINEARIZABLE, sqlpb.Level_LEVEL_STRONG} {
		e := &execution{session: &session{node: n}, request: &sqlpb.Execute{MinIndex: 1 << 40}, level: level}
		if e.fresh(over) == nil || e.fresh(over) == nil {
			t.Errorf("a read at %v is fresh after an attempt that failed", level)
		}
	}
}
