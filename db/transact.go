package db

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// opened is the transaction of a session. It belongs to the goroutine that runs the session's request. One of the first
// three is set.
type opened struct {
	// here is a transaction on this node, which leads.
	here *transaction
	// there is the relay to the leader that runs it.
	there *relay
	// pin is the snapshot of a read-only one.
	pin *engine.Pin
	// lost is why there is none any more: all that is left is to end it.
	lost *Error
}

// state is how the transaction stands, as clients are told.
func (s *session) state() sqlpb.Transaction {
	switch o := s.opened; {
	case o == nil:
		return sqlpb.Transaction_TRANSACTION_NONE
	case o.lost != nil, o.here != nil && o.here.body.Err() != nil, o.there != nil && o.there.stream.Context().Err() != nil:
		return sqlpb.Transaction_TRANSACTION_FAILED
	}
	return sqlpb.Transaction_TRANSACTION_OPEN
}

// beginMargin is by how much sooner a leader gives up the wait for a turn than the node that relays: it can say who
// has it.
const beginMargin = 50 * time.Millisecond

// beginTransaction runs a Begin and returns the frame that ends it.
func (s *session) beginTransaction(ctx context.Context, b *sqlpb.Begin) *sqlpb.ServerFrame {
	index, failed := s.enterTransaction(ctx, b)
	if failed != nil {
		return s.failed(b.Id, failed)
	}
	return s.doneTransaction(b.Id, index)
}

// doneTransaction is the frame that ends a Begin, Commit or Rollback well.
func (s *session) doneTransaction(id uint64, index raft.Index) *sqlpb.ServerFrame {
	return &sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Done{Done: &sqlpb.Done{Id: id, Index: uint64(index), Transaction: s.state()}}}
}

// failed is the frame of an error, with how the session's transaction stands after it.
func (s *session) failed(id uint64, failed *Error) *sqlpb.ServerFrame {
	frame := failure(id, failed)
	frame.GetError().Transaction = s.state()
	return frame
}

func (s *session) enterTransaction(ctx context.Context, b *sqlpb.Begin) (index raft.Index, failed *Error) {
	switch {
	case s.opened != nil:
		return 0, protocolError("cannot start a transaction within a transaction: commit it or roll it back first")
	case s.principal.Role < identity.RoleRead:
		return 0, denied("%s may not read", s.principal.Name)
	case !b.ReadOnly && s.principal.Role < identity.RoleWrite:
		return 0, denied("role %s of %s may not write: begin a read-only transaction", s.principal.Role, s.principal.Name)
	}
	if refused := s.node.refuseQuarantined(); refused != nil {
		return 0, refused
	}
	if failed := checkLevel(b.Level); failed != nil {
		return 0, failed
	}
	if b.ReadOnly {
		return s.pinSnapshot(ctx, b)
	}
	failed = s.hold(ctx, func(leader raft.ID, term raft.Term) (failed *Error) {
		index, failed = s.enterAt(ctx, b, leader, term)
		return failed
	})
	return index, failed
}

// enterAt begins a transaction that writes at the leader.
func (s *session) enterAt(ctx context.Context, b *sqlpb.Begin, leader raft.ID, term raft.Term) (raft.Index, *Error) {
	if leader == s.node.self.Node {
		t, failed := s.node.begin(ctx, term, s)
		if failed != nil {
			return 0, failed
		}
		s.open(&opened{here: t})
		return t.index, nil
	}
	relayed := &sqlpb.Begin{Id: b.Id, Level: b.Level, MinIndex: b.MinIndex, TimeoutMs: b.TimeoutMs}
	if margin := uint32(beginMargin.Milliseconds()); relayed.TimeoutMs > 2*margin {
		relayed.TimeoutMs -= margin
	}
	call := relayCall{session: s, id: b.Id, frame: &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Begin{Begin: relayed}}}
	if failed := call.run(ctx, leader); failed != nil {
		return 0, failed
	}
	s.open(&opened{there: call.to})
	return raft.Index(call.last.GetDone().GetIndex()), nil
}

// pinSnapshot begins a read-only transaction here.
func (s *session) pinSnapshot(ctx context.Context, b *sqlpb.Begin) (raft.Index, *Error) {
	e := &execution{session: s, level: b.Level, request: &sqlpb.Execute{Id: b.Id, MinIndex: b.MinIndex, MaxStalenessMs: b.MaxStalenessMs}}
	if e.level == sqlpb.Level_LEVEL_UNSPECIFIED {
		e.level = s.level
	}
	failed := e.fresh(ctx)
	if failed != nil && failed.notExecuted() {
		failed = s.node.hold(ctx, func(raft.ID, raft.Term) *Error { return e.fresh(ctx) })
	}
	if failed != nil {
		return 0, failed
	}
	pin, err := s.node.engine.Pin(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return 0, ended(ctx)
		}
		return 0, sqlError(err)
	}
	s.open(&opened{pin: pin})
	return pin.Index(), nil
}

