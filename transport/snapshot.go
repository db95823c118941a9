package transport

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire"
	"github.com/rsqld/rsqld/transport/wire/peerpb"
)

// A snapshot travels on a stream of its own, which yields to the streams that carry the log (appendUrgency):
//
//	sender                      receiver
//	SnapshotManifest ─────────>
//	                 <───────── SnapshotWant: nothing, or why not, or which chunks
//	SnapshotChunk …  ─────────>
//	                 <───────── SnapshotReceipt, when it is installed

// Bounds of the frames of a snapshot, in bytes. A chunk has 1 MiB and a header.
const (
	maxManifest = 40 << 20
	maxWant     = 8 << 20
	maxChunk    = 1<<20 + 1<<10
	maxReceipt  = 4 << 10
)

// errStalled ends a snapshot's way on which nothing moves.
var errStalled = errors.New("nothing moves any more")

// SnapshotSource gives the chunks of a snapshot.
type SnapshotSource interface {
	// Chunk returns a chunk, in into if it fits.
	Chunk(number int, into []byte) ([]byte, error)
}

// SnapshotSink takes a snapshot that a peer brings. Its methods are called by one goroutine.
type SnapshotSink interface {
	// Lacks returns the numbers of the chunks that are wanted, rising.
	Lacks() []int
	// Put takes one of them; the memory is the caller's again when it returns.
	Put(number int, content []byte) error
	// Install is called when all have come. It returns when the snapshot is installed durably, or why it is not.
	Install() error
	// Close ends it, installed or not.
	Close() error
}

// SendSnapshot brings a snapshot to a peer: the chunks of source that the peer wants. It returns nil when the peer has
// installed it durably, or holds more and wanted none. The error wraps ErrNotConnected if there is no connection,
// ErrSnapshotRefused if the peer did not want it or could not install it, and the context's cause if that ended. A peer on
// whose side nothing moves for Limits.SnapshotStall is given up.
func (e *Endpoint) SendSnapshot(ctx context.Context, to raft.ID, manifest *peerpb.SnapshotManifest, source SnapshotSource) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := e.sendSnapshot(ctx, to, manifest, source, func(stall time.Duration) *time.Timer {
		return time.AfterFunc(stall, func() { cancel(errStalled) })
	})
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx) // the stream was closed because of it
	}
	if err != nil {
		return fmt.Errorf("bringing a snapshot to node %d: %w", to, err)
	}
	return nil
}

func (e *Endpoint) sendSnapshot(ctx context.Context, to raft.ID, manifest *peerpb.SnapshotManifest, source SnapshotSource,
	watch func(time.Duration) *time.Timer) error {
	limits := e.config.Limits
	timer := watch(limits.SnapshotStall)
	defer timer.Stop()
	s, err := e.openStream(ctx, to, peerpb.StreamHeader_KIND_SNAPSHOT)
	if err != nil {
		return err
	}
	defer s.Close()
	unhook := context.AfterFunc(ctx, func() { s.Close() })
	defer unhook()
	want := new(peerpb.SnapshotWant)
	if err := errors.Join(s.Send(manifest), s.Flush()); err != nil {
		return err
	}
	if err := s.recv(want, maxWant); err != nil {
		return err
	}
	switch {
	case want.Nothing:
		return nil
	case want.Error != "":
		return fmt.Errorf("%w: %s", ErrSnapshotRefused, want.Error)
	}
	chunk := new(peerpb.SnapshotChunk)
	for _, number := range want.Chunks {
		chunk.Number = number
		if chunk.Content, err = source.Chunk(int(number), chunk.Content); err != nil {
			return fmt.Errorf("reading chunk %d: %w", number, err)
		}
		if err := s.Send(chunk); err != nil {
			return err
		}
		timer.Reset(limits.SnapshotStall)
	}
	timer.Reset(limits.SnapshotInstall)
	receipt := new(peerpb.SnapshotReceipt)
	if err := errors.Join(s.CloseWrite(), s.recv(receipt, maxReceipt)); err != nil {
		return err
	}
	if !receipt.Installed {
		return fmt.Errorf("%w: %s", ErrSnapshotRefused, receipt.Error)
	}
	return nil
}

// serveSnapshot takes a snapshot from the peer.
func (l *link) serveSnapshot(s *Stream) {
	defer s.finish(lastWords)
	limits := l.endpoint.config.Limits
	manifest := new(peerpb.SnapshotManifest)
	if err := s.awaitFirst(limits.SnapshotStall); err != nil {
		return // it was closed meanwhile
	}
	if err := s.recv(manifest, maxManifest); err != nil {
		l.endIfNonsense(err)
		return
	}
	sink, want := l.openSink(manifest)
	if sink == nil {
		_ = errors.Join(s.Send(want), s.Flush()) // whether the peer hears it is its own affair: it asks again
		return
	}
	receipt := new(peerpb.SnapshotReceipt)
	err := l.takeSnapshot(s, sink, want)
	if err := errors.Join(err, sink.Close()); err != nil {
		l.endpoint.log.Warn("a snapshot was not installed", "node", l.endpoint.self, "peer", l.peer, "err", err)
		receipt.Error = err.Error()[:min(len(err.Error()), maxReceipt/2)]
	} else {
		receipt.Installed = true
	}
	_ = s.Send(receipt) // whether the peer hears it is its own affair: it asks where this node stands
}

// openSink asks what is wanted of a snapshot. Without a sink the answer says that nothing is.
func (l *link) openSink(manifest *peerpb.SnapshotManifest) (SnapshotSink, *peerpb.SnapshotWant) {
	open := l.endpoint.config.OnSnapshot
	if open == nil {
		return nil, &peerpb.SnapshotWant{Error: "it takes no snapshots"}
	}
	sink, err := open(l.peer, manifest)
	switch {
	case err != nil:
		return nil, &peerpb.SnapshotWant{Error: err.Error()}
	case sink == nil:
		return nil, &peerpb.SnapshotWant{Nothing: true}
	}
	want := new(peerpb.SnapshotWant)
	for _, number := range sink.Lacks() {
		want.Chunks = append(want.Chunks, uint32(number))
	}
	return sink, want
}

// takeSnapshot takes the chunks that are wanted, in any order, and installs the snapshot.
func (l *link) takeSnapshot(s *Stream, sink SnapshotSink, want *peerpb.SnapshotWant) error {
	if err := errors.Join(s.Send(want), s.Flush()); err != nil {
		return err
	}
	chunk := new(peerpb.SnapshotChunk)
	for range want.Chunks {
		if err := s.awaitFirst(l.endpoint.config.Limits.SnapshotStall); err != nil {
			return err
		}
		if err := s.recv(chunk, maxChunk); err != nil {
			if errors.Is(err, ErrFirstFrame) {
				return errStalled
			}
			l.endIfNonsense(err)
			return err
		}
		if err := sink.Put(int(chunk.Number), chunk.Content); err != nil {
			return err
		}
	}
	return sink.Install()
}

// endIfNonsense is endIf for a stream that its sender may break off whenever it likes.
func (l *link) endIfNonsense(err error) {
	if errors.Is(err, wire.ErrFrame) || errors.Is(err, wire.ErrFrameTooLarge) {
		l.endIf(err)
	}
}
