package transport

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire/peerpb"
)

// A snapshot travels on a stream of its own, which yields to the streams that carry the log (appendUrgency). The receiver
// leads: it says what it lacks, so that nothing travels that it has, and asks for some chunks at a time, so that neither
// side holds much.
//
//	sender                      receiver
//	SnapshotManifest ─────────>
//	                 <───────── SnapshotWant: nothing, or why not; or empty, again and again, while it looks for what it has;
//	                 <───────── or some chunks, and for each what it has in its place
//	                 <───────── SnapshotWant: the next ones, before these have come
//	SnapshotChunk …  ─────────>
//	                 <───────── SnapshotWant, the last one
//	SnapshotChunk …  ─────────>
//	                 <───────── SnapshotReceipt, when it is installed

// Bounds of the frames of a snapshot, in bytes. A chunk has at most maxContent bytes and a header.
const (
	maxManifest = 40 << 20
	maxWant     = 64 << 10
	maxChunk    = maxContent + 1<<10
	maxReceipt  = 4 << 10
)

const (
	// snapshotBatch is how many chunks a SnapshotWant asks for; with their outlines it is shorter than maxWant.
	snapshotBatch = 16
	// snapshotAhead is how many of them may be under way: while one is being served the next is there.
	snapshotAhead = 2
)

// errStalled ends a snapshot's way on which nothing moves.
var errStalled = errors.New("nothing moves any more")

// errWant says that a peer asks for what cannot be.
var errWant = errors.New("the peer asks for more chunks at a time than it may")

// SnapshotSource gives the chunks of a snapshot. It is used by one goroutine.
type SnapshotSource interface {
	// Chunk returns a chunk, or with blocks what differs from the outline of what the receiver has in its place. The memory
	// is the source's, until the next call. What the receiver says is not checked by anybody before.
	Chunk(number int, outline []byte) (blocks, content []byte, err error)
}

// SnapshotSink takes a snapshot that a peer brings. Its methods are called by one goroutine.
type SnapshotSink interface {
	// Prepare finds out what is there already. It may take long; ctx ends when the sender is gone.
	Prepare(ctx context.Context) error
	// Lacks returns the numbers of the chunks that are wanted, rising.
	Lacks() []int
	// Outline appends an outline of what is there in the place of a chunk, or nothing.
	Outline(number int, outline []byte) ([]byte, error)
	// Put takes a chunk, or with blocks what differs from its outline; the memory is the caller's again when it returns.
	Put(ctx context.Context, number int, blocks, content []byte) error
	// Install is called when all have come. It returns when the snapshot is installed durably, or why it is not.
	Install() error
	// Close ends it, installed or not.
	Close() error
}

// SnapshotTally counts what travelled of a snapshot.
type SnapshotTally struct {
	// Chunks were sent, with Content bytes that the receiver did not have, which took Wire bytes compressed.
	Chunks        int
	Content, Wire int64
}

func (t *SnapshotTally) add(one SnapshotTally) {
	t.Chunks += one.Chunks
	t.Content += one.Content
	t.Wire += one.Wire
}

// tallies sums them up.
type tallies struct {
	mu  sync.Mutex // guards sum
	sum SnapshotTally
}

func (t *tallies) add(one SnapshotTally) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum.add(one)
}

func (t *tallies) total() SnapshotTally {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sum
}

// snapshotStream is what of a Stream the exchange needs.
type snapshotStream interface {
	Context() context.Context
	Send(proto.Message) error
	Flush() error
	CloseWrite() error
	recv(m proto.Message, limit int) error
	awaitFirst(within time.Duration) error
}

