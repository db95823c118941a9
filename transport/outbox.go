package transport

import (
	"errors"
	"sync"

	"github.com/quic-go/quic-go"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire"
)

// outbox sends messages to a peer on one ordered stream.
//
// A goroutine between a message and the stream would cost a hand-over, some microseconds that every write of the
// cluster waits twice for. So post itself hands a small message to QUIC, which copies it. Only when QUIC has no room
// for it, or messages wait already, or it is large, it is queued for the goroutine of run, which may block. The order
// of the posts is kept: nothing is handed over directly while the goroutine has messages.
type outbox struct {
	encode  func([]byte, raft.Message) ([]byte, error)
	stream  writer
	limits  Limits
	sent    func(n int)
	dropped func(err error) // a message that cannot be encoded

	wake chan struct{} // holds a token when queue may have something

	mu     sync.Mutex // guards what follows
	queue  []queued
	bytes  int  // of the messages in queue and of those that run is writing
	busy   bool // run has messages that it has not written
	full   bool // a message was dropped since the queue was half empty
	closed bool
	frame  []byte // memory for post
}

type queued struct {
	message raft.Message
	size    int
}

// errQueueFull is why post dropped a message.
var errQueueFull = errors.New("the queue to the peer is full")

func newOutbox(limits Limits, stream writer) *outbox {
	return &outbox{limits: limits, stream: stream, wake: make(chan struct{}, 1)}
}

// sizeOf estimates what a message takes in memory and on the wire.
func sizeOf(m raft.Message) int {
	const envelope, perEntry = 96, 48
	size := envelope
	if m, ok := m.(raft.Append); ok {
		for _, entry := range m.Entries {
			size += perEntry + len(entry.Data)
		}
	}
	return size
}

// post sends m or queues it. It does not block. first says that m is the first
// that was dropped since the queue was half empty.
func (o *outbox) post(m raft.Message) (first bool, err error) {
	size := sizeOf(m)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return false, ErrNotConnected
	}
	if !o.busy && len(o.queue) == 0 && size <= directBytes {
		if sent, err := o.direct(m); sent || err != nil {
			return false, err
		}
	}
	if o.bytes > 0 && (o.bytes+size > o.limits.QueueBytes || len(o.queue) >= o.limits.QueueMessages) {
		first = !o.full
		o.full = true
		return first, errQueueFull
	}
	o.queue = append(o.queue, queued{m, size})
	o.bytes += size
	o.signal()
	return false, nil
}

// direct hands m to the stream if it takes it at once. It needs o.mu.
func (o *outbox) direct(m raft.Message) (sent bool, err error) {
	frame, err := o.encode(o.frame[:0], m)
	if err != nil {
		return false, err
	}
	o.frame = frame
	switch err := o.stream.TryWriteAll(frame); {
	case err == nil:
		o.sent(1)
		return true, nil
	case errors.Is(err, quic.ErrWouldBlock):
		return false, nil
	default:
		return false, explain(err)
	}
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// close drops what waits, and makes run return.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed, o.queue = true, nil
	o.signal()
}

// run writes what is queued, until close or an error of the stream.
func (o *outbox) run() error {
	var batch []queued
	var buffer []byte
	for range o.wake {
		for {
			o.mu.Lock()
			clear(batch)
			batch, o.queue = o.queue, batch[:0]
			o.busy = len(batch) > 0
			closed := o.closed
			o.mu.Unlock()
			if closed {
				return nil
			}
			if len(batch) == 0 {
				break
			}
			var err error
			if buffer, err = o.write(buffer[:0], batch); err != nil {
				return err
			}
		}
		if cap(buffer) > keptBuffer {
			buffer = nil
		}
	}
	return nil
}

// write writes a batch, many small messages at a time.
func (o *outbox) write(buffer []byte, batch []queued) ([]byte, error) {
	written, size := 0, 0
	flush := func() error {
		if _, err := o.stream.Write(buffer); err != nil {
			return explain(err)
		}
		o.sent(written)
		o.mu.Lock()
		if o.bytes -= size; o.bytes <= o.limits.QueueBytes/2 {
			o.full = false
		}
		o.mu.Unlock()
		buffer, written, size = buffer[:0], 0, 0
		return nil
	}
	for _, q := range batch {
		size += q.size
		frame, err := o.encode(buffer, q.message)
		if err != nil {
			o.dropped(err)
			continue
		}
		buffer = frame
		written++
		if len(buffer) >= flushBytes {
			if err := flush(); err != nil {
				return buffer, err
			}
		}
	}
	return buffer, flush()
}

// encoder returns what puts this node's messages into frames of a stream.
func (e *Endpoint) encoder() func([]byte, raft.Message) ([]byte, error) {
	return func(dst []byte, m raft.Message) ([]byte, error) {
		return wire.AppendPeerFrame(dst, e.cluster, e.config.Incarnation, e.config.Now().UnixNano(), m)
	}
}
