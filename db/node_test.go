package db_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/db/driver"
)

// openNode founds a cluster of one in a directory of the test's.
func openNode(t *testing.T, dir string) *db.Node {
	t.Helper()
	n, err := db.Open(t.Context(), db.Config{Data: dir, Listen: "127.0.0.1:0", Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return n
}

// open opens a session as the administrator.
func open(t *testing.T, n *db.Node, dir string) *driver.Conn {
	t.Helper()
	connector, err := driver.NewConnector(driver.Config{Addresses: []string{n.Address()}, Credential: filepath.Join(dir, "admin.pem")})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := connector.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		connector.Close()
	})
	return conn
}

// run executes SQL and returns all rows of all its statements, one line each.
func run(t *testing.T, conn *driver.Conn, request driver.Request) (lines []string, err error) {
	t.Helper()
	results, err := conn.Execute(t.Context(), request)
	if err != nil {
		return nil, err
	}
	for results.NextResult() {
		for results.Next() {
			lines = append(lines, fmt.Sprint(results.Row()))
		}
	}
	if err := results.Err(); err != nil {
		return lines, err
	}
	return lines, results.Close()
}

// TestSingleNode proves: a node founds a cluster, executes writes and reads of every level, and finds everything again.
func TestSingleNode(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	n := openNode(t, dir)
	conn := open(t, n, dir)
	if _, err := run(t, conn, driver.Request{SQL: "create table t(x, y text)"}); err != nil {
		t.Fatal(err)
	}
	got, err := run(t, conn, driver.Request{SQL: "insert into t values(?, ?), (2, 'b') returning x", Args: []any{1, "a"}})
	if err != nil || fmt.Sprint(got) != "[[1] [2]]" {
		t.Fatalf("insert returns %v, %v", got, err)
	}
	for _, level := range []driver.Level{driver.LevelLocal, driver.LevelSession, driver.LevelLinearizable, driver.LevelStrong} {
		got, err := run(t, conn, driver.Request{SQL: "select x, y from t order by x", Level: level})
		if err != nil || fmt.Sprint(got) != "[[1 a] [2 b]]" {
			t.Errorf("select at level %v returns %v, %v", level, got, err)
		}
	}
}
