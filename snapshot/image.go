package snapshot

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
)

// The pace of a copy: what one sync of this file takes with it every other sync on the disk waits for, the raft log's too.
const (
	paceBytes    = 4 << 20
	longestPause = 100 * time.Millisecond
)

// outgoingPattern names the files of images; Clean removes all that have such a name.
const outgoingPattern = "outgoing-*.sqlite"

// Image is a copy of a database as it was at one raft entry, in a file of its own. It implements raft.SnapshotReader. Its
// methods may be called by many goroutines.
type Image struct {
	file     *os.File
	manifest Manifest
}

// Take copies the database of a connection into a new file in dir, and ends the connection's read transaction. base is
// called within the transaction, before the first page is read: it says what the content stands for. The connection must
// be outside of a transaction, without an authorizer, and its caller's alone. The caller closes the Image.
func Take(ctx context.Context, conn *sqlite.Conn, dir string, cluster [16]byte, base func() (raft.Base, error)) (*Image, error) {
	image, err := create(dir, cluster)
	if err == nil {
		if err = image.fill(ctx, conn, base); err != nil {
			err = errors.Join(err, image.Close())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("copying the database for a snapshot: %w", err)
	}
	return image, nil
}

func create(dir string, cluster [16]byte) (*Image, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(dir, outgoingPattern)
	if err != nil {
		return nil, err
	}
	return &Image{file: file, manifest: Manifest{Cluster: cluster}}, nil
}

// fill copies the database, in one read transaction.
func (i *Image) fill(ctx context.Context, conn *sqlite.Conn, base func() (raft.Base, error)) (err error) {
	if err := conn.Exec("BEGIN"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Exec("COMMIT")) }()
	if i.manifest.Base, err = base(); err != nil {
		return err
	}
	if err := i.copy(ctx, conn); err != nil {
		return err
	}
	return i.manifest.Check()
}

// copy copies the pages, in their order.
func (i *Image) copy(ctx context.Context, conn *sqlite.Conn) error {
	return eachChunk(ctx, conn, func(chunk []byte) error {
		if err := i.add(chunk); err != nil {
			return err
		}
		return i.pace(ctx)
	})
}

// add writes a chunk at the end.
func (i *Image) add(chunk []byte) error {
	if len(i.manifest.Chunks) == MaxChunks {
		return fmt.Errorf("%w: the database is larger than %d bytes", ErrManifest, int64(MaxChunks*ChunkSize))
	}
	if _, err := i.file.Write(chunk); err != nil {
		return err
	}
	i.manifest.Size += int64(len(chunk))
	i.manifest.Chunks = append(i.manifest.Chunks, sha256.Sum256(chunk))
	return nil
}

// pace syncs what was written, when it is much, and leaves the disk to others for as long as that took.
func (i *Image) pace(ctx context.Context) error {
	if i.manifest.Size%paceBytes != 0 {
		return ctx.Err()
	}
	began := time.Now()
	if err := i.file.Sync(); err != nil {
		return err
	}
	return rest(ctx, time.Since(began))
}

// rest waits for as long as the disk was used.
func rest(ctx context.Context, took time.Duration) error {
	timer := time.NewTimer(min(took, longestPause))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Meta implements raft.SnapshotReader.
func (i *Image) Meta() raft.SnapshotMeta { return i.manifest.SnapshotMeta }

// Manifest says what the image holds. It must not be changed.
func (i *Image) Manifest() *Manifest { return &i.manifest }

// Path is the file that holds the copy. It is gone after Close.
func (i *Image) Path() string { return i.file.Name() }

// ReadAt implements io.ReaderAt.
func (i *Image) ReadAt(b []byte, offset int64) (int, error) { return i.file.ReadAt(b, offset) }

// Source reads an Image for one receiver. It is for one goroutine.
type Source struct {
	image           *Image
	chunk, differed []byte
}

// Source returns a Source, which needs no Close and is not used after the Image's.
func (i *Image) Source() *Source { return &Source{image: i} }

// Chunk returns a chunk, or with blocks what differs from the Outline of what a receiver holds in its place. The memory is used
// again by the next call.
func (s *Source) Chunk(number int, outline []byte) (blocks, content []byte, err error) {
	manifest := s.image.Manifest()
	if number < 0 || number >= len(manifest.Chunks) {
		return nil, nil, fmt.Errorf("the snapshot has %d chunks, and number %d is wanted", len(manifest.Chunks), number)
	}
	offset, length := manifest.Extent(number)
	s.chunk = slices.Grow(s.chunk[:0], length)[:length]
	if _, err := io.ReadFull(io.NewSectionReader(s.image, offset, int64(length)), s.chunk); err != nil {
		return nil, nil, fmt.Errorf("reading a snapshot: %w", err)
	}
	blocks, content, err = differences(s.chunk, outline, s.differed)
	if len(blocks) > 0 {
		s.differed = content
	}
	return blocks, content, err
}

// Close removes the copy.
func (i *Image) Close() error { return errors.Join(i.file.Close(), os.Remove(i.file.Name())) }

// Clean removes the images that a process has left in dir which did not end by itself. No Image may be in use there. A
// directory that does not exist is clean.
func Clean(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, outgoingPattern))
	if err != nil {
		return fmt.Errorf("looking for old snapshots: %w", err)
	}
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			return fmt.Errorf("removing an old snapshot: %w", err)
		}
	}
	return nil
}
