package sim

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/replica"
)

// harmDisk does what disks do.
func (n *nemesis) harmDisk(kind actionKind, v *node, chance *rand.Rand) {
	w := n.world
	switch kind {
	case actStall:
		v.disk.Stall(w.now + time.Duration(chance.Int64N(int64(60*time.Second)))/time.Duration(1+chance.IntN(60)))
	case actDiskErrors:
		v.disk.SetFaults(Faults{Read: 0.02 * chance.Float64(), Write: 0.02 * chance.Float64(), Sync: 0.02 * chance.Float64(),
			Drop: chance.Float64(), Flip: 0.1 * chance.Float64()})
		w.after(exponential(chance, 2*time.Second), func() { v.disk.SetFaults(Faults{}) })
	case actFull:
		v.disk.SetCapacity(v.disk.Used() + chance.IntN(4*int(w.swarm.segment)))
		w.after(exponential(chance, 3*time.Second), func() { v.disk.SetCapacity(0) })
	case actDamage:
		if !n.damage(v, chance) {
			return
		}
		// Nobody sees it before the log is read.
		v.later(v.life, exponential(chance, 300*time.Millisecond), func() { n.stop(v, chance.IntN(4) > 0) })
	case actReplaceDisk:
		if v.out != "" || chance.IntN(5) > 0 || !n.mayLose(v, Everything) {
			return
		}
		w.atlas.Damaged(v.id, Everything)
		n.stop(v, true)
		v.disk.Replace()
		w.note(v.id, "has an empty disk")
	}
	w.counts.DiskFaults++
}

// mayLose reports whether damage to a node leaves every entry whole somewhere. It does not happen while the members change:
// a change can make a minority the majority.
func (n *nemesis) mayLose(v *node, lost raft.Range) bool {
	w := n.world
	for _, other := range w.nodes {
		if slices.ContainsFunc(other.proposals, func(p *replica.Proposal) bool { return p.Membership != nil }) {
			return false // a paused process has a change in its hands
		}
	}
	configuration, settled := w.settledConfiguration()
	return settled && w.atlas.SetVoters(configuration.Voters) && w.atlas.May(v.id, lost)
}

// newestSegment returns the name of the file that the newest entries are in.
func (n *node) newestSegment() (newest string) {
	n.disk.files(n.disk.root.dir, func(name string, _ *inode) {
		if strings.HasSuffix(name, ".wal") {
			newest = max(newest, name)
		}
	})
	return newest
}

// damage inflicts something on what is durable on a node's disk, if that leaves every entry whole somewhere.
func (n *nemesis) damage(v *node, chance *rand.Rand) bool {
	part := logDir
	if chance.IntN(3) > 0 {
		part = v.newestSegment()
	}
	damage, found := v.disk.Settled(part)
	lost := LostBy(damage.Name)
	if !found || v.out != "" || !n.mayLose(v, lost) {
		return false
	}
	n.world.atlas.Damaged(v.id, lost)
	v.disk.Inflict(damage)
	v.unnoticed = true
	n.world.note(v.id, "suffers %v", damage)
	return true
}

// forget lets a committed entry be on as few nodes as it can be, damages it on one of them, and takes the others away: the
// rest must not elect a leader without it. The one that is behind was cut off for a while.
func (n *nemesis) forget(chance *rand.Rand) {
	w := n.world
	var up []*node
	for _, v := range w.nodes {
		if v.up && v.shadow.configuration().Configuration.Voter(v.id) {
			up = append(up, v)
		}
	}
	if len(up) < 3 {
		return
	}
	chance.Shuffle(len(up), func(i, j int) { up[i], up[j] = up[j], up[i] })
	behind := up[:(len(up)-1)/2]
	forgetful := up[len(behind)]
	for _, b := range behind {
		for _, other := range w.nodes {
			w.network.cut[[2]raft.ID{b.id, other.id}] = true
			w.network.cut[[2]raft.ID{other.id, b.id}] = true
		}
	}
	w.counts.Partitions++
	w.after(exponential(chance, 500*time.Millisecond), func() {
		if w.calm || w.violation != nil {
			return
		}
		w.network.heal()
		// Damage to what a crash has just interrupted could not be told from the interruption.
		if n.damage(forgetful, chance) {
			w.counts.DiskFaults++
		}
		n.stop(forgetful, true)
		for _, v := range up[len(behind)+1:] {
			n.stop(v, chance.IntN(2) == 0)
		}
		// Those that remember it come later than the one that forgot.
		forgetful.start()
		forgetful.check()
	})
}
