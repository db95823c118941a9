package testcluster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/testcluster"
)

// transferCluster is a cluster with a database of some MiB, and everything that its nodes log.
type transferCluster struct {
	*testcluster.Cluster
	t    *testing.T
	ctx  context.Context
	logs syncBuffer
	size int64
}

func startTransfers(t *testing.T, nodes int) *transferCluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	c := &transferCluster{t: t, ctx: ctx}
	var err error
	c.Cluster, err = testcluster.Start(ctx, testcluster.Config{Nodes: nodes, Dir: t.TempDir(), Seed: 1, LogSegmentBytes: 256 << 10,
		LogKeepBytes: 256 << 10, LogMaxBytes: 4 << 20, Logger: slog.New(slog.NewTextHandler(&c.logs, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(tail(c.logs.String(), 60))
		}
	})
	leader := c.leader()
	mustAsk(t, ctx, c.Cluster, leader, "create table t(id integer primary key, b)")
	mustAsk(t, ctx, c.Cluster, leader,
		"insert into t with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000) select i, randomblob(4000) from n")
	c.size = c.Node(leader).Status().DBBytes
	return c
}

func (c *transferCluster) leader(among ...int) int {
	c.t.Helper()
	leader, err := c.Leader(c.ctx, among...)
	if err != nil {
		c.t.Fatal(err)
	}
	return leader
}

// outgrow makes the logs of all running nodes longer than they may be, and changes nothing.
func (c *transferCluster) outgrow(by int, upTo raft.Index) {
	c.t.Helper()
	text := strings.Repeat("text ", 16<<10)
	for short := false; !short; {
		mustAsk(c.t, c.ctx, c.Cluster, by, "insert into t(b) select 1 where length('"+text+"') < 0")
		short = true
		for i := 1; i <= c.Size(); i++ {
			if node := c.Node(i); node != nil {
				short = short && node.Status().Raft.First > upTo
			}
		}
	}
}

// sent is what all nodes that run have sent of snapshots.
func (c *transferCluster) sent() (bytes int64) {
	for i := 1; i <= c.Size(); i++ {
		if node := c.Node(i); node != nil {
			bytes += node.Status().Snapshots.Content
		}
	}
	return bytes
}

// dir is a node's data directory.
func (c *transferCluster) dir(i int) string {
	return filepath.Join(filepath.Dir(filepath.Dir(c.Credential())), fmt.Sprintf("n%d", i))
}

// awaitSent waits until a node has sent so many bytes of snapshots.
func (c *transferCluster) awaitSent(i int, bytes int64) {
	c.t.Helper()
	eventually(c.t, fmt.Sprintf("node %d to send %d bytes", i, bytes), func(context.Context) error {
		if sent := c.Node(i).Status().Snapshots.Content; sent < bytes {
			return fmt.Errorf("it has sent %d", sent)
		}
		return nil
	})
}

// awaitInstalled waits until a node has applied what is committed, by way of a snapshot, and holds the leader's content.
func (c *transferCluster) awaitInstalled(i, leader int) {
	c.t.Helper()
	commit := c.Node(leader).Status().Raft.Commit
	eventually(c.t, "the one that was away to have caught up", func(context.Context) error {
		if own := c.Node(i).Status().Raft; own.Applied < commit {
			return fmt.Errorf("it has applied %d of %d", own.Applied, commit)
		}
		return nil
	})
	sameContent(c.t, c.Cluster, leader, i)
	if c.logged("a snapshot has arrived", "index") < 0 {
		c.t.Error("no snapshot has arrived")
	}
}

// noPart checks that nothing of a snapshot is left behind on a node's disk.
func (c *transferCluster) noPart(dir string) {
	c.t.Helper()
	if names, err := filepath.Glob(filepath.Join(dir, "snapshots", "incoming-*")); err != nil || len(names) != 0 {
		c.t.Errorf("%v: left behind %v", err, names)
	}
}

// logged returns what a field is in the newest line of a message, or -1.
func (c *transferCluster) logged(message, field string) int64 {
	all := regexp.MustCompile(`msg="`+message+`" .*\b`+field+`=(\d+)`).FindAllStringSubmatch(c.logs.String(), -1)
	if len(all) == 0 {
		return -1
	}
	value, err := strconv.ParseInt(all[len(all)-1][1], 10, 64)
	if err != nil {
		c.t.Fatal(err)
	}
	return value
}

