// Package replica runs one member of a cluster: it gives the pure core of package raft a clock, a disk, peers and a
// state machine.
//
// # Model
//
// A Handler is the member without goroutines. Each thing that can happen to it is a method (a message arrives, a tick
// passes, a write is durable, proposals come), and Process carries out what the core wants done, through the small
// interfaces of Environment: Writer, Loader, Committer, Transport, a clock. It is deterministic: a simulator
// calls the same methods from one goroutine, in virtual time, and gets the same member.
//
// A Replica is a Handler with goroutines around it. Who owns what:
//
//	goroutine  owns                                    hands over to
//	loop       the handler, while it holds the baton   WAL, applier, loader, transport
//	tick       the same, once in T/15                  the same
//	callers    the same, if it is free                 the same; loop: a lone write
//	WAL        the log's Append; the same, if free     the same
//	applier    the state machine's calls               waiters: results; loop: failures
//	loader     nothing; reads old entries for a peer   loop: the entries
//
// Everything that arrives goes into the inbox, under a lock that is held for nanoseconds. A turn takes all of it, hands
// it to the handler, then at most one tick (the ticker holds no more: a process that was paused makes one good), and
// calls Process. Whoever brings a message, a proposal or a durable write takes the turn itself if it finds the baton
// free: to wake the loop costs more than a turn. If it does not, the loop takes the turn after the present one.
//
// The baton is a mutex around the handler. It is never held across I/O, so that heartbeats and ticks wait for no
// disk, no state machine and no peer.
//
// # Batches
//
// Proposals that arrive while a batch of the leader's is not committed wait for it, and are the next batch: one entry
// in the log each, but one record, one append, one acknowledgement and one Apply for all. A batch costs the same
// whether it holds one entry or fifty, so that sending each entry at once made 64 proposers pay a quarter more processor
// time each. A tick takes them in any case: a disk or a peer that stalls delays a proposal by one tick and no more.
// There is no timer and no setting.
//
// # Who writes the log
//
// A lone write is done by the loop itself, between two turns and without the baton: handing it to another goroutine and
// back costs a third of the throughput of a single proposer. Meanwhile others take the turns; if the
// disk takes longer than a tick, the tick goroutine takes those that the loop is woken for. Under load writes go to the
// WAL goroutine, which makes one record of all that wait, so that the next batch is prepared during the sync of this one.
// Nothing is ever written for a commit index alone. About 50 ms after the newest record the log receives its idle marker
// (wal.Mark).
//
// # What a proposer is told
//
// A proposal waits under the EntryID that the core gave it. When an entry is applied at its index, the same id means
// its result, and another term means ErrDropped. Nothing else is an answer about its fate: a lost leadership, an ended
// context or a stop leave it open, and say so (ErrOutcomeUnknown).
//
// # When something fails
//
// A write error stops the replica for good (Done, Err): what the disk holds is not known, and an index must not be used
// twice in a term. A state machine error pauses applying: the member is unfit to lead, hands leadership over, and tries
// again after 100 ms, then twice as long each time, up to 5 s, from where Machine.Base says (ApplyErr). A leader whose
// disk completes no write for 1.5 s (or 5 T) hands over to a voter whose disk does, if there is one. A disk without room
// stops nothing: a leader takes no proposals from when the log cannot make its next segment (RoomErr) and hands over if it
// can, as one does that the layers above find unfit (SetFit); such a node leads only where nobody else can. What the log
// has to take all the same waits, as on a disk that stands still, until there is room. A full inbox drops messages, as a
// network may; a full queue of proposals answers raft.ErrBusy.
//
// # Snapshots
//
// A Handler brings a peer that lags behind the beginning of the log the content of a raft.Snapshotter (snapshots.go): it
// asks its Snapshots to send it, or to put one that arrived in the place of the machine's, and gets the outcomes as events.
// The machine comes first, then the log's record, then the acknowledgement; Rebase mends what a crash in between leaves. A
// Replica reads them from its machine and gives them to its Config.Snapshots, a goroutine each (courier.go), and takes those
// that peers bring (InstallSnapshot). Once a second it drops what the log need not hold (compaction.go).
//
// # What it does not do
//
// It does not forward proposals to the leader (the layer above does, with its sessions), does not
// create the log, and changes no setting of the process. A blocked fdatasync holds one P of the Go scheduler until it is
// taken back, so a program should run with GOMAXPROCS of 4 or more, also on two cores (43 k became 78 k proposals a
// second); main does.
package replica
