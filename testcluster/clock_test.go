package testcluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/testcluster"
)

// TestLeaderClockAhead proves: a leader whose clock jumps ahead stamps nothing with it, gives up the lead and readiness,
// writes go on elsewhere, and it is fit again when its clock is right. The clocks of a minority change nothing.
func TestLeaderClockAhead(t *testing.T) {
	const jump = 1000 * time.Second
	c := startCluster(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	old, err := c.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	mustAsk(t, ctx, c, old, "create table t(x integer)")
	for i := 1; i <= 3; i++ {
		awaitClock(t, c, i, func(ahead time.Duration) bool { return ahead.Abs() < time.Second })
	}
	// In a session that is open already: the first stamp after the jump must not be wrong, and no write may fail.
	config := driver.Config{Addresses: []string{c.Address(old)}, Credential: c.Credential()}
	err = withConn(ctx, config, func(conn *driver.Conn) error {
		if err := c.SetClock(old, jump); err != nil {
			return err
		}
		for range 20 {
			if _, err := query(ctx, conn, driver.LevelSession, "insert into t values(unixepoch())"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := ask(ctx, c, old, driver.LevelStrong, "select max(x) from t")
	if err != nil {
		t.Fatal(err)
	}
	if newest := time.Unix(rows[0][0].(int64), 0); time.Until(newest) > jump/2 {
		t.Errorf("an entry bears the time %v, of a clock that is %v ahead", newest, jump)
	}
	next, err := c.Leader(ctx)
	if err != nil || next == old {
		t.Fatalf("node %d leads after node %d's clock jumped: %v", next, old, err)
	}
	if err := health(ctx, c, old); err == nil || !strings.Contains(err.Error(), "set its clock right") {
		t.Errorf("health of the node with the wrong clock: %v", err)
	}
	// It cannot be made the leader while its clock is wrong.
	if err := transfer(ctx, c, next, old); err == nil {
		t.Error("leadership was handed to the node with the wrong clock")
	}
	if leader, err := c.Leader(ctx); err != nil || leader == old {
		t.Fatalf("node %d leads: %v", leader, err)
	}
	if err := c.SetClock(old, 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node to be fit again", func(ctx context.Context) error {
		leader, err := c.Leader(ctx)
		if err != nil || leader == old {
			return err
		}
		return errors.Join(health(ctx, c, old), transfer(ctx, c, leader, old))
	})
	mustAsk(t, ctx, c, old, "insert into t values(unixepoch())")
}

// TestFollowerClockAhead proves: a follower whose clock is ahead is not ready and leaves the lead to others when leaders
// die, and no entry bears its time.
func TestFollowerClockAhead(t *testing.T) {
	c := startCluster(t, 5)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var ahead []int
	for range 2 {
		leader, err := c.Leader(ctx)
		if err != nil {
			t.Fatal(err)
		}
		follower := leader%5 + 1
		for len(ahead) > 0 && follower == ahead[0] {
			follower = follower%5 + 1
		}
		ahead = append(ahead, follower)
		if err := c.SetClock(follower, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		awaitClock(t, c, follower, func(by time.Duration) bool { return by > 9*time.Second })
		eventually(t, "the follower to be unfit", func(ctx context.Context) error {
			if c.Node(follower).Status().Raft.Fit {
				return errors.New("it is fit")
			}
			return nil
		})
		if err := health(ctx, c, follower); err == nil {
			t.Error("a follower with a wrong clock is ready")
		}
	}
	for range 2 {
		leader, err := c.Leader(ctx, without(c, ahead...)...)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Kill(leader); err != nil {
			t.Fatal(err)
		}
	}
	// A node whose clock is ahead may have to lead for a moment, if only it has all of the log: it hands over.
	leader, err := c.Leader(ctx, without(c, ahead...)...)
	if err != nil {
		t.Fatal(err)
	}
	mustAsk(t, ctx, c, leader, "create table t as select unixepoch() as x")
	rows, err := ask(ctx, c, leader, driver.LevelLocal, "select x from t")
	if err != nil {
		t.Fatal(err)
	}
	if stamp := time.Unix(rows[0][0].(int64), 0); time.Until(stamp) > 5*time.Second {
		t.Errorf("an entry bears the time %v, of a clock that is ahead", stamp)
	}
}

// awaitClock waits until a node finds its clock so far ahead.
func awaitClock(t *testing.T, c *testcluster.Cluster, node int, holds func(time.Duration) bool) {
	t.Helper()
	eventually(t, fmt.Sprintf("node %d to judge its clock", node), func(context.Context) error {
		if by := c.Node(node).Status().ClockAhead; !holds(by) {
			return fmt.Errorf("it finds itself ahead by %v", by)
		}
		return nil
	})
}

// health asks a node whether it is ready.
func health(ctx context.Context, c *testcluster.Cluster, node int) error {
	return manage(ctx, c, node, "health")
}

// transfer hands leadership to a node.
func transfer(ctx context.Context, c *testcluster.Cluster, through, to int) error {
	return manage(ctx, c, through, "transfer", fmt.Sprint(uint64(nodeID(c, to))))
}

func nodeID(c *testcluster.Cluster, node int) raft.ID { return c.Node(node).ID() }

// manage runs a control verb through a node.
func manage(ctx context.Context, c *testcluster.Cluster, node int, verb string, args ...string) error {
	config := driver.Config{Addresses: []string{c.Address(node)}, Credential: c.Credential()}
	return withConn(ctx, config, func(conn *driver.Conn) error {
		_, err := control(ctx, conn, verb, args...)
		return err
	})
}
