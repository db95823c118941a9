package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
)

// foreign makes a database of another program.
func foreign(t testing.TB, options []sqlite.Pragma, statements ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "foreign.db")
	conn, err := sqlite.Open(path, sqlite.Options{Create: true, Pragmas: options})
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range statements {
		if err := conn.Exec(sql); err != nil {
			t.Fatalf("%q: %v", sql, err)
		}
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// foreignRows are tables whose content a careless copy would change.
var foreignRows = []string{
	"create table t(a)", "insert into t(rowid, a) values(5, 'five'), (900, x'00ff'), (-3, 1e300 * 1e10)",
	"create table auto(id integer primary key autoincrement, v)", "insert into auto values(77, 'x')", "delete from auto",
	"create virtual table ft using fts5(body)", "insert into ft(rowid, body) values(33, 'hello world')",
	"create virtual table rt using rtree(id, x0, x1)", "insert into rt values(4, 1, 2)",
	"create table w(k primary key, v) without rowid", "insert into w values('k', null)",
	"create view v as select a from t", "create trigger tr after insert on t begin insert into w values(new.a, 1); end",
	"create index t_a on t(a)", "analyze", "pragma user_version=7", "pragma application_id=99",
}

const foreignContent = `select (select group_concat(rowid || quote(a)) from t), (select group_concat(name || seq) from sqlite_sequence),
	(select group_concat(rowid || body) from ft where ft match 'hello'), (select group_concat(id || x0) from rt), (select group_concat(k || quote(v)) from w),
	(select group_concat(a) from v where a = 'five'), (select count(*) from sqlite_stat1)`

const foreignWant = "-39.0e+999,5'five',900X'00FF'|auto77|33hello world|41.0|kNULL|five|9"

// stage prepares a file and puts it where engines of the test look for it.
func stage(t testing.TB, source, dir string) Restorable {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r, err := PrepareRestore(t.Context(), source, filepath.Join(t.TempDir(), "prepared"))
	if err != nil {
		t.Fatal(err)
	}
	if err := copyFile(r.Path, filepath.Join(dir, stagedName(r.SHA256[:]))); err != nil {
		t.Fatal(err)
	}
	return r
}

// backupFile makes a backup and returns its file.
func backupFile(t testing.TB, e *Engine) string {
	t.Helper()
	backup, err := e.Backup(t.Context(), func(BackupState) {})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "backup")
	if err := errors.Join(copyFile(backup.Path(), path), backup.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func (l *log) restore(r Restorable) {
	l.t.Helper()
	l.command(&commandpb.Command{Body: &commandpb.Command_Restore{Restore: &commandpb.Restore{Sha256: r.SHA256[:], Size: uint64(r.Size)}}})
}

// A restore leaves the content of the file, rowids and all, whatever its page size, and what the cluster knows of itself; and
// the next statements do what they would do on it.
func TestRestore(t *testing.T) {
	for name, options := range map[string][]sqlite.Pragma{
		"small pages": {{Name: "page_size", Value: "1024"}},
		"large pages": {{Name: "page_size", Value: "65536"}},
		"our own":     {{Name: "page_size", Value: "4096"}, {Name: "auto_vacuum", Value: "2"}},
		"a log":       {{Name: "journal_mode", Value: "wal"}},
	} {
		t.Run(name, func(t *testing.T) {
			e := openEngine(t, Config{StageDir: t.TempDir()})
			l := newLog(t)
			l.bootstrap(map[string]string{SettingMaxRows: "12345"})
			l.must(e, "create table gone(a); insert into gone values(1)")
			session := sessionID(l.time, 1)
			l.numbered(session, 1, "insert into gone values(2)")
			l.apply(e)
			members, chain := fmt.Sprint(e.Members()), e.Chain()
			l.restore(stage(t, foreign(t, options, foreignRows...), e.config.StageDir))
			if r := l.one(e); r.Err != nil || e.Applied() != r.Index || e.Chain().Index != r.Index || e.Chain() == chain {
				t.Fatalf("restored: %+v", r)
			}
			for _, again := range []*Engine{e, openEngine(t, Config{Dir: copyFiles(t, e).Dir, StageDir: e.config.StageDir})} {
				if got := rowsOf(t, again, foreignContent); got != foreignWant {
					t.Errorf("it holds\n%s\nwant\n%s", got, foreignWant)
				}
				if got := rowsOf(t, again, "select count(*) from sqlite_schema where name = 'gone' union all select user_version from pragma_user_version"); got != "0 7" {
					t.Errorf("the old table and the user version: %s", got)
				}
				if got := fmt.Sprint(again.Members()); got != members || again.Settings()[SettingMaxRows] != "12345" || again.Cluster() != e.Cluster() {
					t.Errorf("members %s, settings %v", got, again.Settings())
				}
			}
			l.numbered(session, 1, "insert into gone values(2)")
			if r := l.one(e); r.Err != nil || !r.Repeated {
				t.Errorf("a write of before: %+v", r)
			}
			l.must(e, "insert into auto(v) values('next'); insert into t(a) values('w')")
			if got := rowsOf(t, e, "select (select max(id) from auto), (select max(rowid) from t)"); got != "78|901" {
				t.Errorf("the next rowids are %s", got)
			}
		})
	}
}

// A backup can be restored, also over what has come since.
func TestRestoreBackup(t *testing.T) {
	e := openEngine(t, Config{StageDir: t.TempDir()})
	l := newLog(t)
	l.bootstrap(nil)
	l.must(e, strings.Join(foreignRows, ";"))
	path := backupFile(t, e)
	l.must(e, "delete from t; drop table ft")
	l.restore(stage(t, path, e.config.StageDir))
	if r := l.one(e); r.Err != nil {
		t.Fatal(r.Err)
	}
	if got := rowsOf(t, e, foreignContent); got != foreignWant {
		t.Errorf("it holds\n%s\nwant\n%s", got, foreignWant)
	}
}

// A node without the file applies nothing from the restore on, also when the file is another than the entry names, and goes
// on when it is there.
func TestRestoreWaitsForItsFile(t *testing.T) {
	elsewhere := t.TempDir()
	e := openEngine(t, Config{StageDir: t.TempDir()})
	l := newLog(t)
	l.bootstrap(nil)
	l.script("create table t(a)")
	r := stage(t, foreign(t, nil, "create table restored(a)"), elsewhere)
	l.restore(r)
	l.script("insert into restored values(1)")
	for _, wrong := range []string{"", "something else"} {
		if wrong != "" {
			if err := os.WriteFile(e.Staged(r.SHA256), []byte(wrong), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		var missing *NotStagedError
		if _, err := e.Apply(l.entries[e.Applied():]); !errors.As(err, &missing) || missing.SHA256 != r.SHA256 || missing.Size != r.Size {
			t.Fatalf("applied with %v", err)
		}
		if e.Applied() != 2 {
			t.Errorf("applied up to %d", e.Applied())
		}
	}
	if got := rowsOf(t, e, "select count(*) from t"); got != "0" {
		t.Error(got)
	}
	if err := copyFile(filepath.Join(elsewhere, stagedName(r.SHA256[:])), e.Staged(r.SHA256)); err != nil {
		t.Fatal(err)
	}
	for _, r := range l.apply(e) {
		if r != nil && r.Err != nil {
			t.Error(r.Err)
		}
	}
	if got := rowsOf(t, e, "select a from restored"); got != "1" {
		t.Errorf("it holds %s", got)
	}
}

// Files that a cluster cannot go over to are refused with a reason, and are not changed.
func TestNotRestorable(t *testing.T) {
	corrupt := foreign(t, nil, "create table t(a)", "insert into t with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000) select i from n", "create index t_a on t(a)")
	content, err := os.ReadFile(corrupt)
	if err != nil {
		t.Fatal(err)
	}
	for i := 3 * 4096; i < 4*4096; i++ {
		content[i] ^= 0x5a
	}
	text, empty := filepath.Join(t.TempDir(), "text"), filepath.Join(t.TempDir(), "empty")
	if err := errors.Join(os.WriteFile(corrupt, content, 0o600), os.WriteFile(text, []byte("id,name\n1,x\n"), 0o600), os.WriteFile(empty, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for want, path := range map[string]string{
		"no SQLite database: it begins with \"id,name": text,
		"no SQLite database: it begins with \"\"":      empty,
		"malformed":           corrupt,
		"UTF-16le":            foreign(t, []sqlite.Pragma{{Name: "encoding", Value: "'UTF-16le'"}}, "create table t(a)"),
		"_rsqld_mine":         foreign(t, nil, "create table _rsqld_mine(a)"),
		"fts5vocab":           foreign(t, nil, "create virtual table f using fts5(a)", "create virtual table  if not exists \"main\".'v' using fts5vocab(f, row)"),
		"9223372036854775807": foreign(t, nil, "create table t(a)", "insert into t(rowid) values(9223372036854775807)"),
	} {
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		target := filepath.Join(t.TempDir(), "target")
		if _, err := PrepareRestore(t.Context(), path, target); !errors.Is(err, ErrNotRestorable) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s, got %v", want, err)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
			t.Errorf("%s: the file was changed (%v)", want, err)
		}
		if left, err := filepath.Glob(target + "*"); err != nil || len(left) > 0 {
			t.Errorf("%s: left behind %v", want, left)
		}
	}
}

// Replicas that restore at different places of their batches, with restarts, differ in nothing.
func TestEqualRestore(t *testing.T) {
	source := openEngine(t, Config{})
	first := newLog(t)
	first.bootstrap(nil)
	first.must(source, hostileSchema)
	l := hostileLog(t, 150)
	l.stageDir = t.TempDir()
	l.restore(stage(t, backupFile(t, source), l.stageDir))
	l.entries = append(l.entries, hostileLog(t, 150).entries[2:]...)
	for i := range l.entries {
		l.entries[i].ID.Index = raft.Index(i + 1)
	}
	l.mustBeEqual(t)
}
