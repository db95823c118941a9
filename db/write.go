package db

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/rsqld/rsqld/db/command"
	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/replica"
)

// stamper gives out the times of entries: this node's clock, but never smaller than a time given out or applied before.
// Two writes stamped at one moment may enter the log in the other order; applying takes the maximum once more.
type stamper struct{ last atomic.Int64 }

func (s *stamper) now(applied int64) int64 {
	for {
		last := s.last.Load()
		stamp := max(time.Now().UnixNano(), applied, last)
		if s.last.CompareAndSwap(last, stamp) {
			return stamp
		}
	}
}

// propose stamps a command, proposes it in term and returns its result once this node has applied it. The error says
// what became of it, see proposalError; a command that was applied and failed has its error in the result.
func (n *Node) propose(ctx context.Context, term raft.Term, c *commandpb.Command) (*engine.Result, *Error) {
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	c.Version = command.Version
	c.Time = n.stamps.now(n.engine.LastTime())
	c.Seed = rand.Uint64()
	data, err := command.Encode(c)
	if err != nil {
		return nil, tooLarge("%v", err)
	}
	n.renewPatience()
	waiting, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(n.patience.Load(), func() { stop(errNoQuorum) })()
	applied, err := n.replica.Propose(waiting, term, data)
	if err != nil {
		return nil, n.proposalError(waiting, err)
	}
	return applied.Result.(*engine.Result), nil
}

// bounded gives a context without a deadline the default one.
func (n *Node) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, n.config.Timeout)
}

// holdRetry is how long a held request waits before it tries a leader again that refused it or could not be reached.
const holdRetry = 10 * time.Millisecond

// hold runs attempt with the leader that is known, and again while attempt says that nothing was executed for want of a
// leader. It gives up Config.NoLeaderWait after the last contact with a quorum, or with a leader that does not answer
// after the same time from its first failure, and after Config.Timeout in any case: an election is invisible to the
// client, a minority refuses soon.
func (n *Node) hold(ctx context.Context, attempt func(leader raft.ID, term raft.Term) *Error) *Error {
	begun := time.Now()
	since, tried := begun, raft.Term(0)
	for {
		leader, term, changed := n.replica.Leader()
		var failed *Error
		left := n.config.NoLeaderWait
		if leader == 0 {
			failed = n.noQuorum()
			left -= n.sinceQuorum()
		} else {
			if term != tried {
				since, tried = time.Now(), term
			}
			if failed = attempt(leader, term); failed == nil || !failed.notExecuted() {
				return failed
			}
			left = min(left-time.Since(since), holdRetry)
			if isClosed(changed) {
				left = holdRetry // there is news: it is worth another look
			}
		}
		if left <= 0 || time.Since(begun) > n.config.Timeout {
			return failed
		}
		if err := pause(ctx, left, changed); err != nil {
			return err
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// pause waits until wake closes or d has passed; the error is that of the end of ctx.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) *Error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-wake:
		return nil
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	}
}

// sinceQuorum is the time since this node last heard of a quorum: as the leader from enough voters, else from a leader.
func (n *Node) sinceQuorum() time.Duration {
	return time.Duration(n.replica.Status().ContactTicks) * replica.Tick(n.config.ElectionTimeout)
}

// catchUp waits until this leader has applied everything that was committed when it was called, so that it decides by
// the newest members and tokens.
func (n *Node) catchUp(ctx context.Context) *Error {
	index, err := n.replica.ReadIndex(ctx)
	if err == nil {
		err = n.replica.WaitApplied(ctx, index)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ended(ctx)
	}
	return n.noQuorum()
}
