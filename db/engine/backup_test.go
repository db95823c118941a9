package engine

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/sqlite"
)

// backupOf makes a backup that the test closes at its end, and returns a connection to it, which may write.
func backupOf(t testing.TB, e *Engine) (*Backup, *sqlite.Conn) {
	t.Helper()
	b, err := e.Backup(t.Context(), func(BackupState) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b, plainConn(t, b.Path())
}

// plainConn opens a database as any program does.
func plainConn(t testing.TB, path string) *sqlite.Conn {
	t.Helper()
	conn, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

// contentOf returns the schema and every row with its rowid, without the engine's tables.
func contentOf(t testing.TB, conn *sqlite.Conn) (content []string) {
	t.Helper()
	queries := []string{"SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE tbl_name NOT LIKE '\\_rsqld%' ESCAPE '\\' ORDER BY type, name"}
	err := queryInternal(conn, storedTables, func(stmt *sqlite.Stmt) error {
		if !isInternal(stmt.ColumnText(0)) {
			queries = append(queries, stmt.ColumnText(1))
		}
		return nil
	})
	for _, query := range queries {
		err = errors.Join(err, queryInternal(conn, query, func(stmt *sqlite.Stmt) error {
			content = append(content, string(appendRow([]byte(query+": "), stmt, stmt.ColumnCount())))
			return nil
		}))
	}
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func pragmaOf(t testing.TB, conn *sqlite.Conn, name string) (answer string) {
	t.Helper()
	if err := queryInternal(conn, "PRAGMA "+name, func(stmt *sqlite.Stmt) error { answer = stmt.ColumnText(0); return nil }); err != nil {
		t.Fatal(err)
	}
	return answer
}

// A backup of any content is one plain file with equal rows and rowids, as of the index that it names, which is sound
// and has neither free pages nor a write-ahead log; and the engine goes on.
func TestBackup(t *testing.T) {
	l := hostileLog(t, 300)
	e := openEngine(t, Config{})
	l.apply(e)
	l.must(e, "create table gone(x); insert into gone with recursive n(i) as (select 1 union all select i + 1 from n where i < 500) select randomblob(900) from n")
	l.must(e, "drop table gone", "pragma user_version = 77")
	index := e.Applied()
	b, conn := backupOf(t, e)
	l.must(e, "create table later(x)")
	if b.Index != index || b.Stage != BackupReady || len(b.Warnings) > 0 {
		t.Errorf("the backup is %+v with %q, want index %d", b.BackupState, b.Warnings, index)
	}
	content := contentOf(t, conn)
	for name, want := range map[string]string{"integrity_check": "ok", "journal_mode": "delete", "freelist_count": "0", "user_version": "77"} {
		if got := pragmaOf(t, conn, name); got != want {
			t.Errorf("pragma %s is %q, want %q", name, got, want)
		}
	}
	l.must(e, "drop table later")
	if want := contentOf(t, plainConn(t, e.file())); !slices.Equal(content, want) {
		t.Errorf("%d rows in the backup, %d in the database, or they differ", len(content), len(want))
	}
	if err := conn.Exec("create table mine(x); insert into mine values(1); vacuum"); err != nil {
		t.Errorf("a backup cannot be written: %v", err)
	}
}

// A backup holds no byte of the engine's tables, of which the pages of a snapshot are full.
func TestBackupWithoutSecrets(t *testing.T) {
	l := newLog(t)
	e := openEngine(t, Config{})
	l.bootstrap(nil)
	key := bytes.Repeat([]byte("secret! "), 4)
	for i := range byte(90) { // so many that the table has pages beside its root
		l.command(&commandpb.Command{Body: &commandpb.Command_MintToken{MintToken: &commandpb.MintToken{
			Id: []byte{i, 1, 2, 3, 4, 5, 6, 7}, Key: key, Uses: 1}}})
	}
	l.script("create table t(x)")
	l.apply(e)
	b, conn := backupOf(t, e)
	in := func(path string, text []byte) bool {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(content, text)
	}
	if !in(snapshotOf(t, e).Path(), key[:8]) {
		t.Fatal("the keys are not in a snapshot: this test shows nothing")
	}
	for _, text := range [][]byte{key[:8], []byte("_rsqld")} {
		if in(b.Path(), text) {
			t.Errorf("%q is in a backup", text)
		}
	}
	if content := contentOf(t, conn); len(content) != 1 {
		t.Errorf("the backup holds %q", content)
	}
}

// A backup that is cancelled, or whose engine closes, leaves no file; one of a closed engine is refused.
func TestBackupCancelled(t *testing.T) {
	l := newLog(t)
	e := openEngine(t, Config{})
	l.bootstrap(nil)
	l.script("create table t(x); insert into t values(zeroblob(3000000))")
	l.apply(e)
	why := errors.New("not wanted any more")
	for _, stage := range []BackupStage{BackupCopying, BackupCleaning, BackupChecking} {
		ctx, cancel := context.WithCancelCause(t.Context())
		b, err := e.Backup(ctx, func(s BackupState) {
			if s.Stage == stage {
				cancel(why)
			}
		})
		if stage == BackupChecking && err == nil { // the interrupt may come behind the check
			err = errors.Join(b.Close(), why)
		}
		if !errors.Is(err, why) {
			t.Errorf("cancelled while %s: %v", stage, err)
		}
		cancel(nil)
	}
	if left, _ := filepath.Glob(filepath.Join(e.config.SnapshotDir, "outgoing-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Backup(t.Context(), func(BackupState) {}); !errors.Is(err, ErrClosed) {
		t.Errorf("of a closed engine: %v", err)
	}
}

// A file that is damaged makes no backup; rows that break a CHECK are warned of.
func TestBackupChecks(t *testing.T) {
	l := newLog(t)
	e := openEngine(t, Config{})
	l.bootstrap(nil)
	l.script("create table t(x check (x > 0)); insert into t values(1), (1); create index i on t(x)")
	l.apply(e)
	tamper := func(sql string) {
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		conn := plainConn(t, e.file())
		if err := errors.Join(conn.Exec(sql), conn.Close()); err != nil {
			t.Fatal(err)
		}
		e = openEngine(t, Config{Dir: e.config.Dir})
	}
	tamper("pragma ignore_check_constraints = on; insert into t values(-1)")
	b, err := e.Backup(t.Context(), func(BackupState) {})
	if err != nil || len(b.Warnings) != 1 || !strings.Contains(b.Warnings[0], "CHECK") {
		t.Fatalf("with a row that breaks a check: %v, %+v", err, b)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	tamper("pragma writable_schema = on; update sqlite_schema set sql = 'CREATE UNIQUE INDEX i on t(x)' where name = 'i'")
	if _, err := e.Backup(t.Context(), func(BackupState) {}); !errors.Is(err, ErrBackupDamaged) || !strings.Contains(err.Error(), "non-unique") {
		t.Errorf("of a damaged database: %v", err)
	}
}

// A copy that would fill the disk is refused before its first page, with figures.
func TestBackupSpace(t *testing.T) {
	l := newLog(t)
	e := openEngine(t, Config{})
	l.bootstrap(nil)
	l.apply(e)
	if free, err := e.freeSpace(e.config.SnapshotDir); err != nil || free <= 0 {
		t.Errorf("the disk has %d bytes free, %v", free, err)
	}
	e.freeSpace = func(string) (int64, error) { return spareBytes, nil }
	if _, err := e.Backup(t.Context(), func(BackupState) {}); !errors.Is(err, ErrBackupSpace) || !strings.Contains(err.Error(), "128 MiB are free") {
		t.Errorf("on a disk that is nearly full: %v", err)
	}
	e.freeSpace = func(string) (int64, error) { return spareBytes + 1<<20, nil }
	b, err := e.Backup(t.Context(), func(BackupState) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// A database that is known to be damaged makes no backup, and is copied all the same where a dump is wanted.
func TestCopyDamaged(t *testing.T) {
	l := newLog(t)
	e := openEngine(t, Config{})
	l.bootstrap(nil)
	l.script("create table t(x); insert into t values('still here')")
	l.apply(e)
	e.noteDamage(e.generation.Load(), &sqlite.Error{Code: 11, Extended: 11, Message: "database disk image is malformed", Offset: -1})
	if _, err := e.Backup(t.Context(), func(BackupState) {}); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a backup: %v", err)
	}
	b, err := e.Copy(t.Context(), func(BackupState) {})
	if err != nil {
		t.Fatal(err)
	}
	conn := plainConn(t, b.Path())
	if content := contentOf(t, conn); len(content) != 2 || !strings.Contains(content[1], "still here") {
		t.Errorf("the copy holds %q", content)
	}
	if err := errors.Join(conn.Close(), b.Close()); err != nil {
		t.Error(err)
	}
}
