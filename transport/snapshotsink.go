package transport

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/rsqld/rsqld/transport/wire"
	"github.com/rsqld/rsqld/transport/wire/peerpb"
)

// serveSnapshot takes a snapshot from the peer.
func (l *link) serveSnapshot(s *Stream) {
	receiver := snapshotReceiver{stall: l.endpoint.config.Limits.SnapshotStall, stream: s}
	defer receiver.reading.Wait() // what is being read ends with the stream
	defer s.finish(lastWords)
	manifest := new(peerpb.SnapshotManifest)
	if err := s.awaitFirst(l.endpoint.config.Limits.SnapshotStall); err != nil {
		return // it was closed meanwhile
	}
	if err := s.recv(manifest, maxManifest); err != nil {
		l.endIfNonsense(err)
		return
	}
	sink, refusal := l.openSink(manifest)
	if sink == nil {
		_ = errors.Join(s.Send(refusal), s.Flush()) // whether the peer hears it is its own affair: it asks again
		return
	}
	receipt := new(peerpb.SnapshotReceipt)
	receiver.sink = sink
	err := receiver.receive()
	l.endIfNonsense(err)
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
	return sink, nil
}

// snapshotReceiver is one way of a snapshot from a peer. A chunk is received and unpacked while the one before it is
// checked and written, which is mostly waiting for the disk.
type snapshotReceiver struct {
	stall    time.Duration
	stream   snapshotStream
	sink     SnapshotSink
	outlines [snapshotBatch][]byte
	// reading is the goroutine that receives, which ends at the latest with the stream.
	reading sync.WaitGroup
}

// arrivedChunk is a chunk, or why none will come.
type arrivedChunk struct {
	number          int
	blocks, content []byte
	err             error
}

// receive asks for the chunks that are wanted, takes them, and installs the snapshot.
func (r *snapshotReceiver) receive() (err error) {
	if err := r.prepare(); err != nil {
		return err
	}
	lacks := r.sink.Lacks()
	batches := slices.Collect(slices.Chunk(lacks, snapshotBatch))
	if len(batches) == 0 {
		batches = [][]int{nil} // the sender is to hear that nothing else is wanted
	}
	arrived, failed := make(chan arrivedChunk), make(chan struct{})
	defer close(failed)
	r.reading.Go(func() { r.read(len(lacks), arrived, failed) })
	asked := 0
	for i, batch := range batches {
		for ; asked < min(i+snapshotAhead, len(batches)); asked++ {
			if err := r.ask(batches[asked], asked == len(batches)-1); err != nil {
				return err
			}
		}
		for range batch {
			chunk := <-arrived
			if chunk.err == nil {
				chunk.err = r.sink.Put(r.stream.Context(), chunk.number, chunk.blocks, chunk.content)
			}
			if chunk.err != nil {
				return chunk.err
			}
		}
	}
	return r.sink.Install()
}

// prepare lets the sink find out what is there, and tells the sender meanwhile that there is somebody.
func (r *snapshotReceiver) prepare() error {
	ctx, cancel := context.WithCancelCause(r.stream.Context())
	defer cancel(nil)
	var telling sync.WaitGroup
	done := make(chan struct{})
	telling.Go(func() {
		ticker := time.NewTicker(r.stall / 4)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			if err := errors.Join(r.stream.Send(&peerpb.SnapshotWant{}), r.stream.Flush()); err != nil {
				cancel(err)
				return
			}
		}
	})
	err := r.sink.Prepare(ctx)
	close(done)
	telling.Wait()
	return err
}

// ask asks for some chunks.
func (r *snapshotReceiver) ask(chunks []int, last bool) error {
	want := &peerpb.SnapshotWant{Last: last}
	for i, number := range chunks {
		outline, err := r.sink.Outline(number, r.outlines[i][:0])
		if err != nil {
			return err
		}
		r.outlines[i] = outline
		want.Chunks = append(want.Chunks, &peerpb.SnapshotWant_Wish{Number: uint32(number), Outline: outline})
	}
	return errors.Join(r.stream.Send(want), r.stream.Flush())
}

// read receives so many chunks, up to the first that fails. The memory of a chunk is used again for the next but one.
func (r *snapshotReceiver) read(chunks int, arrived chan<- arrivedChunk, failed <-chan struct{}) {
	var places [2]incomingChunk
	defer places[0].close()
	defer places[1].close()
	for i := range chunks {
		chunk := places[i%len(places)].take(r.stream, r.stall)
		select {
		case arrived <- chunk:
		case <-failed:
			return
		}
		if chunk.err != nil {
			return
		}
	}
}

// incomingChunk is the memory of a chunk.
type incomingChunk struct {
	message  peerpb.SnapshotChunk
	unpacker *unpacker
}

// take receives a chunk.
func (c *incomingChunk) take(stream snapshotStream, stall time.Duration) (chunk arrivedChunk) {
	if c.unpacker == nil {
		if c.unpacker, chunk.err = newUnpacker(); chunk.err != nil {
			return chunk
		}
	}
	if chunk.err = stream.awaitFirst(stall); chunk.err != nil {
		return chunk
	}
	if chunk.err = stream.recv(&c.message, maxChunk); chunk.err != nil {
		if errors.Is(chunk.err, ErrFirstFrame) {
			chunk.err = errStalled
		}
		return chunk
	}
	chunk.number, chunk.blocks = int(c.message.Number), c.message.Blocks
	chunk.content, chunk.err = c.unpacker.unpack(&c.message)
	return chunk
}

func (c *incomingChunk) close() {
	if c.unpacker != nil {
		c.unpacker.close()
	}
}

// endIfNonsense is endIf for a stream that its sender may break off whenever it likes.
func (l *link) endIfNonsense(err error) {
	if errors.Is(err, wire.ErrFrame) || errors.Is(err, wire.ErrFrameTooLarge) {
		l.endIf(err)
	}
}
