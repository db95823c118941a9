package raft

import "github.com/rsqld/rsqld/raft/tracker"

// slowRounds is after how many rounds in a row that were not fast enough the driver is told that a learner lags.
const slowRounds = 10

// chase is how a leader sees whether a learner catches up with a log that grows (§4.2.1). In a round the learner
// receives what the log held when the round began. A round shorter than T shows that promoting it delays no commitment
// by more than that. A round begins and ends with a tick.
type chase struct {
	goal  Index
	since uint64
	// fast says that the last whole round was shorter than T. slow counts the rounds in a row that were not.
	fast bool
	slow int
}

// tickChase ends the round of a peer if it is over. §4.2.1 gives up after a number of slow rounds; here nothing waits
// for the learner, which may become faster or the log slower, so that only the driver is told.
func (n *Node) tickChase(p *peer) {
	if p.match() < p.chase.goal {
		return
	}
	p.chase.slow++
	if p.chase.fast = n.now-p.chase.since < uint64(n.config.ElectionTicks); p.chase.fast {
		p.chase.slow = 0
	}
	if p.chase.slow == slowRounds {
		n.emit(LearnerLags{ID: p.id, Behind: n.log.last.Index - p.match()})
	}
	p.chase.goal, p.chase.since = n.log.last.Index, n.now
}

// caughtUp reports whether a peer follows closely enough to vote: it answers, its last round was fast, and the one that
// is running can be still.
func (n *Node) caughtUp(p *peer) bool {
	limit := uint64(n.config.ElectionTicks)
	return p.progress.State() == tracker.Replicate && n.now-p.ackedAt < limit &&
		p.chase.fast && (p.match() >= p.chase.goal || n.now-p.chase.since < limit)
}
