package transport

import (
	"errors"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/rsqld/rsqld/transport/wire/peerpb"
)

// maxContent is the largest content of a chunk, in bytes.
const maxContent = 1 << 20

// errPacked says that the content of a chunk cannot be unpacked.
var errPacked = errors.New("a chunk of a snapshot is not compressed as its sender says")

// packer compresses the contents of chunks. It is for one goroutine.
type packer struct {
	encoder *zstd.Encoder
	packed  []byte
}

func newPacker() (*packer, error) {
	// The level that costs least: a transfer shares its processors with writers. TLS and the hashes of the chunks make a
	// checksum superfluous.
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithWindowSize(maxContent), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("preparing to compress a snapshot: %w", err)
	}
	return &packer{encoder: encoder}, nil
}

// pack compresses the content of a chunk, unless it would hardly get shorter: by less than a sixteenth. What the chunk has
// then is the packer's until the next call.
func (p *packer) pack(chunk *peerpb.SnapshotChunk) {
	chunk.Unpacked = 0
	p.packed = p.encoder.EncodeAll(chunk.Content, p.packed[:0])
	if length := len(chunk.Content); len(p.packed) < length-length/16 {
		chunk.Content, chunk.Unpacked = p.packed, uint32(length)
	}
}

func (p *packer) close() error { return p.encoder.Close() }

// worth weighs whether compressing is worth its time: on a slow network it saves more than it costs, on a fast one it is what a
// transfer waits for. All is measured on the way. The zero value is ready.
type worth struct {
	chunks int // weighed so far
	// pack and send are in seconds a byte, the latter of what travels; ratio is what compressing leaves of a byte.
	pack, send, ratio float64
}

const (
	// worthTried is how many chunks are compressed at first, and worthAgain of how many one is, whatever was found: content
	// changes, and so do networks.
	worthTried = 4
	worthAgain = 32
	// worthWeight is how much one chunk counts beside those before it.
	worthWeight = 0.25
)

// packs reports whether the next chunk is to be compressed.
func (w *worth) packs() bool {
	tried := w.chunks < worthTried || w.chunks%worthAgain == 0
	w.chunks++
	return tried || w.pack < (1-w.ratio)*w.send
}

// packed notes that bytes were compressed to fewer.
func (w *worth) packed(bytes, fewer int, took time.Duration) {
	if bytes > 0 {
		weigh(&w.pack, took.Seconds()/float64(bytes))
		weigh(&w.ratio, float64(fewer)/float64(bytes))
	}
}

// sent notes that bytes have left.
func (w *worth) sent(bytes int, took time.Duration) {
	if bytes > 0 {
		weigh(&w.send, took.Seconds()/float64(bytes))
	}
}

func weigh(average *float64, one float64) {
	if *average == 0 {
		*average = one
		return
	}
	*average += worthWeight * (one - *average)
}

// unpacker is the other end's. No content makes it use more than a few MiB, whatever it says of itself.
type unpacker struct {
	decoder *zstd.Decoder
	content []byte
}

func newUnpacker() (*unpacker, error) {
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(maxContent), zstd.WithDecoderMaxWindow(maxContent), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("preparing to unpack a snapshot: %w", err)
	}
	return &unpacker{decoder: decoder}, nil
}

// unpack returns the content of a chunk, until the next call.
func (u *unpacker) unpack(chunk *peerpb.SnapshotChunk) ([]byte, error) {
	switch length := int(chunk.Unpacked); {
	case length == 0:
		return chunk.Content, nil
	case length > maxContent:
		return nil, fmt.Errorf("%w: number %d would have %d bytes, the most is %d", errPacked, chunk.Number, length, maxContent)
	case cap(u.content) < length:
		u.content = make([]byte, 0, maxContent)
	}
	content, err := u.decoder.DecodeAll(chunk.Content, u.content[:0:chunk.Unpacked])
	if err == nil && len(content) != int(chunk.Unpacked) {
		err = fmt.Errorf("it has %d bytes instead of %d", len(content), chunk.Unpacked)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: number %d: %w", errPacked, chunk.Number, err)
	}
	return content, nil
}

func (u *unpacker) close() { u.decoder.Close() }
