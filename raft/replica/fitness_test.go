package replica_test

import (
	"slices"
	"testing"
	"time"

	"github.com/rsqld/rsqld/raft"
)

// A leader that the layers above find unfit hands over and does not lead again before they find it fit; what it finds
// out by itself counts beside that.
func TestUnfitLeaderHandsOver(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		m := c.leader()
		c.propose(m, "a")
		m.SetFit(false)
		c.eventually("it leads no more", func() bool { return m.Status().Role != raft.Leader })
		next := c.leader()
		c.propose(next, "b")
		m.machine.fail(errDiskFull)
		c.propose(next, "c")
		c.eventually("it cannot apply", func() bool { return m.ApplyErr() != nil })
		m.SetFit(true)
		c.pass(time.Second)
		if m.Status().Fit {
			t.Error("a node that cannot apply is fit because the layers above say so")
		}
		m.SetFit(false)
		m.machine.fail(nil)
		c.eventually("it applies again", func() bool { return m.ApplyErr() == nil })
		if m.Status().Fit {
			t.Error("a node that the layers above find unfit is fit because it applies")
		}
		m.SetFit(true)
		c.eventually("it is fit", func() bool { return m.Status().Fit })
		if err := next.Transfer(within(t, time.Minute), m.id); err != nil {
			t.Fatal(err)
		}
		c.propose(c.leader(m.id), "d")
	})
}

// Where only an unfit node holds all that is committed, it wins the election that nobody else can win, and hands over.
func TestUnfitNodeLeadsAsLastResort(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		m := c.leader()
		c.propose(m, "a")
		others := c.others(m)
		unfit, behind := others[0], others[1]
		unfit.SetFit(false)
		c.eventually("it is unfit", func() bool { return !unfit.Status().Fit })
		c.network.isolate(behind.id)
		c.propose(m, "b")
		c.stop(m)
		c.network.isolate()
		next := c.leader(behind.id)
		c.propose(next, "c")
		c.eventually("the unfit node follows", func() bool { return unfit.Status().Role == raft.Follower && !unfit.Status().Fit })
		if got := c.converged(); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("got %q", got)
		}
	})
}

// An unfit leader tries one voter after the other until one takes over.
func TestUnfitLeaderTriesEveryVoter(t *testing.T) {
	testCluster(t, 5, func(t *testing.T, c *cluster) {
		m := c.leader()
		c.propose(m, "a")
		others := c.others(m)
		for _, other := range others[:3] {
			other.SetFit(false)
			c.eventually("it is unfit", func() bool { return !other.Status().Fit })
		}
		m.SetFit(false)
		c.eventually("the one that is fit leads", func() bool { return others[3].Status().Role == raft.Leader })
		c.propose(c.leader(), "b")
	})
}
