package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// execute runs an Execute and returns the frame that ends it.
func (s *session) execute(ctx context.Context, turn *shift, x *sqlpb.Execute) *sqlpb.ServerFrame {
	if len(x.Statements) > 0 {
		s.note(x.Statements[0].Sql)
	}
	e := &execution{session: s, shift: turn, request: x, level: x.Level}
	if e.level == sqlpb.Level_LEVEL_UNSPECIFIED {
		e.level = s.level
	}
	if err := e.run(ctx); err != nil {
		return s.failed(x.Id, err)
	}
	return e.last
}

// execution is one Execute on its way.
type execution struct {
	*session
	shift   *shift
	request *sqlpb.Execute
	level   sqlpb.Level
	out     output
	// single says that the request holds one statement, and nothing else.
	single bool
	// waited is set once this node is as fresh as the level asks.
	waited bool
	// done counts the statements that ended well, wrote those of them that wrote. Once done is above zero nothing is run
	// again elsewhere.
	done, wrote int
	// passed says that a part of a relayed answer has left.
	passed bool
	// last is the final Done, which is sent when the request has ended.
	last *sqlpb.ServerFrame
}

func (e *execution) run(ctx context.Context) *Error {
	if err := e.check(); err != nil {
		return err
	}
	if refused := e.node.refuseQuarantined(); refused != nil {
		return refused
	}
	e.out = output{session: e.session, shift: e.shift, request: e.request.Id}
	if e.opened != nil || e.request.InTransaction {
		e.shift.end()
		return e.transact(ctx)
	}
	if !brief(e.request) {
		e.shift.end()
	}
	write, failed := e.classify(ctx)
	if failed != nil && !e.forwards(failed) {
		return failed
	}
	if write {
		if err := e.mayWrite(); err != nil {
			return err
		}
	}
	if failed == nil && !write && e.level != sqlpb.Level_LEVEL_STRONG {
		return e.readHere(ctx)
	}
	e.shift.end()
	err := e.hold(ctx, func(leader raft.ID, term raft.Term) *Error {
		var refused *Error
		switch {
		case leader != e.node.self.Node:
			refused = e.relayRequest(ctx, leader, failed != nil || write)
		case failed == nil:
			refused = e.here(ctx, term, write)
		default:
			refused = e.afterCatchingUp(ctx, term)
		}
		if refused != nil && refused.Class == sqlpb.Class_CLASS_OUTCOME_UNKNOWN {
			if refused.again = e.repeatable() && ctx.Err() == nil; refused.again {
				refused.Retry = sqlpb.Retry_RETRY_SAME
			}
		}
		return refused
	})
	if err != nil && err.notExecuted() && failed != nil && e.level == sqlpb.Level_LEVEL_LOCAL {
		return failed // what this node has is what was asked for
	}
	return err
}

// briefBytes is the length of a text that is split and prepared in a moment.
const briefBytes = 4 << 10

// brief reports whether a request, if it reads, may be over in a moment.
func brief(x *sqlpb.Execute) bool {
	return len(x.Statements) == 1 && len(x.Statements[0].Sql) <= briefBytes
}

// repeatable reports whether the request may be sent again although it may have been executed: its client has numbered it,
// it is one entry, and nothing of its answer has left.
func (e *execution) repeatable() bool {
	return e.request.Seq != 0 && (e.request.Atomic || e.single) && e.done == 0 && !e.passed
}

// relayRequest has the leader run the request.
func (e *execution) relayRequest(ctx context.Context, leader raft.ID, mayWrite bool) *Error {
	call := relayCall{
		session: e.session, id: e.request.Id, changes: mayWrite && !e.request.ReadOnly && e.principal.Role >= identity.RoleWrite,
		frame: &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Execute{Execute: e.request}},
	}
	failed := call.run(ctx, leader)
	e.last, e.passed = call.last, e.passed || call.passed
	return failed
}

