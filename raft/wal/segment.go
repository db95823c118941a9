package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/rsqld/rsqld/raft"
)

const (
	headerSize    = 4096
	formatVersion = 2
	magic         = "rsqldwal"
	saltOffset    = 72
	// lastPage is the end of a segment that holds no records but the second marker.
	lastPage = 4096
	// headerFixed is where the configuration begins, headerRoom the bytes that it may have.
	headerFixed = 8 + 4 + 4 + 16 + 8*12 + 4 + 4
	headerRoom  = headerSize - headerFixed - 4

	// flagOrigin is on a segment with which the log begins anew: nothing before it counts.
	flagOrigin = 1
	// flagRecycled is on a segment whose file held another one before: bytes behind its records mean nothing.
	flagRecycled      = 2
	knownSegmentFlags = flagOrigin | flagRecycled
	// maxFile is the size of the largest segment, one with a record of MaxRecord. An offset fits 32 bits.
	maxFile = headerSize + MaxRecord + recordHeader + lastPage

	segmentSuffix = ".wal"
	// spareName is a filled segment without a header, or an old one; sparePart one that is being filled, reserveName an
	// old one that will be the spare, nextPart one that is being made while the appender waits. None of them holds a
	// record that counts: they are free to go.
	spareName   = "spare"
	sparePart   = "spare.part"
	reserveName = "spare.old"
	nextPart    = "next.part"
)

// segment is one file of the log. Fields without a remark never change once the segment is part of a log.
type segment struct {
	header
	name string
	file File
	// seed starts the checksums of the records here (seedOf).
	seed uint32
	// damage is why the file is not what it was: errHeader, or errLength. Only recovery and survey see such segments.
	damage error
	// end is where the next record goes. The appender's, and before it the recovery's.
	end int64
	// refs say where the records are that hold entries, in rising order of index and offset. Guarded by WAL.mu.
	// Readers keep parts of it: no element is ever overwritten, a truncation limits the capacity so that the next
	// append moves.
	refs []ref
	// rewritten says that the log was truncated at or below base after this segment began: what the header says of
	// the entry and the configuration before it is not true any more. Such a segment never becomes the oldest one.
	// Guarded by WAL.mu.
	rewritten bool
	// readers counts those who read the file. Added to under WAL.mu while the segment is in index.segments; who took
	// it out of there waits before it closes the file.
	readers sync.WaitGroup
}

// ref is the place of a record that holds entries. Its entries are live from first up to the next ref's first, whatever
// segment that is in, or up to the last entry of the log: a truncation leaves the front of a record alive. A ref costs
// 16 bytes of memory per record for as long as the log holds it.
type ref struct {
	first          raft.Index
	offset, length uint32
}

// header is the first 4 KiB of a segment: whose log it is, where it goes on, and everything that older segments would
// be needed for, so that they can be deleted.
type header struct {
	// size is the length of the file in bytes, which never changes. A file that is shorter lost records that were durable:
	// without this the newest segment would look as if they had never been written.
	size     int64
	cluster  [16]byte
	node     raft.ID
	sequence uint64
	// origin says that the log begins with this segment, at base, whatever the segments before it hold.
	origin bool
	// recycled says that the file is that of an older segment, whose bytes are still behind the records. They cannot pass
	// for records here: the salt is another one, and they have older numbers.
	recycled bool
	base     raft.EntryID // the entry before the first one that the segment may hold
	tip                   // what the first record continues
	salt     uint64
	// configuration is the one that counted at base; its index is zero if there was none.
	configuration raft.ConfigurationAt
}

// tip is what the next record continues.
type tip struct {
	number uint64 // of the newest record
	chain  uint64 // the running hash, newest record included
	hard   raft.HardState
}

func segmentName(first raft.Index, sequence uint64) string {
	return fmt.Sprintf("%016x-%016x"+segmentSuffix, uint64(first), sequence)
}

func parseSegmentName(name string) (first raft.Index, sequence uint64, ok bool) {
	_, err := fmt.Sscanf(name, "%016x-%016x"+segmentSuffix, &first, &sequence)
	return first, sequence, err == nil && name == segmentName(first, sequence)
}

