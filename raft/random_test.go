package raft

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

var (
	seeds     = flag.Uint64("seeds", 250, "how many seeds TestRandom runs")
	firstSeed = flag.Uint64("seed", 0, "the first of them")
)

// world is a cluster under a random scheduler, with everything that must hold checked after every event.
type world struct {
	*cluster
	random *rand.Rand
	trace  []string // the newest events, for failures

	leaders map[Term]ID
	entries map[EntryID]seenEntry
	votes   map[promise]ID
	chosen  []Entry // applied anywhere, from index 1 on
	reads   map[ReadID]Index
	nextID  uint64
	cut     map[[2]ID]bool
	calm    bool
	// compacts says that logs are compacted in this world, compacted that one is not whole any more: then no node can join
	// that has nothing. joined are those that were ever added.
	compacts  bool
	joined    map[ID]bool
	compacted bool
	// trouble is how likely a step is a fault, in thousandths, and faults how likely each kind is: each run draws its
	// own, so that some have no crashes, some no cuts, and some little else.
	trouble int
	faults  [5]int

	// pairs are the consecutive configurations whose quorums were compared.
	pairs    map[string]bool
	progress map[ID]seenProgress

	// count says how often what happened.
	count map[string]int
}

type seenProgress struct {
	starts uint64
	term   Term
	commit Index
}

type promise struct {
	node ID
	term Term
}

type seenEntry struct {
	entry  Entry
	before EntryID
}

func newWorld(t testing.TB, seed uint64) *world {
	w := &world{
		random:  rand.New(rand.NewPCG(seed, 7)),
		leaders: map[Term]ID{}, entries: map[EntryID]seenEntry{}, votes: map[promise]ID{}, reads: map[ReadID]Index{},
		cut: map[[2]ID]bool{}, pairs: map[string]bool{}, progress: map[ID]seenProgress{},
		joined: map[ID]bool{}, count: map[string]int{},
	}
	limits := Config{
		ElectionTicks: 10, HeartbeatTicks: 3, MaxMessageBytes: 200, MaxInflightMessages: 4, MaxInflightBytes: 600,
		MaxUncommittedBytes: 4000, MaxTailBytes: 400, MaxPendingReads: 50,
	}
	w.trouble = w.random.IntN(15)
	w.compacts = w.random.IntN(4) == 0
	for i := range w.faults {
		w.faults[i] = w.random.IntN(10)
	}
	size := 1 + w.random.IntN(5)
	var ids []ID
	for id := range ID(size) {
		ids = append(ids, id+1)
		w.joined[id+1] = true
	}
	w.cluster = newCluster(t, seed*1000, limits, voters(ids...))
	w.cluster.ready, w.cluster.sent, w.cluster.wrote = w.checkReady, w.checkSent, w.checkWrite
	return w
}

func (w *world) note(format string, args ...any) {
	if len(w.trace) >= 60 {
		w.trace = w.trace[1:]
	}
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	for _, line := range w.trace {
		w.t.Log(line)
	}
	w.t.Fatalf(format, args...)
}

// step lets one random thing happen.
func (w *world) step() {
	m := w.members[w.random.IntN(len(w.members))]
	dice := w.random.IntN(1000)
	switch {
	case m.node == nil:
		if dice < 100 {
			w.note("%d starts", m.id)
			m.start(w.t)
		}
	case dice < 250:
		m.node.Tick()
	case dice < 600:
		w.deliverSome()
	case dice < 750:
		w.finish(m)
	case dice < 900:
		w.process(m)
	case dice < 965:
		w.use(m)
	case dice < 985:
		w.administer(m)
	case !w.calm && dice < 985+w.trouble:
		w.disturb(m)
	}
	w.checkMember(m)
}

// deliverSome delivers a message out of order, drops it or doubles it.
func (w *world) deliverSome() {
	if len(w.mail) == 0 {
		return
	}
	i := 0
	if w.random.IntN(3) == 0 {
		i = w.random.IntN(len(w.mail))
	}
	msg := w.mail[i]
	fate := w.random.IntN(100)
	if w.calm {
		fate = 50
	}
	if fate >= 10 {
		w.mail = append(w.mail[:i:i], w.mail[i+1:]...)
	}
	e := msg.Header()
	if fate < 15 && fate >= 10 || w.cut[[2]ID{e.From, e.To}] {
		return
	}
	err := w.deliver(msg)
	w.note("%d->%d %T%+v %v", e.From, e.To, msg, msg, err)
	if to := w.member(e.To); to != nil {
		w.checkMember(to)
	}
}

