package sim

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/rsqld/rsqld/raft/wal"
)

// history is the model of a file: every content since the newest sync, that one first.
type history [][]byte

func (h history) last() []byte { return h[len(h)-1] }

// modelDisk is the obvious way to describe a disk: everything it ever was since it was last durable.
type modelDisk struct {
	names []map[string]*inode
	files map[*inode]history
}

func newModel() *modelDisk {
	return &modelDisk{names: []map[string]*inode{{}}, files: map[*inode]history{}}
}

func (m *modelDisk) live() map[string]*inode { return m.names[len(m.names)-1] }

// names that were changed, as one step more.
func (m *modelDisk) change(change func(map[string]*inode)) {
	next := maps.Clone(m.live())
	change(next)
	m.names = append(m.names, next)
}

// tally counts what crashes have done, so that a disk that loses nothing, or everything, fails.
type tally struct{ keptSectors, lostSectors, reordered, keptNames, lostNames, oldSizes, newSizes int }

// survived compares the disk after a crash with what is allowed, and makes it the model's state.
func (m *modelDisk) survived(d *Disk, t *tally) error {
	root := d.root.dir.live
	for _, names := range append(m.names, root) {
		for name := range names {
			if !slices.ContainsFunc(m.names, func(n map[string]*inode) bool { return n[name] == root[name] }) {
				return fmt.Errorf("name %s is file %p, which it never was since the sync of the directory", name, root[name])
			}
		}
	}
	if len(m.names) > 1 {
		t.keptNames += b2i(maps.Equal(root, m.live()))
		t.lostNames += b2i(maps.Equal(root, m.names[0]))
	}
	files := map[*inode]history{}
	for name, n := range root {
		if files[n] != nil {
			return fmt.Errorf("file %s has two names", name)
		}
		content := n.content[:n.size]
		if err := m.files[n].allows(content, t); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		files[n] = history{slices.Clone(content)}
	}
	m.names, m.files = []map[string]*inode{maps.Clone(root)}, files
	return nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// allows reports why a crash cannot have left content.
func (h history) allows(content []byte, t *tally) error {
	if !slices.ContainsFunc(h, func(was []byte) bool { return len(was) == len(content) }) {
		return fmt.Errorf("%d bytes long, which it never was", len(content))
	}
	if first := len(h[0]); first != len(h.last()) {
		t.oldSizes += b2i(len(content) == first)
		t.newSizes += b2i(len(content) == len(h.last()))
	}
	lost := false
	for s := 0; s < len(content); s += sector {
		got := content[s:min(s+sector, len(content))]
		like := func(was []byte) bool { return string(part(was, s, len(got))) == string(got) }
		switch {
		case !slices.ContainsFunc(h, like):
			return fmt.Errorf("sector at %d is as it never was", s)
		case like(h[0]) && !like(h.last()):
			t.lostSectors++
			lost = true
		case !like(h[0]):
			t.keptSectors++
			t.reordered += b2i(lost)
		}
	}
	return nil
}

// part returns the bytes from s on, zeros behind the end.
func part(b []byte, s, length int) []byte {
	p := make([]byte, length)
	if s < len(b) {
		copy(p, b[s:])
	}
	return p
}

// TestDiskModel proves: whatever is done to files and names, reads see all of it, and after a loss of power every sector,
// size and name is as at some moment since it was last synced, exactly as then if nothing has changed since.
func TestDiskModel(t *testing.T) {
	var seen tally
	for seed := range uint64(60) {
		chance := rand.New(rand.NewPCG(seed, 1))
		d, m := NewDisk(seed), newModel()
		files := d.Mount()
		for step := range 300 {
			var err error
			if chance.IntN(25) == 0 {
				if step%3 == 0 {
					d.Kill() // changes nothing
				} else {
					d.Crash()
					err = m.survived(d, &seen)
				}
				files = d.Mount()
			} else {
				err = randomStep(chance, files, d, m)
			}
			if err == nil {
				err = m.agrees(files, d)
			}
			if err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
		}
	}
	if min(seen.keptSectors, seen.lostSectors, seen.reordered, seen.keptNames, seen.lostNames, seen.oldSizes, seen.newSizes) < 20 {
		t.Errorf("crashes do not do everything that they may: %+v", seen)
	}
}

// randomStep does one operation on disk and model.
func randomStep(chance *rand.Rand, files wal.Files, d *Disk, m *modelDisk) error {
	pick := func() string { return "/" + string(rune('a'+chance.IntN(5))) }
	name, other := pick(), pick()
	node := m.live()[name[1:]]
	switch op := chance.IntN(12); {
	case op == 0 || node == nil && op < 8:
		f, err := files.Open(name, os.O_CREATE|os.O_TRUNC)
		if err != nil {
			return err
		}
		now := d.named(name[1:])
		if node == nil {
			m.change(func(names map[string]*inode) { names[name[1:]] = now })
			m.files[now] = history{{}}
		} else {
			m.files[node] = append(m.files[node], []byte{})
		}
		return f.Close()
	case op == 8:
		m.names = []map[string]*inode{m.live()}
		return files.SyncDir("/")
	case node == nil:
		return nil
	case op == 9:
		m.change(func(names map[string]*inode) { delete(names, name[1:]) })
		return files.Remove(name)
	case op == 10:
		if name == other {
			return nil
		}
		m.change(func(names map[string]*inode) {
			delete(names, name[1:])
			names[other[1:]] = node
		})
		return files.Rename(name, other)
	}
	return randomWrite(chance, files, name, m, node)
}

func randomWrite(chance *rand.Rand, files wal.Files, name string, m *modelDisk, node *inode) error {
	f, err := files.Open(name, 0)
	if err != nil {
		return err
	}
	h := m.files[node]
	switch chance.IntN(6) {
	case 0:
		m.files[node] = history{h.last()}
		err = f.Sync()
	case 1:
		size := chance.IntN(3000)
		m.files[node] = append(h, part(h.last(), 0, size))
		err = f.Truncate(int64(size))
	default:
		p := make([]byte, 1+chance.IntN(1500))
		for i := range p {
			p[i] = byte(chance.Uint32())
		}
		off := chance.IntN(2500)
		next := part(h.last(), 0, max(len(h.last()), off+len(p)))
		copy(next[off:], p)
		m.files[node] = append(h, next)
		_, err = f.WriteAt(p, int64(off))
	}
	return errors.Join(err, f.Close())
}

// agrees compares what a process reads, and what is durable, with the model.
func (m *modelDisk) agrees(files wal.Files, d *Disk) error {
	names, err := files.List("/")
	if want := slices.Sorted(maps.Keys(m.live())); err != nil || !slices.Equal(names, want) {
		return fmt.Errorf("the directory has %v (%w), want %v", names, err, want)
	}
	used := 0
	for _, name := range names {
		want := m.files[m.live()[name]].last()
		used += len(want)
		if got, err := readAll(files, "/"+name); err != nil || string(got) != string(want) {
			return fmt.Errorf("%s has %d other bytes than the %d expected (%w)", name, len(got), len(want), err)
		}
	}
	if d.Used() != used {
		return fmt.Errorf("%d bytes are used, want %d", d.Used(), used)
	}
	pending := len(m.names) > 1
	for _, h := range m.files {
		pending = pending || len(h) > 1
	}
	if d.Pending() && !pending {
		return errors.New("something is pending, and nothing was done since the sync")
	}
	safe := d.Durable()
	for name, node := range m.names[0] {
		if got, err := readAll(safe.Mount(), "/"+name); err != nil || string(got) != string(m.files[node][0]) {
			return fmt.Errorf("%s has %d durable bytes which differ from the %d of its last sync (%w)", name, len(got), len(m.files[node][0]), err)
		}
	}
	return nil
}

func readAll(files wal.Files, name string) ([]byte, error) {
	f, err := files.Open(name, 0)
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return nil, err
	}
	return b, f.Close()
}

