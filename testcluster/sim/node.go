package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/replica"
	"github.com/rsqld/rsqld/raft/wal"
	chunks "github.com/rsqld/rsqld/snapshot"
)

const (
	// T is the election timeout, ticksPerT and beatTicks how the core counts it.
	T         = 150 * time.Millisecond
	ticksPerT = 15
	beatTicks = 5
	// turnDelay is the most that a process takes to look at what arrived.
	turnDelay = 20 * time.Microsecond
	// applyDelay is the mean time of a step of the state machine.
	applyDelay = 200 * time.Microsecond
	// maxMail bounds what waits for a process; beyond it messages are dropped, as replica.Limits.MaxInboxMessages does.
	maxMail = 4096
	// roomRetry is the pause after a write that found no room on the disk.
	roomRetry = 200 * time.Millisecond
	// logDir is where the log is on a node's disk.
	logDir = "/wal"
)

// cluster is the id in every log.
var cluster = [16]byte{'s', 'i', 'm'}

// node is one member: a disk and a state machine, which last, and the process that runs on them, which does not. The
// process is the real one without its goroutines: replica.Handler, replica.Applier and wal.WAL. It is the handler's
// whole environment.
type node struct {
	world  *World
	id     raft.ID
	chance *rand.Rand

	disk    *Disk
	machine *machine
	// shadow is what the log must be, durable what of it must be on the disk. See shadow.go.
	shadow, durable shadow
	// promised is what this id has told others, in all its lives.
	promised promises

	// unnoticed says that the disk was damaged and not read since.
	unnoticed bool
	// life counts processes. Events of an earlier one do nothing.
	life uint64
	up   bool
	// out says why the node never starts again: it was removed, or its disk is lost.
	out string
	// rate is how fast its clock goes, skew what it shows at the beginning of the world.
	rate float64
	skew time.Duration
	// paused is until when the process stands still while its mail piles up.
	paused time.Duration

	handler *replica.Handler
	applier *replica.Applier
	waiters *replica.Waiters
	log     *wal.WAL
	clock   time.Duration

	mail      []raft.Message
	proposals []*replica.Proposal
	reads     []*replica.ReadRound
	// waiting are reads that know their index and wait until it is applied.
	waiting []pendingRead
	tick    bool
	turning bool

	// queue are writes that wait, writing those that the disk is at work on. A crash may leave the latter done or not.
	queue, writing []*raft.Write
	mark, busy     bool
	applying       bool
	// restoring says that the state machine is being replaced.
	restoring bool
	// installing answers the sender of the snapshot that is being installed; arrivals is where the next one arrives.
	installing func(error)
	arrivals   *chunks.Arrivals
	// role and term are as the checker has seen them.
	role    raft.Role
	term    raft.Term
	contact contact
	// cursed is the term in which the nemesis waits for this leader's first commit, or 0.
	cursed raft.Term
	// commit is the newest index that the core handed out to be applied.
	commit raft.Index
}

// addNode makes a node with an empty disk.
func (w *World) addNode() *node {
	id := raft.ID(len(w.nodes) + 1)
	n := &node{
		world: w, id: id, chance: w.chance(fmt.Sprint("node ", id)),
		disk: NewDisk(w.options.Seed<<8 | uint64(id)), promised: promises{votes: map[raft.Term]raft.ID{}},
	}
	n.machine = newMachine(n)
	n.rate = 1 + (2*n.chance.Float64()-1)*w.swarm.drift
	n.skew = time.Duration(n.chance.Int64N(int64(time.Hour)))
	w.nodes = append(w.nodes, n)
	return n
}

func (w *World) node(id raft.ID) *node { return w.nodes[id-1] }

func (n *node) options() wal.Options {
	s, life := &n.world.swarm, n.life
	return wal.Options{
		Files: n.disk.Mount(), Dir: logDir, Cluster: cluster, Node: n.id,
		SegmentSize: s.segment, CacheBytes: s.cache, Seed: n.world.options.Seed ^ uint64(n.id)<<32 ^ n.life,
		Schedule: func(after time.Duration, do func()) { n.later(life, after, do) },
	}
}

