package snapshot

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

// errBroken says that something has failed on the file before.
var errBroken = errors.New("what has arrived cannot be trusted: its file has failed")

// ErrChunk says that a chunk is not what the manifest says.
var ErrChunk = errors.New("a chunk of a snapshot is not what its manifest says")

// Incoming is a copy that arrives. Its methods are called by one goroutine at a time.
//
// A chunk is known by its hash, and wherever content with that hash turns up it goes to all places that lack it: what
// arrived before, this node's own database, and what the sender brings are three sources of one kind. None is believed.
type Incoming struct {
	arrivals *Arrivals
	file     wal.File
	manifest Manifest
	// remnant is what the file holds. Its path is empty when the file was moved away.
	remnant
	// wanted are the places, rising, that lack a content, by its hash; lacks counts the places.
	wanted map[Hash][]int
	lacks  int
	// unsynced counts the bytes written since the last sync. broken says that something has failed on the file: nothing is
	// assumed about it then.
	unsynced int64
	broken   bool
	sources  Sources
	buffer   []byte
}

// Sources counts where the bytes of an Incoming are from.
type Sources struct {
	// Kept had arrived before, Own are those of this node's database, Received came from the sender.
	Kept, Own, Received int64
}

// want finds out which places lack what the manifest wants there.
func (in *Incoming) want() {
	in.wanted, in.lacks, in.sources.Kept = make(map[Hash][]int), 0, 0
	for at, hash := range in.manifest.Chunks {
		if _, length := in.manifest.Extent(at); in.hashes[at] == hash {
			in.sources.Kept += int64(length)
			continue
		}
		in.wanted[hash] = append(in.wanted[hash], at)
		in.lacks++
	}
}

// Recall takes what has arrived before, in any place. It reads all of it if another process has received it, which may take
// long.
func (in *Incoming) Recall(ctx context.Context) error {
	if err := in.recall(ctx); err != nil {
		return fmt.Errorf("looking at what has arrived of a snapshot: %w", err)
	}
	return nil
}

// Gather takes what the database of conn holds, in any place. The connection must be outside of a transaction, without an
// authorizer, and its caller's alone; it reads all in one transaction, so that its writer goes on. A chunk of the database
// that the snapshot has no use for takes its place nevertheless, for Outline. After an error the other sources are as good as
// before.
func (in *Incoming) Gather(ctx context.Context, conn *sqlite.Conn) error {
	if in.lacks == 0 {
		return nil
	}
	if err := in.gather(ctx, conn); err != nil {
		return fmt.Errorf("looking for what of a snapshot the database holds: %w", err)
	}
	return nil
}

// recall hashes a file that another process has left, and moves chunks that are in the file and not in their place.
func (in *Incoming) recall(ctx context.Context) error {
	if in.unread {
		nothing := sha256.Sum256(make([]byte, in.manifest.chunkBytes()))
		for at := range in.hashes {
			b, err := in.read(at)
			if err := errors.Join(err, context.Cause(ctx)); err != nil {
				return err
			}
			if hash := sha256.Sum256(b); hash != nothing || hash == in.manifest.Chunks[at] {
				in.hashes[at] = hash
			}
		}
		in.unread = false
		in.want()
	}
	for at := range in.hashes {
		if _, moved := in.wanted[in.hashes[at]]; !moved {
			continue
		}
		b, err := in.read(at)
		if err != nil {
			return err
		}
		if err := in.offer(ctx, b, &in.sources.Kept); err != nil {
			return err
		}
	}
	return nil
}

func (in *Incoming) gather(ctx context.Context, conn *sqlite.Conn) (err error) {
	if err := conn.Exec("BEGIN"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Exec("COMMIT")) }()
	at := -1
	return eachChunk(ctx, conn, func(chunk []byte) error {
		if at++; in.lacks == 0 {
			return nil
		}
		hash := sha256.Sum256(chunk)
		if _, wanted := in.wanted[hash]; wanted {
			return in.accept(ctx, hash, chunk, &in.sources.Own)
		}
		if at >= len(in.hashes) || in.hashes[at] != (Hash{}) {
			return nil
		}
		_, length := in.manifest.Extent(at)
		return in.write(ctx, at, hash, chunk[:min(length, len(chunk))])
	})
}

// read returns what is in the place of a chunk, in memory that the next read uses again.
func (in *Incoming) read(at int) ([]byte, error) {
	offset, length := in.manifest.Extent(at)
	in.buffer = slices.Grow(in.buffer[:0], length)[:length]
	_, err := io.ReadFull(io.NewSectionReader(in.file, offset, int64(length)), in.buffer)
	in.broken = in.broken || err != nil
	return in.buffer, err
}

// offer takes content if it is wanted anywhere.
func (in *Incoming) offer(ctx context.Context, b []byte, from *int64) error {
	return in.accept(ctx, sha256.Sum256(b), b, from)
}

// accept puts content into all places that want it.
func (in *Incoming) accept(ctx context.Context, hash Hash, b []byte, from *int64) error {
	for _, at := range in.wanted[hash] {
		if err := in.write(ctx, at, hash, b); err != nil {
			return err
		}
		in.lacks--
		*from += int64(len(b))
	}
	delete(in.wanted, hash)
	return nil
}

