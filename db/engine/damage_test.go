package engine

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/rsqld/rsqld/db/sqlite"
)

// spoil overwrites the page that a table begins with. The engine must be closed.
func spoil(t *testing.T, e *Engine, table string) {
	t.Helper()
	conn, err := sqlite.Open(e.file(), sqlite.CheckpointOptions())
	if err != nil {
		t.Fatal(err)
	}
	page, err := queryInt(conn, "select rootpage from sqlite_schema where name = '"+table+"'")
	if err := errors.Join(err, conn.Close()); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(e.file(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteAt(bytes.Repeat([]byte{0xa5}, sqlite.PageSize), (page-1)*sqlite.PageSize)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestDamageFoundByARead proves: a read that finds the database damaged makes the engine say so, and keep its pages to itself,
// until a snapshot has taken its place. What statements can bring about themselves is not taken for damage.
func TestDamageFoundByARead(t *testing.T) {
	e, l := openEngine(t, Config{}), newLog(t)
	l.must(e, "create table t(a); insert into t values(1); create table whole(a)",
		"create virtual table f using fts5(b, content='whole', content_rowid='a'); insert into f(rowid, b) values(1, 'x')")
	image := snapshotOf(t, e)
	if _, err := e.Query(t.Context(), "select b from f('x')", nil, new(rows)); err == nil {
		t.Fatal("a virtual table that disagrees with its content is read")
	}
	if err := e.Damage(); err != nil {
		t.Errorf("a virtual table that disagrees with its content is taken for damage: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	spoil(t, e, "t")
	e = openEngine(t, Config{Dir: e.config.Dir})
	rowsOf(t, e, "select * from whole")
	if err := e.Damage(); err != nil {
		t.Errorf("before anybody met it: %v", err)
	}
	if _, err := e.Query(t.Context(), "select * from t", nil, new(rows)); !Damaged(err) {
		t.Fatalf("reading what is damaged: %v", err)
	}
	if err := e.Damage(); !Damaged(err) {
		t.Errorf("afterwards the engine says %v", err)
	}
	if taken, err := e.Snapshot(); err == nil {
		t.Error("it gives its pages to others", taken.Close())
	}
	l.must(e, "insert into whole values(2)") // entries that do not come by there are applied

	if err := e.Restore(image.Meta(), delivered(t, image, e.config.SnapshotDir)); err != nil {
		t.Fatal(err)
	}
	if err := e.Damage(); err != nil {
		t.Errorf("after a snapshot took its place: %v", err)
	}
	l.apply(e)
	if got := rowsOf(t, e, "select * from t, whole"); got != "1|2" {
		t.Errorf("it holds %s, want 1|2", got)
	}
}
