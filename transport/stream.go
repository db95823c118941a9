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
	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/transport/wire"
)

// Stream is a stream of frames in both directions. One goroutine may send while another receives. Close and Cancel may
// be called by any goroutine at any time.
type Stream struct {
	quic   *quic.Stream
	conn   *quic.Conn
	ctx    context.Context
	cancel context.CancelCauseFunc

	// The receiver's.
	in      *bufio.Reader
	frame   []byte // the memory of the last frame, used again for the next
	awaited bool   // the first frame has a deadline

	flusher *flusher // of the connection
	lane    lane

	// sending is held while something is written. It is never waited for by Close.
	sending  sync.Mutex
	out      []byte // frames that were sent and not flushed
	finished bool   // CloseWrite was called
	unhook   func() bool
}

const (
	// readBuffer is the memory that every stream has for reading.
	readBuffer = 4 << 10
	// keptBuffer is the most memory that a stream keeps from one frame to the next, in either direction.
	keptBuffer = 128 << 10
	// flushBytes is how much Send gathers before it flushes by itself.
	flushBytes = 64 << 10
	// directBytes is how much is handed to QUIC at once, if flow control allows, without waiting until it has left, and
	// how much a flush may share with others.
	directBytes = 16 << 10
)

// newStream makes a stream whose context is parent's child. All streams of conn have one flusher.
func newStream(parent context.Context, conn *quic.Conn, str *quic.Stream, shared *flusher) *Stream {
	s := &Stream{quic: str, conn: conn, in: bufio.NewReaderSize(str, readBuffer), flusher: shared}
	s.lane.to = str
	s.lane.failed = func(err error) { s.end(err) }
	s.ctx, s.cancel = context.WithCancelCause(parent)
	// QUIC ends the stream's context when the other end wants no more of it or the connection is gone.
	s.unhook = context.AfterFunc(str.Context(), func() { s.end(context.Cause(str.Context())) })
	return s
}

// Context ends when the other end has closed or cancelled the stream, when the connection is lost, and by Close and
// Cancel here; its cause says which. Frames that had arrived before can still be received. The end of what the other
// end sends (CloseWrite) does not end it.
func (s *Stream) Context() context.Context { return s.ctx }

// Send adds a frame to what Flush will send; beyond some 64 KiB it flushes by itself. m may be changed afterwards. It
// blocks while the other end does not read. A message above its limit is refused with wire.ErrFrameTooLarge, and the
// stream stays usable.
func (s *Stream) Send(m proto.Message) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	out, err := wire.AppendFrame(s.out, m)
	if err != nil {
		return err
	}
	if s.out = out; len(out) < flushBytes {
		return nil
	}
	return s.flush()
}

// Flush sends what Send has gathered. When it returns, the frames are on their way, not necessarily arrived; what goes
// wrong on it ends the stream, for its receiver too.
func (s *Stream) Flush() error {
	s.sending.Lock()
	defer s.sending.Unlock()
	if len(s.out) > directBytes || s.finished || s.quic.Context().Err() != nil {
		return s.flush()
	}
	if len(s.out) > 0 {
		s.flusher.flush(&s.lane, s.out)
		s.out = s.out[:0]
	}
	return nil
}

// flush writes without company. It needs s.sending.
func (s *Stream) flush() error {
	s.flusher.settle(&s.lane)
	if len(s.out) == 0 {
		return nil
	}
	err := write(s.quic, s.out)
	if s.out = s.out[:0]; cap(s.out) > keptBuffer {
		s.out = nil
	}
	if err != nil {
		err = explain(err)
		s.cancel(err)
		return fmt.Errorf("sending: %w", err)
	}
	return nil
}

// writer is what QUIC's streams have for sending.
type writer interface {
	io.Writer
	TryWriteAll([]byte) error
}

// write hands p to QUIC. What is small is only copied, if flow control has room for it.
func write(w writer, p []byte) error {
	if len(p) <= directBytes {
		if err := w.TryWriteAll(p); !errors.Is(err, quic.ErrWouldBlock) {
			return err
		}
	}
	_, err := w.Write(p)
	return err
}

