package db

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"github.com/rsqld/rsqld/db/command"
	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
)

// stamper gives out the times of entries: this node's clock, but never smaller than a time given out or applied before.
// Two writes stamped at one moment may enter the log in the other order; applying takes the maximum once more.
type stamper struct{ last atomic.Int64 }

func (s *stamper) next(wall, applied int64) int64 {
	for {
		last := s.last.Load()
		stamp := max(wall, applied, last)
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
	if failed := n.gate.enter(ctx); failed != nil {
		return nil, failed
	}
	defer n.gate.leave()
	return n.submit(ctx, term, c)
}

// submit is propose for those who have passed the gate.
func (n *Node) submit(ctx context.Context, term raft.Term, c *commandpb.Command) (*engine.Result, *Error) {
	stamp, failed := n.stamp()
	if failed != nil {
		return nil, failed
	}
	c.Version, c.Time = command.Version, stamp
	c.Seed = rand.Uint64()
	data, err := command.Encode(c)
	if err != nil {
		return nil, tooLarge("%v", err)
	}
	applied, err := n.replica.Propose(ctx, term, data)
	if err != nil {
		return nil, n.proposalError(ctx, err)
	}
	result, ok := applied.Result.(*engine.Result)
	if !ok {
		return nil, outcomeUnknown(fmt.Errorf("entry %v was applied with a %T as its result", applied.ID, applied.Result))
	}
	return result, nil
}

// proposeMember is propose for a command about the cluster: that it was refused is an error too.
func (n *Node) proposeMember(ctx context.Context, term raft.Term, c *commandpb.Command) *Error {
	result, failed := n.propose(ctx, term, c)
	if failed == nil && result.Err != nil {
		failed = entryError(result)
	}
	return failed
}

// bounded gives a context without a deadline the default one.
func (n *Node) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, n.config.Timeout)
}
