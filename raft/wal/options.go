package wal

import (
	"errors"
	"fmt"
	"time"

	"github.com/rsqld/rsqld/raft"
)

// Limits and defaults. All are in bytes.
const (
	// DefaultSegmentSize is the size of a segment that was prepared in the background.
	DefaultSegmentSize = 16 << 20
	// FirstSegmentSize is the size of a segment that is made while somebody waits for it: the first one of a log, and
	// one that is needed before the spare is ready. Filling it costs about a millisecond, where 16 MiB cost 20 to 60.
	FirstSegmentSize = 256 << 10
	// MinSegmentSize and MaxSegmentSize bound Options.SegmentSize.
	MinSegmentSize = 16 << 10
	MaxSegmentSize = 1 << 30
	// DefaultCacheBytes is how much of the newest entries is kept in memory.
	DefaultCacheBytes = 8 << 20
	// DefaultMaxEntry is the default of the setting log.max_entry.
	DefaultMaxEntry = 64 << 20
	// MaxRecord bounds one record, that is, all writes of one Append together. No segment is larger than it and a
	// header, so that offsets and lengths fit 32 bits.
	MaxRecord = 1 << 30
)

// What Append, Entries, Create and Open refuse. A refusal changes nothing on disk and does not poison the log.
var (
	// ErrTooLarge says that an entry is larger than Options.MaxEntry, that the writes of one Append are larger than
	// MaxRecord, or that a configuration has more members than the header of a segment can hold.
	ErrTooLarge = errors.New("too large for the log")
	// ErrCompacted says that an entry was asked for which Compact has deleted.
	ErrCompacted = errors.New("entry was compacted away")
	// ErrExists says that Create found a log in the directory.
	ErrExists = errors.New("there is a log already")
	// ErrNoLog says that Open found no log in the directory, or no directory.
	ErrNoLog = errors.New("there is no log")
	// ErrClosed is the answer of every method after Close.
	ErrClosed = errors.New("the log is closed")
)

// Options say where a log is, whose it is and how large its parts are. Zero values of sizes mean the defaults.
type Options struct {
	// Files is the disk. Nil is the operating system's.
	Files Files
	// Dir is the directory of the log. It holds nothing else. Create makes it; its parent must exist.
	Dir string
	// Cluster and Node are written into every segment. Open refuses the log of another node: an id belongs to a disk.
	Cluster [16]byte
	Node    raft.ID
	// SegmentSize is the size of a file in bytes, MinSegmentSize to MaxSegmentSize. A record that is larger gets a
	// segment of its own size. It may differ from one Open to the next.
	SegmentSize int64
	// CacheBytes bounds the newest entries that are kept in memory, data and 48 bytes for each. The newest one is
	// always kept.
	CacheBytes int
	// MaxEntry bounds the data of one entry in bytes. It binds Append only: what is in the log stays readable.
	MaxEntry int
	// Seed draws the salts, together with the number of the segment. It should be a secret: who knows a salt can
	// store bytes in an entry that look like a record, which Open would take for proof of damage.
	Seed uint64
	// Schedule runs the log's own work, the making of spare segments: it arranges that do is called after that time, once,
	// by any goroutine, and returns before it is. Each call is one step that writes 1 MiB at most, syncs it, and may ask
	// for the next one. A call that comes too late, or after Close, does nothing; one that never comes leaves the log
	// without a spare, slower and otherwise whole. The log has no goroutine, timer or clock besides: one whose methods
	// and steps are all called by a single goroutine never blocks, and does the same every time. Nil is time.AfterFunc.
	Schedule func(after time.Duration, do func())
}

func (o Options) withDefaults() (Options, error) {
	if o.Files == nil {
		o.Files = OS()
	}
	if o.Schedule == nil {
		o.Schedule = func(after time.Duration, do func()) { time.AfterFunc(after, do) }
	}
	if o.SegmentSize == 0 {
		o.SegmentSize = DefaultSegmentSize
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.MaxEntry == 0 {
		o.MaxEntry = DefaultMaxEntry
	}
	switch {
	case o.Dir == "":
		return o, errors.New("the log needs a directory")
	case o.SegmentSize < MinSegmentSize || o.SegmentSize > MaxSegmentSize:
		return o, fmt.Errorf("a segment of the log cannot have %d bytes: give %d to %d", o.SegmentSize, MinSegmentSize, MaxSegmentSize)
	case o.CacheBytes < 0:
		return o, fmt.Errorf("the log cannot cache %d bytes: give 0 for the default, or more", o.CacheBytes)
	case o.MaxEntry < 0 || o.MaxEntry > MaxRecord-recordHeader-entryHeader-alignment:
		return o, fmt.Errorf("log.max_entry cannot be %d bytes: a record of the log has at most %d", o.MaxEntry, MaxRecord)
	}
	return o, nil
}
