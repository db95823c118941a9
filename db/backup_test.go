package db_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// export runs one of the verbs that bring the whole database, and returns the stages and what the pieces make.
func export(t testing.TB, conn *driver.Conn, verb string, args ...string) (stages [][]any, content []byte, err error) {
	t.Helper()
	results, err := conn.Control(t.Context(), verb, args...)
	if err != nil {
		return nil, nil, err
	}
	defer results.Close()
	results.NextResult()
	for results.Next() {
		stages = append(stages, append([]any(nil), results.Row()...))
	}
	results.NextResult()
	for results.Next() {
		content = append(content, results.Row()[0].([]byte)...)
	}
	return stages, content, results.Err()
}

// queryFile returns the first column of a query on a database file.
func queryFile(t testing.TB, content []byte, sql string) (answers []string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy.sqlite")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	conn, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stmt, err := conn.Internal(sql)
	if err != nil {
		t.Fatal(err)
	}
	defer stmt.Release()
	for {
		more, err := stmt.Step()
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			return answers
		}
		answers = append(answers, stmt.ColumnText(0))
	}
}

// A backup comes over a session as of the index that its last stage names, with what was written before it and nothing of
// rsqld's; it needs role admin.
func TestBackup(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "n1")
	n := openNode(t, dir)
	conn := open(t, n, dir)
	mustRun(t, conn, "create table t(x); insert into t values(zeroblob(600000)), (2); delete from t where x = 2")
	stages, content, err := export(t, conn, "backup")
	if err != nil || len(stages) == 0 {
		t.Fatal(stages, err)
	}
	last := stages[len(stages)-1]
	if want := []any{"ready", int64(n.Status().Raft.Applied), int64(len(content)), nil}; fmt.Sprint(last) != fmt.Sprint(want) {
		t.Errorf("the last stage is %v, want %v", last, want)
	}
	for sql, want := range map[string]string{
		"pragma integrity_check":                       "ok",
		"select group_concat(name) from sqlite_schema": "t",
		"select count(*) || max(length(x)) from t":     "1600000",
	} {
		if got := queryFile(t, content, sql); fmt.Sprint(got) != "["+want+"]" {
			t.Errorf("%s: %v, want %s", sql, got, want)
		}
	}
	if _, _, err := export(t, conn, "backup", "strong"); err == nil || !strings.Contains(err.Error(), `"local" or nothing`) {
		t.Errorf("at another level: %v", err)
	}
	writer := credential(t, dir, identity.RoleWrite)
	path := filepath.Join(t.TempDir(), "writer.pem")
	if err := os.WriteFile(path, writer.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := export(t, openAs(t, n, driver.Config{Credential: path}), "backup"); !isDenied(err) {
		t.Errorf("with role write: %v", err)
	}
}

// A client that does not take its backup holds up no other work of the node, only the next backup, which is told; when it
// goes, the next one is made, and no file is left.
func TestBackupStalled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "n1")
	n := openNode(t, dir)
	conn := open(t, n, dir)
	mustRun(t, conn, "create table t(x)")
	for range 4 { // more than the windows of a stream hold
		mustRun(t, conn, "insert into t values(randomblob(4000000))")
	}
	slow := greeted(t, n, dir)
	slow.send(&sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Control{Control: &sqlpb.Control{Id: 1, Verb: "backup"}}})
	for slow.next().GetDone() == nil { // the stages
	}
	var refused *driver.Error
	if _, _, err := export(t, conn, "backup"); !errors.As(err, &refused) || refused.Class != driver.ClassBusy {
		t.Errorf("a second one meanwhile: %v", err)
	}
	mustRun(t, conn, "insert into t values(1)")
	slow.Close()
	eventually(t, "the next backup", func() error {
		_, content, err := export(t, conn, "backup")
		if err == nil && !bytes.HasPrefix(content, []byte("SQLite format 3\x00")) {
			t.Errorf("it begins with %.20q", content)
		}
		return err
	})
	eventually(t, "the files to be gone", func() error {
		left, err := filepath.Glob(filepath.Join(dir, "snapshots", "*"))
		if len(left) > 0 {
			return fmt.Errorf("left: %v", left)
		}
		return err
	})
}
