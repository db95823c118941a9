package replica_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/replica"
)

// After a failed write the replica stops for good and says why; nobody hears of a success.
func TestLogFailureStopsTheReplica(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		m := c.leader()
		c.propose(m, "a")
		m.disk.fail(errIO)
		// The entry may be committed by the others, but this node does not know it and must not say so.
		_, err := m.Propose(within(t, time.Minute), 0, []byte("b"))
		if !errors.Is(err, replica.ErrOutcomeUnknown) || !errors.Is(err, errIO) {
			t.Errorf("got %v, want ErrOutcomeUnknown with the disk's error", err)
		}
		<-m.Done()
		if err := m.Err(); !errors.Is(err, errIO) {
			t.Errorf("Err is %v, want the disk's error", err)
		}
		_, err = m.Propose(t.Context(), 0, []byte("c"))
		if !errors.Is(err, replica.ErrClosed) || !errors.Is(err, errIO) {
			t.Errorf("got %v, want ErrClosed with the disk's error", err)
		}
		if _, err = m.ReadIndex(t.Context()); !errors.Is(err, replica.ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
		others := c.others(m)
		c.write("d", others[0].id, others[1].id)
	})
}

// A state machine that fails pauses applying and costs the node leadership; when it works again, nothing is missing.
func TestMachineFailurePausesAndResumes(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		m := c.leader()
		c.propose(m, "a")
		m.machine.fail(errDiskFull)
		outcome := make(chan error, 1)
		go func() {
			_, err := m.Propose(t.Context(), 0, []byte("b"))
			outcome <- err
		}()
		c.eventually("the failure is published", func() bool { return errors.Is(m.ApplyErr(), errDiskFull) })
		next := c.leader()
		if next == m {
			t.Error("a node that cannot apply leads")
		}
		for i := range 10 {
			c.propose(next, command(i))
		}
		c.pass(20 * time.Second)
		if leader := c.leader(); leader == m {
			t.Error("a node that cannot apply leads again")
		}
		// 100, 200, … 3,200 ms, then every 5 s; commits in between are no reason to try again.
		if m.machine.fail(nil); m.machine.attempts < 7 || m.machine.attempts > 10 {
			t.Errorf("tried %d times within 20 s", m.machine.attempts)
		}
		c.eventually("it applies again", func() bool { return m.ApplyErr() == nil && m.Status().Fit })
		if err := <-outcome; err != nil {
			t.Errorf("the proposal that waited for the machine: %v", err)
		}
		if got := c.converged(); len(got) != 12 || got[1] != "b" {
			t.Errorf("got %q", got)
		}
	})
}

// The only voter gives up leadership while it cannot apply, and leads again at once when it can.
func TestSingleVoterResumesLeading(t *testing.T) {
	testCluster(t, 1, func(t *testing.T, c *cluster) {
		m := c.leader()
		m.machine.fail(errDiskFull)
		outcome := make(chan error, 1)
		go func() {
			_, err := m.Propose(t.Context(), 0, []byte("a"))
			outcome <- err
		}()
		c.eventually("it leads no more", func() bool { return m.Status().Role != raft.Leader })
		if _, err := m.Propose(t.Context(), 0, []byte("b")); !errors.Is(err, raft.ErrNotLeader) {
			t.Errorf("got %v, want ErrNotLeader", err)
		}
		m.machine.fail(nil)
		c.leader()
		if err := <-outcome; err != nil {
			t.Error(err)
		}
		c.propose(m, "c")
	})
}

// A state machine whose Apply does not return stops neither heartbeats nor commitment.
func TestSlowMachineKeepsLeading(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		m := c.leader()
		c.propose(m, "a")
		_, term, changed := m.Leader()
		open := m.machine.block()
		slow := make(chan error, 1)
		go func() {
			_, err := m.Propose(t.Context(), term, []byte("b"))
			slow <- err
		}()
		c.pass(20 * T)
		select {
		case <-changed:
			t.Errorf("leader changed:\n%v", m.logs)
		case err := <-slow:
			t.Errorf("the proposal ended with %v before it was applied", err)
		default:
		}
		for _, other := range c.others(m) {
			if !slices.Contains(other.machine.content(), "b") {
				t.Errorf("%d does not go on", other.id)
			}
		}
		open()
		if err := <-slow; err != nil {
			t.Error(err)
		}
	})
}

