package snapshot

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

// random returns bytes that follow from a seed.
func random(seed uint64, n int) []byte {
	b, source := make([]byte, n), rand.NewPCG(seed, 1)
	for i := range b {
		b[i] = byte(source.Uint64())
	}
	return b
}

// What differs, put into what is held, is the chunk; and no block travels that is equal. Lengths that end inside a block are
// no exception.
func TestDifferencesMakeTheChunk(t *testing.T) {
	for _, length := range []int{1, BlockSize - 1, BlockSize, BlockSize + 1, 9*BlockSize + 5, ChunkSize} {
		chunk := random(1, length)
		for _, changed := range []int{0, 1, 3} {
			held := bytes.Clone(chunk)
			for i := range changed {
				held[(i*2*BlockSize)%length] ^= 0x10
			}
			blocks, content, err := differences(chunk, appendOutline(nil, held), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := patch(held, blocks, content); err != nil || !bytes.Equal(held, chunk) {
				t.Errorf("%d bytes, %d changes: %v", length, changed, err)
			}
			if len(content) > changed*BlockSize {
				t.Errorf("%d bytes, %d changes: %d bytes of blocks", length, changed, len(content))
			}
		}
	}
}

// What holds nothing, or less than the chunk, gets what it lacks.
func TestDifferencesFromLess(t *testing.T) {
	chunk := random(2, 3*BlockSize)
	if blocks, content, err := differences(chunk, nil, nil); err != nil || blocks != nil || !bytes.Equal(content, chunk) {
		t.Errorf("from nothing: blocks %v, %d bytes, %v", blocks, len(content), err)
	}
	blocks, content, err := differences(chunk, appendOutline(nil, chunk[:BlockSize]), nil)
	if err != nil || !bytes.Equal(blocks, []byte{0b110}) || len(content) != 2*BlockSize {
		t.Errorf("from one block: blocks %b, %d bytes, %v", blocks, len(content), err)
	}
}

// FuzzPatch proves: no blocks that a peer sends make more than an error, and an outline that it sends neither.
func FuzzPatch(f *testing.F) {
	f.Add([]byte{0b101}, random(3, 2*BlockSize), uint16(3*BlockSize))
	f.Add([]byte{0b1000}, random(3, BlockSize), uint16(3*BlockSize))
	f.Add([]byte{0b100}, random(3, 5), uint16(2*BlockSize+5))
	f.Add([]byte{}, []byte{1}, uint16(0))
	f.Fuzz(func(t *testing.T, blocks, content []byte, length uint16) {
		held := make([]byte, length)
		if err := patch(held, blocks, content); err != nil {
			if !errors.Is(err, ErrOutline) {
				t.Error(err)
			}
			return
		}
		if again, sent, err := differences(held, appendOutline(nil, make([]byte, length)), nil); err != nil || len(sent) > len(content) ||
			length > 0 && len(again) != len(blocks) {
			t.Errorf("%v: %d bytes in %b make %d in %b", err, len(content), blocks, len(sent), again)
		}
		if _, _, err := differences(held, blocks, nil); err != nil && !errors.Is(err, ErrOutline) {
			t.Error(err)
		}
	})
}
