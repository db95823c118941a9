package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/transport/wire/joinpb"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// Limits of a frame's message in bytes, its length prefix not counted.
const (
	// MaxClientFrame bounds a frame of a SQL session, in both directions.
	MaxClientFrame = 32 << 20
	// MaxEntry bounds the data of one log entry: the default of the setting log.max_entry.
	MaxEntry = 64 << 20
	// MaxPeerFrame bounds a frame between members: the largest entry and what surrounds it.
	MaxPeerFrame = MaxEntry + 64<<10
	// MaxJoinFrame bounds a frame of a join, which comes from somebody who has shown nothing yet.
	MaxJoinFrame = 1 << 20
)

// readStep is how much memory is set aside for a frame before any of it has arrived.
const readStep = 64 << 10

// Causes of the errors of frames.
var (
	// ErrFrameTooLarge says that a message is longer than its kind may be.
	ErrFrameTooLarge = errors.New("frame too large")
	// ErrFrameTruncated says that the stream ended inside a frame. It wraps [io.ErrUnexpectedEOF].
	ErrFrameTruncated = fmt.Errorf("frame cut off: %w", io.ErrUnexpectedEOF)
	// ErrFrame says that the bytes are no frame: the length or the message in it cannot be read.
	ErrFrame = errors.New("malformed frame")
)

// Limit is how long, in bytes, a message of m's kind may be.
func Limit(m proto.Message) int {
	switch m.(type) {
	case *sqlpb.ClientFrame, *sqlpb.ServerFrame:
		return MaxClientFrame
	case *joinpb.JoinRequest, *joinpb.JoinAnswer:
		return MaxJoinFrame
	}
	return MaxPeerFrame
}

// AppendFrame appends m as a frame. A message above its [Limit] is refused with [ErrFrameTooLarge]; dst is returned
// unchanged with every error.
func AppendFrame(dst []byte, m proto.Message) ([]byte, error) {
	if frame, is := m.(*sqlpb.ServerFrame); is {
		if framed, ok := appendServerFrame(dst, frame, MaxClientFrame); ok {
			return framed, nil
		}
	}
	size := proto.Size(m)
	if limit := Limit(m); size > limit {
		return dst, fmt.Errorf("%w: %s has %d bytes and may have %d", ErrFrameTooLarge, name(m), size, limit)
	}
	framed, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(binary.AppendUvarint(dst, uint64(size)), m)
	if err != nil {
		return dst, fmt.Errorf("encoding %s: %w", name(m), err)
	}
	return framed, nil
}

// WriteFrame writes m as a frame with one call of Write.
func WriteFrame(w io.Writer, m proto.Message) error {
	frame, err := AppendFrame(nil, m)
	if err != nil {
		return err
	}
	if _, err := w.Write(frame); err != nil {
		return fmt.Errorf("writing %s: %w", name(m), err)
	}
	return nil
}

// ReadFrame reads a frame of at most max bytes into m, whose old content is dropped. m shares no memory with r.
// At the end of the stream, before the first byte of a frame, it returns [io.EOF] as it is.
func ReadFrame(r *bufio.Reader, max int, m proto.Message) error {
	length, err := readLength(r, max)
	if err != nil {
		return err
	}
	if length > r.Size() {
		frame, err := readBody(r, length, nil)
		if err != nil {
			return err
		}
		return unmarshal(frame, m)
	}
	frame, err := r.Peek(length)
	if err != nil {
		return truncated(err, len(frame), length)
	}
	if err := unmarshal(frame, m); err != nil {
		return err
	}
	if _, err := r.Discard(length); err != nil {
		return truncated(err, 0, length)
	}
	return nil
}

// ReadFrameBytes reads a frame of at most max bytes and returns the encoded message in it. It uses buf's memory if
// that is large enough; the caller owns what is returned. At the end of the stream it returns [io.EOF] as it is.
func ReadFrameBytes(r *bufio.Reader, max int, buf []byte) ([]byte, error) {
	length, err := readLength(r, max)
	if err != nil {
		return nil, err
	}
	return readBody(r, length, buf)
}

// readLength reads the length before a frame.
func readLength(r *bufio.Reader, max int) (int, error) {
	var length uint64
	for shift := 0; ; shift += 7 {
		b, err := r.ReadByte()
		if err == io.EOF && shift == 0 {
			return 0, io.EOF
		}
		if err != nil {
			return 0, truncated(err, 0, 1)
		}
		// Ten bytes hold 64 bits, the tenth only the last of them; a last byte of zero adds nothing.
		if shift == 63 && b > 1 || shift > 0 && b == 0 {
			return 0, fmt.Errorf("%w: its length is no number in its shortest form", ErrFrame)
		}
		length |= uint64(b&0x7f) << shift
		if b < 0x80 {
			break
		}
	}
	if length > uint64(max) {
		return 0, fmt.Errorf("%w: its length says %d bytes, and %d are allowed", ErrFrameTooLarge, length, max)
	}
	return int(length), nil
}

// readBody reads length bytes. Memory doubles with what has arrived: who only claims a length costs one readStep.
func readBody(r *bufio.Reader, length int, buf []byte) ([]byte, error) {
	if cap(buf) < min(length, readStep) {
		buf = make([]byte, 0, min(length, readStep))
	}
	buf = buf[:0]
	for len(buf) < length {
		if len(buf) == cap(buf) {
			grown := make([]byte, len(buf), min(length, 2*cap(buf)))
			copy(grown, buf)
			buf = grown
		}
		have := len(buf)
		buf = buf[:min(length, cap(buf))]
		n, err := io.ReadFull(r, buf[have:])
		if err != nil {
			return nil, truncated(err, have+n, length)
		}
	}
	return buf, nil
}

// truncated names what is missing at the end of a stream. Other errors of the stream stay what they are.
func truncated(err error, have, length int) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: %d of %d bytes arrived", ErrFrameTruncated, have, length)
	}
	return fmt.Errorf("reading a frame: %w", err)
}

func name(m proto.Message) string { return string(m.ProtoReflect().Descriptor().Name()) }
