package snapshot

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/rsqld/rsqld/raft"
)

// ChunkSize is the size of a chunk in bytes; the last one of a copy may be shorter.
const ChunkSize = 1 << 20

// MaxChunks bounds the chunks of a copy, and with them the size of a database that has snapshots: 1 TiB. The hashes of
// so many take 32 MiB.
const MaxChunks = 1 << 20

// Hash is the SHA-256 of a chunk.
type Hash = [sha256.Size]byte

// Manifest says what a copy holds. It is not changed once it was made.
type Manifest struct {
	Cluster [16]byte
	// SnapshotMeta is the raft entry that the content stands for, and the length of the content in bytes.
	raft.SnapshotMeta
	// Chunks are the hashes of the content's chunks, in order.
	Chunks []Hash
	// ChunkBytes is the length of a chunk, where it is not ChunkSize: zero is. It does not travel, and all snapshots that
	// arrive in one place have the same.
	ChunkBytes int
}

// Describe makes the manifest of some content.
func Describe(meta raft.SnapshotMeta, content []byte, chunkBytes int) Manifest {
	m := Manifest{SnapshotMeta: meta, ChunkBytes: chunkBytes}
	m.Size = int64(len(content))
	for chunk := range slices.Chunk(content, int(m.chunkBytes())) {
		m.Chunks = append(m.Chunks, sha256.Sum256(chunk))
	}
	return m
}

func (m *Manifest) chunkBytes() int64 { return int64(cmp.Or(m.ChunkBytes, ChunkSize)) }

// ErrManifest says that a manifest contradicts itself, or is beyond MaxChunks.
var ErrManifest = errors.New("malformed manifest of a snapshot")

// Check refuses a manifest that no Take has made.
func (m *Manifest) Check() error {
	switch chunks := (m.Size + m.chunkBytes() - 1) / m.chunkBytes(); {
	case m.Size <= 0 || m.Size > MaxChunks*ChunkSize:
		return fmt.Errorf("%w: it is %d bytes long, the most is %d", ErrManifest, m.Size, int64(MaxChunks*ChunkSize))
	case chunks != int64(len(m.Chunks)):
		return fmt.Errorf("%w: %d bytes have %d chunks and not %d", ErrManifest, m.Size, chunks, len(m.Chunks))
	case m.Applied.Index == 0 || m.Applied.Term == 0:
		return fmt.Errorf("%w: it stands for no entry", ErrManifest)
	}
	return nil
}

// Extent returns where a chunk begins and how long it is. The chunk must be one of the manifest's.
func (m *Manifest) Extent(chunk int) (offset int64, length int) {
	offset = int64(chunk) * m.chunkBytes()
	return offset, int(min(m.chunkBytes(), m.Size-offset))
}
