package snapshot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

// ErrTaken says that another snapshot is arriving: two at the same time would share what the disk can do, and one of them
// would be for nothing.
var ErrTaken = errors.New("another snapshot is on its way to this node")

// The file that chunks arrive in is incoming-<index>.sqlite, with the index of the entry that its newest manifest stands for.
const (
	incomingPrefix = "incoming-"
	incomingSuffix = ".sqlite"
)

// IncomingPath names the file of a snapshot of an index that arrives in dir. A file that is given such a name while no
// Arrivals are open there is looked at as if it had arrived: each chunk of it counts for what its content is.
func IncomingPath(dir string, index raft.Index) string {
	return filepath.Join(dir, incomingPrefix+strconv.FormatUint(uint64(index), 10)+incomingSuffix)
}

// Arrivals is where snapshots arrive, one at a time, in one file. What came of one whose way was cut stays in it, whoever
// sent it and whatever process received it: the next Incoming takes over each chunk that its manifest has too, and what it
// replaces is overwritten in place. So there is never more than one such file, and it is never longer than the longest
// manifest. It goes when it is installed, with Discard, and when it cannot be written. Its methods may be called by many
// goroutines.
type Arrivals struct {
	files wal.Files
	dir   string

	mu sync.Mutex // guards what follows
	// taken says that an Incoming has the remnant.
	taken bool
	held  remnant
}

// remnant is the file, as it is between two Incomings.
type remnant struct {
	path  string // empty: there is none
	index raft.Index
	size  int64
	// hashes are those of what is in the place of each chunk; the zero Hash says that nothing is.
	hashes []Hash
	// unread says that another process wrote the file, so that hashes are not known.
	unread bool
}

// OpenArrivals looks for what other processes have left in dir, which is made if need be. Of several files the largest stays.
func OpenArrivals(files wal.Files, dir string) (*Arrivals, error) {
	a := &Arrivals{files: files, dir: dir}
	if err := a.open(); err != nil {
		return nil, fmt.Errorf("looking for what has arrived of a snapshot: %w", err)
	}
	return a, nil
}

func (a *Arrivals) open() error {
	if err := a.files.MkdirAll(a.dir); err != nil {
		return err
	}
	names, err := a.files.List(a.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		number, isOurs := strings.CutPrefix(strings.TrimSuffix(name, incomingSuffix), incomingPrefix)
		if !isOurs || !strings.HasSuffix(name, incomingSuffix) {
			continue
		}
		found := remnant{path: filepath.Join(a.dir, name), unread: true}
		index, err := strconv.ParseUint(number, 10, 63)
		if err == nil {
			found.index = raft.Index(index)
			found.size, err = a.size(found.path)
		}
		drop := found
		if err == nil && found.size > a.held.size && found.size <= MaxChunks*ChunkSize {
			drop, a.held = a.held, found
		}
		if err := a.remove(drop.path); err != nil {
			return err
		}
	}
	return nil
}

func (a *Arrivals) size(path string) (int64, error) {
	file, err := a.files.Open(path, 0)
	if err != nil {
		return 0, err
	}
	size, err := file.Size()
	return size, errors.Join(err, file.Close())
}

func (a *Arrivals) remove(path string) error {
	if path == "" {
		return nil
	}
	if err := a.files.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Receive makes room for a snapshot. Another one must not be arriving: ErrTaken. The caller closes the Incoming.
func (a *Arrivals) Receive(manifest Manifest) (*Incoming, error) {
	if err := manifest.Check(); err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.taken {
		return nil, ErrTaken
	}
	file, err := a.prepare(&manifest)
	if err != nil {
		return nil, fmt.Errorf("receiving a snapshot: %w", err)
	}
	a.taken = true
	in := &Incoming{arrivals: a, file: file, manifest: manifest, remnant: a.held}
	in.want()
	return in, nil
}

// prepare gives the remnant the name and the size that a manifest asks for. It needs mu.
func (a *Arrivals) prepare(m *Manifest) (wal.File, error) {
	path, flag := IncomingPath(a.dir, m.Applied.Index), 0
	switch a.held.path {
	case path:
	case "":
		flag = os.O_CREATE | os.O_TRUNC
	default:
		if err := a.files.Rename(a.held.path, path); err != nil {
			return nil, err
		}
	}
	a.held.path, a.held.index = path, m.Applied.Index
	file, err := a.files.Open(path, flag)
	if err == nil {
		if err = file.Truncate(m.Size); err != nil {
			err = errors.Join(err, file.Close())
		}
	}
	if err != nil {
		// Nothing is assumed about a file that cannot be opened or changed.
		a.held = remnant{}
		return nil, errors.Join(err, a.remove(path))
	}
	a.held.resize(m)
	return file, nil
}

// resize fits the hashes to another size of the content. What is in the place of the chunk in which the shorter content ends has another
// length with it, and so another hash.
func (r *remnant) resize(m *Manifest) {
	hashes := make([]Hash, len(m.Chunks))
	copy(hashes, r.hashes)
	if end := int(min(r.size, m.Size) / m.chunkBytes()); r.size != m.Size && end < len(hashes) {
		hashes[end] = Hash{}
	}
	r.size, r.hashes = m.Size, hashes
}

// Discard removes what has arrived of a snapshot of an index below the one given, which nobody will ask for again.
func (a *Arrivals) Discard(below raft.Index) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.taken || a.held.path == "" || a.held.index >= below {
		return nil
	}
	path := a.held.path
	a.held = remnant{}
	if err := a.remove(path); err != nil {
		return fmt.Errorf("removing what has arrived of an old snapshot: %w", err)
	}
	return nil
}

// leave takes back what an Incoming had.
func (a *Arrivals) leave(left remnant) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.taken, a.held = false, left
}