// afterCatchingUp runs on this leader a request that did not prepare at first. A new leader holds entries of the last term
// that it has not applied yet, with acknowledged tables in them: only once it has are its errors final.
func (e *execution) afterCatchingUp(ctx context.Context, term raft.Term) *Error {
	if failed := e.node.catchUp(ctx); failed != nil {
		return failed
	}
	write, failed := e.classify(ctx)
	if failed != nil {
		return failed
	}
	return e.here(ctx, term, write)
}

func (e *execution) check() *Error {
	x := e.request
	switch {
	case len(x.Statements) == 0:
		return protocolError("a request needs a statement")
	case len(x.Statements) > e.node.config.MaxStatements:
		return tooLarge("a request holds %d statements and may hold %d (limit max_statements): send several", len(x.Statements), e.node.config.MaxStatements)
	case e.principal.Role < identity.RoleRead:
		return denied("%s may not read", e.principal.Name)
	}
	return checkLevel(x.Level)
}

func (e *execution) mayWrite() *Error {
	if e.principal.Role < identity.RoleWrite {
		return denied("role %s of %s may not write", e.principal.Role, e.principal.Name)
	}
	if e.request.ReadOnly {
		return denied("the request was sent as read-only and holds a write")
	}
	return nil
}

// classify reports whether the request holds a write. What follows the first one is not looked at: it may need tables
// that the write makes.
func (e *execution) classify(ctx context.Context) (write bool, failed *Error) {
	for i, statement := range e.request.Statements {
		for text := statement.Sql; text != ""; {
			if ctx.Err() != nil {
				return false, ended(ctx)
			}
			piece, rest, err := e.node.engine.Next(text)
			if err != nil {
				return false, at(i, text, sqlError(err))
			}
			if piece.Class == engine.Write {
				e.single = len(e.request.Statements) == 1 && len(text) == len(statement.Sql) && strings.TrimSpace(rest) == ""
				return true, nil
			}
			text = rest
		}
	}
	return false, nil
}

// preparing are the classes of what is wrong with a text. None is final on a node that is behind: a table may be there by
// now, a limit have been raised, a view or a setting that made a statement a refused one be another.
var preparing = []sqlpb.Class{sqlpb.Class_CLASS_SQL, sqlpb.Class_CLASS_TOO_LARGE, sqlpb.Class_CLASS_DENIED}

// forwards reports whether a request that does not prepare here may do so at the leader, which has applied more: then
// the error is the leader's to report, once it has caught up with its own log. A read at level local asks what this
// node has.
func (e *execution) forwards(failed *Error) bool {
	switch {
	case !slices.Contains(preparing, failed.Class):
		return false
	case e.level == sqlpb.Level_LEVEL_LOCAL:
		return e.request.Seq != 0 && !e.request.ReadOnly
	}
	return true
}

// at completes an error with the statement it belongs to.
func at(statement int, sql string, err *Error) *Error {
	err.statement = uint32(statement)
	if err.SQL == "" {
		err.SQL = sql
	}
	return err
}

// readHere runs a request that only reads on this node, whatever it is.
func (e *execution) readHere(ctx context.Context) *Error {
	if e.level == sqlpb.Level_LEVEL_LINEARIZABLE {
		e.shift.end()
		// The read index comes from a leader, who may be about to be elected.
		err := e.node.hold(ctx, func(raft.ID, raft.Term) *Error { return e.fresh(ctx) })
		if err != nil {
			return err
		}
	}
	return e.here(ctx, 0, false)
}