// rollbackTransaction runs a Rollback and returns the frame that ends it.
func (s *session) rollbackTransaction(_ context.Context, r *sqlpb.Rollback) *sqlpb.ServerFrame {
	s.endTransaction(errRolledBack)
	return s.doneTransaction(r.Id, s.node.replica.Applied())
}

var (
	errRolledBack = errors.New("it was rolled back")
	errHungUp     = errors.New("its session has ended")
)

// open makes o the session's transaction; nil is none.
func (s *session) open(o *opened) {
	s.opened = o
	s.noteTransaction(o != nil)
}

// endTransaction undoes the session's transaction, if there is one.
func (s *session) endTransaction(why error) {
	o := s.opened
	if o == nil {
		return
	}
	s.open(nil)
	switch {
	case o.here != nil:
		o.here.kill(why)
	case o.there != nil:
		// The leader undoes what its session leaves; it needs no word for it.
		o.there.giveUp(why)
		s.relay.CompareAndSwap(o.there, nil)
	case o.pin != nil:
		if err := o.pin.Close(); err != nil {
			s.node.log.Warn("ending a read-only transaction", "node", s.node.self.Node, "err", err)
		}
	}
}

// commitTransaction runs a Commit and returns the frame that ends it. Whatever it comes to, the transaction has ended.
func (s *session) commitTransaction(ctx context.Context, c *sqlpb.Commit) *sqlpb.ServerFrame {
	index, failed := s.commit(ctx, c)
	s.endTransaction(errRolledBack)
	if failed != nil {
		return s.failed(c.Id, failed)
	}
	return s.doneTransaction(c.Id, index)
}

func (s *session) commit(ctx context.Context, c *sqlpb.Commit) (index raft.Index, failed *Error) {
	o := s.opened
	switch {
	case o == nil && c.Seq == 0:
		return 0, protocolError("cannot commit: no transaction is open")
	case o != nil && o.lost != nil:
		return 0, o.lost.wholeTransaction()
	case o != nil && o.pin != nil:
		return o.pin.Index(), nil
	}
	failed = s.hold(ctx, func(leader raft.ID, term raft.Term) (failed *Error) {
		index, failed = s.commitAt(ctx, c, leader, term)
		if failed != nil && failed.Class == sqlpb.Class_CLASS_OUTCOME_UNKNOWN && c.Seq != 0 {
			failed.Retry, failed.again = sqlpb.Retry_RETRY_SAME, ctx.Err() == nil
		}
		return failed
	})
	return index, failed
}

// commitAt commits where the transaction is. Once that was tried, it asks the leader what became of it.
func (s *session) commitAt(ctx context.Context, c *sqlpb.Commit, leader raft.ID, term raft.Term) (raft.Index, *Error) {
	o := s.opened
	s.open(nil)
	switch {
	case o != nil && o.here != nil:
		return o.here.commit(ctx, c.Seq)
	case o == nil && leader == s.node.self.Node:
		return s.node.asked(ctx, term, s.id, c.Seq)
	}
	call := relayCall{session: s, id: c.Id, changes: true, frame: &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Commit{Commit: c}}}
	if o != nil {
		call.only = o.there
	}
	if failed := call.run(ctx, leader); failed != nil {
		return 0, failed
	}
	index := raft.Index(call.last.GetDone().GetIndex())
	call.awaitWrite(ctx, index)
	return index, nil
}

// transact runs an Execute in the session's transaction.
func (e *execution) transact(ctx context.Context) *Error {
	o := e.opened
	switch {
	case o == nil:
		return &Error{Class: sqlpb.Class_CLASS_PROTOCOL, Retry: sqlpb.Retry_RETRY_TRANSACTION, Offset: -1,
			Message: "this node knows of no transaction of the session: run it again from its beginning"}
	case o.lost != nil:
		return mustRollBack(o.lost)
	case o.there != nil:
		return e.transactThere(ctx, o)
	case o.pin != nil:
		return e.transactPinned(ctx, o)
	}
	if err := o.here.body.Err(); err != nil {
		return mustRollBack(overError(err))
	}
	defer o.here.work()()
	if failed := e.transactHere(ctx, o.here); failed != nil {
		e.release() // what was done before is not unsaid by the error
		return failed
	}
	if e.last == nil { // only comments
		return e.finish(&sqlpb.Done{Index: uint64(o.here.index)})
	}
	return nil
}

// mustRollBack refuses a statement of a transaction that was undone.
func mustRollBack(why *Error) *Error {
	again := *why
	again.Message = "must roll back: " + strings.TrimPrefix(why.Message, "must roll back: ")
	return &again
}

