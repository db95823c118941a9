package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/replica"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// holdRetry is how long a held request waits before it tries a leader again that refused it or could not be reached.
const holdRetry = 10 * time.Millisecond

// hold runs attempt with the leader that is known, and again while attempt says that nothing was executed for want of a
// leader. It gives up Config.NoLeaderWait after the last contact with a quorum, or with a leader that does not answer
// after the same time from its first failure, and after Config.Timeout in any case: an election is invisible to the
// client, a minority refuses soon. A write whose outcome is not known is tried again too if it may be (Error.again); once
// one attempt ended so, the outcome stays unknown until another attempt tells it.
func (n *Node) hold(ctx context.Context, attempt func(leader raft.ID, term raft.Term) *Error) *Error {
	begun := time.Now()
	since, tried := begun, raft.Term(0)
	var unknown *Error
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
			failed = attempt(leader, term)
			switch {
			case failed == nil:
				return nil
			case failed.again:
				unknown = failed
			case !failed.notExecuted():
				return failed.unless(unknown)
			}
			left = min(left-time.Since(since), holdRetry)
			if isClosed(changed) {
				left = holdRetry // there is news: it is worth another look
			}
		}
		if left <= 0 || time.Since(begun) > n.config.Timeout {
			return failed.unless(unknown)
		}
		if _, err := pause(ctx, left, changed); err != nil {
			return err.unless(unknown)
		}
	}
}

// unless returns the error of a request one of whose attempts has an unknown outcome: e, if it tells the outcome.
func (e *Error) unless(unknown *Error) *Error {
	if unknown == nil {
		return e
	}
	if e.Retry == sqlpb.Retry_RETRY_TRANSACTION {
		return e // it was not committed and never will be
	}
	switch e.Class {
	case sqlpb.Class_CLASS_SQL, sqlpb.Class_CLASS_TOO_LARGE, sqlpb.Class_CLASS_DENIED:
		return e // what the entry came to
	}
	return unknown
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// hold is Node.hold for a request of the session. One that was relayed here is refused at once if this node does not
// lead: the node that relayed it holds it, and may know the leader sooner.
func (s *session) hold(ctx context.Context, attempt func(leader raft.ID, term raft.Term) *Error) *Error {
	if !s.relayed {
		return s.node.hold(ctx, attempt)
	}
	leader, term, _ := s.node.replica.Leader()
	if leader != s.node.self.Node {
		return s.node.notLeader()
	}
	return attempt(leader, term)
}

// pause waits until wake closes, which woken reports, or d has passed; the error is that of the end of ctx.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) (woken bool, failed *Error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-wake:
		return true, nil
	case <-timer.C:
		return false, nil
	case <-ctx.Done():
		return false, ended(ctx)
	}
}

// sinceQuorum is the time since this node last heard of a quorum: as the leader from enough voters, else from a leader.
func (n *Node) sinceQuorum() time.Duration {
	return time.Duration(n.replica.Status().ContactTicks) * replica.Tick(n.config.ElectionTimeout)
}

// catchUp waits until this leader has applied everything that was committed when it was called, so that it decides by
// the newest members and tokens.
func (n *Node) catchUp(ctx context.Context) *Error {
	ctx, cancel := n.bounded(ctx)
	defer cancel()
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

// watchLeader tells clients of a new leader and ends the relays to the old one. When no leader has been known for
// Config.NoLeaderWait it ends the wait of proposals: a client of a minority learns soon that the outcome of its write is
// unknown.
func (n *Node) watchLeader(ctx context.Context) {
	for {
		leader, _, changed := n.replica.Leader()
		wait := n.deposedGrace()
		if leader != 0 {
			n.announceLeader()
		} else {
			wait = max(0, n.config.NoLeaderWait-n.sinceQuorum())
		}
		woken, failed := pause(ctx, wait, changed)
		if failed != nil {
			return
		}
		if woken {
			continue // another leader, or a candidate's new term: the wait begins anew
		}
		if leader == 0 {
			n.replica.GiveUp(errNoQuorum)
		}
		n.dropStaleRelays(leader)
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// announceLeader has every session tell its client of the leader. It waits for none of them.
func (n *Node) announceLeader() {
	for _, s := range n.sessions.all() {
		select {
		case s.moved <- struct{}{}:
		default: // it is about to tell what is known then
		}
	}
}

// dropStaleRelays closes relays to any node but leader, so that requests on them do not wait for a dead node.
func (n *Node) dropStaleRelays(leader raft.ID) {
	for _, s := range n.sessions.all() {
		if r := s.relay.Load(); r != nil && r.leader != leader {
			r.giveUp(errReplaced)
		}
	}
}

// errNoQuorum is why proposals are given up.
var errNoQuorum = errors.New("this node lost the quorum")

// notLeader refuses a relayed request: the relaying node holds it and tries the leader that it then knows.
func (n *Node) notLeader() *Error {
	return noLeader(fmt.Sprintf("no quorum: node %d does not lead", n.self.Node))
}

// leaderLost says that nothing was executed because the leader that is known could not be asked.
func (n *Node) leaderLost(leader raft.ID, why error) *Error {
	return noLeader(fmt.Sprintf("no quorum: cannot ask the leader, node %d: %v; reads at level local still work", leader, why))
}

// noRoom says that nothing was executed because this leader's log has no room: another leader may have.
func (n *Node) noRoom(err error) *Error {
	return noLeader(fmt.Sprintf("node %d takes no writes, and leads on only because no other voter takes over: %v", n.self.Node, err))
}

// noQuorum says that nothing was executed because no leader is to be had.
func (n *Node) noQuorum() *Error {
	reached, voters := n.reachableVoters()
	if reached > voters/2 {
		return noLeader(fmt.Sprintf("no quorum: no leader is elected, though this node can reach %d of %d voters; reads at level local still work", reached, voters))
	}
	return noLeader(fmt.Sprintf("no quorum: this node can reach %d of %d voters; reads at level local still work", reached, voters))
}

func noLeader(message string) *Error {
	return &Error{Class: sqlpb.Class_CLASS_NO_QUORUM, Retry: sqlpb.Retry_RETRY_SAME, Message: message}
}