// later lets something happen to the process of this life, if it still runs then.
func (n *node) later(life uint64, after time.Duration, do func()) {
	n.world.after(after, func() {
		if n.life == life && n.up {
			do()
			n.check()
		}
	})
}

// found writes the first log: of a founding voter with the first configuration, of a node that joins without anything.
func (n *node) found(voters []raft.ID) {
	log, err := wal.Create(n.options())
	if err == nil && len(voters) > 0 {
		first := raft.Write{Seq: 1, HardState: raft.HardState{Term: 1}, Entries: []raft.Entry{founding(voters)}}
		err = log.Append(&first)
		n.shadow.apply(n.world, &first)
		n.durable.apply(n.world, &first)
	}
	if err == nil {
		err = log.Close()
	}
	if err != nil {
		panic(fmt.Sprintf("sim: founding node %d on a sound disk: %v", n.id, err))
	}
	n.disk.Kill()
}

func founding(voters []raft.ID) raft.Entry {
	encoded, err := raft.Configuration{Voters: voters}.AppendBinary(nil)
	if err != nil {
		panic(err)
	}
	return raft.Entry{ID: raft.EntryID{Term: 1, Index: 1}, Kind: raft.EntryConfiguration, Data: encoded}
}

// check looks at the process after each of its events.
func (n *node) check() {
	switch {
	case !n.up:
	case n.disk.Dead():
		n.end(true)
	case n.handler.Err() != nil:
		removed := errors.Is(n.handler.Err(), replica.ErrRemoved)
		n.end(false)
		if removed {
			n.out = "it was removed"
		}
	default:
		n.world.checker.process(n)
	}
}

// tickLater lets time pass for the process, by its own clock.
func (n *node) tickLater(life uint64) {
	n.later(life, time.Duration(float64(T/ticksPerT)/n.rate), func() {
		n.tickLater(life)
		n.tick = true
		n.turn()
		if n.up && n.world.now >= n.paused {
			n.world.checker.ticked(n)
		}
	})
}

// receive takes a message from the network.
func (n *node) receive(m raft.Message) {
	if n.up && len(n.mail) < maxMail {
		n.mail = append(n.mail, m)
		n.wake()
	}
}

// wake lets the process look at what arrived, soon.
func (n *node) wake() {
	if !n.turning {
		n.turning = true
		n.later(n.life, 1+time.Duration(n.chance.Int64N(int64(turnDelay))), func() {
			n.turning = false
			n.turn()
		})
	}
}

// turn is a turn of the loop of replica.Replica: all that has arrived, then a tick if one is due.
func (n *node) turn() {
	if n.world.now < n.paused {
		if !n.turning {
			n.turning = true
			n.later(n.life, n.paused-n.world.now, func() {
				n.turning = false
				n.turn()
			})
		}
		return
	}
	mail, proposals, reads, tick := n.mail, n.proposals, n.reads, n.tick
	n.mail, n.proposals, n.reads, n.tick = nil, nil, nil, false
	n.handler.Applied(n.applier.Applied())
	for _, m := range mail {
		n.contact.hears(n.world.now, m.Header().From)
		// An error is the core's way to say that the message was stale or malformed. Both are a network's normal.
		_ = n.handler.Step(m)
	}
	n.handler.Propose(proposals)
	for _, r := range reads {
		n.handler.Read(r)
	}
	if tick {
		n.handler.Room(n.log.Spare())
		n.handler.Tick()
	}
	n.handler.Process()
}

// Now is the process's clock: it drifts, and jumps at a start as those of different machines do.
func (n *node) Now() time.Time {
	return time.Unix(0, 0).Add(n.skew + time.Duration(float64(n.world.now)*n.rate))
}