// transactThere has the leader run the request.
func (e *execution) transactThere(ctx context.Context, o *opened) *Error {
	request := &sqlpb.Execute{Id: e.request.Id, Statements: e.request.Statements, Atomic: e.request.Atomic,
		TimeoutMs: e.request.TimeoutMs, ReadOnly: e.request.ReadOnly, InTransaction: true}
	call := relayCall{session: e.session, id: request.Id, only: o.there,
		frame: &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Execute{Execute: request}}}
	failed := call.run(ctx, o.there.leader)
	e.last, e.passed = call.last, call.passed
	if failed == nil {
		return nil
	}
	if call.after == sqlpb.Transaction_TRANSACTION_OPEN {
		return failed
	}
	if failed.notExecuted() || failed.Retry == sqlpb.Retry_RETRY_SAME { // the relay broke, and with it the transaction
		failed.Retry = sqlpb.Retry_RETRY_TRANSACTION
	}
	o.lost = failed
	return mustRollBack(failed)
}

// transactPinned runs reads on the snapshot of a read-only transaction.
func (e *execution) transactPinned(ctx context.Context, o *opened) *Error {
	for i, statement := range e.request.Statements {
		text, args := statement.Sql, arguments(statement.Args)
		for text != "" {
			piece, rest, err := e.node.engine.Next(text)
			if err != nil {
				return at(i, text, sqlError(err))
			}
			if piece.Class == engine.Write {
				return at(i, piece.SQL, denied("the transaction is read-only and this statement writes"))
			}
			mine, others := engine.SplitArguments(piece, args, rest != "")
			text, args = rest, others
			if piece.Class == engine.Empty {
				continue
			}
			if failed := e.readOn(ctx, o.pin, piece.SQL, mine); failed != nil {
				return at(i, piece.SQL, failed)
			}
		}
	}
	if e.last == nil { // only comments
		return e.finish(&sqlpb.Done{Index: uint64(o.pin.Index())})
	}
	return nil
}

// transactHere runs the statements of a request one by one. Several that are to be atomic are undone together.
func (e *execution) transactHere(ctx context.Context, t *transaction) (failed *Error) {
	together := e.request.Atomic && !alone(e.request.Statements)
	if together {
		if err := t.body.Savepoint(ctx); err != nil {
			return overError(err)
		}
		defer func() {
			var err error
			if failed != nil {
				err = t.body.RollbackTo(ctx)
			}
			if err = errors.Join(err, t.body.Release(ctx)); err != nil && failed == nil {
				failed = overError(err)
			}
		}()
	}
	for i, statement := range e.request.Statements {
		text, args := statement.Sql, arguments(statement.Args)
		for text != "" {
			before := text
			if text, args, failed = e.transactOne(ctx, t, text, args); failed != nil {
				return at(i, before, failed)
			}
		}
	}
	return nil
}

// alone reports whether a request surely holds one SQL statement at most.
func alone(statements []*sqlpb.Statement) bool {
	if len(statements) > 1 {
		return false
	}
	first := strings.IndexByte(statements[0].Sql, ';')
	return first < 0 || strings.TrimLeft(statements[0].Sql[first:], "; \t\r\n\f") == ""
}

// transactOne runs the first statement of a text in the transaction and sends its result.
func (e *execution) transactOne(ctx context.Context, t *transaction, text string, args []*commandpb.Argument) (
	rest string, others []*commandpb.Argument, failed *Error,
) {
	options, failed := e.node.stepOptions()
	if failed != nil {
		return "", nil, failed
	}
	options.ReadOnly = e.request.ReadOnly
	r, rest, others, err := t.body.Run(ctx, options, text, args)
	if err != nil {
		return "", nil, e.statementError(err)
	}
	if r.Empty {
		return rest, others, nil
	}
	if failed := e.release(); failed != nil {
		return "", nil, failed
	}
	if r.Columns != nil {
		if failed := e.spooled(r); failed != nil {
			return "", nil, failed
		}
	}
	done := &sqlpb.Done{RowsAffected: r.RowsAffected, LastInsertId: r.LastInsertID, Index: uint64(t.index), Wrote: r.Wrote}
	return rest, others, e.finish(done)
}

// statementError is the error of a statement in a transaction.
func (e *execution) statementError(err error) *Error {
	if errors.Is(err, engine.ErrTransactionOver) {
		return overError(err)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return &Error{Class: sqlpb.Class_CLASS_CANCELLED, Offset: -1, Message: fmt.Sprintf("the statement was cancelled: %v", err)}
	}
	if errors.Is(err, engine.ErrNotRead) {
		return denied("the request was sent as read-only and holds a write")
	}
	return sqlError(err)
}

// spooled sends the rows of a statement of a transaction.
func (e *execution) spooled(r engine.StepResult) *Error {
	err := e.out.Columns(r.Columns)
	if err == nil {
		err = r.Rows.Each(e.out.Row)
	}
	closing := r.Rows.Close()
	switch {
	case e.out.failed != nil:
		return e.out.failed
	case err != nil:
		return sqlError(err)
	case closing != nil:
		e.node.log.Warn("removing the rows of a statement", "node", e.node.self.Node, "err", closing)
	}
	if e.out.flush(false) != nil {
		return e.out.failed
	}
	return nil
}
