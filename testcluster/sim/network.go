package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/rsqld/rsqld/raft"
)

// network carries messages, each on its own: one that is delayed is overtaken. A direction between two nodes may be cut
// or clogged. It does not know processes: what was sent before a crash may arrive after the restart.
type network struct {
	world  *World
	chance *rand.Rand
	// cut are the directions that lose everything. clogged ones deliver nothing before that moment.
	cut     map[[2]raft.ID]bool
	clogged map[[2]raft.ID]time.Duration
}

// lateBy is the mean delay of a copy that comes late.
const lateBy = 3 * time.Second

func newNetwork(w *World) *network {
	return &network{world: w, chance: w.chance("network"), cut: map[[2]raft.ID]bool{}, clogged: map[[2]raft.ID]time.Duration{}}
}

// send puts a message on its way.
func (net *network) send(m raft.Message) {
	w, s := net.world, &net.world.swarm
	envelope := m.Header()
	way := [2]raft.ID{envelope.From, envelope.To}
	w.trace.mix(uint64(w.now), uint64(way[0]), uint64(way[1]), uint64(envelope.Term))
	lost := net.cut[way] || happens(net.chance, s.loss)
	if !lost {
		net.deliver(m, max(exponential(net.chance, s.delay), net.clogged[way]-w.now))
	}
	if happens(net.chance, s.duplicate) {
		delay := exponential(net.chance, s.delay)
		if happens(net.chance, s.late) {
			delay = exponential(net.chance, lateBy)
		}
		net.deliver(m, delay)
	}
}

// carry lets something else than a message happen at the other end, unless the direction is cut by then.
func (net *network) carry(from, to raft.ID, delay time.Duration, do func()) {
	way := [2]raft.ID{from, to}
	net.world.after(max(delay, net.clogged[way]-net.world.now), func() {
		if !net.cut[way] {
			do()
		}
	})
}

func (net *network) deliver(m raft.Message, delay time.Duration) {
	envelope := m.Header()
	net.world.after(delay, func() {
		// A cut also stops what is on its way.
		if !net.cut[[2]raft.ID{envelope.From, envelope.To}] {
			net.world.node(envelope.To).receive(m)
		}
	})
}

// heal ends all cuts and clogs, unless they are to stay for ever.
func (net *network) heal() {
	if net.world.calm {
		return
	}
	clear(net.cut)
	clear(net.clogged)
}

// calm makes the network a good one between the members of core. The nodes outside are half connected to it for ever, or not
// at all: each can send to some of the core or hear some of it, and not both. One that could do both might lead, with
// members of the core that it does not reach, and no protocol of this kind would replace it.
func (net *network) calm(core []*node) {
	s := &net.world.swarm
	s.loss, s.duplicate, s.delay = 0, 0, min(s.delay, time.Millisecond)
	clear(net.clogged)
	for _, a := range core {
		for _, b := range core {
			delete(net.cut, [2]raft.ID{a.id, b.id})
		}
	}
	for _, out := range net.world.nodes {
		if slices.Contains(core, out) {
			continue
		}
		sends, hears := net.chance.IntN(2) == 0, net.chance.IntN(2) == 0
		for _, in := range core {
			net.cut[[2]raft.ID{out.id, in.id}] = !sends || net.chance.IntN(3) == 0
			net.cut[[2]raft.ID{in.id, out.id}] = sends || !hears || net.chance.IntN(3) == 0
		}
	}
}