// Recv waits for the next frame and decodes it into m, whose old content is dropped. When the other end has sent all
// it wanted to, the error is io.EOF as it is. A frame above the limit of m's kind, or one that is no such message, is
// an error that wraps wire.ErrFrameTooLarge or wire.ErrFrame; the stream cannot be received from after any error.
func (s *Stream) Recv(m proto.Message) error { return s.recv(m, wire.Limit(m)) }

func (s *Stream) recv(m proto.Message, limit int) error {
	frame, err := wire.ReadFrameBytes(s.in, limit, s.frame)
	if err != nil {
		return s.readError(err)
	}
	if s.frame = frame; cap(frame) > keptBuffer {
		s.frame = nil
	}
	if err := wire.Unmarshal(frame, m); err != nil {
		return fmt.Errorf("%w: %d bytes that are no %s: %w", wire.ErrFrame, len(frame), m.ProtoReflect().Descriptor().Name(), err)
	}
	if s.awaited {
		s.awaited = false
		return s.quic.SetReadDeadline(time.Time{})
	}
	return nil
}

// readError ends the context if nothing more can come of the stream in any direction.
func (s *Stream) readError(err error) error {
	if err == io.EOF || errors.Is(err, wire.ErrFrame) || errors.Is(err, wire.ErrFrameTooLarge) || errors.Is(err, wire.ErrFrameTruncated) {
		return err
	}
	err = explain(err)
	if !errors.Is(err, ErrFirstFrame) {
		s.end(err)
	}
	return fmt.Errorf("receiving: %w", err)
}

// awaitFirst gives the next frame a deadline. It belongs to the receiver.
func (s *Stream) awaitFirst(within time.Duration) error {
	s.awaited = true
	return s.quic.SetReadDeadline(time.Now().Add(within))
}

// CloseWrite flushes, and tells the other end that nothing more comes. Receiving goes on.
func (s *Stream) CloseWrite() error {
	s.sending.Lock()
	defer s.sending.Unlock()
	if s.finished {
		return nil
	}
	if err := s.flush(); err != nil {
		return err
	}
	s.finished = true
	if s.unhook() { // else the stream has ended already
		// QUIC ends a stream's context with its sending half; the connection's remains to be watched.
		s.unhook = context.AfterFunc(s.conn.Context(), func() { s.end(context.Cause(s.conn.Context())) })
	}
	_ = s.quic.Close() // it fails when the other end has cancelled the stream, and then it needs not be told
	return nil
}

// ask sends the only frame of this end, and receives the only one of the other.
func (s *Stream) ask(question, answer proto.Message, limit int) error {
	if err := s.Send(question); err != nil {
		return err
	}
	sent := s.CloseWrite()
	// Who answers early need not have read all: the answer counts even if sending failed.
	if err := s.recv(answer, limit); err != nil {
		return errors.Join(sent, err)
	}
	return nil
}

// Close ends the stream in both directions without waiting. What was flushed still arrives; what was not is dropped. A
// Send that is blocked is broken off, and so are the frames it was sending. The other end's context ends.
func (s *Stream) Close() error {
	s.quic.CancelRead(streamClosed)
	s.flusher.write()
	if s.lane.held.Load() == nil && s.sending.TryLock() {
		s.finished = true
		s.unhook()
		s.quic.Close() // an error says that the other end was faster
		s.sending.Unlock()
	} else {
		s.quic.CancelWrite(streamClosed)
	}
	s.cancel(ErrClosed)
	return nil
}

// Cancel ends the stream in both directions and tells the other end code; what has not arrived yet is dropped.
func (s *Stream) Cancel(code uint32) {
	s.quic.CancelRead(quic.StreamErrorCode(code))
	s.quic.CancelWrite(quic.StreamErrorCode(code))
	if s.sending.TryLock() {
		s.finished = true
		s.unhook()
		s.sending.Unlock()
	}
	s.cancel(ErrClosed)
}

// finish flushes and closes after the last word, for whose delivery it waits no longer than within.
func (s *Stream) finish(within time.Duration) error {
	if err := s.quic.SetWriteDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	return errors.Join(s.CloseWrite(), s.Close())
}

// end ends the context because of err.
func (s *Stream) end(err error) { s.cancel(explain(err)) }