// Send implements raft.Transport.
func (n *node) Send(m raft.Message) {
	n.world.checker.sent(n, m)
	n.world.network.send(m)
}

// Write implements replica.Writer.
func (n *node) Write(w *raft.Write) {
	n.world.checker.queued(n, w)
	n.shadow.apply(n.world, w)
	n.queue = append(n.queue, w)
	n.work()
}

// Mark implements replica.Writer.
func (n *node) Mark() {
	n.mark = true
	n.work()
}

// work lets the disk begin with what waits. The log's calls happen when they complete: a crash before that finds
// nothing of them, and one in their middle is a crash point of the disk.
func (n *node) work() {
	if n.busy || len(n.queue) == 0 && !n.mark {
		return
	}
	n.busy = true
	n.writing, n.queue = n.queue, nil
	kind := DiskSync
	if len(n.writing) == 0 {
		kind = DiskTransfer
	}
	n.later(n.life, n.disk.Latency(kind, n.world.now), n.flush)
}

func (n *node) flush() {
	var err error
	if len(n.writing) > 0 {
		err = n.log.Append(n.writing...)
	} else {
		err = n.log.Mark()
	}
	switch {
	case n.disk.Dead():
		return
	case errors.Is(err, wal.ErrNoRoom):
		// To everybody else the disk stands still until there is room.
		n.later(n.life, roomRetry, n.flush)
		return
	case err != nil:
		// What the disk holds of it is not known: writing stays what it is until recovery.
		n.handler.Written(0, err)
		return
	case len(n.writing) > 0:
		for _, w := range n.writing {
			n.durable.apply(n.world, w)
			n.world.checker.written(n, w)
		}
		n.heal()
		last := n.writing[len(n.writing)-1].Seq
		n.writing = nil
		n.handler.Written(last, nil)
	default:
		n.mark = false
	}
	n.busy = false
	n.work()
	n.processUnlessPaused()
}

// heal tells the atlas when the log has again all that it ever acknowledged.
func (n *node) heal() {
	if !n.unnoticed && n.durable.hard.Acked == (raft.EntryID{}) {
		n.world.atlas.Healed(n.id)
	}
}

// processUnlessPaused carries out what an event has caused, or leaves it to the turn after the pause.
func (n *node) processUnlessPaused() {
	if n.world.now < n.paused {
		n.wake()
		return
	}
	n.handler.Process()
}

// Load implements replica.Loader.
func (n *node) Load(load raft.LoadRange) {
	n.later(n.life, n.disk.Latency(DiskTransfer, n.world.now), func() {
		entries, err := n.log.Entries(load.Range.First, load.Range.Last, load.MaxBytes)
		n.handler.Loaded(load, entries, err)
		n.processUnlessPaused()
	})
}

// Commit implements replica.Committer.
func (n *node) Commit(index raft.Index) {
	n.world.checker.committed(n, index)
	n.applier.Commit(index)
	n.apply()
}

// Retry implements replica.Committer.
func (n *node) Retry() { n.apply() }

// apply lets the state machine take its next step.
func (n *node) apply() {
	if n.applying || n.restoring {
		return
	}
	n.applying = true
	n.later(n.life, exponential(n.chance, applyDelay), func() {
		n.applying = false
		if n.restoring {
			return
		}
		more, err := n.applier.Step()
		if err != nil {
			n.handler.ApplyFailed(err)
		} else if n.handler.ApplyErr() != nil {
			n.handler.ApplyResumed()
		}
		n.handler.Applied(n.applier.Applied())
		if more {
			n.apply()
		}
		n.world.serveReads(n)
		n.processUnlessPaused()
	})
}

// propose hands a proposal to the process.
func (n *node) propose(p *replica.Proposal) {
	n.proposals = append(n.proposals, p)
	n.wake()
}

// read asks the process for an index that a linearizable read may run at.
func (n *node) read(r *replica.ReadRound) {
	n.reads = append(n.reads, r)
	n.wake()
}
