package db

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// An interactive transaction runs on the leader, behind the gate, and is proposed as one entry when it commits. It is
// bound to the term that it began in: whatever ends the leadership ends it, and nothing of it was in the log.

var errDeposed = errors.New("this node does not lead any more")

// begin begins a transaction that writes, on this leader of term: it waits for its turn, and until everything that the
// log holds is applied.
func (n *Node) begin(ctx context.Context, term raft.Term, s *session) (*transaction, *Error) {
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	t := &transaction{node: n, session: s, term: term, begun: time.Now()}
	if failed := n.gate.acquire(ctx, t); failed != nil {
		return nil, failed
	}
	if failed := n.enterTransaction(ctx, t); failed != nil {
		n.gate.release(t)
		return nil, failed
	}
	n.group.Go(t.watch)
	return t, nil
}

// enterTransaction begins t in the database. Nobody else writes meanwhile.
func (n *Node) enterTransaction(ctx context.Context, t *transaction) *Error {
	// A write whose client has given up may still be in the log, and so may be those of the leader before.
	if failed := n.catchUp(ctx); failed != nil {
		return failed
	}
	last := n.replica.Last()
	switch err := n.replica.WaitApplied(ctx, last.Index); {
	case err == nil:
	case ctx.Err() != nil:
		return ended(ctx)
	default:
		return shuttingDown()
	}
	if leader, now, _ := n.replica.Leader(); leader != n.self.Node || now != t.term {
		return n.notLeader()
	}
	first, failed := n.stepOptions()
	if failed != nil {
		return failed
	}
	body, err := n.engine.Begin(first)
	if err != nil {
		return n.beginError(err)
	}
	t.index = n.replica.Applied()
	t.mu.Lock()
	t.body, t.quiet = body, time.Now()
	t.mu.Unlock()
	return nil
}

// beginError says that the database takes no transaction.
func (n *Node) beginError(err error) *Error {
	if errors.Is(err, engine.ErrClosed) || errors.Is(err, engine.ErrQuarantined) {
		return sqlError(err)
	}
	return noLeader(fmt.Sprintf("node %d takes no writes: %v", n.self.Node, err))
}

// stepOptions is what one statement of a transaction sees as the time and as chance.
func (n *Node) stepOptions() (engine.StepOptions, *Error) {
	unixNano, failed := n.stamp()
	return engine.StepOptions{UnixNano: unixNano, Seed: rand.Uint64()}, failed
}

// watch sees to the end of a transaction.
func (t *transaction) watch() {
	n := t.node
	long := time.NewTimer(n.config.TransactionTime)
	defer long.Stop()
	for {
		leader, term, changed := n.replica.Leader()
		if leader != n.self.Node || term != t.term {
			t.kill(errDeposed)
			changed = nil
		}
		select {
		case <-t.body.Done():
			t.mu.Lock()
			committing := t.committing
			t.mu.Unlock()
			if !committing {
				n.gate.release(t)
			}
			return
		case <-changed:
		case <-long.C:
			t.kill(fmt.Errorf("%w: the limit is %v", errLong, n.config.TransactionTime))
		case <-n.ctx.Done():
			t.kill(errClosing)
		}
	}
}

// commit proposes what the transaction did as the session's write of a number, and returns its result once this node has
// applied it. The transaction has ended in any case.
func (t *transaction) commit(ctx context.Context, seq uint64) (raft.Index, *Error) {
	n := t.node
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	t.mu.Lock()
	t.committing = true
	t.mu.Unlock()
	defer n.gate.release(t)
	steps, err := t.body.Finish(ctx)
	switch {
	case err != nil:
		return 0, overError(err).wholeTransaction()
	case steps == nil:
		// It has seen what no other leader has changed, if this one still leads.
		if failed := n.catchUp(ctx); failed != nil {
			return 0, failed.wholeTransaction()
		}
		return t.index, nil
	}
	result, failed := n.submit(ctx, t.term, &commandpb.Command{
		Session: t.session.id[:], Seq: seq, Body: &commandpb.Command_Transaction{Transaction: steps},
	})
	switch {
	case failed != nil:
		return 0, failed.wholeTransaction()
	case result.Err != nil:
		return 0, commitError(result)
	}
	return result.Index, nil
}

// commitError is the error of a transaction that was applied and undone.
func commitError(r *engine.Result) *Error {
	e := entryError(r)
	if errors.Is(r.Err, engine.ErrStepDiffers) {
		e.Class = sqlpb.Class_CLASS_BUSY
	}
	return e.wholeTransaction()
}

// wholeTransaction makes the error of a commit that of the transaction: what may be sent again is all of it.
func (e *Error) wholeTransaction() *Error {
	if e.Class == sqlpb.Class_CLASS_OUTCOME_UNKNOWN {
		return e
	}
	e.unchanged = false
	if e.Retry == sqlpb.Retry_RETRY_SAME || e.Class == sqlpb.Class_CLASS_BUSY {
		e.Retry = sqlpb.Retry_RETRY_TRANSACTION
	}
	e.Message = "the transaction was not committed: " + e.Message
	return e
}

// asked tells what became of a commit whose answer was lost, by an entry of the log: either it happened, or that entry
// makes sure that it never will.
func (n *Node) asked(ctx context.Context, term raft.Term, session [16]byte, seq uint64) (raft.Index, *Error) {
	result, failed := n.propose(ctx, term, &commandpb.Command{
		Session: session[:], Seq: seq, Body: &commandpb.Command_Abandon{Abandon: &commandpb.Abandon{}},
	})
	switch {
	case failed != nil:
		return 0, failed
	case result.Err == nil:
		return result.Index, nil
	case errors.Is(result.Err, engine.ErrAbandoned), result.Err.Error() == engine.ErrAbandoned.Error():
		return 0, &Error{Class: sqlpb.Class_CLASS_NO_QUORUM, Retry: sqlpb.Retry_RETRY_TRANSACTION, Offset: -1,
			Message: engine.ErrAbandoned.Error() + ", because the leader that ran it is gone: run it again"}
	}
	return 0, commitError(result)
}

// overError is the error of a transaction that was undone.
func overError(err error) *Error {
	again := &Error{Class: sqlpb.Class_CLASS_BUSY, Retry: sqlpb.Retry_RETRY_TRANSACTION, Offset: -1, Message: err.Error()}
	switch {
	case errors.Is(err, errDeposed), errors.Is(err, raft.ErrTermChanged):
		again.Class = sqlpb.Class_CLASS_NO_QUORUM
	case errors.Is(err, errClosing), errors.Is(err, engine.ErrClosed):
		again.Class = sqlpb.Class_CLASS_SHUTTING_DOWN
	case errors.Is(err, errIdle), errors.Is(err, errLong), errors.Is(err, engine.ErrPinTimeout), errors.Is(err, engine.ErrOvertaken):
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, errCancelled):
		again.Class, again.Retry = sqlpb.Class_CLASS_CANCELLED, sqlpb.Retry_RETRY_NEVER
	default: // a statement's own: it would fail again
		e := sqlError(err)
		if errors.Is(err, engine.ErrTransactionOver) {
			e.Message = engine.ErrTransactionOver.Error() + ": " + e.Message
		}
		return e
	}
	return again
}
