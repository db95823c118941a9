// Package wal is the durable log of the consensus core: entries, term and vote in one file format, made durable with one
// write and one sync per batch.
//
// # Model
//
// A log is a sequence of segments, files named by first index and sequence number. A segment is filled with zeros before
// it is used, by a goroutine that keeps one spare ready: the append path creates, extends and renames nothing as long as
// a record fits, because a sync of a file that grows costs twice as much. The numbers are little-endian.
//
//	segment header, 4096 bytes
//	offset  size  field
//	0       8     "rsqldwal"
//	8       4     format version (1)
//	16      16    cluster id
//	32      8     node id
//	40      8     sequence number of the segment
//	48      16    term and index of the entry before the segment's first
//	64      8     running hash before the segment's first record
//	72      8     salt
//	80      32    term, vote, acknowledged term and index at the segment's start
//	112     8     index of the configuration that counts at the segment's start
//	128     4     length of that configuration, which follows
//	4092    4     CRC-32C of the 4092 bytes before
//
//	record, a multiple of 8 bytes
//	offset  size  field
//	0       4     CRC-32C of the salt and of everything after this field
//	4       4     length of the record
//	8       2     flags: 1 marker
//	12      4     number of entries
//	16      8     running hash of everything before
//	24      8     number of the record
//	32      32    term, vote, acknowledged term and index
//	64      8     first index that the record truncates, or 0
//	72      8     index of its first entry
//	80            entries: term (8), length (4), kind (1), 3 zeros, data
//
// The salt is new for each segment, so a stale record of a file that is used again never looks valid. The running hash
// ties the records together, so that one that is missing is found.
//
// # Recovery
//
// Records are written strictly one after the other, each synced before the next. So a valid record proves that all bytes
// before it were durable: if something invalid stands before a valid record, durable bytes were damaged, and Open refuses
// with a CorruptionError that names the place. If nothing valid follows, the last write was torn and nobody was told of
// it: Open cuts it off. An idle writer calls Mark, whose empty record makes damage to the newest batch provable too.
//
// # Contract
//
// Append makes several writes one record: they become durable together or not at all. Any error of a write or sync
// poisons the log for good; nothing is tried again, because a failed sync may have dropped what it should have written.
// Entries reads beside Append and checks the checksum of what it reads from disk, every time.
//
// # What it does not do
//
// It repairs no damage from peers, it does not decide when to compact, and it never stores the commit index.
package wal
