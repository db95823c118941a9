package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/snapshot"
	"github.com/rsqld/rsqld/transport"
	"github.com/rsqld/rsqld/transport/wire/peerpb"
)

// snapshots joins the replica, which says who needs a snapshot, with the transport, which brings it, and package snapshot,
// which knows what it is.
type snapshots struct {
	node *Node
	// arrivals is where snapshots come in.
	arrivals *snapshot.Arrivals
}

// snapshotDir is the directory of copies that come and go, beside the databases.
const snapshotDir = "snapshots"

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
	began := time.Now()
	tally, err := s.node.endpoint.SendSnapshot(ctx, to, manifest, image.Source())
	s.node.log.Info("what travelled of a snapshot", "node", s.node.self.Node, "peer", to, "index", manifest.Applied.GetIndex(),
		"bytes", manifest.Size, "differing", tally.Content, "wire", tally.Wire, "whole", err == nil, "dur", time.Since(began))
	return err
}

// tidy removes what has arrived of a snapshot that the log was faster than.
func (s *snapshots) tidy() {
	if err := s.arrivals.Discard(s.node.engine.Applied()); err != nil {
		s.node.log.Warn("an old snapshot takes room", "node", s.node.self.Node, "err", err)
	}
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
	in, err := s.arrivals.Receive(manifest)
	if err != nil {
		return nil, err
	}
	s.node.log.Info("receiving a snapshot", "node", s.node.self.Node, "peer", from, "index", manifest.Applied.Index, "bytes", manifest.Size)
	return &sink{Incoming: in, node: s.node, from: from}, nil
}

// sink is a snapshot that comes in.
type sink struct {
	*snapshot.Incoming
	node *Node
	from raft.ID
}

// Prepare implements transport.SnapshotSink: this node has what arrived before, and its own database. A snapshot may be
// on its way because that cannot be read; then all has to come.
func (s *sink) Prepare(ctx context.Context) error {
	if err := s.Recall(ctx); err != nil {
		return err
	}
	err := s.node.engine.Gather(ctx, s.Incoming)
	if err != nil && ctx.Err() == nil {
		s.node.log.Warn("all of a snapshot has to come", "node", s.node.self.Node, "peer", s.from, "err", err)
		return nil
	}
	return err
}

// Install implements transport.SnapshotSink.
func (s *sink) Install() error {
	if err := s.Finish(); err != nil {
		return err
	}
	from := s.Sources()
	s.node.log.Info("a snapshot has arrived", "node", s.node.self.Node, "peer", s.from, "index", s.Meta().Applied.Index,
		"bytes", s.Meta().Size, "kept", from.Kept, "own", from.Own, "received", from.Received)
	err := s.node.replica.InstallSnapshot(s.Meta(), s.Incoming)
	if errors.Is(err, raft.ErrStale) { // the log was faster
		return nil
	}
	return err
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
