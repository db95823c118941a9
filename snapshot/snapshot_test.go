package snapshot

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
)

var base = raft.Base{Applied: raft.EntryID{Term: 3, Index: 70}, ConfigurationIndex: 1}

// database makes a database of somewhat more than two chunks, and returns a connection with it.
func database(t testing.TB) (conn *sqlite.Conn, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "main.sqlite")
	conn, err := sqlite.Open(path, sqlite.WriterOptions(sqlite.NewClock()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, sql := range []string{
		"create table t(id integer primary key, b)",
		"insert into t with recursive n(i) as (select 1 union all select i + 1 from n where i < 1100) select i, randomblob(2000) from n",
		"delete from t where id % 3 = 0", // free pages belong to the layout
	} {
		if err := conn.Exec(sql); err != nil {
			t.Fatal(err)
		}
	}
	return conn, path
}

func take(t testing.TB, conn *sqlite.Conn, dir string) *Image {
	t.Helper()
	image, err := Take(t.Context(), conn, dir, [16]byte{1}, func() (raft.Base, error) { return base, nil })
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func closeAll(t testing.TB, all ...io.Closer) {
	t.Helper()
	for _, c := range all {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// An image has the bytes that the database file has after a complete checkpoint, and arrives as it was sent, in whatever
// order its chunks come, and twice.
func TestImageIsPageExact(t *testing.T) {
	conn, path := database(t)
	dir := t.TempDir()
	image := take(t, conn, dir)
	if _, _, err := conn.WALCheckpointPassive(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content := make([]byte, image.Meta().Size)
	if _, err := image.ReadAt(content, 0); err != nil || !bytes.Equal(content, file) {
		t.Fatalf("%v: %d bytes, the file has %d", err, len(content), len(file))
	}
	if m := image.Manifest(); len(m.Chunks) != 3 || m.Applied != base.Applied || m.Cluster != [16]byte{1} {
		t.Fatalf("%d chunks of %+v", len(m.Chunks), m.SnapshotMeta)
	}

	in := receive(t, arrivals(t, dir), image.Manifest())
	if err := in.Finish(); !errors.Is(err, ErrChunk) {
		t.Errorf("finished without a chunk: %v", err)
	}
	for _, chunk := range []int{2, 0, 2, 1} {
		offset, length := image.Manifest().Extent(chunk)
		if err := in.Put(t.Context(), chunk, nil, content[offset:][:length]); err != nil {
			t.Fatal(err)
		}
	}
	if lacks := in.Lacks(); len(lacks) != 0 {
		t.Errorf("it lacks %v", lacks)
	}
	if err := in.Finish(); err != nil {
		t.Fatal(err)
	}
	place := filepath.Join(dir, "installed")
	if err := in.MoveTo(place); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(place); err != nil || !bytes.Equal(got, file) {
		t.Errorf("%v: what arrived is not what was sent", err)
	}
	closeAll(t, image, in)
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

// A chunk that is not what the manifest says is refused, and the right one is taken afterwards.
func TestWrongChunks(t *testing.T) {
	conn, _ := database(t)
	dir := t.TempDir()
	image := take(t, conn, dir)
	in := receive(t, arrivals(t, dir), image.Manifest())
	defer closeAll(t, image, in)
	offset, length := image.Manifest().Extent(1)
	chunk := make([]byte, length)
	if _, err := image.ReadAt(chunk, offset); err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(chunk)
	flipped[500] ^= 1
	for name, put := range map[string]func() error{
		"a flipped bit":  func() error { return in.Put(t.Context(), 1, nil, flipped) },
		"too short":      func() error { return in.Put(t.Context(), 1, nil, chunk[1:]) },
		"in another one": func() error { return in.Put(t.Context(), 0, nil, chunk) },
		"beyond the end": func() error { return in.Put(t.Context(), 3, nil, chunk) },
		"before it":      func() error { return in.Put(t.Context(), -1, nil, chunk) },
		"nothing at all": func() error { return in.Put(t.Context(), 1, nil, nil) },
	} {
		if err := put(); !errors.Is(err, ErrChunk) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := in.Put(t.Context(), 1, nil, chunk); err != nil || len(in.Lacks()) != 2 {
		t.Errorf("%v, it lacks %v", err, in.Lacks())
	}
}

// A manifest that contradicts itself makes no file, however large it says that it is.
func TestWrongManifests(t *testing.T) {
	good := Manifest{SnapshotMeta: raft.SnapshotMeta{Base: base, Size: 10}, Chunks: make([]Hash, 1)}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Manifest){
		"empty":       func(m *Manifest) { m.Size, m.Chunks = 0, nil },
		"negative":    func(m *Manifest) { m.Size = -1 },
		"huge":        func(m *Manifest) { m.Size = 1 << 62 },
		"few chunks":  func(m *Manifest) { m.Size = 5 << 20 },
		"many chunks": func(m *Manifest) { m.Chunks = make([]Hash, 9) },
		"no entry":    func(m *Manifest) { m.Applied = raft.EntryID{} },
	} {
		m, dir := good, t.TempDir()
		change(&m)
		if _, err := arrivals(t, dir).Receive(m); !errors.Is(err, ErrManifest) {
			t.Errorf("%s: %v", name, err)
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 0 {
			t.Errorf("%s: left behind %v", name, entries)
		}
	}
}

// A copy that ends early leaves nothing, neither a file nor a transaction; what a crash leaves is cleaned.
func TestTakeEndsEarly(t *testing.T) {
	conn, _ := database(t)
	dir := t.TempDir()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	none := func() (raft.Base, error) { return base, nil }
	if _, err := Take(ended, conn, dir, [16]byte{}, none); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	failing := errors.New("no base")
	if _, err := Take(t.Context(), conn, dir, [16]byte{}, func() (raft.Base, error) { return base, failing }); !errors.Is(err, failing) {
		t.Errorf("without a base: %v", err)
	}
	if err := conn.Exec("begin; commit"); err != nil {
		t.Errorf("a transaction is open: %v", err)
	}
	if err := Clean(filepath.Join(dir, "absent")); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"outgoing-1.sqlite", "other.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Clean(dir); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || !strings.HasPrefix(entries[0].Name(), "other") {
		t.Errorf("%v: left behind %v", err, entries)
	}
}
