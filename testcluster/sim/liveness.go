package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/replica"
)

// lifeLimit is within what time the core must be alive again: 20 election timeouts of the longest kind, 2T. An election
// takes at most a few of them, a node far behind a few rounds more.
const lifeLimit = 20 * 2 * T

// lifeLook is the time between two looks at whether it is.
const lifeLook = 20 * time.Millisecond

// comeAlive ends the phase of faults and demands life: a core is drawn, nodes that can decide in every configuration that
// may count. All faults inside it end, all others stay for ever: what is down outside stays down, cuts between the core
// and the rest remain, or one node of the rest has a disk that stands still. Within lifeLimit the core must have a leader, every client an acknowledged write, and all members
// of the core the same content.
func (w *World) comeAlive() {
	core := w.drawCore()
	if core == nil {
		w.fail("liveness", "the faults left no majority: the simulator did too much harm")
		return
	}
	w.calm = true
	w.checker.core = map[raft.ID]bool{}
	for _, n := range core {
		w.checker.core[n.id] = true
	}
	w.network.calm(core)
	w.drawLimping(core)
	written := make([]int, len(w.clients))
	for i, c := range w.clients {
		written[i] = c.written
	}
	for _, n := range w.nodes {
		// Nobody changes the members any more: the core was drawn for those that there are.
		n.proposals = slices.DeleteFunc(n.proposals, func(p *replica.Proposal) bool { return p.Membership != nil })
	}
	for _, n := range core {
		n.paused = 0
		n.disk.SetFaults(Faults{})
		n.disk.SetCapacity(0)
		n.disk.latency.stalled = 0
		n.disk.DieAfter(1<<40, false)
		n.wakeUp()
	}
	w.note(0, "the core is %v", coreIDs(core))
	missing := ""
	for end := w.now + lifeLimit; w.now < end && w.violation == nil; {
		w.run(w.now + lifeLook)
		if missing = w.missing(core, written); missing == "" {
			w.counts.Checks++
			return
		}
	}
	w.fail("liveness", "core %v after %v: %s", coreIDs(core), lifeLimit, missing)
}

// drawLimping lets, at times, a running voter outside the core take part in everything but have a disk that stands still for
// ever, the leader if it can be: leadership must come into the core (hazard of hashicorp/raft#503).
func (w *World) drawLimping(core []*node) {
	var limping *node
	configuration, _ := w.settledConfiguration()
	for _, n := range w.nodes {
		voter := configuration.Voter(n.id) && n.out == "" && n.up && !n.disk.Dead()
		if voter && !slices.Contains(core, n) && (limping == nil || n.role == raft.Leader) {
			limping = n
		}
	}
	if limping == nil || w.chance("limping").IntN(2) == 0 {
		return
	}
	for _, at := range []raft.ConfigurationAt{limping.durable.configuration(), limping.shadow.configuration()} {
		in := func(id raft.ID) bool { return w.checker.core[id] }
		if !isQuorum(&at.Configuration, in) {
			return // it would bring a configuration into the core in which that cannot decide
		}
	}
	for _, n := range core {
		delete(w.network.cut, [2]raft.ID{n.id, limping.id})
		delete(w.network.cut, [2]raft.ID{limping.id, n.id})
	}
	limping.paused = w.now
	limping.disk.Stall(w.now + time.Hour)
	w.limping = limping
	w.note(limping.id, "limps")
}

// wakeUp lets a node of the core run, whatever it waited for.
func (n *node) wakeUp() {
	n.disk.dead, n.disk.deadline = false, 0
	if !n.up {
		n.start()
		return
	}
	n.turning = false
	n.wake()
	// A write that waits for the disk is done: the disk moves again.
	if n.busy {
		n.later(n.life, n.disk.Latency(DiskSync, n.world.now), n.flush)
	}
}

func coreIDs(core []*node) []raft.ID {
	var ids []raft.ID
	for _, n := range core {
		ids = append(ids, n.id)
	}
	return ids
}

// drawCore returns nodes that can decide whatever configuration counts, as few as chance leaves; nil if there are none.
func (w *World) drawCore() []*node {
	var core []*node
	for _, n := range w.nodes {
		if n.out == "" && len(w.atlas.Lost(n.id)) == 0 && n.durable.last().Index > 0 {
			core = append(core, n)
		}
	}
	if !w.decides(core) {
		return nil
	}
	chance := w.chance("core")
	for range 2 * len(core) {
		i := chance.IntN(len(core))
		if fewer := slices.Delete(slices.Clone(core), i, i+1); w.decides(fewer) {
			core = fewer
		}
	}
	return core
}

// decides reports whether nodes are a quorum of every configuration in the logs of any of them, and of the committed one.
func (w *World) decides(core []*node) bool {
	if len(core) == 0 {
		return false
	}
	in := func(id raft.ID) bool { return slices.ContainsFunc(core, func(n *node) bool { return n.id == id }) }
	committed := raft.ConfigurationAt{}
	for _, n := range w.nodes {
		for _, at := range n.durable.configurations {
			if at.Index <= raft.Index(len(w.checker.chosen)) && at.Index >= committed.Index {
				e, found := n.durable.at(at.Index)
				if at.Index <= n.durable.base.Index || found && e == w.checker.chosen[at.Index-1].shadowEntry {
					committed = at
				}
			}
		}
	}
	if committed.Index > 0 && !isQuorum(&committed.Configuration, in) {
		return false
	}
	for _, n := range core {
		// What waits for the disk may be in the log after the next start, or not.
		for _, at := range []raft.ConfigurationAt{n.durable.configuration(), n.shadow.configuration()} {
			if at.Index > committed.Index && !isQuorum(&at.Configuration, in) {
				return false
			}
		}
	}
	return true
}

// missing says what the core lacks to be alive, "" if nothing.
func (w *World) missing(core []*node, written []int) string {
	var leader *node
	for _, n := range core {
		if n.up && n.role == raft.Leader && (leader == nil || n.term > leader.term) {
			leader = n
		}
	}
	if leader == nil {
		return "nobody leads"
	}
	for i, c := range w.clients {
		if c.written < written[i]+max(w.options.demand, 1) {
			return fmt.Sprintf("client %d has no further write acknowledged; node %d leads term %d", i, leader.id, leader.term)
		}
	}
	members := leader.shadow.configuration().Configuration
	if members.Joint() {
		return fmt.Sprintf("configuration %v is still joint", members)
	}
	for _, n := range core {
		// Clients go on writing: a member counts as equal that has what the leader had committed at the look before.
		if members.Member(n.id) && (!n.up || n.applier.Applied()+convergenceSlack < leader.commit) {
			return fmt.Sprintf("node %d does not keep up with leader %d: applied %v of %d", n.id, leader.id, n.machine.applied, leader.commit)
		}
	}
	return ""
}

// convergenceSlack is how many entries a member of the core may be behind while clients write.
const convergenceSlack = 20