func (w *world) use(m *member) {
	w.nextID++
	if w.random.IntN(2) == 0 {
		if m.node.Read(ReadID(w.nextID)) == nil {
			w.reads[ReadID(w.nextID)] = Index(len(w.chosen))
		}
		return
	}
	data := make([][]byte, 1+w.random.IntN(3))
	for i := range data {
		data[i] = binary.AppendUvarint(make([]byte, w.random.IntN(60)), w.nextID*10+uint64(i))
	}
	if id, err := m.node.Propose(0, data...); err == nil {
		w.note("%d proposes %s", m.id, id)
	}
}

func (w *world) administer(m *member) {
	other := w.members[w.random.IntN(len(w.members))].id
	switch w.random.IntN(7) {
	case 0, 1, 2, 3:
		change := w.drawChange(m.node.configuration())
		if _, err := m.node.Change(change); err == nil {
			for _, id := range change.AddLearners {
				w.joined[id] = true
			}
			w.note("%d changes the members: %+v", m.id, change)
		}
	case 4:
		if m.node.Transfer(other) == nil {
			w.count["transfers"]++
		}
	case 5:
		if w.compacts && m.applied > 12 && !w.calm && w.everybodyHolds(m, m.applied-6) {
			w.compacted = true
			w.count["compactions"]++
			m.node.Compact(m.applied - 6)
			m.disk.compact(m.applied - 6)
		}
	case 6:
		m.node.Unreachable(other)
	}
}

// drawChange draws what may happen to each of a few nodes, new ones among them: often to one, sometimes to several in one
// step.
func (w *world) drawChange(c *Configuration) (change Membership) {
	for range 1 + w.random.IntN(3)*w.random.IntN(2) {
		id := ID(1 + w.random.IntN(len(w.members)+2))
		if slices.Contains(slices.Concat(change.AddLearners, change.Promote, change.Demote, change.Remove), id) {
			continue
		}
		if !c.Member(id) && w.compacted {
			continue // it would need entries that are gone
		}
		if w.member(id) == nil {
			if len(w.members) == mostMembers || w.calm {
				continue
			}
			id = ID(len(w.members) + 1)
			w.add(id, w.random.Uint64(), w.members[0].config, disk{}).start(w.t)
		}
		list := &change.AddLearners
		switch leaves := !w.calm && w.random.IntN(4) == 0; {
		case c.Member(id) && leaves:
			list = &change.Remove
		case c.Voter(id) && w.random.IntN(3) > 0:
			continue
		case c.Voter(id):
			list = &change.Demote
		case c.Learner(id):
			list = &change.Promote
		}
		*list = append(*list, id)
	}
	return change
}

// mostMembers is how many nodes a world may have had in the end, the removed ones included.
const mostMembers = 12

// everybodyHolds keeps compaction away from what members need: there are no snapshots in this world. Removed nodes need
// nothing.
func (w *world) everybodyHolds(by *member, index Index) bool {
	removed := by.node.configurations.at(by.node.log.commit).Configuration.Removed
	for _, m := range w.members {
		if m.applied < index && w.joined[m.id] && !contains(removed, m.id) {
			return false
		}
	}
	return true
}

func (w *world) disturb(m *member) {
	sum := 0
	for _, weight := range w.faults {
		sum += weight
	}
	kind, draw := 0, w.random.IntN(max(sum, 1))
	for kind < len(w.faults)-1 && draw >= w.faults[kind] {
		draw -= w.faults[kind]
		kind++
	}
	switch kind {
	case 0:
		w.crash(m)
	case 1: // one link, in one or both directions
		from, to := m.id, w.members[w.random.IntN(len(w.members))].id
		w.cut[[2]ID{from, to}] = true
		w.cut[[2]ID{to, from}] = w.random.IntN(2) == 0
	case 2: // one node: it hears nobody, or nobody hears it, or both
		deaf := w.random.IntN(3)
		for _, other := range w.members {
			w.cut[[2]ID{other.id, m.id}] = deaf != 1
			w.cut[[2]ID{m.id, other.id}] = deaf != 2
		}
		w.note("%d is cut off, %d", m.id, deaf)
	case 3:
		clear(w.cut)
	case 4:
		m.stalled = w.random.IntN(3) == 0
		m.node.SetFit(w.random.IntN(4) != 0)
	}
}