// create makes a file of the given content that is durable, name and all.
func create(t *testing.T, files wal.Files, name string, content []byte) wal.File {
	t.Helper()
	f, err := files.Open(name, os.O_CREATE|os.O_TRUNC)
	if err == nil {
		_, err = f.WriteAt(content, 0)
	}
	if err == nil {
		err = errors.Join(f.Sync(), files.SyncDir("/"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func filled(size int, with byte) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = with
	}
	return b
}

// TestFailedSyncDrops proves: what a failed sync has dropped can be read, is not written by a later sync that succeeds,
// and is gone after a loss of power, unless it was written again.
func TestFailedSyncDrops(t *testing.T) {
	again, lost := 0, 0
	for seed := range uint64(100) {
		d := NewDisk(seed)
		f := create(t, d.Mount(), "/f", filled(4*sector, 1))
		d.SetFaults(Faults{Sync: 1, Drop: 1})
		if _, err := f.WriteAt(filled(4*sector, 2), 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("got %v, want an input/output error", err)
		}
		d.SetFaults(Faults{})
		if b, err := readAll(d.Mount(), "/f"); err != nil || string(b) != string(filled(4*sector, 2)) {
			t.Fatalf("seed %d: what was written cannot be read (%v)", seed, err)
		}
		if _, err := f.WriteAt(filled(10, 3), sector); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		d.Crash()
		b, err := readAll(d.Mount(), "/f")
		if err != nil || b[sector] != 3 || b[2*sector-1] != 2 {
			t.Fatalf("seed %d: the sector that was written again is not there: %d %d (%v)", seed, b[sector], b[2*sector-1], err)
		}
		again += b2i(b[0] == 2)
		lost += b2i(b[0] == 1)
	}
	if again < 10 || lost < 10 {
		t.Errorf("a failed sync had written a sector %d times and lost it %d times", again, lost)
	}
}

// TestDeadProcess proves: from its crash point on a process can do nothing, also after the crash; the operation that it
// died within is done in part at most.
func TestDeadProcess(t *testing.T) {
	parts := map[int]int{}
	for seed := range uint64(200) {
		d := NewDisk(seed)
		files := d.Mount()
		f := create(t, files, "/f", filled(4*sector, 1))
		d.DieAfter(1, seed%2 == 1)
		if _, err := f.WriteAt(filled(10, 2), 0); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(filled(3*sector, 3), 100); !errors.Is(err, ErrCrashed) || !d.Dead() {
			t.Fatalf("the process is at its crash point and got %v", err)
		}
		dead := func() {
			t.Helper()
			_, written := f.WriteAt([]byte{1}, 0)
			_, read := f.ReadAt(make([]byte, 1), 0)
			_, opened := files.Open("/f", 0)
			_, listed := files.List("/")
			for _, err := range []error{written, read, opened, listed, f.Sync(), f.Truncate(0), files.Rename("/f", "/g"),
				files.Remove("/f"), files.SyncDir("/"), files.MkdirAll("/d")} {
				if !errors.Is(err, ErrCrashed) {
					t.Fatalf("the process is dead and got %v", err)
				}
			}
		}
		dead()
		d.Kill()
		dead()
		b, err := readAll(d.Mount(), "/f")
		if err != nil || b[5] != 2 {
			t.Fatalf("a killed process lost what it had written (%v)", err)
		}
		parts[slices.IndexFunc(append(b[100:], 1), func(x byte) bool { return x != 3 })]++
	}
	if parts[0] < 100 || len(parts) != 5 {
		t.Errorf("a write at 100 was found with these lengths: %v", parts)
	}
}

// TestSpace proves: a write beyond the capacity fails, changes nothing, and succeeds when a file was removed.
func TestSpace(t *testing.T) {
	d := NewDisk(1)
	files := d.Mount()
	create(t, files, "/old", filled(1000, 1))
	f := create(t, files, "/new", filled(10, 1))
	d.SetCapacity(1500)
	if _, err := f.WriteAt(filled(501, 2), 0); !errors.Is(err, syscall.ENOSPC) || d.Used() != 1010 {
		t.Fatalf("got %v with %d bytes used, want ENOSPC with 1010", err, d.Used())
	}
	if err := f.Truncate(501); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("growing got %v, want ENOSPC", err)
	}
	if err := files.Remove("/old"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(filled(1500, 2), 0); err != nil {
		t.Fatal(err)
	}
}

// TestLostDirectory proves: a directory whose name was not synced may take its files along, synced or not.
func TestLostDirectory(t *testing.T) {
	gone := 0
	for seed := range uint64(60) {
		d := NewDisk(seed)
		files := d.Mount()
		if err := files.MkdirAll("/a/b"); err != nil {
			t.Fatal(err)
		}
		if err := files.SyncDir("/"); err != nil {
			t.Fatal(err)
		}
		f, err := files.Open("/a/b/f", os.O_CREATE)
		if err == nil {
			err = errors.Join(f.Sync(), files.SyncDir("/a/b"))
		}
		if err != nil {
			t.Fatal(err)
		}
		d.Crash()
		if _, err := d.Mount().List("/a"); err != nil {
			t.Fatal(err)
		}
		_, err = d.Mount().Open("/a/b/f", 0)
		gone += b2i(errors.Is(err, fs.ErrNotExist))
	}
	if gone < 10 || gone > 50 {
		t.Errorf("the directory was lost %d times of 60", gone)
	}
}

// TestStall proves: nothing completes before the end of a stall, and everything takes some time.
func TestStall(t *testing.T) {
	d := NewDisk(1)
	d.Stall(60 * time.Second)
	if took := d.Latency(DiskTransfer, 10*time.Second); took < 50*time.Second {
		t.Errorf("an operation took %v in a stall of 50 s", took)
	}
	sum := time.Duration(0)
	for range 1000 {
		took := d.Latency(DiskSync, 61*time.Second)
		if took <= 0 {
			t.Fatalf("an operation took %v", took)
		}
		sum += took
	}
	if mean := sum / 1000; mean < 100*time.Microsecond || mean > 200*time.Microsecond {
		t.Errorf("a sync takes %v on average, want 150 µs", mean)
	}
}

// TestReplace proves: a disk that was replaced is empty.
func TestReplace(t *testing.T) {
	d := NewDisk(1)
	create(t, d.Mount(), "/f", filled(100, 1))
	d.Replace()
	if names, err := d.Mount().List("/"); err != nil || len(names) != 0 || d.Used() != 0 {
		t.Errorf("a new disk has %v, %d bytes used (%v)", names, d.Used(), err)
	}
}

func BenchmarkDiskWriteSync(b *testing.B) {
	d := NewDisk(1)
	f, err := d.Mount().Open("/f", os.O_CREATE)
	if err != nil {
		b.Fatal(err)
	}
	if err := f.Truncate(64 << 10); err != nil {
		b.Fatal(err)
	}
	record := filled(300, 1)
	for b.Loop() {
		if _, err := f.WriteAt(record, int64(b.N%200*300)); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
}
