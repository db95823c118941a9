package db

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/snapshot"
	"github.com/rsqld/rsqld/transport"
	"github.com/rsqld/rsqld/transport/wire/peerpb"
)

// snapshots joins the replica, which says who needs a snapshot, with the transport, which brings it, and package snapshot,
// which knows what it is.
type snapshots struct {
	node *Node
	// receiving is held while a snapshot comes in: two at the same time would share what the disk can do, and one of them
	// would be for nothing.
	receiving sync.Mutex
}

// snapshotDir is the directory of copies that come and go, beside the databases.
const snapshotDir = "snapshots"

// errReceiving refuses a second snapshot.
var errReceiving = errors.New("another snapshot is on its way to this node")

// SendSnapshot implements replica.SnapshotTransport.
func (s *snapshots) SendSnapshot(ctx context.Context, to raft.ID, content raft.SnapshotReader) error {
	image, is := content.(*snapshot.Image)
	if !is {
		return fmt.Errorf("bringing a snapshot to node %d: it is a %T", to, content)
	}
	manifest, err := encodeManifest(image.Manifest())
	if err != nil {
		return err
	}
	return s.node.endpoint.SendSnapshot(ctx, to, manifest, source{image})
}

// source gives the chunks of an image to the transport.
type source struct{ image *snapshot.Image }

func (s source) Chunk(number int, into []byte) ([]byte, error) {
	manifest := s.image.Manifest()
	if number >= len(manifest.Chunks) {
		return into, fmt.Errorf("the snapshot has %d chunks, and number %d is wanted", len(manifest.Chunks), number)
	}
	offset, length := manifest.Extent(number)
	into = slices.Grow(into[:0], length)[:length]
	_, err := io.ReadFull(io.NewSectionReader(s.image, offset, int64(length)), into)
	return into, err
}

// receive is the transport's OnSnapshot.
func (s *snapshots) receive(from raft.ID, encoded *peerpb.SnapshotManifest) (transport.SnapshotSink, error) {
	select {
	case <-s.node.opened:
	default:
		return nil, errors.New("this node is starting")
	}
	manifest, err := decodeManifest(encoded)
	if err != nil {
		return nil, err
	}
	manifest.Cluster = s.node.cluster
	if has := s.node.engine.Applied(); manifest.Applied.Index < has || manifest.Applied.Index == has && !s.node.healer.needs.Load() {
		return nil, nil
	}
	if !s.receiving.TryLock() {
		return nil, errReceiving
	}
	in, err := snapshot.Receive(s.node.dir.file(snapshotDir), manifest)
	if err != nil {
		s.receiving.Unlock()
		return nil, err
	}
	s.node.log.Info("receiving a snapshot", "node", s.node.self.Node, "peer", from, "index", manifest.Applied.Index, "bytes", manifest.Size)
	return &sink{Incoming: in, snapshots: s}, nil
}

// sink is a snapshot that comes in.
type sink struct {
	*snapshot.Incoming
	snapshots *snapshots
}

// Install implements transport.SnapshotSink.
func (s *sink) Install() error {
	if err := s.Finish(); err != nil {
		return err
	}
	err := s.snapshots.node.replica.InstallSnapshot(s.Meta(), s.Incoming)
	if errors.Is(err, raft.ErrStale) { // the log was faster
		return nil
	}
	return err
}

// Close implements transport.SnapshotSink.
func (s *sink) Close() error {
	defer s.snapshots.receiving.Unlock()
	return s.Incoming.Close()
}

func encodeManifest(m *snapshot.Manifest) (*peerpb.SnapshotManifest, error) {
	configuration, err := m.Configuration.AppendBinary(nil)
	if err != nil {
		return nil, fmt.Errorf("encoding the configuration in a snapshot: %w", err)
	}
	encoded := &peerpb.SnapshotManifest{
		Applied:            &peerpb.EntryID{Term: uint64(m.Applied.Term), Index: uint64(m.Applied.Index)},
		ConfigurationIndex: uint64(m.ConfigurationIndex), Configuration: configuration, Size: uint64(m.Size),
		Hashes: make([]byte, 0, len(m.Chunks)*len(snapshot.Hash{})),
	}
	for i := range m.Chunks {
		encoded.Hashes = append(encoded.Hashes, m.Chunks[i][:]...)
	}
	return encoded, nil
}

// decodeManifest refuses what no encodeManifest has made.
func decodeManifest(encoded *peerpb.SnapshotManifest) (m snapshot.Manifest, err error) {
	const hash = len(snapshot.Hash{})
	if len(encoded.Hashes)%hash != 0 || encoded.Size > snapshot.MaxChunks*snapshot.ChunkSize {
		return m, fmt.Errorf("%w: %d bytes with hashes of %d", snapshot.ErrManifest, encoded.Size, len(encoded.Hashes))
	}
	m.Applied = raft.EntryID{Term: raft.Term(encoded.Applied.GetTerm()), Index: raft.Index(encoded.Applied.GetIndex())}
	m.ConfigurationIndex, m.Size = raft.Index(encoded.ConfigurationIndex), int64(encoded.Size)
	if m.Configuration, err = raft.DecodeConfiguration(encoded.Configuration); err != nil {
		return m, fmt.Errorf("%w: %w", snapshot.ErrManifest, err)
	}
	for h := range slices.Chunk(encoded.Hashes, hash) {
		m.Chunks = append(m.Chunks, snapshot.Hash(h))
	}
	return m, m.Check()
}
