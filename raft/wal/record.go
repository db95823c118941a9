package wal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"

	"github.com/rsqld/rsqld/raft"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	recordHeader = 88
	entryHeader  = 16
	alignment    = 8

	// flagMarker is on the empty record that an idle log ends with, flagSealed besides on the one of a segment that is
	// not the last.
	flagMarker = 1
	flagSealed = 2
	knownFlags = flagMarker | flagSealed
)

// record is what one write and one sync make durable: hard state, truncation and entries. doc.go has the layout.
type record struct {
	flags uint16
	// previous is the running hash of everything before, number counts the records of the log from 1. Together they
	// are why a record can stand in one place only.
	previous uint64
	number   uint64
	hard     raft.HardState
	// truncateFrom, if not zero, removes the entries from that index on, before entries are added.
	truncateFrom raft.Index
	// before is the log's last entry after the truncation, before entries are added. It tells what a damaged record in
	// front of this one left. Invariant: entries[i].ID.Index == first()+i.
	before  raft.EntryID
	entries []raft.Entry
	// origin, if not nil, is where the log begins anew with this record: what was in it before is dropped. It is not in
	// the record but in the header of the segment that the record begins.
	origin *raft.Base
	// length is set by decode: the bytes that the record takes, a multiple of alignment.
	length int
}

// first is the index of the first entry, if there is one.
func (r *record) first() raft.Index { return r.before.Index + 1 }

// seedOf starts the checksums of a segment: salt belongs to every one of them.
func seedOf(salt uint64) uint32 {
	return crc32.Checksum(binary.LittleEndian.AppendUint64(nil, salt), castagnoli)
}

// placed is the seed of a record at an offset of its segment. A record that a misdirected write has put elsewhere is not
// whole there: read in that place it could be taken for the log's end.
func placed(seed uint32, offset int64) uint32 { return seed ^ uint32(offset)*0x9E3779B1 }

func (s *segment) placed(offset int64) uint32 { return placed(s.seed, offset) }

func checksum(seed uint32, b []byte) uint32 { return crc32.Update(seed, castagnoli, b) }

// headerCheck is a checksum of a record's header alone. The search for records behind damage meets every 8 bytes of a
// segment; without a check of the length it would checksum up to the rest of the segment for each of them, which takes
// hours where a client's data was written to look like lengths.
func headerCheck(seed uint32, b []byte) uint16 {
	return uint16(checksum(checksum(seed, b[4:10]), b[12:recordHeader]))
}

func padded(n int64) int64 { return (n + alignment - 1) &^ (alignment - 1) }

// size returns the bytes that the record takes on disk. It is an int64 because the sum of many entries must not
// overflow before it is compared with MaxRecord.
func (r *record) size() int64 {
	n := int64(recordHeader)
	for i := range r.entries {
		n += entryHeader + int64(len(r.entries[i].Data))
	}
	return padded(n)
}

// append appends the record's encoding for a segment with this seed.
func (r *record) append(b []byte, seed uint32) []byte {
	start := len(b)
	le := binary.LittleEndian
	b = le.AppendUint64(b, 0) // checksum and length, see below
	b = le.AppendUint16(b, r.flags)
	b = le.AppendUint16(b, 0) // header check, see below
	b = le.AppendUint32(b, uint32(len(r.entries)))
	for _, v := range [...]uint64{r.previous, r.number, uint64(r.hard.Term), uint64(r.hard.Vote), uint64(r.hard.Acked.Term),
		uint64(r.hard.Acked.Index), uint64(r.truncateFrom), uint64(r.before.Term), uint64(r.before.Index)} {
		b = le.AppendUint64(b, v)
	}
	for i := range r.entries {
		e := &r.entries[i]
		b = le.AppendUint64(b, uint64(e.ID.Term))
		b = le.AppendUint32(b, uint32(len(e.Data)))
		b = append(b, byte(e.Kind), 0, 0, 0)
		b = append(b, e.Data...)
	}
	for (len(b)-start)%alignment != 0 {
		b = append(b, 0)
	}
	record := b[start:]
	le.PutUint32(record[4:], uint32(len(record)))
	le.PutUint16(record[10:], headerCheck(seed, record))
	le.PutUint32(record, checksum(seed, record[4:]))
	return b
}

// intact returns the length of the record at the start of b if all its checks are right.
func intact(b []byte, seed uint32) (length int, ok bool) {
	if len(b) < recordHeader {
		return 0, false
	}
	le := binary.LittleEndian
	n := uint64(le.Uint32(b[4:]))
	if n < recordHeader || n%alignment != 0 || n > uint64(len(b)) || headerCheck(seed, b) != le.Uint16(b[10:]) {
		return 0, false
	}
	return int(n), checksum(seed, b[4:n]) == le.Uint32(b)
}

var errInvalid = errors.New("invalid record")

// decode reads the record at the start of b. It reuses the entries of r; their data lie in b. A record that is intact
// and yet not decoded was not written by this code: that is damage, not a torn write.
func (r *record) decode(b []byte, seed uint32) error {
	n, ok := intact(b, seed)
	if !ok {
		return errInvalid
	}
	le := binary.LittleEndian
	*r = record{length: n, flags: le.Uint16(b[8:]), previous: le.Uint64(b[16:]), number: le.Uint64(b[24:]),
		hard: raft.HardState{Term: raft.Term(le.Uint64(b[32:])), Vote: raft.ID(le.Uint64(b[40:])),
			Acked: raft.EntryID{Term: raft.Term(le.Uint64(b[48:])), Index: raft.Index(le.Uint64(b[56:]))}},
		truncateFrom: raft.Index(le.Uint64(b[64:])), entries: r.entries[:0],
		before: raft.EntryID{Term: raft.Term(le.Uint64(b[72:])), Index: raft.Index(le.Uint64(b[80:]))}}
	count := le.Uint32(b[12:])
	rest := b[recordHeader:n]
	if r.flags&^knownFlags != 0 || r.before.Index > math.MaxUint64-1-raft.Index(count) {
		return errInvalid
	}
	for i := range count {
		// Sizes are compared as uint64: an int has 32 bits on some machines, and a length of 2 GiB would be negative.
		if len(rest) < entryHeader || uint64(le.Uint32(rest[8:])) > uint64(len(rest)-entryHeader) {
			return errInvalid
		}
		end := entryHeader + int(le.Uint32(rest[8:]))
		r.entries = append(r.entries, raft.Entry{
			ID:   raft.EntryID{Term: raft.Term(le.Uint64(rest)), Index: r.first() + raft.Index(i)},
			Kind: raft.EntryKind(rest[12]), Data: rest[entryHeader:end:end]})
		rest = rest[end:]
	}
	if len(rest) >= alignment {
		return errInvalid
	}
	return nil
}

// chain continues the running hash with a record.
func chain(previous uint64, b []byte) uint64 {
	h := previous ^ uint64(binary.LittleEndian.Uint32(b))<<1 ^ uint64(len(b))<<40
	h *= 0x9E3779B97F4A7C15
	return h ^ h>>29
}
