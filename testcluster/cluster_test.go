package testcluster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/testcluster"
)

// startCluster starts a cluster in this process.
func startCluster(t *testing.T, nodes int) *testcluster.Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := testcluster.Start(ctx, testcluster.Config{Nodes: nodes, Dir: t.TempDir(), Seed: 1,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// ask runs one statement on one node.
func ask(ctx context.Context, c *testcluster.Cluster, node int, level driver.Level, sql string, args ...any) (rows [][]any, err error) {
	config := driver.Config{Addresses: []string{c.Address(node)}, Credential: c.Credential()}
	err = withConn(ctx, config, func(conn *driver.Conn) (err error) {
		rows, err = query(ctx, conn, level, sql, args...)
		return err
	})
	return rows, err
}

// TestPartition proves the second half of the story: a leader and one other cut off from three refuse writes for want
// of a quorum and still answer local reads, the three elect a leader and commit, and once healed all five are equal and
// what the minority had not committed is gone.
func TestPartition(t *testing.T) {
	c := startCluster(t, 5)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	old, err := c.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	mustAsk(t, ctx, c, old, "create table t(x integer primary key)")
	mustAsk(t, ctx, c, old, "insert into t values(1)")
	minority := []int{old, old%5 + 1}
	var majority []int
	for i := 1; i <= 5; i++ {
		if !slices.Contains(minority, i) {
			majority = append(majority, i)
		}
	}
	for i := 1; i <= 5; i++ {
		eventually(t, fmt.Sprintf("node %d to have the first row", i), func(ctx context.Context) error {
			return want(ctx, c, i, "select group_concat(x) from t", "1")
		})
	}
	// A write that is on its way when the cut comes reaches the old leader's log and no majority.
	if err := c.Partition(minority, majority); err != nil {
		t.Fatal(err)
	}
	// The driver would send a single statement again, through the majority.
	if _, err := ask(ctx, c, old, driver.LevelSession, "insert into t values(1000); select 1"); !errors.Is(err, driver.ErrOutcomeUnknown) && !errors.Is(err, driver.ErrNoQuorum) {
		t.Errorf("a write at the leader that was cut off ends with %v", err)
	}
	leader, err := c.Leader(ctx, majority...)
	if err != nil {
		t.Fatal(err)
	}
	mustAsk(t, ctx, c, leader, "insert into t values(2)")
	for _, i := range minority {
		begun := time.Now()
		if _, err := ask(ctx, c, i, driver.LevelSession, "insert into t values(2000)"); !errors.Is(err, driver.ErrNoQuorum) {
			t.Errorf("a write at node %d of the minority ends with %v, want no quorum", i, err)
		}
		t.Logf("node %d refused a write after %v", i, time.Since(begun))
		if err := want(ctx, c, i, "select group_concat(x) from t", "1"); err != nil {
			t.Errorf("a local read at node %d of the minority: %v", i, err)
		}
	}
	c.Heal()
	mustAsk(t, ctx, c, leader, "insert into t values(3)")
	for i := 1; i <= 5; i++ {
		eventually(t, fmt.Sprintf("node %d to have what the majority wrote", i), func(ctx context.Context) error {
			return want(ctx, c, i, "select group_concat(x) from (select x from t order by x)", "1,2,3")
		})
	}
}

func mustAsk(t *testing.T, ctx context.Context, c *testcluster.Cluster, node int, sql string) {
	t.Helper()
	if _, err := ask(ctx, c, node, driver.LevelSession, sql); err != nil {
		t.Fatalf("%s at node %d: %v", sql, node, err)
	}
}

// want compares a node's local answer of one value.
func want(ctx context.Context, c *testcluster.Cluster, node int, sql, value string) error {
	rows, err := ask(ctx, c, node, driver.LevelLocal, sql)
	if err != nil {
		return err
	}
	if fmt.Sprint(rows) != fmt.Sprintf("[[%s]]", value) {
		return fmt.Errorf("node %d answers %v, want %s", node, rows, value)
	}
	return nil
}

// TestKillAndRestart proves that a cluster in one process survives the loss of a node and takes it back.
func TestKillAndRestart(t *testing.T) {
	c := startCluster(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	old, err := c.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	mustAsk(t, ctx, c, old, "create table t(x)")
	if err := c.Kill(old); err != nil {
		t.Fatal(err)
	}
	leader, err := c.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	mustAsk(t, ctx, c, leader, "insert into t values(1)")
	if err := c.Restart(ctx, old); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the restarted node to catch up", func(ctx context.Context) error {
		return want(ctx, c, old, "select count(*) from t", "1")
	})
}

// TestWriteAcrossFailover proves: a write that is sent through a follower at the moment the leader dies, before it was
// proposed, is held during the election and done by the next leader.
func TestWriteAcrossFailover(t *testing.T) {
	c := startCluster(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	old, err := c.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	mustAsk(t, ctx, c, old, "create table t(x)")
	for round := range 3 {
		follower := old%3 + 1
		if err := c.Kill(old); err != nil {
			t.Fatal(err)
		}
		if _, err := ask(ctx, c, follower, driver.LevelSession, "insert into t values(?)", round); err != nil {
			t.Errorf("round %d: a write through node %d after node %d died: %v", round, follower, old, err)
		}
		if err := c.Restart(ctx, old); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the restarted node to catch up", func(ctx context.Context) error {
			return want(ctx, c, old, "select count(*) from t", fmt.Sprint(round+1))
		})
		if old, err = c.Leader(ctx); err != nil {
			t.Fatal(err)
		}
	}
}
