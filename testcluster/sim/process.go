package sim

import (
	"errors"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/replica"
	"github.com/rsqld/rsqld/raft/wal"
	chunks "github.com/rsqld/rsqld/snapshot"
)

// What begins and ends a process on a simulated disk.

// start begins a process on the disk as it is.
func (n *node) start() {
	if n.up || n.out != "" {
		return
	}
	n.life++
	w := n.world
	log, recovered, err := n.open()
	if err == nil {
		n.arrivals, err = chunks.OpenArrivals(n.disk.Mount(), snapshotDir)
	}
	switch {
	case n.disk.Dead():
		n.end(true)
		return
	case errors.Is(err, raft.ErrLost):
		n.lose("its log is damaged: " + err.Error())
		return
	case err != nil && n.durable.last().Index > 0 && n.disk.Used() == 0:
		n.lose("its disk is not the one that it had")
		return
	case err != nil:
		// An error that may pass, such as of a read. The disk keeps what it has.
		w.note(n.id, "does not start: %v", err)
		n.disk.Kill()
		n.restartAfter(w.swarm.down)
		return
	}
	w.checker.recovered(n, &recovered)
	if w.violation != nil {
		return
	}
	if rebase := replica.Rebase(n.machine.base, recovered.HardState, recovered.Log); rebase != nil {
		if !n.rebase(log, rebase) {
			return
		}
		if recovered.HardState, recovered.Log = rebase.HardState, beginning(rebase.Snapshot); w.violation != nil {
			return
		}
	}
	n.log, n.waiters = log, &replica.Waiters{}
	core, err := raft.New(n.coreConfig(), recovered.HardState, recovered.Log, n.machine.applied.Index)
	if err != nil {
		w.fail("recovery", "node %d: %v", n.id, err)
		return
	}
	n.run(core)
}

// open opens the log, repaired if it is damaged.
func (n *node) open() (*wal.WAL, wal.Recovered, error) {
	log, recovered, err := wal.Open(n.options())
	var corruption *wal.CorruptionError
	if !errors.As(err, &corruption) {
		return log, recovered, err
	}
	// Entries leave the log that the machine holds: it must not lose them any more.
	n.machine.undo = n.machine.undo[:0]
	done, err := wal.Repair(n.options(), n.machine.base)
	if err != nil {
		return nil, recovered, err
	}
	n.world.note(n.id, "repairs its log: %v to %v, lost up to %v", done.Base, done.Last, done.Lost)
	n.world.checker.repaired(n, &done)
	return wal.Open(n.options())
}

func (n *node) coreConfig() raft.Config {
	s := &n.world.swarm
	return raft.Config{
		ID: n.id, Seed: n.chance.Uint64(), ElectionTicks: ticksPerT, HeartbeatTicks: beatTicks,
		Snapshots: true, MaxMessageBytes: s.message, MaxInflightMessages: s.inflight, MaxInflightBytes: s.window, MaxTailBytes: s.tail,
	}
}

func (n *node) run(core *raft.Node) {
	limits := replica.Limits{MaxBatchEntries: 1 + n.chance.IntN(20)}
	n.applier = replica.NewApplier(n.log, n.machine, n.waiters, n.machine.applied.Index, limits, nil)
	n.handler = replica.NewHandler(core, T, limits, replica.Environment{
		Clock: n, Writer: n, Loader: n, Committer: n, Transport: n, Waiters: n.waiters, Snapshots: courier{n},
	})
	n.contact = contact{}
	n.up, n.role, n.term, n.commit = true, raft.Follower, 0, n.machine.applied.Index
	n.world.note(n.id, "starts, log ends at %v, applied %v", n.shadow.last(), n.machine.applied)
	n.handler.Process()
	n.check()
	n.tickLater(n.life)
}

// end ends the process: with the power, or alone.
func (n *node) end(power bool) {
	if power {
		n.disk.Crash()
	} else {
		n.disk.Kill()
	}
	n.machine.crash(power)
	if n.up {
		why := errors.New("the process ended")
		n.up = false
		n.handler.Close(why)
		n.waiters.Close(why)
		for _, p := range n.proposals {
			p.Done(replica.Applied{}, replica.ErrClosed)
		}
		for _, r := range n.reads {
			r.Done(0, replica.ErrClosed)
		}
	}
	n.life++
	n.mail, n.proposals, n.reads, n.waiting, n.queue = nil, nil, nil, nil, nil
	n.tick, n.turning, n.mark, n.busy, n.applying, n.restoring = false, false, false, false, false, false
	n.paused, n.installing = 0, nil
	n.world.trace.mix(uint64(n.world.now), uint64(n.id), n.life)
	n.world.note(n.id, "ends (power lost: %v)", power)
	n.restartAfter(n.world.swarm.down)
}

// lose ends the node for good.
func (n *node) lose(why string) {
	n.out = why
	n.world.note(n.id, "is out: %s", why)
}

func (n *node) restartAfter(mean time.Duration) {
	life := n.life
	n.world.after(exponential(n.chance, mean), func() {
		if n.life == life && !n.frozen() {
			n.start()
		}
	})
}

// frozen reports whether the liveness phase leaves this node as it is.
func (n *node) frozen() bool { return n.world.calm && !n.world.checker.core[n.id] }