// crash loses everything that is not durable, and all reads.
func (w *world) crash(m *member) {
	w.count["crashes"]++
	w.note("%d crashes", m.id)
	m.node, m.stalled = nil, false
	if w.random.IntN(4) == 0 {
		w.damage(m)
	}
}

// damage takes entries that m has acknowledged from its disk, as recovery does after corruption: the log ends where it is
// readable, and acked remembers where it ended. Others must hold what is committed, and one node at a time is damaged:
// more is more than a majority can make good.
func (w *world) damage(m *member) {
	last := m.disk.log(0)
	if len(last.Configurations) == 0 {
		return
	}
	active := last.Configurations[len(last.Configurations)-1].Configuration
	if len(active.Voters) < 3 {
		return // the others are no quorum without it
	}
	for _, other := range w.members {
		behind := active.Voter(other.id) && other.disk.last().Index < Index(len(w.chosen))
		if other.disk.hard.Acked != (EntryID{}) || other != m && behind {
			return
		}
	}
	keep := max(m.applied, m.disk.base.Index) - m.disk.base.Index
	if keep >= Index(len(m.disk.entries)) {
		return
	}
	m.disk.hard.Acked = m.disk.last()
	m.disk.entries = slices.Clone(m.disk.entries[:keep+Index(w.random.IntN(len(m.disk.entries)-int(keep)))])
	w.count["damaged disks"]++
	w.note("%d is damaged: log ends at %s, acked %s", m.id, m.disk.last(), m.disk.hard.Acked)
}

// recover ends all faults and demands that the cluster serves: a leader, a write applied by every member, and a read.
func (w *world) recover() {
	w.calm = true
	clear(w.cut)
	for _, m := range w.members {
		m.stalled = false
		if m.node == nil {
			m.start(w.t)
		}
		m.node.SetFit(true)
	}
	w.settle(nil)
	for range 30 {
		w.tick(10, nil)
		if w.serves() {
			return
		}
	}
	for _, m := range w.members {
		w.t.Logf("%d: %+v", m.id, m.node.Status())
	}
	w.fail("no recovery")
}

func (w *world) serves() bool {
	leader := w.leader()
	if leader == nil {
		return false
	}
	w.nextID++
	id, err := leader.node.Propose(0, []byte("last"))
	if err != nil || leader.node.Read(ReadID(w.nextID)) != nil {
		return false
	}
	w.reads[ReadID(w.nextID)] = Index(len(w.chosen))
	before := w.count["reads"]
	w.tick(10, nil)
	for _, member := range leader.node.configuration().Members() {
		if w.member(member).applied < id.Index {
			return false
		}
	}
	return w.count["reads"] > before
}

// TestRandom runs clusters of one to five voters, and others that may join and replace them, through thousands of random
// events, and checks after each that the properties of paper fig. 3 hold, that no promise is made before it is durable, and that no
// read is stale; then that the cluster recovers. A failure names its seed, which repeats it exactly.
func TestRandom(t *testing.T) {
	total := map[string]int{}
	for seed := *firstSeed; seed < *firstSeed+*seeds; seed++ {
		w := newWorld(t, seed)
		w.note("seed %d", seed)
		for range 6_000 {
			w.step()
		}
		w.recover()
		for name, n := range w.count {
			total[name] += n
		}
	}
	t.Log(total)
	for _, name := range []string{
		"elections", "crashes", "commits", "reads", "configurations", "joint configurations", "truncations", "transfers",
		"loads", "damaged disks", "compactions",
	} {
		if *seeds >= 250 && total[name] < 25 {
			t.Errorf("only %d %s: the test does not test them", total[name], name)
		}
	}
}
