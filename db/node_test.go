package db_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// A node founds a cluster, executes writes and reads of every level, and finds everything again after a restart.
func TestSingleNode(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	n := openNode(t, dir)
	conn := open(t, n, dir)
	mustRun(t, conn, "create table t(x, y text)")
	expect(t, conn, driver.Request{SQL: "insert into t values(?, ?), (2, 'b') returning x", Args: []any{1, "a"}}, "[[1] [2]]")
	for _, level := range []driver.Level{driver.LevelLocal, driver.LevelSession, driver.LevelLinearizable, driver.LevelStrong} {
		expect(t, conn, driver.Request{SQL: "select x, y from t order by x", Level: level}, "[[1 a] [2 b]]")
	}
	closeNode(t, n)
	again := openNode(t, dir)
	if again.ID() != n.ID() || again.Cluster() != n.Cluster() || again.Name() != "n1" {
		t.Errorf("after a restart the node is %d %q of cluster %x, it was %d of %x", again.ID(), again.Name(), again.Cluster(), n.ID(), n.Cluster())
	}
	expect(t, open(t, again, dir), driver.Request{SQL: "select x, y from t order by x", Level: driver.LevelStrong}, "[[1 a] [2 b]]")
}

// A second Close, and one beside the first, waits for the first one and returns the same: the directory is free then.
// Err does not call it a failure.
func TestCloseTwice(t *testing.T) {
	dir := t.TempDir()
	n := openNode(t, dir)
	var closing sync.WaitGroup
	for range 3 {
		closing.Go(func() {
			closeNode(t, n)
			again, err := db.Open(t.Context(), db.Config{Data: dir, Listen: "127.0.0.1:0"})
			if errors.Is(err, db.ErrInUse) && strings.Contains(err.Error(), "--data") {
				return // one of the others was faster
			}
			if err != nil {
				t.Errorf("opening after Close returned: %v", err)
				return
			}
			closeNode(t, again)
		})
	}
	closing.Wait()
	select {
	case <-n.Done():
	default:
		t.Error("Done is open after Close")
	}
	if err := n.Err(); err != nil {
		t.Errorf("after Close Err is %v", err)
	}
}

// Close ends what runs with an error that says so, and tells an idle session that nothing that it sends now is executed.
func TestCloseWhileSessionsRun(t *testing.T) {
	dir := t.TempDir()
	n := openNode(t, dir)
	busy, idle := greeted(t, n, dir), greeted(t, n, dir)
	busy.execute(&sqlpb.Execute{}, endless)
	awaitRunning(busy)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		closeNode(t, n)
	}()
	if a := busy.answer(); a.err.GetClass() != sqlpb.Class_CLASS_SHUTTING_DOWN || a.err.Id != busy.id {
		t.Errorf("the request that runs ends with %v", a.err)
	}
	if f := idle.next().GetError(); f.GetId() != 0 || f.GetClass() != sqlpb.Class_CLASS_SHUTTING_DOWN || f.Retry != sqlpb.Retry_RETRY_SAME {
		t.Errorf("the idle session hears %v", f)
	}
	<-closed
}

// endless is a read that never ends by itself.
const endless = "with recursive c(x) as (select 1 union all select x + 1 from c) select count(*) from c"

// awaitRunning returns when the session has taken the request sent last: frames are taken in order.
func awaitRunning(r *raw) {
	r.Helper()
	r.ping(99)
	if frame := r.next(); frame.GetPong().GetId() != 99 {
		r.Fatalf("a ping during a request is answered by %v", frame)
	}
}

