package testcluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/testcluster"
)

// configOf is how to reach all nodes of a cluster in this process.
func configOf(c *testcluster.Cluster) driver.Config {
	config := driver.Config{Credential: c.Credential()}
	for i := range c.Size() {
		config.Addresses = append(config.Addresses, c.Address(i+1))
	}
	return config
}

// at is how to reach one of them.
func at(c *testcluster.Cluster, node int) driver.Config {
	return driver.Config{Addresses: []string{c.Address(node)}, Credential: c.Credential()}
}

// checkAll waits until all nodes have applied the same and proves that no write is lost or doubled on any of them.
func checkAll(t *testing.T, c *testcluster.Cluster, w *writers) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	leader, err := c.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	mustAsk(t, ctx, c, leader, "create table settled(x)")
	for i := 1; i <= c.Size(); i++ {
		eventually(t, fmt.Sprintf("node %d to have applied all", i), func(ctx context.Context) error {
			return want(ctx, c, i, "select count(*) from sqlite_schema where name = 'settled'", "1")
		})
		w.checkAt(fmt.Sprintf("node %d", i), at(c, i))
	}
}

// TestDrillStalledDisk proves: a leader whose disk stands still gives the lead to a voter whose disk moves, writes go on,
// and when the disk moves again the node is whole.
func TestDrillStalledDisk(t *testing.T) {
	c := startCluster(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	w := startWritersAt(t, 4, configOf(c))
	w.awaitAcks(100)
	old, err := c.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	c.Disk(old).Stall()
	next, err := c.Leader(ctx, without(c, old)...)
	if err != nil {
		t.Fatal(err)
	}
	moved := time.Since(begun)
	w.awaitAcks(100)
	if limit := 3 * time.Second; soaking && moved > limit {
		t.Errorf("leadership moved after %v, later than %v", moved, limit)
	}
	report("stalled_disk moved=%v from=%d to=%d writes_went_on=true", moved.Round(time.Millisecond), old, next)
	if _, err := ask(ctx, c, old, driver.LevelLocal, "select count(*) from written"); err != nil {
		t.Errorf("the node with the stalled disk does not answer local reads: %v", err)
	}
	c.Disk(old).Resume()
	w.awaitAcks(100)
	w.finish()
	checkAll(t, c, w)
}

// without are the numbers of all nodes but some.
func without(c *testcluster.Cluster, nodes ...int) (others []int) {
	for i := 1; i <= c.Size(); i++ {
		if !slices.Contains(nodes, i) {
			others = append(others, i)
		}
	}
	return others
}

// row is a statement that fills the log fast with padding as its argument: functions of SQL do not, as entries hold text.
const row = "insert into big values(?)"

var padding = make([]byte, 50_000)

// awaitSpare waits until a node's log has a segment in reserve: a disk that is full before that leaves no time to refuse
// what is on its way.
func awaitSpare(t *testing.T, c *testcluster.Cluster, node int) {
	t.Helper()
	eventually(t, fmt.Sprintf("node %d to have a spare segment", node), func(context.Context) error {
		_, err := os.Stat(filepath.Join(filepath.Dir(c.Credential()), "..", fmt.Sprint("n", node), "wal", "spare"))
		return err
	})
}

// TestDrillFullDisk proves: a leader whose disk is full refuses no write that another leader can take, gives up the lead
// and readiness, keeps answering and following, and takes part again when there is room.
func TestDrillFullDisk(t *testing.T) {
	c := startCluster(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	w := startWritersAt(t, 4, configOf(c))
	old, err := c.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	mustAsk(t, ctx, c, old, "create table big(x)")
	w.awaitAcks(50)
	awaitSpare(t, c, old)
	c.Disk(old).Fill(true)
	refused := 0
	err = withConn(ctx, at(c, old), func(conn *driver.Conn) error {
		for c.Node(old).Status().Raft.Role == raft.Leader && ctx.Err() == nil {
			if _, err := query(ctx, conn, driver.LevelSession, row, padding); err != nil {
				t.Errorf("a write while another leader is there to take it: %v", err)
				refused++
			}
		}
		return ctx.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := health(ctx, c, old); err == nil || !strings.Contains(err.Error(), "no room for the log") {
		t.Errorf("health of the node with the full disk: %v", err)
	}
	for range 10 {
		if err := execute(ctx, configOf(c), row, padding); err != nil {
			t.Errorf("writing: %v", err)
		}
	}
	eventually(t, "the full node to follow, as long as its log takes it", func(ctx context.Context) error {
		rows, err := ask(ctx, c, old, driver.LevelLinearizable, "select count(*) from big")
		if err == nil && rows[0][0].(int64) < 10 {
			err = fmt.Errorf("it has %v rows", rows)
		}
		return err
	})
	if leader, err := c.Leader(ctx); err != nil || leader == old {
		t.Errorf("node %d leads: %v", leader, err)
	}
	report("full_disk refused=%d handed_over=true keeps_answering=true", refused)
	c.Disk(old).Fill(false)
	eventually(t, "the node to be ready again", func(ctx context.Context) error { return health(ctx, c, old) })
	w.awaitAcks(50)
	w.finish()
	checkAll(t, c, w)
}

// TestOnlyNodeWithFullDisk proves: a node that is alone and has no room refuses writes with an error that says what to do,
// answers reads, also linearizable ones, and goes on by itself when there is room.
func TestOnlyNodeWithFullDisk(t *testing.T) {
	c := startCluster(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	mustAsk(t, ctx, c, 1, "create table big(x)")
	awaitSpare(t, c, 1)
	c.Disk(1).Fill(true)
	err := withConn(ctx, at(c, 1), func(conn *driver.Conn) (err error) {
		for err == nil {
			_, err = query(ctx, conn, driver.LevelSession, row, padding)
		}
		return err
	})
	if !errors.Is(err, driver.ErrNoQuorum) || !strings.Contains(err.Error(), "delete what is not needed") {
		t.Errorf("writing without room: %v", err)
	}
	if _, err := ask(ctx, c, 1, driver.LevelLinearizable, "select count(*) from big"); err != nil {
		t.Errorf("reading without room: %v", err)
	}
	c.Disk(1).Fill(false)
	eventually(t, "the node to write again", func(ctx context.Context) error { return execute(ctx, at(c, 1), row, padding) })
}

// TestDrillBrokenDisk proves: a sync that fails ends the node, which says why, and the others go on without it.
func TestDrillBrokenDisk(t *testing.T) {
	c := startCluster(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	w := startWritersAt(t, 4, configOf(c))
	w.awaitAcks(100)
	old, err := c.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	node := c.Node(old)
	c.Disk(old).Fail()
	select {
	case <-node.Done():
	case <-ctx.Done():
		t.Fatal("the node whose disk fails goes on")
	}
	if err := node.Err(); !errors.Is(err, testcluster.ErrBroken) {
		t.Errorf("the node ended with %v", err)
	}
	if err := c.Kill(old); err != nil {
		t.Errorf("closing the broken node: %v", err)
	}
	w.awaitAcks(100)
	w.finish()
	leader, err := c.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w.checkAt(fmt.Sprintf("node %d", leader), at(c, leader))
	report("broken_disk node_ended=true writes_went_on=true")
}
