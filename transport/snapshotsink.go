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
	receiver := snapshotReceiver{stall: l.endpoint.config.Limits.SnapshotStall, stream: s, sink: sink}
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

// snapshotReceiver is one way of a snapshot from a peer.
type snapshotReceiver struct {
	stall    time.Duration
	stream   snapshotStream
	sink     SnapshotSink
	unpacker *unpacker
	chunk    peerpb.SnapshotChunk
	outlines [snapshotBatch][]byte
}

// receive asks for the chunks that are wanted, takes them, and installs the snapshot.
func (r *snapshotReceiver) receive() (err error) {
	if r.unpacker, err = newUnpacker(); err != nil {
		return err
	}
	defer r.unpacker.close()
	if err := r.prepare(); err != nil {
		return err
	}
	batches := slices.Collect(slices.Chunk(r.sink.Lacks(), snapshotBatch))
	if len(batches) == 0 {
		batches = [][]int{nil} // the sender is to hear that nothing else is wanted
	}
	asked := 0
	for i, batch := range batches {
		for ; asked < min(i+snapshotAhead, len(batches)); asked++ {
			if err := r.ask(batches[asked], asked == len(batches)-1); err != nil {
				return err
			}
		}
		for range batch {
			if err := r.take(); err != nil {
				return err
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

// take takes a chunk.
func (r *snapshotReceiver) take() error {
	if err := r.stream.awaitFirst(r.stall); err != nil {
		return err
	}
	if err := r.stream.recv(&r.chunk, maxChunk); err != nil {
		if errors.Is(err, ErrFirstFrame) {
			return errStalled
		}
		return err
	}
	content, err := r.unpacker.unpack(&r.chunk)
	if err != nil {
		return err
	}
	return r.sink.Put(r.stream.Context(), int(r.chunk.Number), r.chunk.Blocks, content)
}

// endIfNonsense is endIf for a stream that its sender may break off whenever it likes.
func (l *link) endIfNonsense(err error) {
	if errors.Is(err, wire.ErrFrame) || errors.Is(err, wire.ErrFrameTooLarge) {
		l.endIf(err)
	}
}
