package transport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire"
	"github.com/rsqld/rsqld/transport/wire/peerpb"
)

// link is a connection with a peer. Each side opens two streams of one direction: a hello, which is a header and
// nothing else, and then one for appends and their answers. Everything smaller is a datagram; relays and keys have
// streams of their own.
type link struct {
	endpoint    *Endpoint
	peer        raft.ID
	conn        *quic.Conn
	dialled     bool   // by this node
	incarnation uint64 // of the peer

	outbox    *outbox
	flusher   flusher // of relays and keys
	datagrams chan raft.Message
	// done is closed when the link is out of use and all its goroutines have ended.
	done chan struct{}

	// Of the goroutine that watches for silence.
	packets uint64
	heard   time.Time
}

// dialler returns the id of the node that dialled the connection.
func (l *link) dialler() raft.ID {
	if l.dialled {
		return l.endpoint.self
	}
	return l.peer
}

// replaces reports whether l, the later one, is the better of two connections with one peer. Both sides decide alike. A
// connection with another incarnation shows that the old one is dead; else the one that the node with the lower id
// dialled is better; of one dialler, which dials only when it has no connection, the later.
func (l *link) replaces(old *link) bool {
	return l.incarnation != old.incarnation || l.dialler() <= old.dialler()
}

// serveLink makes a link of a connection and serves it until it ends. up reports whether it ever was in use.
func (e *Endpoint) serveLink(conn *quic.Conn, peer raft.ID, dialled bool) (up bool, err error) {
	l := &link{
		endpoint: e, peer: peer, conn: conn, dialled: dialled,
		datagrams: make(chan raft.Message, datagramQueue), done: make(chan struct{}),
	}
	if err := l.greet(); err != nil {
		return false, l.reject(err)
	}
	if !e.install(l) {
		shut(conn, codeDuplicate, "the two nodes have a connection already")
		return false, errDuplicate
	}
	e.log.Info("connected with a peer", "node", e.self, "peer", peer, "address", conn.RemoteAddr().String())
	err = explain(l.run())
	e.remove(l)
	close(l.done)
	if e.ctx.Err() == nil && !errors.Is(err, errDuplicate) {
		e.log.Info("lost the connection with a peer", "node", e.self, "peer", peer, "err", err)
	}
	e.notices.add(peer) // what was on its way may be lost
	return true, err
}

// reject closes the connection of a greeting that failed, and returns why it failed.
func (l *link) reject(err error) error {
	var different *mismatch
	switch {
	case errors.As(err, &different):
		shut(l.conn, codeMismatch, err.Error())
	default:
		shut(l.conn, codeProtocol, "the hello did not arrive")
	}
	return err
}

// greet exchanges hellos, and opens the stream for appends.
func (l *link) greet() error {
	e := l.endpoint
	ctx, cancel := context.WithTimeout(e.ctx, e.config.Limits.FirstFrame)
	defer cancel()
	hello, err := l.open(ctx, peerpb.StreamHeader_KIND_HELLO)
	if err != nil {
		return err
	}
	if err := hello.Close(); err != nil {
		return fmt.Errorf("sending the hello: %w", explain(err))
	}
	theirs, err := l.conn.AcceptUniStream(ctx)
	if err != nil {
		return fmt.Errorf("waiting for the peer's hello: %w", explain(err))
	}
	header, err := l.readHeader(bufio.NewReaderSize(theirs, readBuffer), theirs, peerpb.StreamHeader_KIND_HELLO)
	if err != nil {
		return err
	}
	l.incarnation = header.Incarnation
	appends, err := l.open(ctx, peerpb.StreamHeader_KIND_APPEND)
	if err != nil {
		return err
	}
	appends.SetPriority(appendUrgency, false)
	l.outbox = newOutbox(e.config.Limits, appends)
	l.outbox.encode = e.encoder()
	l.outbox.sent = func(n int) { e.counters.sent.Add(uint64(n)) }
	l.outbox.dropped = l.unsendable
	return nil
}

// appendUrgency puts appends and their answers before all other streams (RFC 9218 §4.1; QUIC's default is 3).
const appendUrgency = 0

