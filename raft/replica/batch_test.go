package replica_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rsqld/rsqld/raft/replica"
)

// stalledBatch stalls all disks, so that nothing is committed, and proposes one command after the other. What it returns
// lets the disks go on and waits for the answers.
func stalledBatch(t *testing.T, c *cluster, leader *member, commands int) (resume func()) {
	c.propose(leader, "first") // from here on entries are sent without being asked for
	synctest.Wait()
	for _, m := range c.members {
		m.disk.stall()
	}
	c.network.takeAppends()
	var proposers sync.WaitGroup
	for i := range commands {
		proposers.Go(func() {
			if _, err := leader.Propose(t.Context(), 0, []byte(command(i))); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
	}
	return func() {
		for _, m := range c.members {
			m.disk.resume()
		}
		proposers.Wait()
	}
}

// Proposals that come while a batch is on its way are the next batch: one append to each peer carries all of them.
func TestProposalsWaitForTheBatchBefore(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		resume := stalledBatch(t, c, c.leader(), 21)
		if got := c.network.takeAppends(); got != 2 {
			t.Errorf("%d appends left before the first batch was committed, want one to each of two peers", got)
		}
		resume()
		if got := c.network.takeAppends(); got != 2 {
			t.Errorf("the 20 proposals that waited left in %d appends, want one to each of two peers", got)
		}
		if got := len(c.converged()); got != 22 {
			t.Errorf("%d commands are applied, want 22", got)
		}
	})
}

// A batch that is not committed holds up the next one for a tick, not for as long as it takes.
func TestTickEndsTheWaitForABatch(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		resume := stalledBatch(t, c, c.leader(), 3)
		c.network.takeAppends()
		c.pass(replica.Tick(T))
		synctest.Wait()
		if got := c.network.takeAppends(); got != 2 {
			t.Errorf("%d appends left within a tick, want one to each of two peers", got)
		}
		resume()
		if got := len(c.converged()); got != 4 {
			t.Errorf("%d commands are applied, want 4", got)
		}
	})
}

// Giving up ends every wait: of what is in the log the outcome is unknown, of what waits for its batch it is certain that
// nothing was proposed, also when the batch before it is committed later.
func TestGiveUpEndsEveryWait(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		leader := c.leader()
		c.propose(leader, "first")
		synctest.Wait()
		for _, m := range c.members {
			m.disk.stall()
		}
		lost := errors.New("nobody is there")
		var errs [2]error
		var proposers sync.WaitGroup
		for i := range errs {
			proposers.Go(func() { _, errs[i] = leader.Propose(t.Context(), 0, []byte(command(i))) })
			synctest.Wait()
		}
		leader.GiveUp(lost)
		proposers.Wait()
		if !errors.Is(errs[0], replica.ErrOutcomeUnknown) || !errors.Is(errs[0], lost) {
			t.Errorf("what is in the log: %v", errs[0])
		}
		if errors.Is(errs[1], replica.ErrOutcomeUnknown) || !errors.Is(errs[1], lost) {
			t.Errorf("what waits for its batch: %v", errs[1])
		}
		for _, m := range c.members {
			m.disk.resume()
		}
		if got := c.converged(); !slices.Equal(got, []string{"first", command(0)}) {
			t.Errorf("applied are %q, want what was in the log", got)
		}
	})
}

// What arrives while the loop is away in a write is acted upon at once, by whoever brings it: a read of a follower takes
// no time although the leader's loop waits for its disk.
func TestArrivalsDoNotWaitForTheLoop(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		leader := c.leader()
		for i := range 20 { // enough for the loop to write by itself
			c.propose(leader, command(i))
		}
		leader.disk.stall()
		var proposer sync.WaitGroup
		proposer.Go(func() {
			if _, err := leader.Propose(t.Context(), 0, []byte("last")); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		begun := time.Now()
		if _, err := c.others(leader)[0].ReadIndex(within(c, time.Second)); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > 0 {
			t.Errorf("the read took %v", took)
		}
		leader.disk.resume()
		proposer.Wait()
	})
}
