package wal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/rsqld/rsqld/raft"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	recordHeader = 80
	entryHeader  = 16
	flagMarker   = 1
	alignment    = 8
)

type record struct {
	length       int
	flags        uint16
	previous     uint64
	number       uint64
	hard         raft.HardState
	truncateFrom raft.Index
	first        raft.Index
	entries      []raft.Entry
}

func checksum(salt uint64, b []byte) uint32 {
	var s [8]byte
	binary.LittleEndian.PutUint64(s[:], salt)
	return crc32.Update(crc32.Update(0, castagnoli, s[:]), castagnoli, b)
}

func padded(n int) int { return (n + alignment - 1) &^ (alignment - 1) }

func sizeOf(entries []raft.Entry) int {
	n := recordHeader
	for i := range entries {
		n += entryHeader + len(entries[i].Data)
	}
	return padded(n)
}

func (r *record) append(b []byte, salt uint64) []byte {
	start := len(b)
	le := binary.LittleEndian
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint16(b, r.flags)
	b = le.AppendUint16(b, 0)
	b = le.AppendUint32(b, uint32(len(r.entries)))
	for _, v := range []uint64{r.previous, r.number, uint64(r.hard.Term), uint64(r.hard.Vote), uint64(r.hard.Acked.Term),
		uint64(r.hard.Acked.Index), uint64(r.truncateFrom), uint64(r.first)} {
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
	le.PutUint32(b[start+4:], uint32(len(b)-start))
	le.PutUint32(b[start:], checksum(salt, b[start+4:]))
	return b
}

// intact returns the length of the record at the start of b if its checksum is right.
func intact(b []byte, salt uint64) (int, bool) {
	if len(b) < recordHeader {
		return 0, false
	}
	n := int(binary.LittleEndian.Uint32(b[4:]))
	if n < recordHeader || n%alignment != 0 || n > len(b) {
		return 0, false
	}
	return n, checksum(salt, b[4:n]) == binary.LittleEndian.Uint32(b)
}

func decode(b []byte, salt uint64) (*record, error) {
	n, ok := intact(b, salt)
	if !ok {
		return nil, errInvalid
	}
	le := binary.LittleEndian
	r := &record{length: n, flags: le.Uint16(b[8:]), previous: le.Uint64(b[16:]), number: le.Uint64(b[24:]),
		hard: raft.HardState{Term: raft.Term(le.Uint64(b[32:])), Vote: raft.ID(le.Uint64(b[40:])),
			Acked: raft.EntryID{Term: raft.Term(le.Uint64(b[48:])), Index: raft.Index(le.Uint64(b[56:]))}},
		truncateFrom: raft.Index(le.Uint64(b[64:])), first: raft.Index(le.Uint64(b[72:]))}
	count := int(le.Uint32(b[12:]))
	rest := b[recordHeader:n]
	for i := range count {
		if len(rest) < entryHeader {
			return nil, errInvalid
		}
		size := int(le.Uint32(rest[8:]))
		if len(rest) < entryHeader+size {
			return nil, errInvalid
		}
		r.entries = append(r.entries, raft.Entry{
			ID:   raft.EntryID{Term: raft.Term(le.Uint64(rest)), Index: r.first + raft.Index(i)},
			Kind: raft.EntryKind(rest[12]), Data: rest[entryHeader : entryHeader+size : entryHeader+size]})
		rest = rest[entryHeader+size:]
	}
	return r, nil
}

var errInvalid = fmt.Errorf("invalid record")

func chain(previous uint64, b []byte) uint64 {
	h := previous ^ uint64(binary.LittleEndian.Uint32(b))<<1 ^ uint64(len(b))<<40
	h *= 0x9E3779B97F4A7C15
	return h ^ h>>29
}