// open opens a stream of one direction and sends its header.
func (l *link) open(ctx context.Context, kind peerpb.StreamHeader_Kind) (*quic.SendStream, error) {
	str, err := l.conn.OpenUniStreamSync(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening a stream: %w", explain(err))
	}
	frame, err := wire.AppendFrame(nil, l.endpoint.header(l.peer, kind))
	if err != nil {
		return nil, err
	}
	if err := write(str, frame); err != nil {
		return nil, fmt.Errorf("beginning a stream: %w", explain(err))
	}
	return str, nil
}

// deadliner is what QUIC's streams have for reading in time.
type deadliner interface{ SetReadDeadline(time.Time) error }

// readHeader reads the header of a stream and checks it.
func (l *link) readHeader(in *bufio.Reader, str deadliner, kinds ...peerpb.StreamHeader_Kind) (*peerpb.StreamHeader, error) {
	if err := str.SetReadDeadline(time.Now().Add(l.endpoint.config.Limits.FirstFrame)); err != nil {
		return nil, err
	}
	header, err := l.endpoint.readHeader(in, l.peer, l.incarnation, kinds...)
	if err != nil {
		return nil, err
	}
	return header, str.SetReadDeadline(time.Time{})
}

// readHeader reads a header that came from a peer and checks it.
func (e *Endpoint) readHeader(in *bufio.Reader, from raft.ID, incarnation uint64, kinds ...peerpb.StreamHeader_Kind) (*peerpb.StreamHeader, error) {
	header := new(peerpb.StreamHeader)
	if err := wire.ReadFrame(in, maxHeader, header); err != nil {
		return nil, fmt.Errorf("reading the header of a stream: %w", explain(err))
	}
	if err := e.checkHeader(header, from, incarnation); err != nil {
		return nil, err
	}
	for _, kind := range kinds {
		if header.Kind == kind {
			return header, nil
		}
	}
	return nil, &mismatch{fmt.Sprintf("node %d opened a stream of kind %d, and %v is expected", from, header.Kind, kinds)}
}

// run serves the link until its connection ends, and returns why it did.
func (l *link) run() error {
	ctx := l.conn.Context()
	var group sync.WaitGroup
	group.Go(l.sendDatagrams)
	group.Go(func() { l.endIf(l.outbox.run()) })
	group.Go(func() { l.readDatagrams(ctx) })
	group.Go(func() { l.acceptStreams(ctx) })
	group.Go(func() { l.endIf(l.acceptAppends(ctx)) })
	l.tellClock()
	<-ctx.Done()
	l.outbox.close()
	group.Wait()
	return context.Cause(ctx)
}

// endIf closes the connection if err says that the peer does not keep to the protocol. Other errors are those of a
// connection that has ended.
func (l *link) endIf(err error) {
	var different *mismatch
	switch {
	case errors.As(err, &different), errors.Is(err, wire.ErrFrame), errors.Is(err, wire.ErrFrameTooLarge),
		errors.Is(err, wire.ErrFrameTruncated), errors.Is(err, ErrCancelled), errors.Is(err, errStreamEnded):
	default:
		return
	}
	l.endpoint.counters.disconnected.Add(1)
	l.endpoint.log.Warn("a peer does not keep to the protocol: closing its connection", "node", l.endpoint.self, "peer", l.peer, "err", err)
	shut(l.conn, codeProtocol, err.Error())
}

// errStreamEnded says that a peer ended a stream that lasts as long as the connection.
var errStreamEnded = errors.New("the peer ended its stream for appends")

// send sends m by the way that its kind has. It does not block.
func (l *link) send(m raft.Message) {
	switch m.(type) {
	case raft.Append, raft.AppendAck:
		l.post(m)
		return
	}
	select {
	case l.datagrams <- m:
	default:
		l.endpoint.counters.queueFull.Add(1)
	}
}

// post sends m on the ordered stream.
func (l *link) post(m raft.Message) {
	first, err := l.outbox.post(m)
	switch {
	case err == nil:
	case errors.Is(err, errQueueFull):
		l.endpoint.counters.queueFull.Add(1)
		if first {
			l.endpoint.notices.add(l.peer)
		}
	case errors.Is(err, wire.ErrPeerMessage), errors.Is(err, wire.ErrFrameTooLarge):
		l.unsendable(err)
	default:
		l.endpoint.counters.noConnection.Add(1)
	}
}

// unsendable notes a message of this node's own that no peer would accept.
func (l *link) unsendable(err error) {
	l.endpoint.counters.malformed.Add(1)
	l.endpoint.log.Error("a message could not be sent", "node", l.endpoint.self, "peer", l.peer, "err", err)
}

