package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rsqld/rsqld/raft"
)

const (
	headerSize    = 4096
	formatVersion = 1
	magic         = "rsqldwal"
	headerFixed   = 8 + 4 + 4 + 16 + 8*12 + 4
	spareName     = "spare"
	partSuffix    = ".part"
)

// segment is one file of the log.
type segment struct {
	name string
	file File
	size int64
	end  int64 // where the next record goes; only the last segment grows
	header
}

// header is the first 4 KiB of a segment: whose log it is, where it goes on, and everything that older segments would
// be needed for, so that they can be deleted.
type header struct {
	cluster       [16]byte
	node          raft.ID
	sequence      uint64
	base          raft.EntryID // the entry before the first one that the segment may hold
	previous      uint64       // running hash before the first record
	salt          uint64
	hard          raft.HardState
	configuration raft.ConfigurationAt
}

func segmentName(first raft.Index, sequence uint64) string {
	return fmt.Sprintf("%016x-%016x.wal", uint64(first), sequence)
}

func parseSegmentName(name string) (sequence uint64, ok bool) {
	var first uint64
	n, err := fmt.Sscanf(name, "%016x-%016x.wal", &first, &sequence)
	return sequence, err == nil && n == 2 && strings.HasSuffix(name, ".wal")
}

func (h *header) encode() ([]byte, error) {
	configuration, err := h.configuration.Configuration.AppendBinary(nil)
	if err != nil {
		return nil, err
	}
	if headerFixed+len(configuration)+4 > headerSize {
		return nil, fmt.Errorf("the configuration has %d bytes, too many for a segment's header", len(configuration))
	}
	le := binary.LittleEndian
	b := append(make([]byte, 0, headerSize), magic...)
	b = le.AppendUint32(b, formatVersion)
	b = le.AppendUint32(b, 0)
	b = append(b, h.cluster[:]...)
	for _, v := range []uint64{uint64(h.node), h.sequence, uint64(h.base.Term), uint64(h.base.Index), h.previous, h.salt,
		uint64(h.hard.Term), uint64(h.hard.Vote), uint64(h.hard.Acked.Term), uint64(h.hard.Acked.Index),
		uint64(h.configuration.Index), 0} {
		b = le.AppendUint64(b, v)
	}
	b = le.AppendUint32(b, uint32(len(configuration)))
	b = append(b, configuration...)
	b = b[:headerSize]
	le.PutUint32(b[headerSize-4:], checksum(0, b[:headerSize-4]))
	return b, nil
}

var errHeader = errors.New("the header is damaged")

func (h *header) decode(b []byte) error {
	le := binary.LittleEndian
	if len(b) < headerSize || string(b[:8]) != magic || checksum(0, b[:headerSize-4]) != le.Uint32(b[headerSize-4:]) {
		return errHeader
	}
	if version := le.Uint32(b[8:]); version > formatVersion {
		return fmt.Errorf("the log has format %d and this rsqld knows formats up to %d: use a newer rsqld", version, formatVersion)
	}
	copy(h.cluster[:], b[16:])
	var v [12]uint64
	for i := range v {
		v[i] = le.Uint64(b[32+8*i:])
	}
	h.node, h.sequence = raft.ID(v[0]), v[1]
	h.base = raft.EntryID{Term: raft.Term(v[2]), Index: raft.Index(v[3])}
	h.previous, h.salt = v[4], v[5]
	h.hard = raft.HardState{Term: raft.Term(v[6]), Vote: raft.ID(v[7]), Acked: raft.EntryID{Term: raft.Term(v[8]), Index: raft.Index(v[9])}}
	h.configuration.Index = raft.Index(v[10])
	length := int(le.Uint32(b[32+8*12:]))
	if headerFixed+length+4 > headerSize {
		return errHeader
	}
	var err error
	h.configuration.Configuration, err = raft.DecodeConfiguration(b[headerFixed : headerFixed+length])
	return err
}

// fill makes a file of size zeros, durable. It is not under its final name yet.
func fill(files Files, name string, size int64) (File, error) {
	file, err := files.Open(name, os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return nil, err
	}
	zeros := make([]byte, min(size, 1<<20))
	for offset := int64(0); err == nil && offset < size; offset += int64(len(zeros)) {
		_, err = file.WriteAt(zeros[:min(int64(len(zeros)), size-offset)], offset)
	}
	if err == nil {
		err = file.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, file.Close(), files.Remove(name))
	}
	return file, nil
}

func (w *WAL) path(name string) string { return filepath.Join(w.options.Dir, name) }
