// Package sim is a deterministic simulator: whole clusters in virtual time, in one goroutine, from one seed. It runs the
// real consensus core (raft), its real event handler and applier (raft/replica), the real log (raft/wal) and the real
// receiver of snapshots (snapshot.Arrivals) over simulated disks, a simulated network and simulated clocks, does them harm in
// every way it knows, and checks after each event that nothing is promised that could be broken.
//
// # Model
//
// A World is one heap of events. Messages, ticks, completed writes, applied entries, clients and the nemesis are
// closures with a moment; virtual time jumps from one to the next. Every part draws from a generator of its own,
// derived from the seed and the part's name, so that one draw more in one part shifts no other: the same Options run the
// same world, and a hash over all that happened says so.
//
// A node is a Disk, a state machine and, while it is up, a process: replica.Handler, replica.Applier and wal.WAL. The
// log's calls are synchronous and have no duration of their own; the world makes each when it completes. A crash
// before that finds nothing of it, and a crash in its middle is a crash point of the disk, which counts every write,
// sync, rename and removal. The state machine is a hash-chained map whose newest part a loss of power takes.
//
// The swarm of a seed draws the size of the cluster (1 to 7 voters), how much is lost, doubled, late and cut, the rates of
// the clocks, limits that are small enough to be reached, and how often the nemesis takes each kind of action: crashes
// with and without the power, death within an operation, pauses up to 10 s, cuts of groups, of one node, of single
// directions and of random graphs, clogged directions, transfers, changes of members one or several at a time, new nodes,
// stalled disks, failing operations, full disks, damage to what is durable, empty disks, leaders cut off until they need a
// snapshot. A snapshot comes in chunks and is cut at any of them. Damage stays within an Atlas: no
// entry may be lost on a majority.
//
// # Invariants
//
//	election-safety         one leader in a term
//	leader-append-only      a leader cuts nothing from its log
//	log-matching            an entry has one content and one predecessor, everywhere
//	leader-completeness     a leader has all that was committed in terms before its own
//	state-machine-safety    at one index all apply the same entry, to the same content; nothing committed is cut
//	promises-are-durable    a term, a vote or an acknowledgement is on the sender's disk before it leaves
//	promises-survive        a start finds what was written, whole; no vote is given twice in a term
//	commit-is-durable       what is committed is on the disks of a quorum
//	applied-is-durable      what is applied is in the own log
//	quorums-intersect       those of a configuration and those of the next one
//	one-open-configuration  a leader changes only a configuration that is committed
//	check-quorum            a leader that hears from no quorum stops
//	monotone                terms and commits only rise
//	contiguous-writes       writes continue the log
//	bounded-memory          what waits inside a node stays within its limits
//	exactly-once            an acknowledged write was applied once, a refused one never, any other at most once
//	linearizable            all answers fit into one order (porcupine)
//	liveness                see below
//
// What is durable is known from the writes that were completed; now and then, and at the end, the disks themselves are
// read, without anything that is not durable on them.
//
// # Liveness
//
// After the faults a core is drawn: nodes that can decide in every configuration that may count. Faults inside it end, and
// all others stay for ever. Within 20 of the longest election timeouts the core must have a leader, acknowledge a write of
// every client, and have one content.
//
// # What it does not do
//
// It does not run db, transport or SQLite, whose own tests have real disks and sockets, and it finds nothing that takes two
// goroutines: that is the race detector's. A seed belongs to one version of the code: the next one may run another world.
//
// `make sim SEEDS=N` runs seeds, `make mutants` measures the simulator itself: it must notice each of a list of faults that
// are put into the source on purpose.
package sim
