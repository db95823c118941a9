package db

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// A leader stamps entries with its clock, and applying takes the maximum of all stamps (engine.LastTime): one stamp of
// next year, and the cluster's time stands still for a year. So a leader whose clock is more than Config.MaxClockAhead
// ahead of the voters' median gives out no stamps and leaves the lead to others, until its clock is right. A clock that is
// behind does no harm: stamps never fall.

// clockMemory is how long what a peer said of its clock is believed. Peers tell it several times a second; in this time
// no two clocks of sound machines drift apart by a noticeable part of a second.
const clockMemory = time.Minute

// clocks compares this node's wall clock with those of its peers.
type clocks struct {
	// now is this node's wall clock; limit is how far it may be ahead.
	now   func() time.Time
	limit time.Duration

	mu    sync.Mutex // guards what follows
	heard map[raft.ID]heardClock
	// wrong says that the node was found ahead, by the lead of the newest judgement. It stays so until the lead is below
	// half the limit: a clock at the limit would come and go otherwise.
	wrong bool
	lead  time.Duration
}

// heardClock is a peer's clock (Unix nanoseconds) and when it was heard. The travel of a packet is too short to matter.
type heardClock struct {
	clock int64
	at    time.Time // its monotonic reading counts
}

// hear takes what a peer said of its clock.
func (c *clocks) hear(peer raft.ID, clock int64, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.heard == nil {
		c.heard = make(map[raft.ID]heardClock)
	}
	c.heard[peer] = heardClock{clock, at}
}

// ahead returns by how much wall, this node's clock at the time at, is ahead of the median of the voters' clocks; negative
// is behind. A voter that was not heard within clockMemory counts as one that is far ahead, and of two medians the later
// one counts. So it takes a majority of the voters to find a node ahead, and always leaves a majority that is not:
// whatever clocks are wrong, and however, they alone leave no cluster without a leader. Known is false if too few clocks
// are known to say anything. Of two voters neither can be found ahead: nobody knows which of them is right.
func (c *clocks) ahead(self raft.ID, voters []raft.ID, wall int64, at time.Time) (lead time.Duration, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var leads []time.Duration
	for _, id := range voters {
		if id == self {
			leads = append(leads, 0)
			continue
		}
		if h, ok := c.heard[id]; ok && at.Sub(h.at) <= clockMemory {
			leads = append(leads, time.Duration(wall-h.clock)-at.Sub(h.at))
		}
	}
	majority := len(voters)/2 + 1
	if len(voters) == 0 || len(leads) < majority {
		return 0, false
	}
	slices.Sort(leads)
	return leads[len(leads)-majority], true
}

// judge notes the lead and reports whether the node's clock is wrong, and whether it was not so before, or the reverse.
func (c *clocks) judge(lead time.Duration) (wrong, changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := c.limit
	if c.wrong {
		limit /= 2
	}
	wrong = lead > limit
	changed = wrong != c.wrong
	c.wrong, c.lead = wrong, lead
	return wrong, changed
}

// state returns the newest judgement.
func (c *clocks) state() (wrong bool, lead time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wrong, c.lead
}

// judgeClock finds out whether this node may give out the time wall, and makes the node unfit to lead if not.
func (n *Node) judgeClock(wall int64) (wrong bool, lead time.Duration) {
	configuration := n.replica.Status().Configuration
	voters := slices.Concat(configuration.Voters, configuration.Outgoing)
	slices.Sort(voters)
	lead, _ = n.clocks.ahead(n.self.Node, slices.Compact(voters), wall, time.Now())
	wrong, changed := n.clocks.judge(lead)
	switch {
	case !changed:
	case wrong:
		n.updateFitness()
		n.log.Error("this node's clock is ahead of the voters' median: it does not lead until the clock is right",
			"node", n.self.Node, "ahead", lead, "limit", n.config.MaxClockAhead)
	default:
		n.updateFitness()
		n.log.Info("this node's clock is right again", "node", n.self.Node, "ahead", lead)
	}
	return wrong, lead
}

// watchClock judges the clock all the time: a node that leads without writes, or follows, must become unfit too.
func (n *Node) watchClock(ctx context.Context) {
	ticker := time.NewTicker(housekeepingInterval)
	defer ticker.Stop()
	for {
		n.judgeClock(n.clocks.now().UnixNano())
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// stamp gives out a time for an entry, unless the clock is wrong. It looks at the very time that it gives out: a clock may
// jump between two looks.
func (n *Node) stamp() (int64, *Error) {
	wall := n.clocks.now().UnixNano()
	if wrong, lead := n.judgeClock(wall); wrong {
		return 0, noLeader(n.clockText(lead))
	}
	return n.stamps.next(wall, n.engine.LastTime()), nil
}

// clockText says what a wrong clock means and what to do.
func (n *Node) clockText(lead time.Duration) string {
	return fmt.Sprintf("the clock of node %d is %v ahead of the voters' median (limit %v): it takes no writes and does not "+
		"lead; set its clock right (NTP), and it goes on by itself",
		n.self.Node, lead.Round(time.Millisecond), n.config.MaxClockAhead)
}

// clockError is why a node with a wrong clock is not ready, or nil.
func (n *Node) clockError() *Error {
	wrong, lead := n.clocks.state()
	if !wrong {
		return nil
	}
	return &Error{Class: sqlpb.Class_CLASS_STALE, Message: "not ready: " + n.clockText(lead)}
}
