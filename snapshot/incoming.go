package snapshot

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"

	"github.com/rsqld/rsqld/raft"
)

// ErrChunk says that a chunk is not what the manifest says.
var ErrChunk = errors.New("a chunk of a snapshot is not what its manifest says")

// Incoming is a copy that arrives. Its methods are called by one goroutine at a time.
type Incoming struct {
	file     *os.File
	manifest Manifest
	// have are the chunks that are there; lacks counts the others.
	have  []bool
	lacks int
	// unsynced counts the bytes written since the last sync.
	unsynced int64
	// path is where the file is, empty when it was taken away.
	path string
}

// Receive makes room for a copy in dir. The caller closes it.
func Receive(dir string, manifest Manifest) (*Incoming, error) {
	if err := manifest.Check(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("receiving a snapshot: %w", err)
	}
	file, err := os.CreateTemp(dir, incomingPattern)
	if err != nil {
		return nil, fmt.Errorf("receiving a snapshot: %w", err)
	}
	return &Incoming{
		file: file, path: file.Name(), manifest: manifest, have: make([]bool, len(manifest.Chunks)), lacks: len(manifest.Chunks),
	}, nil
}

// Lacks returns the chunks that are not there, rising.
func (in *Incoming) Lacks() []int {
	lacks := make([]int, 0, in.lacks)
	for chunk, have := range in.have {
		if !have {
			lacks = append(lacks, chunk)
		}
	}
	return lacks
}

// Put takes a chunk. One that is there already is not written again; one that is wrong is refused with ErrChunk.
func (in *Incoming) Put(chunk int, b []byte) error {
	if chunk < 0 || chunk >= len(in.have) {
		return fmt.Errorf("%w: number %d of %d", ErrChunk, chunk, len(in.have))
	}
	offset, length := in.manifest.Extent(chunk)
	switch {
	case len(b) != length:
		return fmt.Errorf("%w: number %d has %d bytes and should have %d", ErrChunk, chunk, len(b), length)
	case sha256.Sum256(b) != in.manifest.Chunks[chunk]:
		return fmt.Errorf("%w: number %d has another hash", ErrChunk, chunk)
	case in.have[chunk]:
		return nil
	}
	if _, err := in.file.WriteAt(b, offset); err != nil {
		return fmt.Errorf("receiving a snapshot: %w", err)
	}
	in.have[chunk] = true
	in.lacks--
	if in.unsynced += int64(length); in.unsynced >= paceBytes {
		return in.sync()
	}
	return nil
}

func (in *Incoming) sync() error {
	in.unsynced = 0
	if err := in.file.Sync(); err != nil {
		return fmt.Errorf("receiving a snapshot: %w", err)
	}
	return nil
}

// Finish makes the copy durable. It must be whole.
func (in *Incoming) Finish() error {
	if in.lacks > 0 {
		return fmt.Errorf("%w: %d of %d are missing", ErrChunk, in.lacks, len(in.have))
	}
	return in.sync()
}

// Meta is what the content stands for.
func (in *Incoming) Meta() raft.SnapshotMeta { return in.manifest.SnapshotMeta }

// Manifest is what was promised. It must not be changed.
func (in *Incoming) Manifest() *Manifest { return &in.manifest }

// ReadAt implements io.ReaderAt.
func (in *Incoming) ReadAt(b []byte, offset int64) (int, error) { return in.file.ReadAt(b, offset) }

// MoveTo gives the finished file a new name, on the same file system, and closes it. The name is durable when its
// directory was synced.
func (in *Incoming) MoveTo(path string) error {
	if in.path == "" {
		return errors.New("moving a snapshot: it was moved already")
	}
	// A file that is open cannot be renamed on Windows.
	if err := errors.Join(in.file.Close(), os.Rename(in.path, path)); err != nil {
		return fmt.Errorf("moving a snapshot to its place: %w", err)
	}
	in.path = ""
	return nil
}

// Close removes the copy, unless it was moved away.
func (in *Incoming) Close() error {
	if in.path == "" {
		return nil
	}
	err := in.file.Close()
	if errors.Is(err, os.ErrClosed) { // a MoveTo that failed
		err = nil
	}
	return errors.Join(err, os.Remove(in.path))
}
