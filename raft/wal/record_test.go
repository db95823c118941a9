package wal

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"testing"

	"github.com/rsqld/rsqld/raft"
)

func sampleRecord() *record {
	return &record{previous: 1, number: 2, hard: raft.HardState{Term: 3, Vote: 4, Acked: raft.EntryID{Term: 5, Index: 6}},
		truncateFrom: 7, before: raft.EntryID{Term: 3, Index: 6}, entries: []raft.Entry{
			{ID: raft.EntryID{Term: 3, Index: 7}, Kind: raft.EntryNoop},
			{ID: raft.EntryID{Term: 3, Index: 8}, Data: []byte("hello")}}}
}

// TestRecord proves: a record reads back as it was written, has the size that was said, and is invalid for another salt,
// with any bit flipped, and cut at any byte.
func TestRecord(t *testing.T) {
	r, seed := sampleRecord(), seedOf(9)
	b := r.append(nil, seed)
	if int64(len(b)) != r.size() || len(b)%alignment != 0 {
		t.Fatalf("%d bytes, size says %d", len(b), r.size())
	}
	var got record
	if err := got.decode(append(b, 1, 2, 3), seed); err != nil {
		t.Fatal(err)
	}
	want := *r
	want.length = len(b)
	for i := range got.entries {
		if !bytes.Equal(got.entries[i].Data, want.entries[i].Data) {
			t.Errorf("entry %d holds %q", i, got.entries[i].Data)
		}
		got.entries[i].Data = want.entries[i].Data
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if _, ok := intact(b, seedOf(8)); ok {
		t.Error("the record is valid for another salt")
	}
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		if _, ok := intact(b, seed); ok {
			t.Errorf("the record is valid with bit %d of byte %d flipped", i%8, i/8)
		}
		b[i/8] ^= 1 << (i % 8)
	}
	for n := range b {
		if _, ok := intact(b[:n], seed); ok {
			t.Errorf("the first %d bytes of the record are valid", n)
		}
	}
}

// TestRecordLengths proves: an intact record whose counts and lengths do not fit together is refused, also where they
// would be negative as 32-bit numbers.
func TestRecordLengths(t *testing.T) {
	seed := seedOf(9)
	for _, c := range []struct {
		what   string
		offset int
		value  uint32
	}{
		{"an entry of 2 GiB", recordHeader + 8, 1 << 31}, {"an entry of almost 4 GiB", recordHeader + 8, 1<<32 - 1},
		{"an entry that is too long", recordHeader + entryHeader + 8, 9}, {"too many entries", 12, 3},
		{"entries without end", 12, 1<<32 - 1}, {"too few entries", 12, 1}, {"no entries", 12, 0}, {"unknown flags", 8, 4},
	} {
		b := sampleRecord().append(nil, seed)
		binary.LittleEndian.PutUint32(b[c.offset:], c.value)
		binary.LittleEndian.PutUint16(b[10:], headerCheck(seed, b))
		binary.LittleEndian.PutUint32(b, checksum(seed, b[4:]))
		if _, ok := intact(b, seed); !ok {
			t.Errorf("%s: the record is not even intact", c.what)
		}
		if err := new(record).decode(b, seed); err == nil {
			t.Errorf("%s: the record was decoded", c.what)
		}
	}
}

// TestSearchIsFast proves: the search for records behind damage is not held up by data that look like lengths. (Without
// the check of the header it would checksum 2^20 × 4 MiB.)
func TestSearchIsFast(t *testing.T) {
	b := make([]byte, 8<<20)
	for at := 0; at < len(b); at += 8 {
		binary.LittleEndian.PutUint32(b[at+4:], 4<<20)
	}
	if _, found := intactBehind(b, b, seedOf(1), 0, 0); found {
		t.Error("a record was found")
	}
}

// FuzzRecord proves: no bytes make the decoder panic, and what it accepts encodes to the same bytes.
func FuzzRecord(f *testing.F) {
	seed := seedOf(9)
	f.Add(sampleRecord().append(nil, seed))
	f.Add((&record{flags: flagMarker, number: 1}).append(nil, seed))
	f.Add([]byte{})
	f.Add(make([]byte, recordHeader))
	f.Fuzz(func(t *testing.T, b []byte) {
		check := func() {
			var r record
			if r.decode(b, seed) != nil {
				return
			}
			again := r.append(nil, seed)
			if len(again) != r.length {
				t.Fatalf("%d bytes became %d", r.length, len(again))
			}
			var second record
			if err := second.decode(again, seed); err != nil || !reflect.DeepEqual(r, second) {
				t.Fatalf("%+v became %+v, %v", r, second, err)
			}
		}
		check()
		// Checksums that are right let the fuzzer past the first gate.
		if n := len(b) &^ (alignment - 1); n >= recordHeader {
			b = b[:n]
			binary.LittleEndian.PutUint32(b[4:], uint32(n))
			binary.LittleEndian.PutUint16(b[10:], headerCheck(seed, b))
			binary.LittleEndian.PutUint32(b, checksum(seed, b[4:]))
			check()
		}
	})
}

// A record is whole in its own place alone. A misdirected write can put a marker, whole and of this segment, where the first
// record was: it must not look like the end of the log.
func TestRecordElsewhereIsNotWhole(t *testing.T) {
	seed := seedOf(7)
	b := (&record{flags: flagMarker, number: 40}).append(nil, placed(seed, 12288))
	if _, ok := intact(b, placed(seed, 12288)); !ok {
		t.Error("the record is not whole in its own place")
	}
	for at := int64(headerSize); at < 1<<16; at += alignment {
		if _, ok := intact(b, placed(seed, at)); ok && at != 12288 {
			t.Fatalf("the record is whole at %d as well", at)
		}
	}
}
