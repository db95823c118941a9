package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/replica"
)

// actionKind is a kind of fault, or of work of an administrator.
type actionKind int

const (
	actCrash actionKind = iota
	actKill
	actDieWithin
	actCrashAll
	actPause
	actTransfer
	actChange
	actPartition
	actHeal
	actClog
	actStall
	actDiskErrors
	actFull
	actDamage
	actReplaceDisk
	actCompact
	actForget
	actStrand
	actionKinds
)

func (k actionKind) String() string {
	return [...]string{"crash", "kill", "die within", "crash all", "pause", "transfer", "change", "partition", "heal", "clog",
		"stall", "disk errors", "full disk", "damage", "replace disk", "compact", "forget", "strand"}[k]
}

// nemesis does harm, and changes the cluster, all the time that the phase of faults lasts.
type nemesis struct {
	world  *World
	chance *rand.Rand
	// actions counts those taken, elections those seen, total is the sum of the weights.
	actions, elections, total int
}

func newNemesis(w *World) *nemesis {
	n := &nemesis{world: w, chance: w.chance("nemesis")}
	for _, weight := range w.swarm.weights {
		n.total += weight
	}
	if n.total > 0 {
		n.rest()
	}
	return n
}

func (n *nemesis) rest() { n.world.after(exponential(n.chance, n.world.swarm.pause), n.act) }

// act takes one action. Which one it is, and all that it draws, depends on its number alone.
func (n *nemesis) act() {
	w := n.world
	if w.calm {
		return
	}
	n.rest()
	n.actions++
	chance := w.chance(fmt.Sprint("action ", n.actions))
	kind, at := actionKind(0), chance.IntN(n.total)
	for at >= w.swarm.weights[kind] {
		at -= w.swarm.weights[kind]
		kind++
	}
	if w.options.Skip != nil && w.options.Skip(n.actions) {
		return
	}
	w.note(0, "action %d: %v", n.actions, kind)
	n.take(kind, chance)
}

func (n *nemesis) take(kind actionKind, chance *rand.Rand) {
	w := n.world
	victim := w.nodes[chance.IntN(len(w.nodes))]
	if l := w.leader(); l != nil && chance.IntN(3) == 0 {
		victim = l
	}
	switch kind {
	case actCrash, actKill:
		n.stop(victim, kind == actCrash)
	case actDieWithin:
		if victim.up {
			w.counts.Crashes++
			victim.disk.DieAfter(chance.IntN(8), chance.IntN(2) == 0)
		}
	case actCrashAll:
		for _, v := range w.nodes {
			n.stop(v, true)
		}
	case actPause:
		victim.paused = w.now + time.Duration(chance.Int64N(int64(10*time.Second)))/time.Duration(1+chance.IntN(20))
	case actTransfer:
		n.transfer(victim, chance)
	case actChange:
		n.change(chance)
	case actPartition:
		n.partition(chance)
	case actForget:
		n.forget(chance)
	case actStrand:
		n.strand(chance)
	case actCompact:
		trailing := raft.Index(chance.IntN(3) * chance.IntN(40))
		for _, v := range w.nodes {
			if v.up && chance.IntN(4) > 0 {
				v.compact(v.machine.applied.Index - min(v.machine.applied.Index, trailing))
			}
		}
	case actHeal:
		w.network.heal()
	case actClog:
		other := w.nodes[chance.IntN(len(w.nodes))]
		w.network.clogged[[2]raft.ID{victim.id, other.id}] = w.now + time.Duration(chance.Int64N(int64(5*time.Second)))
	default:
		n.harmDisk(kind, victim, chance)
	}
}

// elected harms a new leader, soon: it ends, or nobody hears it any more, or it hears nobody, or only one other node does.
func (n *nemesis) elected(leader *node) {
	w := n.world
	n.elections++
	chance := w.chance(fmt.Sprint("election ", n.elections))
	if w.calm || !happens(chance, w.swarm.curse) {
		return
	}
	after := exponential(chance, w.swarm.curseAfter)
	if chance.IntN(2) == 0 {
		// When it commits first: what it has not committed yet is nobody's, unless it was hasty.
		leader.cursed = leader.term
		return
	}
	leader.later(leader.life, after, func() { n.curse(leader, chance) })
}

