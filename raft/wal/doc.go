// Package wal is the durable log of the consensus core: entries, term and vote in one file format, made durable with one
// write and one sync per batch.
//
// # Model
//
// A log is a sequence of segments, files named by first index and sequence number. The next segment, the spare, is filled
// with zeros in the background: a sync of a file that grows costs twice as much as one of a file that was written before.
// As long as records fit, the append path creates, extends and renames nothing. The first segment is small, so that a new
// node need not wait for it; so is one that is needed before the spare is there. The numbers are little-endian.
//
//	segment header, 4096 bytes
//	offset  size  field
//	0       8     "rsqldwal"
//	8       4     format version (2)
//	12      4     length of the file
//	16      16    cluster id
//	32      8     node id
//	40      8     sequence number of the segment
//	48      16    term and index of the entry before the segment's first
//	64      8     running hash before the segment's first record
//	72      8     salt
//	80      32    term, vote, acknowledged term and index at the segment's start
//	112     8     index of the configuration that counts at the segment's start
//	120     8     number of the record before the segment's first
//	128     4     flags: 1 the log begins here, 2 the file was another segment before
//	132     4     length of that configuration, which follows
//	4092    4     CRC-32C of the 4092 bytes before
//
//	record, a multiple of 8 bytes
//	offset  size  field
//	0       4     CRC-32C of salt, offset and everything after this field
//	4       4     length of the record
//	8       2     flags: 1 marker
//	10      2     low half of the CRC-32C of salt, offset and the record's first 88 bytes without this field and the one at 0
//	12      4     number of entries
//	16      8     running hash of everything before
//	24      8     number of the record
//	32      32    term, vote, acknowledged term and index
//	64      8     first index that the record truncates, or 0
//	72      16    term and index of the entry before its first one, after the truncation
//	88            entries: term (8), length (4), kind (1), 3 zeros, data
//
// The salt is new for each segment, so that bytes of another segment never look valid, and the offset counts too, so that no
// record is valid in the place of another. The running hash and the number tie the records together, so that one that is
// missing is found. Therefore a segment that Compact takes out of the log can be the next spare as it is: its old records
// have another salt and lower numbers. One is kept for that.
//
// A snapshot that the log does not reach lets it begin anew: with a segment whose header has the flag and the new base, and
// with the record that the snapshot came in already in it when it gets its name. The name is the single step that makes
// the record durable and everything before it dead. Dead segments are removed by the next Compact or Open.
//
// # Recovery
//
// Records are written strictly one after the other, each synced before the next. So a valid record proves that all bytes
// before it were durable: if something invalid stands before a valid record, durable bytes were damaged, and Open refuses
// with a CorruptionError that names the place. If nothing valid follows, the last write was torn and nobody was told of
// it: Open cuts it off. An idle writer calls Mark, whose empty records make damage to the newest batch provable too: one
// behind it, whose place the next record takes, and one in the last page of the file, which also tells that a segment is
// not the newest.
//
// Repair makes a log that opens of a damaged one. Each record names the entry that it follows and holds the whole hard
// state, so that what is behind damage is known for what it is. Entries that the state machine holds are given up, and so
// is what was rewritten later; if others are missing, the newest id is remembered as HardState.Acked, and package raft
// gets them from the leader. Where that is no help, on the only voter or where the end of the log is unknown, Repair
// refuses, and AcceptLoss is left. Both write one new segment, with which the log begins anew.
//
// What Open returns is durable, also where it was not before. A killed process leaves a record behind that was not synced,
// and a failed sync one that can be read and that no later sync writes: Open writes the newest record again and syncs it.
//
// # Contract
//
// Append makes several writes one record: they become durable together or not at all. Any error of a write or sync
// poisons the log for good; nothing is tried again, because a failed sync may have dropped what it should have written.
// The spare is the exception, for it holds nothing: a disk that has no room for it is asked again, and Append fails when
// there is no room for a small segment either. Entries reads beside Append and checks the checksum of what it reads from
// disk, every time.
//
// # What it does not do
//
// It fetches nothing from peers, it does not decide when to compact, and it never stores the commit index. Damage to the
// newest record that is not covered by a marker yet, some 50 ms, looks like a torn write, as does damage to both markers
// and all records that only they cover. It does not lock its directory: the caller makes sure that one process has it.
package wal
