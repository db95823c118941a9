package snapshot

import (
	"crypto/sha256"
	"errors"
	"fmt"
)

// A chunk that differs often differs in a few pages: one row that is updated changes one page of 256. So a receiver that
// holds something in the place of a chunk says what, block by block, and gets the blocks that differ:
//
//	outline   8 bytes for each block of 4 KiB: the beginning of its SHA-256
//	blocks    a bit for each block of the chunk, set for those that are in content; none at all: content is the chunk
//	content   these blocks, one behind the other
//
// Eight bytes do not prove that two blocks are equal, and need not: the chunk that comes out is held against the hash in the
// manifest, and if it is another one, the next attempt asks for all of it.

const (
	// BlockSize is the size of a block in bytes, that of a page of the databases; the last one of a chunk may be shorter.
	BlockSize = 4096
	markSize  = 8
)

// MaxOutline is the size in bytes of the outline of a whole chunk.
const MaxOutline = ChunkSize / BlockSize * markSize

// ErrOutline says that something is no outline, or no set of blocks.
var ErrOutline = errors.New("malformed outline of a chunk")

// appendOutline appends the outline of what is held in a chunk's place.
func appendOutline(outline, held []byte) []byte {
	for len(held) > 0 {
		block := held[:min(BlockSize, len(held))]
		held = held[len(block):]
		mark := sha256.Sum256(block)
		outline = append(outline, mark[:markSize]...)
	}
	return outline
}

// differences returns the blocks of a chunk that are not those of an outline, with their content in into. An empty outline
// differs in all: then blocks is nil, and content the chunk itself.
func differences(chunk, outline, into []byte) (blocks, content []byte, err error) {
	if len(outline)%markSize != 0 || len(outline) > MaxOutline {
		return nil, nil, fmt.Errorf("%w: %d bytes", ErrOutline, len(outline))
	}
	if len(outline) == 0 {
		return nil, chunk, nil
	}
	count := (len(chunk) + BlockSize - 1) / BlockSize
	blocks, into = make([]byte, (count+7)/8), into[:0]
	for number := range count {
		block := chunk[number*BlockSize : min((number+1)*BlockSize, len(chunk))]
		if at := number * markSize; at < len(outline) {
			if mark := sha256.Sum256(block); string(mark[:markSize]) == string(outline[at:at+markSize]) {
				continue
			}
		}
		blocks[number/8] |= 1 << (number % 8)
		into = append(into, block...)
	}
	return blocks, into, nil
}

// patch puts blocks into what is held in a chunk's place, which has the chunk's length.
func patch(held, blocks, content []byte) error {
	count := (len(held) + BlockSize - 1) / BlockSize
	if len(blocks) != (count+7)/8 {
		return fmt.Errorf("%w: %d bytes of bits for %d blocks", ErrOutline, len(blocks), count)
	}
	for number := range len(blocks) * 8 {
		if blocks[number/8]&(1<<(number%8)) == 0 {
			continue
		}
		if number >= count {
			return fmt.Errorf("%w: block %d of %d", ErrOutline, number, count)
		}
		block := held[number*BlockSize : min((number+1)*BlockSize, len(held))]
		if len(content) < len(block) {
			return fmt.Errorf("%w: the content ends in block %d", ErrOutline, number)
		}
		content = content[copy(block, content):]
	}
	if len(content) > 0 {
		return fmt.Errorf("%w: %d bytes behind the last block", ErrOutline, len(content))
	}
	return nil
}