// sendDatagrams sends small messages as datagrams. QUIC may make it wait, which is why it has a goroutine.
func (l *link) sendDatagrams() {
	e := l.endpoint
	var buffer []byte
	for {
		select {
		case m := <-l.datagrams:
			encoded, err := wire.EncodePeer(buffer[:0], e.cluster, e.config.Incarnation, e.config.Now().UnixNano(), m)
			if err != nil {
				l.unsendable(err)
				continue
			}
			buffer = encoded
			var large *quic.DatagramTooLargeError
			switch err := l.sendDatagram(encoded); {
			case err == nil:
				if _, clock := m.(wire.Clock); !clock {
					e.counters.sent.Add(1)
					e.counters.datagrams.Add(1)
				}
			case errors.As(err, &large):
				e.counters.oversized.Add(1)
				l.post(m)
			default:
				return // the connection has ended
			}
		case <-l.conn.Context().Done():
			return
		}
	}
}

func (l *link) sendDatagram(p []byte) error {
	if limit := l.endpoint.config.maxDatagram; len(p) > limit {
		return &quic.DatagramTooLargeError{MaxDatagramPayloadSize: int64(limit)}
	}
	return l.conn.SendDatagram(p)
}

func (l *link) readDatagrams(ctx context.Context) {
	for {
		datagram, err := l.conn.ReceiveDatagram(ctx)
		if err != nil {
			return // the connection has ended
		}
		l.deliverDatagram(datagram)
	}
}

// acceptAppends takes the peer's one stream for appends.
func (l *link) acceptAppends(ctx context.Context) error {
	str, err := l.conn.AcceptUniStream(ctx)
	if err != nil {
		return nil // the connection has ended
	}
	in := bufio.NewReaderSize(str, flushBytes)
	if _, err := l.readHeader(in, str, peerpb.StreamHeader_KIND_APPEND); err != nil {
		return err
	}
	return l.readAppends(in)
}

// readAppends takes messages from the stream in their order, until it or the connection ends.
func (l *link) readAppends(in *bufio.Reader) error {
	var buffer []byte
	for {
		frame, err := wire.ReadFrameBytes(in, wire.MaxPeerFrame, buffer)
		if err == io.EOF {
			return errStreamEnded
		}
		if err != nil {
			return fmt.Errorf("reading the stream for appends: %w", explain(err))
		}
		if err := l.deliver(frame); errors.Is(err, wire.ErrFrame) {
			return err
		}
		if buffer = frame; cap(buffer) > keptBuffer {
			buffer = nil
		}
	}
}

// tellClock tells the peer what this node's clock is.
func (l *link) tellClock() {
	l.send(wire.Clock{Envelope: raft.Envelope{From: l.endpoint.self, To: l.peer}})
}

// deliver hands a message to the node if it is this connection's.
func (l *link) deliver(encoded []byte) error {
	envelope, err := l.take(encoded)
	l.handOn(envelope.Message)
	return err
}

// handOn gives the node what is for its core.
func (l *link) handOn(m raft.Message) {
	switch m.(type) {
	case nil:
	case wire.Clock:
		l.endpoint.counters.clocks.Add(1)
	default:
		l.endpoint.counters.received.Add(1)
		l.endpoint.config.OnMessage(m)
	}
}

// deliverDatagram is deliver for a datagram, which tells the peer's clock as well: it is sent once and at once. What
// comes on a stream may have waited in a queue or been sent again, so that its clock is old.
func (l *link) deliverDatagram(encoded []byte) {
	envelope, _ := l.take(encoded) // an error was counted, and costs a datagram alone
	if envelope.Message != nil {
		l.endpoint.config.OnClock(l.peer, envelope.Clock)
	}
	l.handOn(envelope.Message)
}

// take decodes a message. One that is not this connection's is dropped and counted: then there is no Message.
func (l *link) take(encoded []byte) (wire.PeerEnvelope, error) {
	e := l.endpoint
	envelope, err := wire.DecodePeer(encoded)
	if err != nil {
		e.counters.malformed.Add(1)
		return wire.PeerEnvelope{}, err
	}
	names := envelope.Message.Header()
	if envelope.Cluster != e.cluster || envelope.Incarnation != l.incarnation || names.From != l.peer || names.To != e.self {
		e.counters.misfit.Add(1)
		return wire.PeerEnvelope{}, nil
	}
	return envelope, nil
}
