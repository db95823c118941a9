package testcluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/testcluster"
)

// startShortLog starts a cluster whose nodes keep little of their logs.
func startShortLog(t *testing.T, nodes int) *testcluster.Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := testcluster.Start(ctx, testcluster.Config{Nodes: nodes, Dir: t.TempDir(), Seed: 1,
		LogSegmentBytes: 256 << 10, LogKeepBytes: 256 << 10, LogMaxBytes: 4 << 20,
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

// fill writes until every running node has dropped its log up to an index.
func fill(t *testing.T, ctx context.Context, c *testcluster.Cluster, by int, upTo raft.Index) {
	t.Helper()
	for short := false; !short; {
		mustAsk(t, ctx, c, by, "insert into t(b) values('"+strings.Repeat("text ", 8<<10)+"')")
		short = true
		for i := 1; i <= c.Size(); i++ {
			if node := c.Node(i); node != nil {
				short = short && node.Status().Raft.First > upTo
			}
		}
	}
}

// sameContent waits until all nodes hold the same rows.
func sameContent(t *testing.T, c *testcluster.Cluster, leader int, nodes ...int) {
	t.Helper()
	const sql = "select count(*) || ' ' || sum(length(b)) || ' ' || max(id) from t"
	rows, err := ask(t.Context(), c, leader, "strong", sql)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range nodes {
		eventually(t, fmt.Sprintf("node %d to hold all rows", i), func(ctx context.Context) error {
			return want(ctx, c, i, sql, fmt.Sprint(rows[0][0]))
		})
	}
}

// A node that was away until nobody's log reached back to it gets a snapshot and goes on by the log, also after it was
// killed and started again; so does a new one, which becomes a voter. The logs of all stay short meanwhile.
func TestSnapshotHealsAnAbsence(t *testing.T) {
	c := startShortLog(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	leader, err := c.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	away := leader%3 + 1
	mustAsk(t, ctx, c, leader, "create table t(id integer primary key, b)")
	sameContent(t, c, leader, 1, 2, 3)
	before := c.Node(away).Status().Raft.Last.Index
	if err := c.Kill(away); err != nil {
		t.Fatal(err)
	}
	fill(t, ctx, c, leader, before+1)
	if err := c.Restart(ctx, away); err != nil {
		t.Fatal(err)
	}
	sameContent(t, c, leader, 1, 2, 3)
	if first := c.Node(away).Status().Raft.First; first <= before+1 {
		t.Errorf("the one that was away has a log from %d on: it got no snapshot", first)
	}
	mustAsk(t, ctx, c, away, "insert into t(b) values('after')")
	sameContent(t, c, leader, 1, 2, 3)
	if err := errors.Join(c.Kill(away), c.Restart(ctx, away)); err != nil {
		t.Fatal(err)
	}
	sameContent(t, c, leader, 1, 2, 3)

	conn, err := testcluster.NewNetwork(7).PacketConn(1)
	if err != nil {
		t.Fatal(err)
	}
	late, err := db.Open(ctx, db.Config{Data: filepath.Join(t.TempDir(), "late"), PacketConn: conn,
		Join: []string{c.Address(leader)}, Token: "@" + filepath.Join(filepath.Dir(c.Credential()), "join-token"),
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)).With("name", "late")})
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close(ctx)
	eventually(t, "the new node to be a voter that holds all", func(context.Context) error {
		status := c.Node(leader).Status().Raft
		own := late.Status().Raft
		if !status.Configuration.Voter(late.ID()) || own.Applied < status.Commit {
			return fmt.Errorf("it has applied %d of %d, members are %v", own.Applied, status.Commit, status.Configuration)
		}
		return nil
	})
	if first := late.Status().Raft.First; first <= before+1 {
		t.Errorf("the new one has a log from %d on: it got no snapshot", first)
	}
	for i := 1; i <= 3; i++ {
		if size := logBytes(t, c, i); size > 4<<20 {
			t.Errorf("the log of node %d has %d bytes", i, size)
		}
	}
}

func logBytes(t *testing.T, c *testcluster.Cluster, i int) (size int64) {
	t.Helper()
	dir := filepath.Join(filepath.Dir(filepath.Dir(c.Credential())), fmt.Sprintf("n%d", i), "wal")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		file, err := entry.Info()
		if err != nil {
			continue // it was compacted away a moment ago
		}
		size += file.Size()
	}
	return size
}

// spoil overwrites the page that a table begins with, in the database of a node that is down.
func spoil(t *testing.T, c *testcluster.Cluster, i int, table string) {
	t.Helper()
	path := filepath.Join(filepath.Dir(filepath.Dir(c.Credential())), fmt.Sprintf("n%d", i), "db", "1", "main.sqlite")
	conn, err := sqlite.Open(path, sqlite.CheckpointOptions())
	if err != nil {
		t.Fatal(err)
	}
	stmt, err := conn.Internal("select rootpage from sqlite_schema where name = '" + table + "'")
	if err != nil {
		t.Fatal(err)
	}
	if found, err := stmt.Step(); err != nil || !found {
		t.Fatalf("%s is not there: %v", table, err)
	}
	page := stmt.ColumnInt64(0)
	stmt.Release()
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteAt(bytes.Repeat([]byte{0xa5}, 4096), (page-1)*4096)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// A node whose database is damaged does not guess: it stops applying, gets a copy from another member, and goes on. Writes
// do not notice, and neither does it matter whether its log holds what the damage has taken.
func TestDamagedDatabaseIsReplaced(t *testing.T) {
	c := startShortLog(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	leader, err := c.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	sick := leader%3 + 1
	mustAsk(t, ctx, c, leader, "create table t(id integer primary key, b)")
	mustAsk(t, ctx, c, leader, "insert into t(b) values('before')")
	sameContent(t, c, leader, 1, 2, 3)
	if err := c.Stop(ctx, sick); err != nil {
		t.Fatal(err)
	}
	spoil(t, c, sick, "t")
	if err := c.Restart(ctx, sick); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		mustAsk(t, ctx, c, leader, fmt.Sprintf("insert into t(b) values('row %d')", i))
	}
	sameContent(t, c, leader, 1, 2, 3)
	if found, err := ask(ctx, c, sick, driver.LevelLocal, "pragma integrity_check"); err != nil || fmt.Sprint(found) != "[[ok]]" {
		t.Errorf("integrity check: %v, %v", found, err)
	}
	eventually(t, "the node to be ready", func(context.Context) error { return c.Node(sick).Status().Unfit })
}

// Damage that only a read comes by is enough for the node to leave readiness and to get another copy by itself.
func TestDamageFoundByAReadIsReplaced(t *testing.T) {
	c := startShortLog(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	leader, err := c.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	sick := leader%3 + 1
	mustAsk(t, ctx, c, leader, "create table t(id integer primary key, b)")
	mustAsk(t, ctx, c, leader, "insert into t(b) values('before')")
	sameContent(t, c, leader, 1, 2, 3)
	if err := c.Stop(ctx, sick); err != nil {
		t.Fatal(err)
	}
	spoil(t, c, sick, "t")
	if err := c.Restart(ctx, sick); err != nil {
		t.Fatal(err)
	}
	if rows, err := ask(ctx, c, sick, driver.LevelLocal, "select b from t"); err == nil {
		t.Fatalf("a damaged table is read: %v", rows)
	}
	if err := c.Node(sick).Status().Unfit; err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("the node that has read it says %v", err)
	}
	eventually(t, "the node to have another copy", func(context.Context) error { return c.Node(sick).Status().Unfit })
	sameContent(t, c, leader, 1, 2, 3)
}