// A replica that was away while one row was changed gets the pages of that row and of the engine's own, and not the database.
func TestSnapshotBringsWhatDiffers(t *testing.T) {
	c := startTransfers(t, 3)
	leader := c.leader()
	away := leader%3 + 1
	sameContent(t, c.Cluster, leader, 1, 2, 3)
	before := c.Node(away).Status().Raft.Last.Index
	if err := c.Kill(away); err != nil {
		t.Fatal(err)
	}
	mustAsk(t, c.ctx, c.Cluster, leader, "update t set b = randomblob(4000) where id = 1500")
	c.outgrow(leader, before+1)
	if err := c.Restart(c.ctx, away); err != nil {
		t.Fatal(err)
	}
	c.awaitInstalled(away, leader)
	if sent := c.sent(); sent == 0 || sent > c.size/20 {
		t.Errorf("%d bytes were sent of %d", sent, c.size)
	}
	if own := c.logged("a snapshot has arrived", "own"); own < c.size/2 {
		t.Errorf("%d bytes of %d were this node's own", own, c.size)
	}
	c.noPart(c.dir(away))
}

// Whoever dies while a snapshot is on its way, what has arrived stays: the receiver that is started again goes on with
// it, and so does one that has another leader's snapshot next, of a later entry.
func TestSnapshotSurvivesDeaths(t *testing.T) {
	c := startTransfers(t, 3)
	leader := c.leader()
	away := leader%3 + 1
	other := 6 - leader - away
	if err := c.Kill(away); err != nil {
		t.Fatal(err)
	}
	mustAsk(t, c.ctx, c.Cluster, leader, "update t set b = randomblob(4000)") // nothing is as the one away has it
	c.outgrow(leader, c.Node(leader).Status().Raft.Last.Index)
	if err := errors.Join(c.Slow(leader, 40*time.Millisecond), c.Slow(other, 40*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(c.ctx, away); err != nil {
		t.Fatal(err)
	}
	c.awaitSent(leader, c.size/4)
	if err := errors.Join(c.Kill(away), c.Restart(c.ctx, away)); err != nil { // the receiver
		t.Fatal(err)
	}
	c.awaitSent(leader, c.size/2)
	if err := c.Kill(leader); err != nil { // the sender
		t.Fatal(err)
	}
	next := c.leader(away, other)
	if err := errors.Join(c.Slow(leader, 0), c.Slow(other, 0), c.Restart(c.ctx, leader)); err != nil {
		t.Fatal(err)
	}
	c.awaitInstalled(away, next)
	if kept := c.logged("a snapshot has arrived", "kept"); kept < c.size/8 {
		t.Errorf("%d bytes of %d were kept", kept, c.size)
	}
	c.noPart(c.dir(away))
}

// Two nodes that join at the same time get one copy, and become voters.
func TestTwoJoinersShareASnapshot(t *testing.T) {
	c := startTransfers(t, 1)
	c.outgrow(1, c.Node(1).Status().Raft.Last.Index)
	network := testcluster.NewNetwork(9)
	late := make([]*db.Node, 2)
	for i := range late {
		conn, err := network.PacketConn(i + 1)
		if err != nil {
			t.Fatal(err)
		}
		late[i], err = db.Open(c.ctx, db.Config{Data: filepath.Join(t.TempDir(), "late"), PacketConn: conn, Join: []string{c.Address(1)},
			Token: "@" + filepath.Join(filepath.Dir(c.Credential()), "join-token"), Logger: slog.New(slog.NewTextHandler(&c.logs, nil))})
		if err != nil {
			t.Fatal(err)
		}
		defer late[i].Close(c.ctx)
	}
	for _, node := range late {
		eventually(t, "a new node to be a voter that holds all", func(context.Context) error {
			status, own := c.Node(1).Status().Raft, node.Status().Raft
			if !status.Configuration.Voter(node.ID()) || own.Applied < status.Commit {
				return fmt.Errorf("it has applied %d of %d, members are %v", own.Applied, status.Commit, status.Configuration)
			}
			return nil
		})
	}
	if copies, _ := filepath.Glob(filepath.Join(c.dir(1), "snapshots", "outgoing-*")); len(copies) != 0 {
		t.Errorf("copies are left: %v", copies)
	}
	if n := strings.Count(c.logs.String(), `msg="a snapshot has arrived"`); n != 2 {
		t.Errorf("%d snapshots have arrived", n)
	}
}
