package db_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/raft"
)

// A single node whose log is damaged starts where its database has what was damaged, and is refused where nobody has it,
// with the command that accepts the loss; after that it starts without the rest. Neither command touches a node that runs.
func TestDamagedSingleNode(t *testing.T) {
	dir, saved := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "db")
	n := openNode(t, dir)
	mustRun(t, open(t, n, dir), "create table t(x)")
	closeNode(t, n)
	if err := os.CopyFS(saved, os.DirFS(filepath.Join(dir, "db"))); err != nil {
		t.Fatal(err)
	}
	n = openNode(t, dir)
	conn := open(t, n, dir)
	mustRun(t, conn, "insert into t values('one')")
	mustRun(t, conn, "insert into t values('two')")
	mustRun(t, conn, "insert into t values('three')")
	if _, err := db.Inspect(dir); !errors.Is(err, db.ErrInUse) {
		t.Errorf("a running node was inspected: %v", err)
	}
	if _, err := db.AcceptLoss(dir); !errors.Is(err, db.ErrInUse) {
		t.Errorf("a running node lost entries: %v", err)
	}
	closeNode(t, n)
	flipInLog(t, dir, "'two'")

	n = openNode(t, dir) // all of it is in the database
	expect(t, open(t, n, dir), driver.Request{SQL: "select count(*) from t"}, "[[3]]")
	mustRun(t, open(t, n, dir), "insert into t values('four')")
	closeNode(t, n)
	flipInLog(t, dir, "'four'")
	if err := errors.Join(os.RemoveAll(filepath.Join(dir, "db")), os.CopyFS(filepath.Join(dir, "db"), os.DirFS(saved))); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := db.Open(ctx, db.Config{Data: dir, Listen: "127.0.0.1:0"})
	if !errors.Is(err, raft.ErrLost) || !strings.Contains(err.Error(), "rsqld inspect --accept-loss "+dir) ||
		!strings.Contains(err.Error(), ".wal") {
		t.Errorf("a log without what the database needs opens with %v", err)
	}
	done, err := db.AcceptLoss(dir)
	if err != nil || done.Lost.Index <= done.Last.Index {
		t.Fatalf("accepting the loss: %+v, %v", done, err)
	}
	n = openNode(t, dir)
	expect(t, open(t, n, dir), driver.Request{SQL: "select count(*) from t"}, "[[0]]")
	mustRun(t, open(t, n, dir), "insert into t values('again')")
}

// flipInLog flips a bit of the newest record that holds the text.
func flipInLog(t *testing.T, dir, text string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "wal", "*.wal"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.LastIndex(content, []byte(text)); at >= 0 {
			content[at] ^= 1
			if err := os.WriteFile(name, content, 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("%q is in none of %q", text, names)
}