func (h *header) encode() ([]byte, error) {
	configuration, err := h.configuration.Configuration.AppendBinary(nil)
	if err != nil {
		return nil, fmt.Errorf("encoding the configuration of a segment's header: %w", err)
	}
	if len(configuration) > headerRoom {
		return nil, fmt.Errorf("%w: the configuration has %d bytes, limit %d", ErrTooLarge, len(configuration), headerRoom)
	}
	le := binary.LittleEndian
	b := append(make([]byte, 0, headerSize), magic...)
	b = le.AppendUint32(b, formatVersion)
	b = le.AppendUint32(b, uint32(h.size))
	b = append(b, h.cluster[:]...)
	for _, v := range [...]uint64{uint64(h.node), h.sequence, uint64(h.base.Term), uint64(h.base.Index), h.chain, h.salt,
		uint64(h.hard.Term), uint64(h.hard.Vote), uint64(h.hard.Acked.Term), uint64(h.hard.Acked.Index),
		uint64(h.configuration.Index), h.number} {
		b = le.AppendUint64(b, v)
	}
	flags := uint32(0)
	if h.origin {
		flags |= flagOrigin
	}
	if h.recycled {
		flags |= flagRecycled
	}
	b = le.AppendUint32(b, flags)
	b = le.AppendUint32(b, uint32(len(configuration)))
	b = append(b, configuration...)
	b = b[:headerSize]
	le.PutUint32(b[headerSize-4:], checksum(0, b[:headerSize-4]))
	return b, nil
}

// limit is the offset behind the part that records may be in, and that of the second marker.
func (s *segment) limit() int64 { return max(headerSize, s.size-lastPage) }

func (s *segment) setSalt(salt uint64) { s.salt, s.seed = salt, seedOf(salt) }

// reuse looks what the spare's file was before. If it was a segment, the salt changes until the checksums of that one
// are all wrong here.
func (s *segment) reuse(file File) error {
	b := make([]byte, headerSize)
	if err := readAt(file, b); err != nil {
		return err
	}
	s.recycled = string(b[:len(magic)]) == magic
	for s.recycled && s.seed == seedOf(binary.LittleEndian.Uint64(b[saltOffset:])) {
		s.setSalt(s.salt + 1)
	}
	return nil
}

// beginAt makes s the beginning of a log.
func (s *segment) beginAt(base *raft.Base) {
	s.origin, s.base, s.name = true, base.Applied, segmentName(base.Applied.Index+1, s.sequence)
	s.configuration = raft.ConfigurationAt{Index: base.ConfigurationIndex, Configuration: base.Configuration}
}

// What is wrong with a file that was a segment once.
var (
	// errHeader says that a header cannot have been written like this.
	errHeader = errors.New("the header is damaged")
	// errLength says that the file was cut, or continued by somebody else.
	errLength = errors.New("the file does not have its length")
)

// decode reads a header. Other errors than errHeader are about a header that is whole.
func (h *header) decode(b []byte) error {
	le := binary.LittleEndian
	if len(b) < headerSize || string(b[:8]) != magic || checksum(0, b[:headerSize-4]) != le.Uint32(b[headerSize-4:]) {
		return errHeader
	}
	if version := le.Uint32(b[8:]); version != formatVersion {
		return fmt.Errorf("the log has format %d and this rsqld knows format %d: use the rsqld that wrote it, or a newer one", version, formatVersion)
	}
	h.size = int64(le.Uint32(b[12:]))
	copy(h.cluster[:], b[16:])
	var v [12]uint64
	for i := range v {
		v[i] = le.Uint64(b[32+8*i:])
	}
	h.node, h.sequence = raft.ID(v[0]), v[1]
	h.base = raft.EntryID{Term: raft.Term(v[2]), Index: raft.Index(v[3])}
	h.chain, h.salt, h.number = v[4], v[5], v[11]
	h.hard = raft.HardState{Term: raft.Term(v[6]), Vote: raft.ID(v[7]), Acked: raft.EntryID{Term: raft.Term(v[8]), Index: raft.Index(v[9])}}
	h.configuration.Index = raft.Index(v[10])
	flags, length := le.Uint32(b[headerFixed-8:]), le.Uint32(b[headerFixed-4:])
	if length > headerRoom || flags&^knownSegmentFlags != 0 {
		return errHeader
	}
	h.origin, h.recycled = flags&flagOrigin != 0, flags&flagRecycled != 0
	var err error
	if h.configuration.Configuration, err = raft.DecodeConfiguration(b[headerFixed : headerFixed+length]); err != nil {
		return fmt.Errorf("%w: %w", errHeader, err)
	}
	return nil
}
