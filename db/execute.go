package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// execute runs an Execute and returns the frame that ends it.
func (s *session) execute(ctx context.Context, x *sqlpb.Execute) *sqlpb.ServerFrame {
	e := &execution{session: s, request: x, level: x.Level}
	if e.level == sqlpb.Level_LEVEL_UNSPECIFIED {
		e.level = s.level
	}
	if err := e.run(ctx); err != nil {
		return failure(x.Id, err)
	}
	return e.last
}

// execution is one Execute on its way.
type execution struct {
	*session
	request *sqlpb.Execute
	level   sqlpb.Level
	out     output
	// waited is set once this node is as fresh as the level asks.
	waited bool
	// done counts the pieces whose results were sent. Once it is above zero nothing is run again elsewhere.
	done int
	// last is the final Done, which is sent when the request has ended.
	last *sqlpb.ServerFrame
}

func (e *execution) run(ctx context.Context) *Error {
	if err := e.check(); err != nil {
		return err
	}
	e.out = output{session: e.session, request: e.request.Id}
	write, err := e.writes()
	if err != nil {
		return err
	}
	if write {
		if err := e.mayWrite(); err != nil {
			return err
		}
	}
	if !write && e.level != sqlpb.Level_LEVEL_STRONG {
		return e.here(ctx, 0)
	}
	return e.node.hold(ctx, func(leader raft.ID, term raft.Term) *Error {
		if leader == e.node.self.Node {
			return e.here(ctx, term)
		}
		if e.relayed {
			return e.node.notLeader()
		}
		return e.session.relayExecute(ctx, leader, e.request, &e.last)
	})
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
	return nil
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

// writes reports whether the request holds a write. Text that does not prepare here counts as one on a node that does
// not lead: what it needs may not have arrived here yet (hazards: every such error is the leader's to report).
func (e *execution) writes() (bool, *Error) {
	leader, _, _ := e.node.replica.Leader()
	for i, statement := range e.request.Statements {
		pieces, err := e.node.engine.Classify(statement.Sql)
		if err != nil {
			var policy *engine.PolicyError
			if leader != e.node.self.Node && !errors.As(err, &policy) && e.level != sqlpb.Level_LEVEL_LOCAL {
				return true, nil
			}
			return false, e.at(i, statement.Sql, sqlError(err))
		}
		for _, piece := range pieces {
			if piece.Class == engine.Write {
				return true, nil
			}
		}
	}
	return false, nil
}

// at completes an error with the statement it belongs to.
func (e *execution) at(statement int, sql string, err *Error) *Error {
	err.statement = uint32(statement)
	if err.SQL == "" {
		err.SQL = sql
	}
	return err
}

// here runs the request on this node, which leads in term if it holds a write. An atomic request with a write is one
// entry; otherwise each statement is a read or an entry of its own.
func (e *execution) here(ctx context.Context, term raft.Term) *Error {
	if write, err := e.writes(); err != nil {
		return err
	} else if write && e.request.Atomic {
		return e.write(ctx, term, wireScript(e.request.Statements))
	}
	for i, statement := range e.request.Statements {
		if err := e.pieces(ctx, term, statement); err != nil {
			err = e.at(i, statement.Sql, err)
			if e.done > 0 && err.notExecuted() {
				err.Retry = sqlpb.Retry_RETRY_NEVER
				err.Message = fmt.Sprintf("%s (the first %d statements of the request were executed, this one and those after it were not)", err.Message, e.done)
			}
			return err
		}
	}
	if e.last == nil { // only comments
		e.finish(&sqlpb.Done{Index: uint64(e.node.replica.Applied())})
	}
	return nil
}

// pieces runs the statements of one text one after the other.
func (e *execution) pieces(ctx context.Context, term raft.Term, statement *sqlpb.Statement) *Error {
	text, args := statement.Sql, arguments(statement.Args)
	for text != "" {
		piece, rest, err := e.node.engine.Next(text)
		if err != nil {
			failed := sqlError(err)
			failed.SQL = text
			return failed
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
			return failed
		}
	}
	return nil
}

// fresh waits until this node may answer a read of the wanted level, once for all reads of the request.
func (e *execution) fresh(ctx context.Context) *Error {
	if e.waited {
		return nil
	}
	e.waited = true
	switch e.level {
	case sqlpb.Level_LEVEL_LOCAL:
		return e.notStale()
	case sqlpb.Level_LEVEL_SESSION:
		return e.waitApplied(ctx, raft.Index(e.request.MinIndex))
	}
	ctx, cancel := e.node.bounded(ctx)
	defer cancel()
	index, err := e.node.replica.ReadIndex(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ended(ctx)
		}
		return e.node.noQuorum()
	}
	return e.waitApplied(ctx, index)
}

// notStale refuses a local read when the client set a bound on staleness that this node cannot keep.
func (e *execution) notStale() *Error {
	bound := time.Duration(e.request.MaxStalenessMs) * time.Millisecond
	if since := e.node.sinceQuorum(); bound > 0 && since > bound {
		return &Error{Class: sqlpb.Class_CLASS_STALE, Retry: sqlpb.Retry_RETRY_SAME,
			Message: fmt.Sprintf("stale: this node last heard of a quorum %v ago, and max_staleness is %v", since.Round(time.Millisecond), bound)}
	}
	return nil
}

func (e *execution) waitApplied(ctx context.Context, index raft.Index) *Error {
	if e.node.replica.Applied() >= index {
		return nil
	}
	ctx, cancel := e.node.bounded(ctx)
	defer cancel()
	if err := e.node.replica.WaitApplied(ctx, index); err != nil {
		if errors.Is(context.Cause(ctx), errCancelled) {
			return ended(ctx)
		}
		return &Error{Class: sqlpb.Class_CLASS_STALE, Retry: sqlpb.Retry_RETRY_SAME,
			Message: fmt.Sprintf("stale: this node has applied up to index %d and the session has seen %d", e.node.replica.Applied(), index)}
	}
	return nil
}