// write puts content into one place, and syncs often: what one sync takes with it every other sync on the disk waits for. It
// leaves no pause between: nobody waits for the log of a node that needs a snapshot.
func (in *Incoming) write(ctx context.Context, at int, hash Hash, b []byte) error {
	if in.broken {
		return errBroken
	}
	offset, _ := in.manifest.Extent(at)
	in.hashes[at] = Hash{}
	if _, err := in.file.WriteAt(b, offset); err != nil {
		in.broken = true
		return err
	}
	in.hashes[at] = hash
	if in.unsynced += int64(len(b)); in.unsynced < paceBytes {
		return nil
	}
	if err := in.sync(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

func (in *Incoming) sync() error {
	if in.broken {
		return errBroken
	}
	in.unsynced = 0
	if err := in.file.Sync(); err != nil {
		in.broken = true
		return err
	}
	return nil
}

// Lacks returns chunks, rising, with which the copy is whole: of several with the same content the first.
func (in *Incoming) Lacks() []int {
	lacks := make([]int, 0, len(in.wanted))
	for _, places := range in.wanted {
		lacks = append(lacks, places[0])
	}
	slices.Sort(lacks)
	return lacks
}

// Outline appends what is held in the place of a chunk, block by block; nothing if nothing is.
func (in *Incoming) Outline(chunk int, outline []byte) ([]byte, error) {
	if chunk < 0 || chunk >= len(in.hashes) || in.hashes[chunk] == (Hash{}) {
		return outline, nil
	}
	b, err := in.read(chunk)
	if err != nil {
		return outline, fmt.Errorf("reading what is held of a snapshot: %w", err)
	}
	return appendOutline(outline, b), nil
}

// Put takes a chunk: all of it, or with blocks what differs from its Outline. One that is there already is not written
// again; one that is wrong is refused with ErrChunk, and what was held in its place counts for nothing from then on.
func (in *Incoming) Put(ctx context.Context, chunk int, blocks, content []byte) error {
	if chunk < 0 || chunk >= len(in.hashes) {
		return fmt.Errorf("%w: number %d of %d", ErrChunk, chunk, len(in.hashes))
	}
	wanted := in.manifest.Chunks[chunk]
	if in.hashes[chunk] == wanted {
		return nil
	}
	b, err := in.whole(chunk, blocks, content)
	if err != nil {
		return err
	}
	if sha256.Sum256(b) != wanted {
		in.hashes[chunk] = Hash{}
		return fmt.Errorf("%w: number %d has another hash", ErrChunk, chunk)
	}
	if err := in.accept(ctx, wanted, b, &in.sources.Received); err != nil {
		return fmt.Errorf("receiving a snapshot: %w", err)
	}
	return nil
}

// whole makes a chunk of what came of it.
func (in *Incoming) whole(chunk int, blocks, content []byte) ([]byte, error) {
	if len(blocks) == 0 {
		if _, length := in.manifest.Extent(chunk); len(content) != length {
			return nil, fmt.Errorf("%w: number %d has %d bytes and should have %d", ErrChunk, chunk, len(content), length)
		}
		return content, nil
	}
	b, err := in.read(chunk)
	if err != nil {
		return nil, fmt.Errorf("reading what is held of a snapshot: %w", err)
	}
	if err := patch(b, blocks, content); err != nil {
		return nil, fmt.Errorf("%w: number %d: %w", ErrChunk, chunk, err)
	}
	return b, nil
}

// Finish makes the copy durable. It must be whole.
func (in *Incoming) Finish() error {
	if in.lacks > 0 {
		return fmt.Errorf("%w: %d of %d are missing", ErrChunk, in.lacks, len(in.hashes))
	}
	if err := in.sync(); err != nil {
		return fmt.Errorf("receiving a snapshot: %w", err)
	}
	return nil
}

// Meta is what the content stands for.
func (in *Incoming) Meta() raft.SnapshotMeta { return in.manifest.SnapshotMeta }

// Manifest is what was promised. It must not be changed.
func (in *Incoming) Manifest() *Manifest { return &in.manifest }

// Sources says where the content is from.
func (in *Incoming) Sources() Sources { return in.sources }

// ReadAt implements io.ReaderAt.
func (in *Incoming) ReadAt(b []byte, offset int64) (int, error) { return in.file.ReadAt(b, offset) }

// MoveTo gives the finished file a new name, on the same file system, and closes it. The name is durable when its
// directory was synced.
func (in *Incoming) MoveTo(path string) error {
	if in.path == "" {
		return errors.New("moving a snapshot: it was moved already")
	}
	// A file that is open cannot be renamed on Windows.
	if err := errors.Join(in.file.Close(), in.arrivals.files.Rename(in.path, path)); err != nil {
		return fmt.Errorf("moving a snapshot to its place: %w", err)
	}
	in.remnant = remnant{}
	return nil
}

// Close leaves what has arrived to the next Incoming, unless it was moved away, or something has failed on its file.
func (in *Incoming) Close() error {
	if in.path == "" {
		in.arrivals.leave(remnant{})
		return nil
	}
	err := in.file.Close()
	if errors.Is(err, os.ErrClosed) { // a MoveTo that failed
		err = nil
	}
	left := in.remnant
	nothing := !left.unread && !slices.ContainsFunc(left.hashes, func(h Hash) bool { return h != Hash{} })
	if in.broken || nothing {
		err = errors.Join(err, in.arrivals.remove(left.path))
		left = remnant{}
	}
	in.arrivals.leave(left)
	return err
}
