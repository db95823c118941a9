// Package tracker is the flow control of one peer: what a leader has sent it, what it has acknowledged, and whether more
// may be sent (§10.2.2 of Ongaro's dissertation).
//
// A Progress is in one of three states:
//
//	Probe      the leader does not know where the logs agree. One message at a time, from Next.
//	Replicate  they agree up to Match. The leader sends on without waiting, as far as the Window allows.
//	Snapshot   a snapshot is on its way to such a peer. Nothing is sent but heartbeats.
//	Stranded   the peer needs entries that the leader's log no longer holds. Nothing is sent but heartbeats.
//
// Answers may be lost, doubled, delayed and reordered, and no call may be fooled by that: an acknowledgement at or below
// Match, a rejection at or below Match and, in Probe, a rejection of anything but the message in flight say nothing and
// change nothing. A pause ends with an answer, or with Resume, which the leader calls when a heartbeat is answered: no
// loss of a message can stop a peer for longer than a heartbeat interval.
//
// Indexes are bare uint64 here because the package stands below raft. It does not send, does not know terms or entries,
// and has no clock.
package tracker
