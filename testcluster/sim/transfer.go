package sim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/replica"
	chunks "github.com/rsqld/rsqld/snapshot"
)

// A snapshot is brought from one node to another beside the messages, chunk by chunk: the receiver is the real one
// (snapshot.Arrivals) on the node's disk, and asks for what it lacks. A transfer ends at any chunk when chance cuts it, when
// either process ends, when the way between them is cut, or when nothing moves; what has arrived counts for the next one,
// of whatever sender. It takes so long now and then that leaders change meanwhile and have newer ones on offer.

const (
	// snapshotDir is where snapshots arrive on a node's disk.
	snapshotDir = "/snapshots"
	// snapshotChunk is the size of a chunk in bytes: a content has some ten.
	snapshotChunk = 32
	// snapshotDelay is the mean time until a snapshot is offered, and until a chunk comes; a slow transfer's is twenty times as long.
	snapshotDelay = 4 * time.Millisecond
	// snapshotLimit is how long the sender waits for the receiver, snapshotStall how long that waits for a chunk.
	snapshotLimit = 4 * time.Second
	snapshotStall = 2 * time.Second
	// snapshotCut is how likely a transfer is cut at a chunk.
	snapshotCut = 0.02
)

// errSnapshot is a transfer that has failed.
var errSnapshot = errors.New("simulated transfer: it was cut, or nothing came back in time")

// courier is what brings a node's snapshots to others, and to its own machine. It implements replica.Snapshots.
type courier struct{ *node }

// transfer is a snapshot on its way from one process to another.
type transfer struct {
	from, to *node
	life     uint64 // the sender's
	manifest chunks.Manifest
	content  []byte
	delay    time.Duration
	// ended says that the sender does not wait any more.
	ended bool

	// What follows is the receiver's. steps counts what came.
	in    *chunks.Incoming
	steps int
}

// Send implements replica.Snapshots.
func (c courier) Send(to raft.ID) {
	n := c.node
	content, err := n.machine.Snapshot()
	var b []byte
	if err == nil {
		b, err = io.ReadAll(io.NewSectionReader(content, 0, content.Meta().Size))
	}
	if err != nil {
		n.world.fail("snapshot", "node %d: %v", n.id, err)
		return
	}
	w := n.world
	t := &transfer{from: n, to: w.node(to), life: n.life, manifest: chunks.Describe(content.Meta(), b, snapshotChunk), content: b, delay: snapshotDelay}
	if w.network.chance.IntN(5) == 0 {
		t.delay *= 20
	}
	w.after(snapshotLimit, func() { t.end(errSnapshot) })
	offers := 1
	if happens(w.network.chance, w.swarm.duplicate) {
		offers++
	}
	for range offers {
		w.network.carry(n.id, to, exponential(w.network.chance, t.delay), func() { t.to.offered(t) })
	}
}

// end tells the sender what became of it.
func (t *transfer) end(err error) {
	if t.ended {
		return
	}
	t.ended = true
	t.from.later(t.life, 0, func() {
		t.from.handler.SnapshotSent(t.to.id, err)
		t.from.processUnlessPaused()
	})
}

// answer tells the sender, if the way is open.
func (t *transfer) answer(err error) {
	w := t.from.world
	w.network.carry(t.to.id, t.from.id, exponential(w.network.chance, w.swarm.delay), func() { t.end(err) })
}

// offered begins to take a snapshot.
func (n *node) offered(offer *transfer) {
	if !n.up {
		return
	}
	t := *offer // the same may be offered twice
	n.later(n.life, 0, func() {
		in, err := n.arrivals.Receive(t.manifest)
		if err != nil {
			offer.answer(err)
			return
		}
		t.in = in
		if err := in.Recall(context.Background()); err != nil {
			n.drop(&t, offer)
			return
		}
		n.world.counts.SnapshotBytesKept += int(in.Sources().Kept)
		n.fetch(&t, offer)
	})
}

// fetch takes one chunk after the other, and offers the whole to the core.
func (n *node) fetch(t, offer *transfer) {
	w := n.world
	lacks := t.in.Lacks()
	if len(lacks) == 0 {
		n.arrived(t, offer)
		return
	}
	step, done := t.steps, false
	n.later(n.life, snapshotStall, func() {
		if !done && t.steps == step {
			done = true
			n.drop(t, offer)
		}
	})
	life := n.life
	w.network.carry(t.from.id, n.id, exponential(w.network.chance, t.delay), func() {
		n.later(life, 0, func() {
			if done || offer.ended || t.from.life != t.life || happens(w.network.chance, snapshotCut) {
				if !done {
					done = true
					n.drop(t, offer)
				}
				return
			}
			done = true
			t.steps++
			offset, length := t.manifest.Extent(lacks[0])
			if err := t.in.Put(context.Background(), lacks[0], nil, t.content[offset:][:length]); err != nil {
				n.drop(t, offer)
				return
			}
			n.fetch(t, offer)
		})
	})
}

// drop ends a transfer before its end.
func (n *node) drop(t, offer *transfer) {
	n.world.counts.SnapshotCuts++
	if err := t.in.Close(); err != nil && !n.disk.Dead() {
		n.world.note(n.id, "leaves a snapshot: %v", err)
	}
	offer.answer(errSnapshot)
}

// arrived offers a snapshot that is whole to the process.
func (n *node) arrived(t, offer *transfer) {
	err := t.in.Finish()
	var b []byte
	if err == nil {
		b, err = io.ReadAll(io.NewSectionReader(t.in, 0, t.manifest.Size))
	}
	if err != nil {
		n.drop(t, offer)
		return
	}
	if err := t.in.Close(); err != nil {
		n.world.note(n.id, "leaves a snapshot: %v", err)
	}
	meta := t.manifest.SnapshotMeta
	n.world.note(n.id, "is offered a snapshot of %v, log ends at %v", meta.Applied, n.shadow.last())
	switch err := n.handler.SnapshotArrived(meta, bytes.NewReader(b)); {
	case err == nil:
		n.installing = offer.answer
	case errors.Is(err, raft.ErrStale):
		offer.answer(nil)
	default:
		offer.answer(err)
	}
	n.processUnlessPaused()
}

var _ replica.Snapshots = courier{}
