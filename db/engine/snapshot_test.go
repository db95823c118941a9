package engine

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft/wal"
	"github.com/rsqld/rsqld/snapshot"
)

// snapshotOf takes a snapshot that the test closes at its end.
func snapshotOf(t testing.TB, e *Engine) *snapshot.Image {
	t.Helper()
	taken, err := e.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := taken.Close(); err != nil {
			t.Error(err)
		}
	})
	return taken.(*snapshot.Image)
}

func openArrivals(t testing.TB, dir string) *snapshot.Arrivals {
	t.Helper()
	arrivals, err := snapshot.OpenArrivals(wal.OS(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return arrivals
}

// delivered is an image on its way to somebody who has nothing: chunk by chunk into another directory.
func delivered(t testing.TB, image *snapshot.Image, dir string) *snapshot.Incoming {
	t.Helper()
	in, err := openArrivals(t, dir).Receive(*image.Manifest())
	if err != nil {
		t.Fatal(err)
	}
	bring(t, image, in)
	return in
}

// differing is an image on its way to an engine, by what it lacks, and how many bytes that took.
func differing(t testing.TB, image *snapshot.Image, to *Engine) (*snapshot.Incoming, int64) {
	t.Helper()
	in, err := openArrivals(t, to.config.SnapshotDir).Receive(*image.Manifest())
	if err != nil {
		t.Fatal(err)
	}
	if err := to.Gather(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	return in, bring(t, image, in)
}

// bring sends what is lacking. The test closes the Incoming.
func bring(t testing.TB, image *snapshot.Image, in *snapshot.Incoming) (sent int64) {
	t.Helper()
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	})
	source := image.Source()
	for _, number := range in.Lacks() {
		outline, err := in.Outline(number, nil)
		if err != nil {
			t.Fatal(err)
		}
		blocks, content, err := source.Chunk(number, outline)
		if err == nil {
			err = in.Put(t.Context(), number, blocks, content)
		}
		if err != nil {
			t.Fatal(err)
		}
		sent += int64(len(content))
	}
	if err := in.Finish(); err != nil {
		t.Fatal(err)
	}
	return sent
}

// A replica that goes over to snapshots of another one, anywhere in a hostile log and whatever it held, has the same results
// from there on, the same chain and the same rows as one that applied every entry. What it holds already does not travel.
func TestEqualAfterSnapshot(t *testing.T) {
	l := hostileLog(t, 300)
	staleStatistics(l)
	whole := openEngine(t, Config{})
	behind := openEngine(t, Config{})
	chance := rand.New(rand.NewPCG(4, 4))
	var size, travelled int64
	for applied := 0; applied < len(l.entries); applied = int(whole.Applied()) {
		batch := l.entries[applied:min(applied+1+chance.IntN(40), len(l.entries))]
		want, err := whole.Apply(batch)
		if err != nil {
			t.Fatal(err)
		}
		if int(behind.Applied()) == applied && chance.IntN(2) == 0 {
			got, err := behind.Apply(batch)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("entries from %d on: %v, results differ: %v", applied+1, err, !reflect.DeepEqual(got, want))
			}
			continue
		}
		image := snapshotOf(t, whole)
		in, sent := differing(t, image, behind)
		if err := behind.Restore(image.Meta(), in); err != nil {
			t.Fatal(err)
		}
		size, travelled = size+image.Meta().Size, travelled+sent
		if behind.Applied() != whole.Applied() || behind.Chain() != whole.Chain() {
			t.Fatalf("restored %v of %v", behind.Chain(), whole.Chain())
		}
	}
	if whole.Chain() != behind.Chain() {
		t.Errorf("chains %v and %v", whole.Chain(), behind.Chain())
	}
	if travelled == 0 || travelled > size/2 {
		t.Errorf("%d bytes travelled of snapshots of %d", travelled, size)
	}
	for _, e := range []*Engine{whole, behind} {
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if contentHash(t, whole.file()) != contentHash(t, behind.file()) {
		t.Error("the rows differ")
	}
	if n := len(generations(t, behind.config.Dir)); n != 1 {
		t.Errorf("%d generations are left", n)
	}
}

func generations(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	return names
}

// What a snapshot holds is the state at one entry, although entries are applied while it is taken; a read that runs goes on
// in what was replaced, and later ones see what has come.
func TestSnapshotBesideWritesAndReads(t *testing.T) {
	source, target := openEngine(t, Config{}), openEngine(t, Config{})
	l := newLog(t)
	l.bootstrap(nil)
	l.must(source, "create table t(id integer primary key, b); insert into t with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000) select i, randomblob(2000) from n")
	image := snapshotOf(t, source)
	if image.Meta().Applied.Index != source.Applied() || len(image.Manifest().Chunks) < 6 {
		t.Fatalf("a snapshot of %+v with %d chunks", image.Meta(), len(image.Manifest().Chunks))
	}
	l.must(source, "delete from t where id % 2")

	old := newLog(t)
	old.bootstrap(nil)
	old.must(target, "create table t(id); insert into t values(7), (8)")
	var seen []string
	_, err := target.Query(t.Context(), "select id from t", nil, &rows{onRow: func() error {
		if len(seen) == 0 {
			if err := target.Restore(image.Meta(), image); err != nil {
				t.Fatal(err)
			}
			seen = append(seen, rowsOf(t, target, "select count(*), max(id) from t"))
		}
		seen = append(seen, "row")
		return nil
	}})
	if err != nil || !reflect.DeepEqual(seen, []string{"3000|3000", "row", "row"}) {
		t.Errorf("read %v, %v", seen, err)
	}
	if rest := l.apply(target); len(rest) != 1 || rest[0].Err != nil {
		t.Errorf("the entry after the snapshot: %+v", rest)
	}
	if got := rowsOf(t, target, "select count(*) from t"); got != "1500" {
		t.Errorf("%s rows", got)
	}
	if _, kept := target.ChainAt(2); kept {
		t.Error("chains of the replaced content are kept")
	}
	if target.Chain() != source.Chain() {
		t.Errorf("chains %v and %v", target.Chain(), source.Chain())
	}
}

// A snapshot that is not what it says, or that the disk does not take, changes nothing: the database goes on, also after
// the next start, and nothing is left behind.
func TestRestoreRefused(t *testing.T) {
	source := openEngine(t, Config{})
	l := newLog(t)
	l.bootstrap(nil)
	l.must(source, "create table t(a); insert into t values(1)")
	image := snapshotOf(t, source)
	var broken atomic.Bool
	config := Config{Dir: filepath.Join(t.TempDir(), "db"), Fault: func(op sqlite.FaultOp, _ string, _ int64, _ int) int {
		if broken.Load() && op == sqlite.FaultRead {
			return 266 // SQLITE_IOERR_READ
		}
		return 0
	}}
	target := openEngine(t, config)
	own := newLog(t)
	own.bootstrap(nil)
	own.must(target, "create table mine(a); insert into mine values(5)")

	wrong := image.Meta()
	wrong.Applied.Index++
	content := make([]byte, image.Meta().Size)
	if _, err := image.ReadAt(content, 0); err != nil {
		t.Fatal(err)
	}
	short := image.Meta()
	short.Size += 4096
	for name, try := range map[string]func() error{
		"another entry": func() error { return target.Restore(wrong, image) },
		"too short":     func() error { return target.Restore(short, bytes.NewReader(content)) },
		"no database":   func() error { return target.Restore(image.Meta(), bytes.NewReader(make([]byte, len(content)))) },
		"broken disk": func() error {
			broken.Store(true)
			defer broken.Store(false)
			return target.Restore(image.Meta(), image)
		},
	} {
		if err := try(); err == nil || !strings.Contains(err.Error(), "installing a snapshot of") {
			t.Errorf("%s: %v", name, err)
		}
		if got := rowsOf(t, target, "select a from mine"); got != "5" {
			t.Errorf("%s: rows %q", name, got)
		}
		own.must(target, "update mine set a = 5")
		if left := generations(t, config.Dir); len(left) != 1 {
			t.Errorf("%s: generations %v", name, left)
		}
	}
	foreign := newLog(t)
	stranger := openEngine(t, Config{})
	foreign.found("fedcba9876543210", nil)
	foreign.must(stranger, "create table t(a)")
	theirs := snapshotOf(t, stranger)
	if err := target.Restore(theirs.Meta(), theirs); err == nil || !strings.Contains(err.Error(), "of cluster") {
		t.Errorf("another cluster's: %v", err)
	}
}

// A crash at any step of the installation leaves the old generation or the new one, whole. What had arrived of a new one that
// is not in use is kept for the next snapshot.
func TestRestoreCrash(t *testing.T) {
	source := openEngine(t, Config{})
	l := newLog(t)
	l.bootstrap(nil)
	l.must(source, "create table t(a); insert into t values(1)")
	image := snapshotOf(t, source)
	target := openEngine(t, Config{})
	own := newLog(t)
	own.bootstrap(nil)
	own.must(target, "create table t(a); insert into t values(2), (3)")
	// What a crash leaves: a new generation that was not finished, one that was finished and not pointed to, and the old
	// one beside the one in use.
	g := *target.generation.Load()
	for step, stage := range map[string]func(Config){
		"unfinished": func(c Config) { mustWrite(t, filepath.Join(c.Dir, "2", fileName), []byte("half")) },
		"unnamed": func(c Config) {
			content := make([]byte, image.Meta().Size)
			if _, err := image.ReadAt(content, 0); err != nil {
				t.Fatal(err)
			}
			mustWrite(t, filepath.Join(c.Dir, "2", fileName), content)
		},
	} {
		config := copyFiles(t, target)
		stage(config)
		e := openEngine(t, config)
		if got := rowsOf(t, e, "select a from t"); got != "2 3" || len(generations(t, config.Dir)) != 1 {
			t.Errorf("%s: rows %s, generations %v", step, got, generations(t, config.Dir))
		}
		if step == "unnamed" {
			arrivals := openArrivals(t, e.config.SnapshotDir)
			in, err := arrivals.Receive(*image.Manifest())
			if err != nil {
				t.Fatal(err)
			}
			if err := in.Recall(t.Context()); err != nil || len(in.Lacks()) != 0 {
				t.Errorf("%v: it lacks %v", err, in.Lacks())
			}
			if err := in.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := target.Restore(image.Meta(), image); err != nil {
		t.Fatal(err)
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, filepath.Join(g.path(), fileName), []byte("the old one"))
	e := openEngine(t, Config{Dir: target.config.Dir})
	if got := rowsOf(t, e, "select a from t"); got != "1" || len(generations(t, e.config.Dir)) != 1 {
		t.Errorf("after the pointer: rows %s, generations %v", got, generations(t, e.config.Dir))
	}
}

func mustWrite(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, content, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// Snapshots are taken beside writes, and closing the engine does not wait for the disk's pace.
func TestSnapshotEndsWithTheEngine(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.bootstrap(nil)
	l.must(e, "create table t(b); insert into t with recursive n(i) as (select 1 union all select i + 1 from n where i < 900) select randomblob(20000) from n")
	outcome := make(chan error, 1)
	go func() {
		image, err := e.Snapshot()
		if err == nil {
			err = image.Close()
		}
		outcome <- err
	}()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	<-outcome // taken, or ended: both are right
	if _, err := e.Snapshot(); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(e.config.SnapshotDir, "outgoing-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
