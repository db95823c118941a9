package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/raft"
)

func sampleHeader() *header {
	return &header{size: 8192, cluster: [16]byte{1, 2}, node: 3, sequence: 4, base: raft.EntryID{Term: 5, Index: 6},
		tip:  tip{7, 8, raft.HardState{Term: 9, Vote: 10, Acked: raft.EntryID{Term: 11, Index: 12}}},
		salt: 13, configuration: raft.ConfigurationAt{Index: 2, Configuration: raft.Configuration{Voters: []raft.ID{1, 2}}}}
}

// TestHeader proves: a header reads back as it was written, any flipped bit is damage, and another format says so.
func TestHeader(t *testing.T) {
	b, err := sampleHeader().encode()
	if err != nil {
		t.Fatal(err)
	}
	var got header
	if err := got.decode(b); err != nil || !reflect.DeepEqual(&got, sampleHeader()) {
		t.Errorf("got %+v, %v", got, err)
	}
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		if err := got.decode(b); !errors.Is(err, errHeader) {
			t.Fatalf("bit %d of byte %d is flipped: %v", i%8, i/8, err)
		}
		b[i/8] ^= 1 << (i % 8)
	}
	b[8] = formatVersion + 1
	binary.LittleEndian.PutUint32(b[headerSize-4:], checksum(0, b[:headerSize-4]))
	if err := got.decode(b); err == nil || errors.Is(err, errHeader) || !strings.Contains(err.Error(), "format 2") {
		t.Errorf("another format: %v", err)
	}
}

// TestSegmentName proves: only the exact name of a segment is one.
func TestSegmentName(t *testing.T) {
	name := segmentName(0xabc, 1<<63)
	if first, sequence, ok := parseSegmentName(name); !ok || first != 0xabc || sequence != 1<<63 {
		t.Errorf("%s: %d, %d, %v", name, first, sequence, ok)
	}
	for _, other := range []string{"", "spare", name + "~", strings.ToUpper(name), name[1:], "0" + name, name + ".wal",
		strings.Replace(name, "-", "_", 1), "-" + name[1:]} {
		if _, _, ok := parseSegmentName(other); ok {
			t.Errorf("%q is taken for a segment", other)
		}
	}
}

// FuzzHeader proves: no bytes make the decoder panic, and what it accepts encodes to the same header.
func FuzzHeader(f *testing.F) {
	b, err := sampleHeader().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:100])
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, headerSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		var h header
		if h.decode(b) == nil && len(b) < headerSize {
			t.Fatal("a short header was accepted")
		}
		// A checksum and a beginning that are right let the fuzzer past the first gate.
		b = append(bytes.Clone(b), make([]byte, headerSize)...)[:headerSize]
		copy(b, magic)
		binary.LittleEndian.PutUint32(b[8:], formatVersion)
		binary.LittleEndian.PutUint32(b[headerSize-4:], checksum(0, b[:headerSize-4]))
		if h.decode(b) != nil {
			return
		}
		again, err := h.encode()
		if err != nil {
			t.Fatal(err)
		}
		var second header
		if err := second.decode(again); err != nil || !reflect.DeepEqual(h, second) {
			t.Fatalf("%+v became %+v, %v", h, second, err)
		}
	})
}