// here runs the request on this node, which leads in term if it holds a write. An atomic request with a write is one
// entry; otherwise each statement is a read or an entry of its own.
func (e *execution) here(ctx context.Context, term raft.Term, write bool) *Error {
	if write && e.request.Atomic {
		if err := e.mayWrite(); err != nil {
			return err
		}
		return e.write(ctx, term, wireScript(e.request.Statements))
	}
	for i, statement := range e.request.Statements {
		if err := e.pieces(ctx, term, statement); err != nil {
			e.release() // what was done before is not unsaid by the error
			return at(i, statement.Sql, err).after(e.done, e.wrote)
		}
	}
	if e.last == nil { // only comments
		return e.finish(&sqlpb.Done{Index: uint64(e.node.replica.Applied())})
	}
	return nil
}

// pieces runs the statements of one text one after the other.
func (e *execution) pieces(ctx context.Context, term raft.Term, statement *sqlpb.Statement) *Error {
	text, args := statement.Sql, arguments(statement.Args)
	for text != "" {
		if ctx.Err() != nil {
			return ended(ctx)
		}
		piece, rest, err := e.node.engine.Next(text)
		if err != nil {
			return at(0, text, sqlError(err))
		}
		text = rest
		if piece.Class == engine.Empty {
			continue
		}
		mine, others := engine.SplitArguments(piece, args, rest != "")
		args = others
		var failed *Error
		if piece.Class == engine.Read {
			failed = e.read(ctx, piece.SQL, mine)
		} else if failed = e.mayWrite(); failed == nil {
			failed = e.write(ctx, term, &commandpb.Script{Statements: []*commandpb.Statement{{Sql: piece.SQL, Args: mine}}})
		}
		if failed != nil {
			return at(0, piece.SQL, failed)
		}
	}
	return nil
}

// fresh waits until this node may answer a read of the wanted level, once for all reads of the request.
func (e *execution) fresh(ctx context.Context) *Error {
	if e.waited {
		return nil
	}
	var failed *Error
	switch e.level {
	case sqlpb.Level_LEVEL_LOCAL:
		failed = e.notStale()
	case sqlpb.Level_LEVEL_SESSION:
		failed = e.waitApplied(ctx, raft.Index(e.request.MinIndex))
	default:
		failed = e.readIndex(ctx)
	}
	e.waited = failed == nil
	return failed
}

// readIndex waits until this node has applied all that was committed when a quorum confirmed the leader.
func (e *execution) readIndex(ctx context.Context) *Error {
	bounded, cancel := e.node.bounded(ctx)
	defer cancel()
	index, err := e.node.replica.ReadIndex(bounded)
	switch {
	case err == nil:
		return e.waitApplied(ctx, index)
	case ctx.Err() != nil:
		return ended(ctx)
	case errors.Is(err, raft.ErrBusy):
		return busy("too many reads wait for a quorum")
	}
	return e.node.noQuorum()
}

// notStale refuses a local read when the client set a bound on staleness that this node cannot keep.
func (e *execution) notStale() *Error {
	bound := time.Duration(e.request.MaxStalenessMs) * time.Millisecond
	if since := e.node.sinceQuorum(); bound > 0 && since > bound {
		return stale("this node last heard of a quorum %v ago, and max_staleness is %v", since.Round(time.Millisecond), bound)
	}
	return nil
}

func (e *execution) waitApplied(ctx context.Context, index raft.Index) *Error {
	if e.node.replica.Applied() >= index {
		return nil
	}
	e.shift.end()
	bounded, cancel := e.node.bounded(ctx)
	defer cancel()
	err := e.node.replica.WaitApplied(bounded, index)
	switch {
	case err == nil:
		return nil
	case errors.Is(context.Cause(bounded), context.DeadlineExceeded):
		return stale("this node has applied up to index %d and the session has seen %d", e.node.replica.Applied(), index)
	case ctx.Err() != nil:
		return ended(ctx)
	}
	return shuttingDown() // the replica has stopped
}

// stale says that this node is behind what the read asks for.
func stale(format string, args ...any) *Error {
	return &Error{Class: sqlpb.Class_CLASS_STALE, Retry: sqlpb.Retry_RETRY_SAME, Message: "stale: " + fmt.Sprintf(format, args...)}
}