// SendSnapshot brings a snapshot to a peer: what of source the peer wants. It returns nil when the peer has installed it
// durably, or holds more and wanted none; the tally counts what was sent, also with an error. The error wraps ErrNotConnected
// if there is no connection, ErrSnapshotRefused if the peer did not want it or could not install it, and the context's cause
// if that ended. A peer on whose side nothing moves for Limits.SnapshotStall is given up.
func (e *Endpoint) SendSnapshot(ctx context.Context, to raft.ID, manifest *peerpb.SnapshotManifest, source SnapshotSource) (SnapshotTally, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(e.config.Limits.SnapshotStall, func() { cancel(errStalled) })
	defer timer.Stop()
	sender := snapshotSender{limits: e.config.Limits, timer: timer, source: source, sum: &e.counters.snapshots}
	err := e.sendSnapshot(ctx, to, manifest, &sender)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx) // the stream was closed because of it
	}
	if err != nil {
		return sender.tally, fmt.Errorf("bringing a snapshot to node %d: %w", to, err)
	}
	return sender.tally, nil
}

func (e *Endpoint) sendSnapshot(ctx context.Context, to raft.ID, manifest *peerpb.SnapshotManifest, sender *snapshotSender) error {
	s, err := e.openStream(ctx, to, peerpb.StreamHeader_KIND_SNAPSHOT)
	if err != nil {
		return err
	}
	defer s.Close()
	unhook := context.AfterFunc(ctx, func() { s.Close() })
	defer unhook()
	return sender.send(s, manifest)
}

// snapshotSender is one way of a snapshot to a peer.
type snapshotSender struct {
	limits Limits
	timer  *time.Timer // ends it when nothing moves
	source SnapshotSource
	packer *packer
	worth  worth
	chunk  peerpb.SnapshotChunk
	tally  SnapshotTally
	sum    *tallies // of all ways
}

func (s *snapshotSender) send(stream snapshotStream, manifest *peerpb.SnapshotManifest) (err error) {
	if s.packer, err = newPacker(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.packer.close()) }()
	if err := errors.Join(stream.Send(manifest), stream.Flush()); err != nil {
		return err
	}
	want := new(peerpb.SnapshotWant)
	for !want.Last {
		if err := stream.recv(want, maxWant); err != nil {
			return err
		}
		s.timer.Reset(s.limits.SnapshotStall)
		switch {
		case want.Nothing:
			return nil
		case want.Error != "":
			return fmt.Errorf("%w: %s", ErrSnapshotRefused, want.Error)
		case len(want.Chunks) > snapshotBatch:
			return fmt.Errorf("%w: %d, and the most is %d", errWant, len(want.Chunks), snapshotBatch)
		}
		for _, wish := range want.Chunks {
			if err := s.sendChunk(stream, wish); err != nil {
				return err
			}
		}
	}
	s.timer.Reset(s.limits.SnapshotInstall)
	receipt := new(peerpb.SnapshotReceipt)
	if err := errors.Join(stream.CloseWrite(), stream.recv(receipt, maxReceipt)); err != nil {
		return err
	}
	if !receipt.Installed {
		return fmt.Errorf("%w: %s", ErrSnapshotRefused, receipt.Error)
	}
	return nil
}

// sendChunk sends what the receiver lacks of a chunk.
func (s *snapshotSender) sendChunk(stream snapshotStream, wish *peerpb.SnapshotWant_Wish) error {
	blocks, content, err := s.source.Chunk(int(wish.Number), wish.Outline)
	if err != nil {
		return fmt.Errorf("reading chunk %d: %w", wish.Number, err)
	}
	s.chunk.Number, s.chunk.Blocks, s.chunk.Content, s.chunk.Unpacked = wish.Number, blocks, content, 0
	began := time.Now()
	if s.worth.packs() {
		s.packer.pack(&s.chunk)
		s.worth.packed(len(content), len(s.chunk.Content), time.Since(began))
		began = time.Now()
	}
	if err := errors.Join(stream.Send(&s.chunk), stream.Flush()); err != nil {
		return err
	}
	s.worth.sent(len(s.chunk.Content), time.Since(began))
	one := SnapshotTally{Chunks: 1, Content: int64(len(content)), Wire: int64(len(s.chunk.Content))}
	s.tally.add(one)
	s.sum.add(one)
	s.timer.Reset(s.limits.SnapshotStall)
	return nil
}
