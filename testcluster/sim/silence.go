package sim

import (
	"time"

	"github.com/rsqld/rsqld/raft"
)

// silence is within what time a running leader has to hear from a quorum, or to stop: CheckQuorum (§6.2) gives it T. The
// rest is for clocks that go wrong and for what takes its time inside a process.
const silence = 10 * T

// contact is when a process heard of whom, for the checker.
type contact struct {
	// heard is the newest moment at which the process took a message of a node.
	heard map[raft.ID]time.Duration
	// steady is since when it leads, in one configuration.
	steady        time.Duration
	configuration raft.Index
}

// hears notes that a process takes a message.
func (c *contact) hears(now time.Duration, from raft.ID) {
	if c.heard == nil {
		c.heard = map[raft.ID]time.Duration{}
	}
	c.heard[from] = now
}

// ticked checks, when time has passed for a process, that it does not lead alone. A process that does not see time pass
// because its disk stands still would (etcd#13527), and so would keep others from being elected.
func (c *checker) ticked(n *node) {
	w := c.world
	at := n.shadow.configuration()
	if n.role != raft.Leader || n.contact.configuration != at.Index {
		n.contact.steady, n.contact.configuration = w.now, at.Index
		return
	}
	if w.now-max(n.contact.steady, n.paused) < silence {
		return
	}
	heard := func(id raft.ID) bool {
		last, ever := n.contact.heard[id]
		return id == n.id || ever && w.now-last < silence
	}
	w.counts.Checks++
	if !isQuorum(&at.Configuration, heard) {
		w.fail("check-quorum", "node %d leads term %d and has heard from no quorum of %v for %v", n.id, n.term, at.Configuration, silence)
	}
}
