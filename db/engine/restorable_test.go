package engine

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
)

// What PrepareRestore makes is what CheckRestorable takes; a database that was not prepared is refused, whatever is the
// matter with it, and so is a prepared one that was changed on its way.
func TestCheckRestorable(t *testing.T) {
	r, err := PrepareRestore(t.Context(), foreign(t, []sqlite.Pragma{{Name: "page_size", Value: "1024"}}, foreignRows...), filepath.Join(t.TempDir(), "prepared"))
	if err != nil || r.Tables < 4 {
		t.Fatal(r, err)
	}
	if err := CheckRestorable(t.Context(), r.Path); err != nil {
		t.Error(err)
	}
	ours := []sqlite.Pragma{{Name: "page_size", Value: "4096"}, {Name: "auto_vacuum", Value: "2"}}
	broken := foreign(t, ours, "create table t(a)", "insert into t values(zeroblob(40000))", "create index i on t(a)")
	content, err := os.ReadFile(broken)
	if err != nil {
		t.Fatal(err)
	}
	for i := 3 * sqlite.PageSize; i < 4*sqlite.PageSize; i++ {
		content[i] = 0xff
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := errors.Join(os.WriteFile(broken, content, 0o600), os.WriteFile(empty, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for want, path := range map[string]string{
		"page_size is 1024":   foreign(t, []sqlite.Pragma{{Name: "page_size", Value: "1024"}, {Name: "auto_vacuum", Value: "2"}}, "create table t(a)"),
		"auto_vacuum is 0":    foreign(t, ours[:1], "create table t(a)"),
		"formats 2 and 2":     foreign(t, append(ours, sqlite.Pragma{Name: "journal_mode", Value: "wal"}), "create table t(a)"),
		"_rsqld_meta":         foreign(t, ours, "create table _rsqld_meta(a)"),
		"UTF-16le":            foreign(t, append(ours, sqlite.Pragma{Name: "encoding", Value: "'UTF-16le'"}), "create table t(a)"),
		"it begins with \"\"": empty,
		"malformed":           broken,
	} {
		err := CheckRestorable(t.Context(), path)
		if !errors.Is(err, ErrNotRestorable) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
		if left, _ := filepath.Glob(path + "-*"); len(left) > 0 {
			t.Errorf("%s: the check leaves %v", want, left)
		}
	}
}

// A staged file tells the newest entry that it was for, until it is kept for another.
func TestStagedFor(t *testing.T) {
	e, l := openEngine(t, Config{StageDir: t.TempDir()}), newLog(t)
	l.bootstrap(nil)
	r := stage(t, foreign(t, nil, "create table t(a)"), e.config.StageDir)
	want := func(index raft.Index, known bool) {
		t.Helper()
		if got, is, err := e.StagedFor(r.SHA256); got != index || is != known || err != nil {
			t.Errorf("it was for %d, %t, %v; want %d, %t", got, is, err, index, known)
		}
	}
	want(0, false)
	for range 2 {
		l.restore(r)
		if got := l.one(e); got.Err != nil {
			t.Fatal(got.Err)
		}
		want(e.Applied(), true)
	}
	if err := e.KeepStaged(r.SHA256); err != nil {
		t.Fatal(err)
	}
	want(0, false)
	e.freeSpace = func(string) (int64, error) { return spareBytes + 30<<20, nil }
	if err := e.RoomForRestore(10<<20, 20<<20); err != nil {
		t.Error(err)
	}
	if err := e.RoomForRestore(11<<20, 20<<20); !errors.Is(err, ErrBackupSpace) || !strings.Contains(err.Error(), "take 159") {
		t.Error(err)
	}
}
