package db

import (
	"context"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/replica"
)

// The leader keeps the voters: it promotes learners that have caught up and did not ask to stay learners. With the setting
// cluster.target_voters it stops at so many, and what has caught up beyond is a spare: once a voter has not answered for
// cluster.replace_after, a spare takes its place, in one step. The voter that was away becomes a learner, and a spare itself
// when it is back: nobody has lost his disk by being late.

// tendVoters makes at most one change of the voters, if this node leads. The peer is whom it was about; why it did not work is
// in failed.
func (n *Node) tendVoters(ctx context.Context) (peer raft.ID, failed *Error) {
	status := n.replica.Status()
	if status.Role != raft.Leader || status.Transferring != 0 || status.Configuration.Joint() {
		return 0, nil
	}
	fresh := n.readyLearner(&status)
	if fresh == 0 {
		return 0, nil
	}
	target, after := n.engine.TargetVoters()
	if target == 0 || len(status.Configuration.Voters) < target {
		if failed = n.promote(ctx, fresh, 0); failed == nil {
			n.log.Info("promoted a learner to voter", "peer", fresh)
		}
		return fresh, failed
	}
	away := n.missingVoter(&status, after)
	if away == 0 {
		return 0, nil
	}
	if failed = n.stepIn(ctx, &status, fresh, away); failed == nil {
		n.log.Warn("a voter was away for too long: a learner votes in its place", "peer", fresh, "away", away, "dur", after)
	}
	return fresh, failed
}

// readyLearner returns a learner that may be promoted, or zero.
func (n *Node) readyLearner(status *raft.Status) raft.ID {
	for _, peer := range status.Peers {
		member, known := n.member(peer.ID)
		if status.Configuration.Learner(peer.ID) && known && !member.Learner && peer.CaughtUp && n.endpoint.Connected(peer.ID) {
			return peer.ID
		}
	}
	return 0
}

// missingVoter returns the voter that has not answered for the longest time, of those that were away for so long, or zero. A
// leader that is new counts from its election.
func (n *Node) missingVoter(status *raft.Status, after time.Duration) (away raft.ID) {
	longest := -1
	for _, peer := range status.Peers {
		silent := time.Duration(peer.SinceAck) * replica.Tick(n.config.ElectionTimeout)
		if status.Configuration.Voter(peer.ID) && silent >= after && !n.endpoint.Connected(peer.ID) && peer.SinceAck > longest {
			longest, away = peer.SinceAck, peer.ID
		}
	}
	return away
}

// stepIn makes a voter of one node and a learner of another in one step.
func (n *Node) stepIn(ctx context.Context, status *raft.Status, fresh, away raft.ID) *Error {
	if failed := n.spares(status, away, fresh); failed != nil {
		return failed
	}
	if failed := n.handKey(ctx, fresh); failed != nil {
		return failed
	}
	return n.change(ctx, func(c raft.Configuration) (raft.Membership, bool) {
		return raft.Membership{Promote: []raft.ID{fresh}, Demote: []raft.ID{away}}, c.Learner(fresh) && c.Voter(away)
	})
}
