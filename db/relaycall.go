package db

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// relayCall is one request that the leader runs for a client of this node. Its frames are passed on as they come.
type relayCall struct {
	session *session
	id      uint64
	frame   *sqlpb.ClientFrame
	// changes says that the request may change something: then a relay that breaks leaves its outcome unknown.
	changes bool
	// last is the request's last frame, which the session sends when the request has ended.
	last *sqlpb.ServerFrame

	// only, if not nil, is the relay that alone will do: a transaction is on it.
	only *relay
	// after is how the transaction stands after an error that the leader told.
	after sqlpb.Transaction

	to *relay
	// passed says that the client has seen a part of the answer. From then on the request is not sent again.
	passed bool

	mu    sync.Mutex // guards what follows
	ended bool       // the answer is complete or will not come: there is nothing to cancel
	grace *time.Timer
}

// run sends the request to the leader and passes its answer on. A failure before anything of the request was sent may be
// tried again; after that the fate of a write is the leader's to tell, or unknown.
func (c *relayCall) run(ctx context.Context, leader raft.ID) *Error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	to, err := c.only, error(nil)
	if to == nil {
		to, err = c.session.relayTo(ctx, leader)
	} else if err = context.Cause(to.stream.Context()); err != nil {
		leader = to.leader
	}
	if err != nil {
		if ctx.Err() != nil {
			return ended(ctx)
		}
		return c.session.node.leaderLost(leader, err)
	}
	c.to, c.ended = to, false
	unhook := context.AfterFunc(ctx, c.cancel)
	defer c.end()
	defer unhook()
	if err := to.send(c.frame); err != nil {
		// Some of the frame may have left, and so may all of it.
		return c.broke(ctx, err)
	}
	for {
		answer := new(sqlpb.ServerFrame)
		if err := to.stream.Recv(answer); err != nil {
			return c.broke(ctx, err)
		}
		final, failed := c.pass(ctx, answer)
		if failed != nil || final {
			return failed
		}
	}
}

// cancel asks the leader to end the request, and closes the relay if it does not answer.
func (c *relayCall) cancel() {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return
	}
	c.grace = time.AfterFunc(relayGrace, func() { c.to.giveUp(errSilent) })
	c.mu.Unlock()
	// The leader ignores a Cancel that comes too late: it names its request.
	if c.to.send(&sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Cancel{Cancel: &sqlpb.Cancel{Id: c.id}}}) != nil {
		c.to.close()
	}
}

// end makes sure that no Cancel of this request closes the relay under the next one.
func (c *relayCall) end() {
	c.mu.Lock()
	c.ended = true
	grace := c.grace
	c.grace = nil
	c.mu.Unlock()
	if grace != nil && !grace.Stop() {
		c.session.dropRelay() // it is closed, or is about to be
	}
}

// broke says what a relay that ended without an answer means for the request that was on it.
func (c *relayCall) broke(ctx context.Context, err error) *Error {
	c.session.dropRelay()
	if given := c.to.given.Load(); given != nil {
		err = *given
	} else if errors.Is(err, io.EOF) {
		err = errors.New("it closed the session")
	}
	switch {
	case c.changes:
		return outcomeUnknown(fmt.Errorf("lost the leader, node %d, before its answer: %w", c.to.leader, err))
	case ctx.Err() != nil:
		return ended(ctx)
	}
	lost := c.session.node.leaderLost(c.to.leader, err)
	if c.passed {
		lost.Retry = sqlpb.Retry_RETRY_NEVER // the client has rows of it: it must begin anew by itself
	}
	return lost
}

// pass hands one frame of the leader to the client. A Done of a write is held until this node has applied it too, so
// that everybody on this node sees it.
func (c *relayCall) pass(ctx context.Context, answer *sqlpb.ServerFrame) (final bool, failed *Error) {
	var id uint64
	switch f := answer.Frame.(type) {
	case *sqlpb.ServerFrame_Error:
		if f.Error.Id == 0 {
			c.session.dropRelay() // the session as a whole has failed
		}
		return true, c.refusal(ctx, f.Error)
	case *sqlpb.ServerFrame_Columns:
		id = f.Columns.Id
	case *sqlpb.ServerFrame_Rows:
		id = f.Rows.Id
	case *sqlpb.ServerFrame_Done:
		id = f.Done.Id
	default: // Moved is told by this node itself
		return false, nil
	}
	if id != c.id {
		return true, c.broke(ctx, fmt.Errorf("it answers request %d instead of %d", id, c.id))
	}
	if done := answer.GetDone(); done != nil {
		if done.Wrote {
			c.awaitWrite(ctx, raft.Index(done.Index))
		}
		if !done.More {
			c.last = answer
			return true, nil
		}
	}
	c.passed = true
	if failed := c.session.send(answer); failed != nil {
		c.session.dropRelay() // there is nobody for the rest of the answer
		return true, failed
	}
	return false, nil
}

// awaitWrite waits until this node has applied a write of the leader. A write whose commit is known is a success, even
// when the deadline ends the wait.
func (c *relayCall) awaitWrite(ctx context.Context, index raft.Index) {
	ctx, cancel := c.session.node.bounded(ctx)
	defer cancel()
	_ = c.session.node.replica.WaitApplied(ctx, index)
}

// refusal is the leader's error as this node tells it.
func (c *relayCall) refusal(ctx context.Context, e *sqlpb.Error) *Error {
	c.after = e.Transaction
	switch {
	case e.Class == sqlpb.Class_CLASS_SHUTTING_DOWN && e.Retry == sqlpb.Retry_RETRY_SAME && !c.passed:
		// It is the leader that goes, not this node: the next leader is asked.
		return c.session.node.leaderLost(c.to.leader, errors.New("it is shutting down"))
	case e.Class == sqlpb.Class_CLASS_CANCELLED && ctx.Err() != nil && !c.changes:
		return ended(ctx) // the leader was told to cancel, and does not know why
	}
	retry := e.Retry
	if c.passed && retry == sqlpb.Retry_RETRY_SAME {
		retry = sqlpb.Retry_RETRY_NEVER // the client has a part of the answer: it must begin anew by itself
	}
	return &Error{Class: e.Class, Retry: retry, Code: e.Code, Extended: e.ExtendedCode,
		Message: e.Message, Offset: e.Offset, SQL: e.Sql, statement: e.Statement}
}
