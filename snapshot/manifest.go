package snapshot

import (
	"crypto/sha256"
	"errors"
	"fmt"

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
}

// ErrManifest says that a manifest contradicts itself, or is beyond MaxChunks.
var ErrManifest = errors.New("malformed manifest of a snapshot")

// Check refuses a manifest that no Take has made.
func (m *Manifest) Check() error {
	switch chunks := (m.Size + ChunkSize - 1) / ChunkSize; {
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
	offset = int64(chunk) * ChunkSize
	return offset, int(min(ChunkSize, m.Size-offset))
}