// A stall of the leader's disk that is long but usual changes nothing: the others commit, and the leader serves reads
// without waiting for a tick.
func TestShortStallKeepsLeadership(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		m := c.leader()
		for i := range 20 {
			c.propose(m, command(i)) // one by one: the loop writes them itself
		}
		_, _, changed := m.Leader()
		resume := m.disk.stall()
		stalled := make(chan error, 1)
		go func() {
			_, err := m.Propose(t.Context(), 0, []byte("b"))
			stalled <- err
		}()
		c.pass(time.Second)
		start := time.Now()
		if _, err := m.ReadIndex(within(t, time.Second)); err != nil || time.Since(start) > 0 {
			t.Errorf("read index during the stall: %v after %v", err, time.Since(start))
		}
		select {
		case <-changed:
			t.Errorf("leader changed:\n%v", m.logs)
		default:
		}
		resume()
		if err := <-stalled; err != nil {
			t.Error(err)
		}
	})
}

// A follower whose disk stands still follows on: neither its ticks nor its answers to heartbeats wait for the disk.
func TestStalledFollowerKeepsFollowing(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		m := c.leader()
		for i := range 20 {
			c.propose(m, command(i))
		}
		c.converged()
		follower := c.others(m)[0]
		_, _, changed := follower.Leader()
		resume := follower.disk.stall()
		c.propose(m, "a")
		for range 20 * 15 {
			c.pass(T / 15)
			if silent := follower.Status().ContactTicks; silent > 7 {
				t.Fatalf("the follower has not heard its leader for %d ticks", silent)
			}
		}
		select {
		case <-changed:
			t.Errorf("leader changed:\n%v", follower.logs)
		default:
		}
		for _, p := range m.Status().Peers {
			if p.SinceAck > 7 {
				t.Errorf("%d has not answered for %d ticks", p.ID, p.SinceAck)
			}
		}
		resume()
		c.converged()
	})
}

// A leader whose disk stands still hands over to a voter whose disk moves.
func TestStalledDiskHandsOver(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		m := c.leader()
		c.propose(m, "a")
		resume := m.disk.stall()
		stalled := make(chan error, 1)
		go func() {
			_, err := m.Propose(t.Context(), 0, []byte("b"))
			stalled <- err
		}()
		c.pass(1400 * time.Millisecond)
		if got := m.Status().Role; got != raft.Leader {
			t.Errorf("%v after 1.4 s of a stall, want leader still", got)
		}
		c.pass(400 * time.Millisecond)
		others := c.others(m)
		next := c.leader(others[0].id, others[1].id)
		c.propose(next, "c")
		resume()
		if err := <-stalled; err != nil {
			t.Errorf("the proposal was committed by the others: %v", err)
		}
		if got := c.converged(); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("got %q", got)
		}
	})
}

// A leader whose disk stands still stays when every other disk does so too, and when there is no other voter.
func TestStallWithoutBetterDiskKeepsLeadership(t *testing.T) {
	for _, voters := range []int{1, 3} {
		t.Run(fmt.Sprint(voters, " voters"), func(t *testing.T) {
			testCluster(t, voters, func(t *testing.T, c *cluster) {
				m := c.leader()
				c.propose(m, "a")
				_, _, changed := m.Leader()
				for _, other := range c.members {
					defer other.disk.stall()()
				}
				_, err := m.Propose(within(t, 10*time.Second), 0, []byte("b"))
				if !errors.Is(err, replica.ErrOutcomeUnknown) {
					t.Errorf("got %v, want ErrOutcomeUnknown", err)
				}
				select {
				case <-changed:
					t.Errorf("leader changed:\n%v", m.logs)
				default:
				}
				if m.logs.alarming() {
					t.Errorf("a useless attempt was made:\n%v", m.logs)
				}
			})
		})
	}
}
