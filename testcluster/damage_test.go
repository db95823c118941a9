package testcluster_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/testcluster"
)

// dataDir is the data directory of a node.
func dataDir(c *testcluster.Cluster, node int) string {
	return filepath.Join(filepath.Dir(filepath.Dir(c.Credential())), fmt.Sprintf("n%d", node))
}

// rot flips a bit of the log of a node that is down, in the record that holds the text.
func rot(t *testing.T, c *testcluster.Cluster, node int, text string) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(dataDir(c, node), "wal", "*.wal"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range segments {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.Index(content, []byte(text)); at >= 0 {
			content[at] ^= 1
			if err := os.WriteFile(name, content, 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("%q is in none of %q", text, segments)
}

// TestDamagedLog proves: a node whose log is damaged comes back with all that was acknowledged. Where its database has what
// was damaged it needs nobody; where it has not, the others give it back.
func TestDamagedLog(t *testing.T) {
	for _, behind := range []bool{false, true} {
		t.Run(fmt.Sprintf("database behind is %v", behind), func(t *testing.T) { testDamagedLog(t, behind) })
	}
}

func testDamagedLog(t *testing.T, behind bool) {
	c := startCluster(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	leader, err := c.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	node := leader%3 + 1
	other := 6 - leader - node
	mustAsk(t, ctx, c, leader, "create table t(x integer primary key, y text)")
	insert := func(first, last int) {
		for i := first; i <= last; i++ {
			mustAsk(t, ctx, c, leader, fmt.Sprintf("insert into t values(%d, 'row %d')", i, i))
		}
	}
	has := func(node int, rows string) {
		eventually(t, fmt.Sprintf("node %d to have all rows", node), func(ctx context.Context) error {
			return want(ctx, c, node, "select count(*) from t", rows)
		})
	}
	stop := func() {
		if err := c.Stop(ctx, node); err != nil {
			t.Fatal(err)
		}
	}
	start := func() {
		if err := c.Restart(ctx, node); err != nil {
			t.Fatal(err)
		}
	}
	insert(100, 110)
	has(node, "11")
	stop()
	db, saved := filepath.Join(dataDir(c, node), "db"), filepath.Join(t.TempDir(), "db")
	if err := os.CopyFS(saved, os.DirFS(db)); err != nil {
		t.Fatal(err)
	}
	start()
	insert(111, 140)
	has(node, "41")
	stop()
	if behind {
		if err := os.RemoveAll(db); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(db, os.DirFS(saved)); err != nil {
			t.Fatal(err)
		}
	}
	rot(t, c, node, "row 125")
	start()
	has(node, "41")
	if first := c.Node(node).Status().Raft.First; first == 1 {
		t.Error("the log begins at 1: it was not repaired")
	}
	// What it gave up it has again, for good: with another node down it is the half of a quorum.
	if err := c.Stop(ctx, other); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a write with the repaired node", func(ctx context.Context) error {
		_, err := ask(ctx, c, node, driver.LevelSession, "insert or replace into t values(141, 'row 141')")
		return err
	})
	has(node, "42")
	has(leader, "42")
}
