package raft

import (
	"bytes"
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
	// compacts says that logs are compacted in this world. joined are the nodes that were ever added. compacted says that a log is not whole any more: then no more can be.
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

	elections, crashes, commits, answered, changes, joint, truncations, transfers, loads, damaged, compactions int
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
		joined: map[ID]bool{},
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

// checkReady checks what a node wants done: reads are not stale, leaders never cut their log.
func (w *world) checkReady(m *member, r *Ready) {
	for _, e := range r.Events {
		w.note("%d: %T%+v", m.id, e, e)
		switch e := e.(type) {
		case RoleChanged:
			if e.Role == Leader {
				w.checkLeader(m, e.Term)
			}
		case Truncated:
			w.truncations++
			if w.leaders[m.node.hard.Term] == m.id {
				w.fail("leader append-only: %d, which leads term %d, cuts its log: %+v", m.id, m.node.hard.Term, e)
			}
		case ConfigurationChanged:
			w.changes++
			if e.Configuration.Joint() {
				w.joint++
			}
			w.checkConfigurations(m.node.configurations.list)
		}
	}
	for _, read := range r.Reads {
		floor, asked := w.reads[read.ID]
		if !asked {
			w.fail("read %d answered twice or never asked", read.ID)
		}
		delete(w.reads, read.ID)
		if read.Err == nil {
			w.answered++
			if read.Index < floor {
				w.fail("stale read: %d answered with %d, but %d was committed before it began", read.ID, read.Index, floor)
			}
		}
	}
	w.loads += len(r.Load)
}

// checkConfigurations checks that the quorums of consecutive configurations intersect: that is what makes a change safe.
// And every one is valid and remembers who was removed.
func (w *world) checkConfigurations(list []ConfigurationAt) {
	for i := 1; i < len(list); i++ {
		before, after := &list[i-1].Configuration, &list[i].Configuration
		if err := after.validate(); err != nil {
			w.fail("configuration %s after %s: %v", after, before, err)
		}
		for _, id := range changed(before.Members(), before.Removed, after.Members()) {
			if !contains(after.Removed, id) {
				w.fail("configuration %s after %s: %d is forgotten", after, before, id)
			}
		}
		pair := before.String() + " then " + after.String()
		if !w.pairs[pair] && !before.Empty() {
			w.pairs[pair] = true
			if apart := disjointQuorums(before, after); apart != nil {
				w.fail("configurations %s: %v decides in one, all others in the other", pair, apart)
			}
		}
	}
}

// disjointQuorums returns a quorum of a without which b has a quorum as well, nil if there is none. It tries them all.
func disjointQuorums(a, b *Configuration) []ID {
	ids := slices.Concat(a.voters(), b.voters())
	slices.Sort(ids)
	ids = slices.Compact(ids)
	for subset := range 1 << len(ids) {
		agrees := func(side bool) func(ID) uint64 {
			return func(id ID) uint64 {
				at, _ := slices.BinarySearch(ids, id)
				if (subset>>at&1 == 1) == side {
					return 1
				}
				return 0
			}
		}
		if a.quorum().Committed(agrees(true)) == 1 && b.quorum().Committed(agrees(false)) == 1 {
			var apart []ID
			for at, id := range ids {
				if subset>>at&1 == 1 {
					apart = append(apart, id)
				}
			}
			return apart
		}
	}
	return nil
}

// checkLeader checks Election Safety and Leader Completeness.
func (w *world) checkLeader(m *member, term Term) {
	w.elections++
	if other, led := w.leaders[term]; led && other != m.id {
		w.fail("election safety: %d and %d lead term %d", other, m.id, term)
	}
	w.leaders[term] = m.id
	if len(w.chosen) > 0 {
		last := w.chosen[len(w.chosen)-1].ID
		if m.node.hard.Term > last.Term && !m.node.log.holds(last) && last.Index > m.node.log.base.Index {
			w.fail("leader completeness: %d leads term %d without committed %s", m.id, term, last)
		}
	}
}

// checkWrite checks Log Matching: an id always means the same entry after the same entry.
func (w *world) checkWrite(m *member, write *Write) {
	for _, e := range write.Entries {
		before := EntryID{}
		if at := e.ID.Index - 1; at == m.disk.base.Index {
			before = m.disk.base
		} else {
			before = m.disk.read(Range{at, at})[0].ID
		}
		seen, known := w.entries[e.ID]
		if !known {
			w.entries[e.ID] = seenEntry{e, before}
			continue
		}
		if seen.before != before || seen.entry.Kind != e.Kind || !bytes.Equal(seen.entry.Data, e.Data) {
			w.fail("log matching: %d has %s after %s, elsewhere it is after %s", m.id, e.ID, before, seen.before)
		}
	}
}

// checkSent checks that nothing is promised that a crash could take back.
func (w *world) checkSent(m *member, msg Message) {
	e := msg.Header()
	durable := m.disk.hard
	switch msg := msg.(type) {
	case Vote:
		if msg.Pre {
			return
		}
		if durable.Term < e.Term || durable.Term == e.Term && durable.Vote != m.id {
			w.fail("%d asks for votes in %d with %+v on its disk", m.id, e.Term, durable)
		}
		w.checkVote(m.id, e.Term, m.id)
		return
	case VoteAck:
		if !msg.Granted || msg.Pre {
			break
		}
		if durable.Term < e.Term || durable.Term == e.Term && durable.Vote != e.To {
			w.fail("%d votes for %d in %d with %+v on its disk", m.id, e.To, e.Term, durable)
		}
		w.checkVote(m.id, e.Term, e.To)
	case AppendAck:
		if !msg.Rejected && msg.Match > m.disk.last().Index && durable.Term == e.Term {
			w.fail("%d acknowledges %d, its disk ends at %s", m.id, msg.Match, m.disk.last())
		}
	}
	if ack, ok := msg.(VoteAck); ok && ack.Pre && ack.Granted {
		return
	}
	if durable.Term < e.Term {
		w.fail("%d sends %T of term %d with %+v on its disk", m.id, msg, e.Term, durable)
	}
}

func (w *world) checkVote(node ID, term Term, vote ID) {
	if other, voted := w.votes[promise{node, term}]; voted && other != vote {
		w.fail("%d votes for %d and %d in term %d", node, other, vote, term)
	}
	w.votes[promise{node, term}] = vote
}

// checkMember checks State Machine Safety and that a leader commits only what a quorum of disks holds.
func (w *world) checkMember(m *member) {
	for len(w.chosen) < len(m.machine) {
		w.chosen = append(w.chosen, m.machine[len(w.chosen)])
		w.commits++
	}
	if n := len(m.machine); n > 0 && !sameMachine(m.machine[max(0, n-3):], w.chosen[max(0, n-3):]) {
		w.fail("state machine safety: %d applied another entry than others up to %d", m.id, n)
	}
	if m.node == nil {
		return
	}
	checkNode(w.t, m.node)
	w.checkProgress(m)
	if n := m.node; n.role == Leader && n.ownTermCommitted() && n.configurations.at(n.log.commit).Index == n.configurations.active().Index {
		term, _ := n.log.term(n.log.commit)
		id := EntryID{term, n.log.commit}
		held := n.configuration().quorum().Committed(func(voter ID) uint64 {
			// A damaged disk has held it, and its node votes as if it did.
			if d := &w.member(voter).disk; d.holds(id) || d.hard.Acked.Compare(id) >= 0 {
				return 1
			}
			return 0
		})
		if held != 1 && id.Index > n.log.base.Index && w.newest() == m {
			w.fail("%d commits %s, which no quorum holds durably", m.id, id)
		}
	}
}

// checkProgress checks that term and commit index of one incarnation never fall, and that a leader which may change the
// configuration has one change under way at most.
func (w *world) checkProgress(m *member) {
	now := seenProgress{m.starts, m.node.hard.Term, m.node.log.commit}
	if seen := w.progress[m.id]; seen.starts == now.starts && (now.term < seen.term || now.commit < seen.commit) {
		w.fail("%d went from %+v to %+v", m.id, seen, now)
	}
	w.progress[m.id] = now
	list := m.node.configurations.list
	if open := len(list) - 2; open >= 0 && m.node.role == Leader && m.node.ownTermCommitted() && list[open].Index > now.commit {
		w.fail("%d has two configurations that are not committed: %+v", m.id, list)
	}
}

// newest returns the leader of the highest term: only its commitments are checked against disks, as the entries of a
// deposed one may have been replaced where they were not committed.
func (w *world) newest() *member { return w.leader() }

// checkNode checks the invariants that are written beside the fields.
func checkNode(t testing.TB, n *Node) {
	t.Helper()
	l := &n.log
	if !(l.base.Index <= l.applied && l.applied <= l.handed && l.handed <= l.commit && l.commit <= l.last.Index) {
		t.Fatalf("order of indexes: base %s applied %d handed %d commit %d last %s", l.base, l.applied, l.handed, l.commit, l.last)
	}
	if !(l.handed <= l.stable && l.stable <= l.written && l.written <= l.last.Index) {
		t.Fatalf("order of indexes: handed %d stable %d written %d last %s", l.handed, l.stable, l.written, l.last)
	}
	if first := l.tailFirst(); first > min(l.stable, l.commit)+1 && l.commit > l.applied && first > l.stable+1 {
		t.Fatalf("tail begins at %d, stable %d", first, l.stable)
	}
	if err := l.checkRuns(); err != nil {
		t.Fatal(err)
	}
	bytes := 0
	for i := range l.tail {
		bytes += entryBytes(&l.tail[i])
		if l.tail[i].ID.Index != l.tailFirst()+Index(i) || !l.holds(l.tail[i].ID) {
			t.Fatalf("tail entry %s", l.tail[i].ID)
		}
	}
	if bytes != l.tailBytes {
		t.Fatalf("tail has %d bytes, counted as %d", bytes, l.tailBytes)
	}
	if n.role == Leader {
		if sum := l.bytes(l.commit+1, l.last.Index); sum != n.lead.uncommitted {
			t.Fatalf("uncommitted %d bytes, counted as %d", sum, n.lead.uncommitted)
		}
	} else if len(n.lead.peers) > 0 || n.lead.transferee != 0 {
		t.Fatalf("%s has %+v", n.role, n.lead)
	}
	pending := len(n.reads.fresh) + len(n.reads.asked)
	for _, r := range n.reads.rounds {
		pending += len(r.requests)
	}
	if pending != n.reads.pending {
		t.Fatalf("%d reads are pending, counted as %d", pending, n.reads.pending)
	}
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
			w.transfers++
		}
	case 5:
		if w.compacts && m.applied > 12 && !w.calm && w.everybodyHolds(m, m.applied-6) {
			w.compacted = true
			w.compactions++
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
	w.crashes++
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
	w.damaged++
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
	before := w.answered
	w.tick(10, nil)
	for _, member := range leader.node.configuration().Members() {
		if w.member(member).applied < id.Index {
			return false
		}
	}
	return w.answered > before
}

// TestRandom runs clusters of one to five voters, and others that may join and replace them, through thousands of random events, and
// checks after each that the properties of paper fig. 3 hold, that no promise is made before it is durable, and that no
// read is stale; then that the cluster recovers. A failure names its seed, which repeats it exactly.
func TestRandom(t *testing.T) {
	var total world
	for seed := *firstSeed; seed < *firstSeed+*seeds; seed++ {
		w := newWorld(t, seed)
		w.note("seed %d", seed)
		for range 6_000 {
			w.step()
		}
		w.recover()
		total.elections += w.elections
		total.crashes += w.crashes
		total.commits += w.commits
		total.answered += w.answered
		total.changes += w.changes
		total.joint += w.joint
		total.truncations += w.truncations
		total.transfers += w.transfers
		total.loads += w.loads
		total.damaged += w.damaged
		total.compactions += w.compactions
	}
	t.Logf("elections %d, crashes %d, commits %d, reads %d, configurations %d (joint %d), truncations %d, transfers %d, loads %d, damaged disks %d, compactions %d",
		total.elections, total.crashes, total.commits, total.answered, total.changes, total.joint, total.truncations, total.transfers, total.loads, total.damaged, total.compactions)
	for name, count := range map[string]int{
		"elections": total.elections, "crashes": total.crashes, "commits": total.commits, "reads": total.answered,
		"configurations": total.changes, "joint configurations": total.joint, "truncations": total.truncations, "transfers": total.transfers, "loads": total.loads,
		"damaged disks": total.damaged, "compactions": total.compactions,
	} {
		if *seeds >= 250 && count < 25 {
			t.Errorf("only %d %s: the test does not test them", count, name)
		}
	}
}