// firstCommit harms a leader that has committed for the first time in its term.
func (n *nemesis) firstCommit(leader *node) {
	n.elections++
	chance := n.world.chance(fmt.Sprint("election ", n.elections))
	leader.cursed = 0
	leader.later(leader.life, time.Duration(chance.Int64N(int64(100*time.Microsecond))), func() { n.curse(leader, chance) })
}

func (n *nemesis) curse(leader *node, chance *rand.Rand) {
	w := n.world
	if w.calm {
		return
	}
	kind := chance.IntN(5)
	w.note(leader.id, "is cursed: %d", kind)
	if kind < 2 {
		n.stop(leader, kind == 0)
		return
	}
	w.counts.Partitions++
	spared := w.nodes[chance.IntN(len(w.nodes))]
	for _, other := range w.nodes {
		if other == leader || kind == 4 && other == spared {
			continue
		}
		w.network.cut[[2]raft.ID{leader.id, other.id}] = kind != 2
		w.network.cut[[2]raft.ID{other.id, leader.id}] = kind != 3
	}
	w.after(exponential(chance, time.Second), w.network.heal)
}

func (n *nemesis) stop(v *node, power bool) {
	if v.up {
		n.world.counts.Crashes++
		v.end(power)
	}
}

// settledConfiguration returns the configuration of all logs, if it is the same everywhere and not joint.
func (w *World) settledConfiguration() (raft.Configuration, bool) {
	newest := raft.ConfigurationAt{}
	for _, n := range w.nodes {
		if at := n.shadow.configuration(); at.Index > newest.Index {
			newest = at
		}
	}
	for _, id := range newest.Configuration.Voters {
		n := w.node(id)
		if n.out == "" && (n.shadow.configuration().Index != newest.Index || n.commit < newest.Index) {
			return raft.Configuration{}, false
		}
	}
	return newest.Configuration, newest.Index > 0 && !newest.Configuration.Joint()
}

// leader returns the node that leads the newest term, if one does.
func (w *World) leader() *node {
	var newest *node
	for _, n := range w.nodes {
		if n.up && n.role == raft.Leader && (newest == nil || n.term > newest.term) {
			newest = n
		}
	}
	return newest
}

func (n *nemesis) transfer(to *node, chance *rand.Rand) {
	if l := n.world.leader(); l != nil {
		t := &replica.Transfer{To: to.id, Done: func(error) {}}
		if chance.IntN(3) == 0 {
			t.To = 0
		}
		l.handler.Transfer(t)
		l.handler.Process()
		l.check()
	}
}

// partition cuts directions: around one node, between two groups, or anywhere.
func (n *nemesis) partition(chance *rand.Rand) {
	w := n.world
	w.counts.Partitions++
	side := make([]bool, len(w.nodes)+1)
	for i := range side {
		side[i] = chance.IntN(2) == 0
	}
	if chance.IntN(3) == 0 {
		clear(side)
		side[1+chance.IntN(len(w.nodes))] = true
	}
	anywhere, oneWay, density := chance.IntN(3) == 0, chance.IntN(3) == 0, chance.Float64()
	for _, a := range w.nodes {
		for _, b := range w.nodes {
			across := side[a.id] != side[b.id]
			if anywhere {
				across = chance.Float64() < density
			}
			if a != b && across && !(oneWay && side[a.id]) {
				w.network.cut[[2]raft.ID{a.id, b.id}] = true
			}
		}
	}
	w.after(exponential(chance, 3*time.Second), w.network.heal)
}

