// Package raft is the consensus core: it decides in which order the entries of a log stand, on several nodes at once, and
// when one stands there for ever. It follows Ongaro's dissertation (2014, "§" in comments) and the extended Raft paper
// ("paper").
//
// # Model
//
// A Node is one member of a cluster. It is a pure state machine: no goroutine, clock, file, socket, log line, map iteration
// or global. Calls go in, one Ready comes out:
//
//	Tick                    time passes
//	Step                    a peer's message
//	Propose, Read           what clients want
//	Change, Transfer        what operators want
//	Stable, Loaded          answers of the durable log
//	Applied                 progress of the state machine
//	Compact, SetFit,        what else the driver knows
//	Unreachable
//
// Chance comes from Config.Seed. The same calls on the same start give the same Readies, byte for byte.
//
// # The driver's contract
//
// After any calls, the driver takes Ready and carries it out, until it is Empty. What must not happen too early is apart
// from what need not wait, so that the order cannot be got wrong by reading on:
//
//   - Ready.Write is appended to the durable log as one record. Stable(Seq) follows when it, and every write before it, is
//     durable. If that fails the node is never called again.
//   - Ready.Send leaves at once, also while the disk is busy: heartbeats do not wait for it.
//   - Ready.SendAt leaves after Stable was called with its Seq.
//   - Ready.Commit is read from the durable log, where all of it is, and applied in order; Applied follows.
//   - Ready.Load is read from the durable log as well, for a peer that lags; Loaded follows, always, with nothing if
//     reading failed.
//   - Ready.Reads and Ready.Events are for the driver's clients and its log.
//
// Ready may be called while writes are in flight. Several proposals before one Ready share one write and one message per
// peer: gathering is the driver's whole art of batching.
//
// The slices of a Ready belong to the driver. Entries and their data are shared by the core, the log, the network and the
// state machine, and nobody changes them.
//
// # Rules worth knowing
//
// PreVote, CheckQuorum and leader stickiness are always on and only together (election.go). A leader sends entries before
// they are on its own disk and counts itself only for what is (leader.go). A configuration counts from the moment it is
// appended and is derived from the log alone (configurations.go). Voters change through joint configurations, which the
// leader leaves by itself (membership.go). Reads are proved by rounds that the leader counts itself
// (read.go). The commit index reaches followers at once, with the next append or with a heartbeat of its own.
//
// # What it does not do
//
// It does not carry snapshots: it says who needs one (Ready.Snapshot) and what a log keeps after one (snapshot.go). A driver
// without snapshots keeps its whole log as long as any member may lack it: a peer that needs more stays "stranded" in
// Status, with one PeerStranded event. It does not promote learners: it says which have caught up. It does not forward proposals, know clients or sessions, or look
// into commands. It does not retry: what it refuses was certainly not appended.
package raft
