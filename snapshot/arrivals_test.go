package snapshot

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

func arrivals(t testing.TB, dir string) *Arrivals {
	t.Helper()
	a, err := OpenArrivals(wal.OS(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func receive(t testing.TB, a *Arrivals, m *Manifest) *Incoming {
	t.Helper()
	in, err := a.Receive(*m)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// describe makes the manifest of some content.
func describe(index raft.Index, content []byte) *Manifest {
	m := Describe(raft.SnapshotMeta{Base: raft.Base{Applied: raft.EntryID{Term: 1, Index: index}, ConfigurationIndex: 1}}, content, 0)
	return &m
}

// bring gives an Incoming up to most of the chunks that it lacks, by what differs from what it holds, and returns how many
// bytes that took.
func bring(t testing.TB, in *Incoming, content []byte, most int) (sent int) {
	t.Helper()
	for _, number := range in.Lacks() {
		if most--; most < 0 {
			break
		}
		offset, length := in.Manifest().Extent(number)
		outline, err := in.Outline(number, nil)
		if err != nil {
			t.Fatal(err)
		}
		blocks, differing, err := differences(content[offset:][:length], outline, nil)
		if err == nil {
			err = in.Put(t.Context(), number, blocks, differing)
		}
		if err != nil {
			t.Fatal(err)
		}
		sent += len(differing)
	}
	return sent
}

// install finishes an Incoming and returns what it is.
func install(t testing.TB, in *Incoming) []byte {
	t.Helper()
	place := filepath.Join(t.TempDir(), "installed")
	if err := errors.Join(in.Finish(), in.MoveTo(place), in.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(place)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func filesIn(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// However often a way is cut, by whatever is cut, each chunk that came stays: in the end what was sent twice is what was
// changed in between and nothing else. The content is exact, there is one file at most, and none when it is installed.
func TestArrivalsSurviveEveryCut(t *testing.T) {
	for seed := range uint64(12) {
		chance := rand.New(rand.NewPCG(seed, 7))
		dir := t.TempDir()
		a := arrivals(t, dir)
		content := random(seed, 5*ChunkSize+chance.IntN(ChunkSize))
		index, sent, changed, spoilt := raft.Index(10), 0, 0, 0
		for cut := 0; ; cut++ {
			in := receive(t, a, describe(index, content))
			if err := in.Recall(t.Context()); err != nil {
				t.Fatal(err)
			}
			sent += bring(t, in, content, 1+chance.IntN(2))
			if len(in.Lacks()) == 0 {
				if got := install(t, in); !bytes.Equal(got, content) {
					t.Fatalf("seed %d: what is installed is not what was sent", seed)
				}
				break
			}
			if names := filesIn(t, dir); len(names) != 1 {
				t.Fatalf("seed %d: files %v", seed, names)
			}
			if chance.IntN(2) == 0 { // the stream is cut
				closeAll(t, in)
			} else { // the process is killed, perhaps in the middle of a write
				if number := in.Lacks()[0]; chance.IntN(2) == 0 {
					offset, length := in.Manifest().Extent(number)
					if _, err := in.file.WriteAt(random(seed+9, length/2), offset); err != nil {
						t.Fatal(err)
					}
				}
				closeAll(t, in.file)
				a = arrivals(t, dir)
			}
			if chance.IntN(3) == 0 && cut < 6 { // another sender, or the same one later
				index += raft.Index(chance.IntN(3))
				for range 1 + chance.IntN(3) {
					content[chance.IntN(len(content))] ^= 1
					changed++
				}
				if chance.IntN(3) == 0 {
					spoilt += 2 * ChunkSize // the last chunk has another length, and so has what takes its place
					content = append(content, random(seed+5, chance.IntN(ChunkSize))...)
				}
			}
		}
		if most := 6*ChunkSize + changed*BlockSize + spoilt; sent > most {
			t.Errorf("seed %d: %d bytes were sent of %d, with %d changes in between", seed, sent, len(content), changed)
		}
		if names := filesIn(t, dir); len(names) != 0 {
			t.Errorf("seed %d: left behind %v", seed, names)
		}
	}
}

// A chunk counts wherever it is: at another place in the file, or several times in the snapshot.
func TestChunksAreKnownByTheirHash(t *testing.T) {
	a := arrivals(t, t.TempDir())
	one, two, three := random(1, ChunkSize), random(2, ChunkSize), random(3, ChunkSize)
	in := receive(t, a, describe(5, slices.Concat(one, two, three)))
	bring(t, in, slices.Concat(one, two, three), 3)
	closeAll(t, in)
	content := slices.Concat(two, one, random(4, ChunkSize), one, one[:7])
	in = receive(t, a, describe(6, content))
	if err := in.Recall(t.Context()); err != nil {
		t.Fatal(err)
	}
	if lacks := in.Lacks(); len(lacks) > 3 { // two takes the place of one before one is moved
		t.Errorf("it lacks %v", lacks)
	}
	bring(t, in, content, 9)
	if !bytes.Equal(install(t, in), content) {
		t.Error("what is installed is not what was sent")
	}
	same := bytes.Repeat(one, 4)
	in = receive(t, a, describe(7, same))
	if sent := bring(t, in, same, 9); sent != ChunkSize {
		t.Errorf("%d bytes were sent of a content that repeats", sent)
	}
	if !bytes.Equal(install(t, in), same) {
		t.Error("what is installed is not what was sent")
	}
}

// What a database holds already is not asked for, and of a chunk in which a row was changed the pages that differ are enough.
func TestOwnDatabaseIsASource(t *testing.T) {
	conn, _ := database(t)
	image := take(t, conn, t.TempDir())
	content := make([]byte, image.Meta().Size)
	if _, err := image.ReadAt(content, 0); err != nil {
		t.Fatal(err)
	}
	if err := conn.Exec("update t set b = randomblob(2000) where id = 701"); err != nil {
		t.Fatal(err)
	}
	a := arrivals(t, t.TempDir())
	in := receive(t, a, image.Manifest())
	if err := in.Gather(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	if err := conn.Exec("begin immediate; rollback"); err != nil {
		t.Errorf("a transaction is open: %v", err)
	}
	lacks := in.Lacks()
	if len(lacks) == 0 || len(lacks) == len(image.Manifest().Chunks) {
		t.Errorf("it lacks %v of %d chunks", lacks, len(image.Manifest().Chunks))
	}
	if sent := bring(t, in, content, len(lacks)); sent == 0 || sent > 3*BlockSize {
		t.Errorf("%d bytes were sent of %d", sent, len(content))
	}
	if s := in.Sources(); s.Own+s.Received != int64(len(content)) || s.Kept != 0 {
		t.Errorf("sources %+v of %d bytes", s, len(content))
	}
	if !bytes.Equal(install(t, in), content) {
		t.Error("what is installed is not what was sent")
	}
	closeAll(t, image)
}

// One snapshot arrives at a time. What nobody will ask for again is removed, and of several files that others have left the
// largest stays; what is no such file stays too.
func TestArrivalsAreBounded(t *testing.T) {
	dir := t.TempDir()
	for name, size := range map[string]int{"incoming-7.sqlite": 10, "incoming-8.sqlite": 3 * BlockSize, "incoming-x.sqlite": 99999,
		"incoming-9.txt": 1, "outgoing-1.sqlite": 1} {
		if err := os.WriteFile(filepath.Join(dir, name), random(1, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := arrivals(t, dir)
	if names := filesIn(t, dir); !slices.Equal(names, []string{"incoming-8.sqlite", "incoming-9.txt", "outgoing-1.sqlite"}) {
		t.Fatalf("files %v", names)
	}
	in := receive(t, a, describe(20, random(1, 3*BlockSize)))
	if _, err := a.Receive(*in.Manifest()); !errors.Is(err, ErrTaken) {
		t.Errorf("a second one: %v", err)
	}
	if err := errors.Join(in.Recall(t.Context()), a.Discard(99)); err != nil || len(in.Lacks()) != 0 {
		t.Errorf("%v, it lacks %v", err, in.Lacks())
	}
	closeAll(t, in)
	for _, left := range []int{3, 2} { // below 20, and below 21
		if err := a.Discard(raft.Index(23 - left)); err != nil || len(filesIn(t, dir)) != left {
			t.Errorf("below %d: %v, files %v", 23-left, err, filesIn(t, dir))
		}
	}
	in = receive(t, a, describe(22, random(1, 9)))
	closeAll(t, in)
	if names := filesIn(t, dir); len(names) != 2 {
		t.Errorf("nothing came and this is there: %v", names)
	}
}

// sick is a disk on which syncs fail.
type sick struct{ wal.Files }

type sickFile struct{ wal.File }

var errSick = errors.New("input/output error")

func (s sick) Open(name string, flag int) (wal.File, error) {
	file, err := s.Files.Open(name, flag)
	return sickFile{file}, err
}

func (sickFile) Sync() error { return errSick }

// Nothing is assumed about a file that could not be synced: it goes, and the next one begins anew.
func TestFailedSyncIsNotTrusted(t *testing.T) {
	dir := t.TempDir()
	a, err := OpenArrivals(sick{wal.OS()}, dir)
	if err != nil {
		t.Fatal(err)
	}
	content := random(1, 100)
	in := receive(t, a, describe(5, content))
	bring(t, in, content, 1)
	if err := in.Finish(); !errors.Is(err, errSick) {
		t.Errorf("finished: %v", err)
	}
	closeAll(t, in)
	if names := filesIn(t, dir); len(names) != 0 {
		t.Errorf("left behind %v", names)
	}
	in = receive(t, a, describe(5, content))
	if len(in.Lacks()) != 1 {
		t.Error("what could not be synced counts")
	}
	closeAll(t, in)
}

// Blocks that do not make the chunk are refused, and then all of it is asked for.
func TestWrongBlocks(t *testing.T) {
	a := arrivals(t, t.TempDir())
	content := random(1, ChunkSize)
	in := receive(t, a, describe(5, content))
	bring(t, in, content, 1)
	closeAll(t, in)
	content[77] ^= 1
	in = receive(t, a, describe(6, content))
	defer closeAll(t, in)
	if outline, err := in.Outline(0, nil); err != nil || len(outline) != MaxOutline {
		t.Fatalf("an outline of %d bytes: %v", len(outline), err)
	}
	if err := in.Put(t.Context(), 0, make([]byte, 32), nil); !errors.Is(err, ErrChunk) {
		t.Errorf("without the block that differs: %v", err)
	}
	if outline, err := in.Outline(0, nil); err != nil || len(outline) != 0 {
		t.Errorf("an outline of %d bytes: %v", len(outline), err)
	}
	if sent := bring(t, in, content, 1); sent != ChunkSize || len(in.Lacks()) != 0 {
		t.Errorf("%d bytes were sent, it lacks %v", sent, in.Lacks())
	}
}