// strand cuts a leader off, with entries that only it has, until the logs of the others begin later than where it parted from
// them: it needs a snapshot, and what its log holds at the snapshot's index and behind it is another history. Or their logs are
// enough to take back what it has, which may be a change of the members.
func (n *nemesis) strand(chance *rand.Rand) {
	w := n.world
	leader := w.leader()
	if leader == nil {
		return
	}
	w.counts.Partitions++
	for _, other := range w.nodes {
		if other != leader {
			w.network.cut[[2]raft.ID{leader.id, other.id}] = true
			w.network.cut[[2]raft.ID{other.id, leader.id}] = true
		}
	}
	if chance.IntN(2) == 0 {
		n.change(chance)
	}
	compacts := chance.IntN(2) == 0
	w.after(T+exponential(chance, T), func() {
		if w.calm || w.violation != nil {
			return
		}
		for _, v := range w.nodes {
			if compacts && v.up && v != leader {
				v.compact(v.machine.applied.Index)
			}
		}
		w.network.heal()
	})
}

// change asks the leader for another configuration, of one node or of several.
func (n *nemesis) change(chance *rand.Rand) {
	w := n.world
	l := w.leader()
	if l == nil {
		return
	}
	c := l.shadow.configuration().Configuration
	var m raft.Membership
	for range 1 + chance.IntN(3)*chance.IntN(2) {
		n.draw(&m, &c, chance)
	}
	if !n.safe(&c, &m) {
		return
	}
	l.propose(&replica.Proposal{Membership: &m, Done: func(replica.Applied, error) {}})
}

// maxNodes bounds how many nodes a world ever has.
const maxNodes = 12

// draw adds one node's change to m: what is out leaves, learners are promoted, new nodes come, others change their part.
func (n *nemesis) draw(m *raft.Membership, c *raft.Configuration, chance *rand.Rand) {
	w := n.world
	var out raft.ID
	for _, id := range c.Members() {
		if w.node(id).out != "" {
			out = id
		}
	}
	named := slices.Concat(m.AddLearners, m.Promote, m.Demote, m.Remove)
	free := func(id ...raft.ID) []raft.ID {
		return slices.DeleteFunc(slices.Clone(id), func(id raft.ID) bool { return slices.Contains(named, id) })
	}
	voters, learners := free(c.Voters...), free(c.Learners...)
	pick := func(ids []raft.ID) []raft.ID { return []raft.ID{ids[chance.IntN(len(ids))]} }
	switch {
	case out != 0 && len(free(out)) > 0:
		m.Remove = append(m.Remove, out)
	case chance.IntN(3) == 0 && len(w.nodes) < maxNodes && len(c.Members()) < maxVoters+2:
		joined := w.addNode()
		joined.found(nil)
		joined.start()
		m.AddLearners = append(m.AddLearners, joined.id)
	case chance.IntN(2) == 0 && len(learners) > 0:
		m.Promote = append(m.Promote, pick(learners)...)
	case chance.IntN(2) == 0 && len(voters) > 1 && len(c.Voters) > 2:
		m.Demote = append(m.Demote, pick(voters)...)
	case len(voters) > 1 && len(c.Voters) > 2:
		m.Remove = append(m.Remove, pick(voters)...)
	}
}

// safe reports whether the nodes that are not lost are a majority before and after a change: an administrator who makes
// the lost ones the majority ends the cluster, and no protocol prevents it.
func (n *nemesis) safe(c *raft.Configuration, m *raft.Membership) bool {
	w := n.world
	next := slices.DeleteFunc(slices.Concat(c.Voters, m.Promote), func(id raft.ID) bool {
		return slices.Contains(m.Remove, id) || slices.Contains(m.Demote, id)
	})
	alive := func(voters []raft.ID) bool {
		lost := 0
		for _, id := range voters {
			if w.node(id).out != "" || len(w.atlas.Lost(id)) > 0 {
				lost++
			}
		}
		return lost <= (len(voters)-1)/2
	}
	return len(next) > 0 && alive(next) && alive(c.Voters)
}
