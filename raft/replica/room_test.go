package replica_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/replica"
	"github.com/rsqld/rsqld/raft/wal"
)

// large is a command of which a few fill a segment.
var large = strings.Repeat("x", 100<<10)

// A leader whose disk has no room hands over before its log is full, and stays a member: it follows as long as its log
// takes it, waits without stopping when it does not, and is whole again when there is room.
func TestLeaderWithoutRoomHandsOver(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		m := c.leader()
		c.pass(time.Second) // the spare segments are ready
		m.disk.fill(true)
		// The first segment is full: the spare takes its place, and no other one can be made.
		for range 3 {
			c.propose(m, large)
		}
		c.eventually("it has no room and leads no more", func() bool {
			return m.RoomErr() != nil && m.Status().Role != raft.Leader && !m.Status().Fit
		})
		if err := m.RoomErr(); !errors.Is(err, wal.ErrNoRoom) {
			t.Errorf("RoomErr is %v", err)
		}
		next := c.leader()
		for i := range 20 {
			c.propose(next, command(i)+large)
		}
		c.pass(time.Minute)
		status := m.Status()
		if status.Stable >= next.Status().Last.Index {
			t.Error("the full disk took two megabytes")
		}
		if status.ContactTicks > 7 || m.Err() != nil {
			t.Errorf("the node without room does not follow: %+v, %v", status, m.Err())
		}
		if err := next.Transfer(within(t, time.Minute), m.id); !errors.Is(err, replica.ErrTransferFailed) {
			t.Errorf("handing over to the node without room: %v", err)
		}
		m.disk.fill(false)
		c.eventually("it is fit again", func() bool { return m.RoomErr() == nil && m.Status().Fit })
		if got := c.converged(); len(got) != 23 {
			t.Errorf("%d commands were applied, want 23", len(got))
		}
	})
}

// A leader without room that nobody can take over from takes no proposals and answers everything else.
func TestOnlyVoterWithoutRoomKeepsAnswering(t *testing.T) {
	for _, voters := range []int{1, 3} {
		testCluster(t, voters, func(t *testing.T, c *cluster) {
			m := c.leader()
			c.pass(time.Second)
			for _, other := range c.members {
				other.disk.fill(true)
			}
			// Until all know that they have no room: the first that do hand over to the others.
			c.eventually("nobody has room", func() bool {
				m = c.leader()
				_, err := m.Propose(within(t, time.Minute), 0, []byte(large))
				for _, other := range c.members {
					if other.RoomErr() == nil {
						return false
					}
				}
				return errors.Is(err, replica.ErrNoRoom) && errors.Is(err, wal.ErrNoRoom)
			})
			c.pass(time.Second)
			m = c.leader()
			_, term, changed := m.Leader()
			for range 10 {
				c.pass(time.Second)
				if _, err := m.ReadIndex(within(t, time.Second)); err != nil {
					t.Errorf("reading on the leader without room: %v", err)
				}
				_, err := m.Propose(within(t, time.Minute), term, []byte("a"))
				if !errors.Is(err, replica.ErrNoRoom) && !errors.Is(err, raft.ErrTransferring) {
					t.Errorf("got %v, want ErrNoRoom", err)
				}
			}
			select {
			case <-changed:
				t.Errorf("leader changed:\n%v", m.logs)
			default:
			}
			for _, other := range c.members {
				other.disk.fill(false)
			}
			c.eventually("there is room again", func() bool { return m.RoomErr() == nil })
			c.write("b")
		})
	}
}

// A write that finds no room at all waits for it, and is done when there is some; meanwhile the leader answers, and takes
// no more.
func TestWriteWithoutRoomWaits(t *testing.T) {
	testCluster(t, 1, func(t *testing.T, c *cluster) {
		m := c.leader()
		m.disk.fill(true) // before there is a spare segment
		outcomes := make(chan error, 3)
		for range cap(outcomes) {
			go func() {
				_, err := m.Propose(t.Context(), 0, []byte(large))
				outcomes <- err
			}()
		}
		c.eventually("there is no room", func() bool { return m.RoomErr() != nil })
		c.pass(time.Minute)
		if _, err := m.ReadIndex(within(t, time.Second)); err != nil {
			t.Errorf("reading: %v", err)
		}
		if _, err := m.Propose(within(t, time.Second), 0, []byte("a")); !errors.Is(err, replica.ErrNoRoom) {
			t.Errorf("got %v, want ErrNoRoom", err)
		}
		if m.Err() != nil || m.Status().Role != raft.Leader {
			t.Errorf("it is a %v, with error %v", m.Status().Role, m.Err())
		}
		m.disk.fill(false)
		for range cap(outcomes) {
			if err := <-outcomes; err != nil {
				t.Error(err)
			}
		}
		c.eventually("there is room again", func() bool { return m.RoomErr() == nil })
		c.propose(m, "b")
	})
}
