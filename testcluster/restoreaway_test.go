package testcluster_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/testcluster"
)

// A node that was down during a restore gets the file when it is back, and all nodes that are killed right after a restore hold it.
func TestRestoreWhileDown(t *testing.T) {
	t.Parallel()
	nodes := trio(t)
	down := except(nodes, leaderOf(t, nodes...))[0]
	down.kill()
	others := except(nodes, down)
	others[1].restore(numberedFile(t, 1, 4))
	others[0].exec("insert into t values(1, 'after')")
	down.start()
	down.eventuallyValue("1 41", "select group_concat(distinct number) || ' ' || count(*) from t")
	down.awaitStaged("*.sqlite")
	verified(t, nodes...)

	nodes[0].restore(numberedFile(t, 2, 4))
	for _, p := range nodes {
		p.command.Process.Kill()
	}
	for _, p := range nodes {
		p.kill()
		p.launch()
	}
	for _, p := range nodes {
		p.await()
		p.eventuallyValue("2 40", "select group_concat(distinct number) || ' ' || count(*) from t")
	}
	verified(t, nodes...)
}

// restoreAt restores a file through a node of a cluster in this process.
func restoreAt(ctx context.Context, c *testcluster.Cluster, node int, prepared []byte, args []string) error {
	config := driver.Config{Addresses: []string{c.Address(node)}, Credential: c.Credential()}
	return withConn(ctx, config, func(conn *driver.Conn) error {
		_, err := control(ctx, conn, "upload", append(args, "0", base64.StdEncoding.EncodeToString(prepared))...)
		if err == nil {
			_, err = control(ctx, conn, "restore", args...)
		}
		return err
	})
}

// prepareSmall makes a file of one piece.
func prepareSmall(t *testing.T, source string) (prepared []byte, args []string) {
	t.Helper()
	r, err := db.PrepareRestore(t.Context(), source, filepath.Join(t.TempDir(), "prepared"))
	if err != nil {
		t.Fatal(err)
	}
	prepared, err = os.ReadFile(r.Path)
	if err != nil || len(prepared) > db.MaxUploadPiece {
		t.Fatal(len(prepared), err)
	}
	return prepared, []string{fmt.Sprintf("%x", r.SHA256), fmt.Sprint(r.Size)}
}

// A node that was away during a restore and until no log holds its entry goes past it by a snapshot, without the file. Without a
// quorum nothing is restored.
func TestRestoreBySnapshot(t *testing.T) {
	c := startShortLog(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	leader, err := c.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	away, other := leader%3+1, (leader+1)%3+1
	mustAsk(t, ctx, c, leader, "create table t(id integer primary key, b)")
	sameContent(t, c, leader, 1, 2, 3)
	if err := c.Kill(away); err != nil {
		t.Fatal(err)
	}
	prepared, args := prepareSmall(t, numberedFile(t, 7, 0))
	if err := c.Kill(other); err != nil {
		t.Fatal(err)
	}
	if err := restoreAt(ctx, c, leader, prepared, args); !errors.Is(err, driver.ErrNoQuorum) {
		t.Errorf("without a quorum: %v", err)
	}
	if err := c.Restart(ctx, other); err != nil {
		t.Fatal(err)
	}
	if leader, err = c.Leader(ctx, leader, other); err != nil {
		t.Fatal(err)
	}
	if err := restoreAt(ctx, c, other, prepared, args); err != nil {
		t.Fatal(err)
	}
	index := c.Node(leader).Status().Raft.Applied
	mustAsk(t, ctx, c, leader, "drop table t; create table t(id integer primary key, b)")
	fill(t, ctx, c, leader, index)
	if err := c.Restart(ctx, away); err != nil {
		t.Fatal(err)
	}
	sameContent(t, c, leader, 1, 2, 3)
	if first := c.Node(away).Status().Raft.First; first <= index {
		t.Errorf("the log of the one that was away begins at %d: it got no snapshot", first)
	}
	if left, _ := filepath.Glob(filepath.Join(dataDir(c, away), "restore", "*")); len(left) != 0 {
		t.Errorf("it has fetched %v", left)
	}
}