// Whatever Open fails on, it gives back what it took: the lock, the port, and the connection that it was given.
func TestOpenErrorsReleaseEverything(t *testing.T) {
	founded, other := filepath.Join(t.TempDir(), "founded"), filepath.Join(t.TempDir(), "other")
	closeNode(t, openNode(t, founded))
	closeNode(t, openNode(t, other))
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		set   func(*db.Config)
		says  string
	}{
		{"settings", nil, func(c *db.Config) { c.Settings = map[string]string{"sql.nonsense": "1"} }, "there is no such setting"},
		{"negative", nil, func(c *db.Config) { c.MaxStatements = -1 }, "none may be negative"},
		{"name", nil, func(c *db.Config) { c.Name = strings.Repeat("n", 2000) }, "too long"},
		{"dialled port", nil, func(c *db.Config) { c.Advertise = "127.0.0.1:0" }, "port 0"},
		{"directory", func(t *testing.T, dir string) { write(t, dir, "") }, nil, "not a directory"},
		{"identity", func(t *testing.T, dir string) { copyDir(t, dir, founded); remove(t, dir, "tls") }, nil, "certificate"},
		{"database", func(t *testing.T, dir string) {
			copyDir(t, dir, founded)
			remove(t, dir, "db")
			copyDir(t, filepath.Join(dir, "db"), filepath.Join(other, "db"))
		}, nil, "mixes two nodes"},
		{"log", func(t *testing.T, dir string) { copyDir(t, dir, founded); remove(t, dir, "wal") }, nil, "log"},
		{"newer", func(t *testing.T, dir string) {
			copyDir(t, dir, founded)
			write(t, filepath.Join(dir, "node.json"), `{"format": 3}`)
		}, nil, "has format 3, and this rsqld knows formats up to 2"},
		{"damaged", func(t *testing.T, dir string) {
			copyDir(t, dir, founded)
			write(t, filepath.Join(dir, "node.json"), `{}`)
		}, nil, "names no format"},
		{"no node.json", func(t *testing.T, dir string) { copyDir(t, dir, founded); remove(t, dir, "node.json") }, nil, "no node.json"},
		{"token", nil, func(c *db.Config) { c.Join = []string{"127.0.0.1:1"} }, "needs a token"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if test.spoil != nil {
				test.spoil(t, dir)
			}
			conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			config := db.Config{Data: dir, PacketConn: conn}
			if test.set != nil {
				test.set(&config)
			}
			if _, err := db.Open(t.Context(), config); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("Open fails with %v, want %q", err, test.says)
			}
			if _, err := conn.WriteTo([]byte("x"), conn.LocalAddr()); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the connection is open: writing to it: %v", err)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			closeNode(t, openWith(t, db.Config{Data: dir, Listen: conn.LocalAddr().String()}))
		})
	}
}

// A busy port is refused before anything is made in the directory.
func TestBusyPort(t *testing.T) {
	n := openNode(t, t.TempDir())
	dir := t.TempDir()
	_, err := db.Open(t.Context(), db.Config{Data: dir, Listen: n.Address()})
	if err == nil || !strings.Contains(err.Error(), n.Address()) {
		t.Fatalf("a busy port gives %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 1 {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
}

// A torso that a crash left is cleared away; the directory becomes a node's.
func TestTorso(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"wal/x.wal", "tls/ca.key", "db/current", "admin.pem", "node.json.new"} {
		write(t, filepath.Join(dir, name), "half")
	}
	n := openNode(t, dir)
	expect(t, open(t, n, dir), driver.Request{SQL: "select 1"}, "[[1]]")
}

// A node that has closed is gone for the sessions that it had; they say so.
func TestSessionOfAClosedNode(t *testing.T) {
	dir := t.TempDir()
	n := openNode(t, dir)
	conn := open(t, n, dir)
	closeNode(t, n)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := conn.Execute(ctx, driver.Request{SQL: "create table t(x)"}); !errors.Is(err, driver.ErrUnreachable) {
		t.Errorf("a write at a closed node ends with %v", err)
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(content), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, dir, part string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, part)); err != nil {
		t.Fatal(err)
	}
}

func copyDir(t *testing.T, to, from string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(fmt.Errorf("copying %s: %w", from, err))
	}
}
