package sim

import (
	"fmt"
	"slices"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/quorum"
	"github.com/rsqld/rsqld/raft/wal"
)

// checker sees all that nodes write, send, commit and apply, and compares it with what must hold. Each check costs what
// has changed, not what there is.
type checker struct {
	world *World

	// leaders has who won each term.
	leaders map[raft.Term]raft.ID
	// seen has the content of each entry that was ever written anywhere, and the entry before it.
	seen map[raft.EntryID]seenEntry
	// chosen are the entries that were committed anywhere, from index 1 on.
	chosen []chosenEntry
	// met remembers pairs of configurations whose quorums were found to intersect.
	met map[string]bool
	// values are those of all writes that were executed, in order.
	values []uint64
	// core are the nodes that the liveness phase demands life of.
	core map[raft.ID]bool
	// samples counts commits between two looks at the disks themselves.
	samples int
}

type seenEntry struct {
	hash   uint64
	before raft.EntryID
	// configuration is what it holds, if it holds one.
	configuration *raft.Configuration
}

// chosenEntry is a committed entry. term is that of the first node that said so: no leader of a later term may lack it.
type chosenEntry struct {
	shadowEntry
	term raft.Term
	// chain is the hash of all entries up to this one, as the first node that applied it has it; zero: nobody has.
	chain uint64
}

// sampleEvery is how many commits pass between two looks at what the disks really hold.
const sampleEvery = 400

func newChecker(w *World) *checker {
	return &checker{world: w, leaders: map[raft.Term]raft.ID{}, seen: map[raft.EntryID]seenEntry{}, met: map[string]bool{}}
}

// process looks at a process after something happened to it.
func (c *checker) process(n *node) {
	role, term, _ := n.handler.Role()
	if role == n.role && term == n.term {
		return
	}
	w := c.world
	w.counts.Checks++
	w.trace.mix(uint64(w.now), uint64(n.id), uint64(role), uint64(term))
	w.note(n.id, "is %v of term %d, log ends at %v, commit %d", role, term, n.shadow.last(), n.commit)
	if term < n.term {
		w.fail("monotone", "node %d goes from term %d back to %d", n.id, n.term, term)
	}
	n.role, n.term = role, term
	if role == raft.Leader {
		c.elected(n)
	}
}

// elected checks election safety and leader completeness (paper fig. 3).
func (c *checker) elected(n *node) {
	w := c.world
	w.counts.Elections++
	if other, known := c.leaders[n.term]; known && other != n.id {
		w.fail("election-safety", "nodes %d and %d lead term %d", other, n.id, n.term)
	}
	c.leaders[n.term] = n.id
	w.nemesis.elected(n)
	for i := len(c.chosen) - 1; i >= 0; i-- {
		e := &c.chosen[i]
		if e.term >= n.term {
			continue
		}
		// Log matching makes one comparison enough.
		if !n.shadow.holds(e.id) {
			w.fail("leader-completeness", "node %d leads term %d without %v, committed in term %d; its log ends at %v",
				n.id, n.term, e.id, e.term, n.shadow.last())
		}
		break
	}
}

// queued checks a write before the shadow makes it: log matching, leader append-only, nothing committed is cut, one
// open configuration.
func (c *checker) queued(n *node, write *raft.Write) {
	w := c.world
	w.counts.Checks++
	role, _, _ := n.handler.Role()
	// The role that the handler knows is older than the write if both changed at once: the term tells.
	leads := role == raft.Leader && write.HardState.Term == n.term
	if write.TruncateFrom != 0 {
		if leads && write.TruncateFrom <= n.shadow.last().Index {
			w.fail("leader-append-only", "node %d leads term %d and cuts its log at %d", n.id, n.term, write.TruncateFrom)
		}
		if write.TruncateFrom <= n.commit {
			w.fail("state-machine-safety", "node %d cuts its log at %d and has committed %d", n.id, write.TruncateFrom, n.commit)
		}
	}
	if write.HardState.Term < n.shadow.hard.Term {
		w.fail("monotone", "node %d writes term %d after %d", n.id, write.HardState.Term, n.shadow.hard.Term)
	}
	before, open := n.shadow.last(), n.shadow.configuration()
	if base := write.Snapshot; base != nil && !n.shadow.holds(base.Applied) {
		before, open = base.Applied, raft.ConfigurationAt{Index: base.ConfigurationIndex, Configuration: base.Configuration}
	}
	if from := write.TruncateFrom; from != 0 && from <= before.Index {
		before = raft.EntryID{Index: from - 1}
		if e, found := n.shadow.at(from - 1); found {
			before = e.id
		} else if from-1 == n.shadow.base.Index {
			before = n.shadow.base
		}
	}
	for i := range write.Entries {
		e := &write.Entries[i]
		c.match(n, e, before)
		before = e.ID
		if e.Kind == raft.EntryConfiguration {
			open = c.reconfigured(n, e, open, leads)
		}
	}
}

// match checks that an entry is everywhere the same and follows the same.
func (c *checker) match(n *node, e *raft.Entry, before raft.EntryID) {
	hash := mixEntry(0, e)
	old, known := c.seen[e.ID]
	switch {
	case !known:
		c.seen[e.ID] = seenEntry{hash: hash, before: before}
	case old.hash != hash:
		c.world.fail("log-matching", "node %d writes %v with another content than there was", n.id, e.ID)
	case old.before != before:
		c.world.fail("log-matching", "node %d writes %v after %v, elsewhere it follows %v", n.id, e.ID, before, old.before)
	}
}

// reconfigured checks a configuration that begins to count: its quorums meet those of the one before, and a leader has
// committed that one.
func (c *checker) reconfigured(n *node, e *raft.Entry, before raft.ConfigurationAt, leads bool) raft.ConfigurationAt {
	w := c.world
	next, err := raft.DecodeConfiguration(e.Data)
	if err != nil {
		w.fail("contiguous-writes", "entry %v holds no configuration: %v", e.ID, err)
		return before
	}
	seen := c.seen[e.ID]
	seen.configuration = &next
	c.seen[e.ID] = seen
	if leads && before.Index > n.handler.Status().Commit {
		w.fail("one-open-configuration", "node %d changes the configuration at %d, with that of %d not committed", n.id,
			e.ID.Index, before.Index)
	}
	if !before.Configuration.Empty() {
		c.meet(before.Configuration, next)
	}
	w.note(n.id, "writes configuration %v at %d", next, e.ID.Index)
	return raft.ConfigurationAt{Index: e.ID.Index, Configuration: next}
}

// meet checks that every quorum of one configuration and every quorum of the other have a node in common.
func (c *checker) meet(a, b raft.Configuration) {
	pair := fmt.Sprint(a.Voters, a.Outgoing, b.Voters, b.Outgoing)
	if c.met[pair] {
		return
	}
	c.met[pair] = true
	c.world.counts.ConfigChanges++
	all := slices.Concat(a.Voters, a.Outgoing, b.Voters, b.Outgoing)
	slices.Sort(all)
	all = slices.Compact(all)
	// If a set is a quorum of a, its complement must not be one of b.
	for set := range 1 << len(all) {
		in := func(id raft.ID) bool { i, _ := slices.BinarySearch(all, id); return set>>i&1 == 1 }
		if isQuorum(&a, in) && isQuorum(&b, func(id raft.ID) bool { return !in(id) }) {
			c.world.fail("quorums-intersect", "those of %v and %v need not", a, b)
			return
		}
	}
}

// isQuorum reports whether the nodes for which in says so can decide in a configuration.
func isQuorum(c *raft.Configuration, in func(raft.ID) bool) bool {
	return quorum.Joint[raft.ID]{Incoming: c.Voters, Outgoing: c.Outgoing}.Tally(func(id raft.ID) quorum.Answer {
		if in(id) {
			return quorum.Granted
		}
		return quorum.Refused
	}) == quorum.Won
}

// sent checks that a message promises nothing that its sender's disk does not hold, and remembers what it promises.
func (c *checker) sent(n *node, m raft.Message) {
	w, p := c.world, &n.promised
	w.counts.Checks++
	term := m.Header().Term
	switch m := m.(type) {
	case raft.Vote:
		if m.Pre {
			term--
			break
		}
		c.vote(n, m.Term, n.id)
	case raft.VoteAck:
		switch {
		case m.Pre && m.Granted:
			term = 0 // it echoes the term that was asked for, which nobody is in
		case m.Granted:
			c.vote(n, m.Term, m.To)
		}
	case raft.AppendAck:
		if !m.Rejected {
			c.acknowledged(n, m)
		}
	}
	if term > n.durable.hard.Term {
		w.fail("promises-are-durable", "node %d sends %T of term %d, and its disk holds term %d", n.id, m, term, n.durable.hard.Term)
	}
	p.term = max(p.term, term)
}

func (c *checker) vote(n *node, term raft.Term, candidate raft.ID) {
	// A disk that holds a later term forbids any other vote in this one as well.
	if hard := n.durable.hard; hard.Term < term || hard.Term == term && hard.Vote != candidate {
		c.world.fail("promises-are-durable", "node %d votes for %d in term %d, and its disk holds %+v", n.id, candidate, term, hard)
	}
	if other, voted := n.promised.votes[term]; voted && other != candidate {
		c.world.fail("promises-survive", "node %d votes for %d and for %d in term %d", n.id, other, candidate, term)
	}
	n.promised.votes[term] = candidate
}

func (c *checker) acknowledged(n *node, m raft.AppendAck) {
	if m.Term < n.durable.hard.Term {
		// What it was told in a later term, in the same write, may have cut what it acknowledges here: then this is an
		// answer that comes late.
		return
	}
	if last := n.durable.last().Index; m.Match > last {
		c.world.fail("promises-are-durable", "node %d acknowledges %d, and its disk holds entries up to %d", n.id, m.Match, last)
	}
	// What a leader counts must be its own entry: the last one of it that anybody has seen.
	if e, found := n.durable.at(m.Match); found && e.id.Compare(n.promised.acked) > 0 {
		n.promised.acked = e.id
	}
}

// written follows a write that is durable: what another leader has replaced was never committed, and is owed to nobody.
func (c *checker) written(n *node, write *raft.Write) {
	if from := write.TruncateFrom; from != 0 && from <= n.promised.acked.Index {
		n.promised.acked = raft.EntryID{}
		if e, found := n.durable.at(from - 1); found {
			n.promised.acked = e.id
		}
	}
}

// recovered checks what a process finds on its disk: everything that was done before, and what the disk was at work on
// whole or not at all.
func (c *checker) recovered(n *node, found *wal.Recovered) {
	w := c.world
	w.counts.Checks++
	if n.durable.repaired {
		// Of the hard state it is known what it must not be: a promise broken.
		n.durable.hard, n.durable.repaired = found.HardState, false
	}
	why := n.durable.differs(found.HardState, &found.Log)
	if why != "" && len(n.writing) > 0 {
		done := n.durable.clone()
		for _, write := range n.writing {
			done.apply(w, write)
		}
		writing := n.writing
		if other := done.differs(found.HardState, &found.Log); other == "" {
			n.durable, why = done, ""
			for _, write := range writing {
				c.written(n, write)
			}
		}
	}
	n.writing = nil
	if why != "" {
		w.fail("promises-survive", "node %d starts from another log than it has written: %s", n.id, why)
		return
	}
	n.shadow = n.durable.clone()
	// The whole log was read.
	n.unnoticed = false
	n.heal()
	if newest := max2(found.Log.Last, found.HardState.Acked); newest.Compare(n.promised.acked) < 0 {
		w.fail("promises-survive", "node %d has acknowledged %v and starts with a log up to %v and no memory of it", n.id,
			n.promised.acked, found.Log.Last)
	}
	if found.HardState.Term < n.promised.term {
		w.fail("promises-survive", "node %d has sent term %d and starts with %d", n.id, n.promised.term, found.HardState.Term)
	}
	if n.machine.applied.Index > found.Log.Last.Index && !n.machine.restored {
		w.fail("promises-survive", "node %d has applied %v, and its log ends at %v", n.id, n.machine.applied, found.Log.Last)
	}
}

// repaired takes over what a repair has made of a damaged log: what it keeps must be what was written.
func (c *checker) repaired(n *node, done *wal.Repaired) {
	d := &n.durable
	if len(n.writing) > 0 {
		// The repair says how much of it there is.
		for _, write := range n.writing {
			d.apply(c.world, write)
			c.written(n, write)
		}
		n.writing = nil
	}
	last := done.Last
	var again []raft.EntryID // entries that were cut once and are back, newest first: a leader cuts them again
	for last.Index > done.Base.Index && !d.holds(last) {
		e, known := c.seen[last]
		if !known {
			c.world.fail("promises-survive", "node %d repairs its log up to %v, and nobody has written %v", n.id, done.Last, last)
			return
		}
		again, last = append(again, last), e.before
	}
	d.rebase(done.Base, last)
	for _, id := range slices.Backward(again) {
		e := c.seen[id]
		d.entries = append(d.entries, shadowEntry{id, e.hash})
		if e.configuration != nil {
			d.configurations = append(d.configurations, raft.ConfigurationAt{Index: id.Index, Configuration: *e.configuration})
		}
	}
	d.hard = raft.HardState{}
	d.repaired = true
}

// committed checks what a node hands out to be applied.
func (c *checker) committed(n *node, index raft.Index) {
	w := c.world
	w.counts.Checks++
	if index <= n.commit {
		w.fail("monotone", "node %d commits %d after %d", n.id, index, n.commit)
	}
	if index > n.durable.last().Index {
		w.fail("applied-is-durable", "node %d applies %d, and its disk holds entries up to %d", n.id, index, n.durable.last().Index)
		return
	}
	for i := n.commit + 1; i <= index; i++ {
		if e, found := n.durable.at(i); found {
			c.choose(n, e)
		}
	}
	n.commit = index
	if role, term, _ := n.handler.Role(); role == raft.Leader && n.cursed == term {
		w.nemesis.firstCommit(n)
	}
}

// choose notes a committed entry: the first time it must be on the disks of a quorum, ever after be the same. A disk that
// has lost the entry since it was acknowledged counts if it remembers that: it keeps nodes from leading that lack the entry.
func (c *checker) choose(n *node, e shadowEntry) {
	w := c.world
	at := int(e.id.Index) - 1
	switch {
	case at < len(c.chosen):
		if c.chosen[at].shadowEntry != e {
			w.fail("state-machine-safety", "node %d commits %v where %v is committed", n.id, e.id, c.chosen[at].id)
		}
		return
	case at > len(c.chosen):
		w.fail("state-machine-safety", "node %d commits %v, and the newest committed index is %d", n.id, e.id, len(c.chosen))
		return
	}
	// The first to commit leads, or was told so by one that does: its term is the entry's committing term, or later.
	c.chosen = append(c.chosen, chosenEntry{shadowEntry: e, term: n.shadow.hard.Term})
	w.counts.Commits++
	held := func(id raft.ID) bool {
		disk := &w.node(id).durable
		return disk.holds(e.id) || disk.hard.Acked.Compare(e.id) >= 0
	}
	if decided := c.mayDecide(e.id.Index); !slices.ContainsFunc(decided, func(by raft.Configuration) bool { return isQuorum(&by, held) }) {
		w.fail("commit-is-durable", "node %d commits %v, which is not on the disks of a quorum of any of %v", n.id, e.id, decided)
	}
	if c.samples++; c.samples%sampleEvery == 0 {
		c.sample()
	}
}

// mayDecide returns the configurations that an entry at index may be committed by: the one before it, and any after it in
// some log, as a configuration counts from when it is appended.
func (c *checker) mayDecide(index raft.Index) (all []raft.Configuration) {
	seen := map[raft.Index]bool{}
	for _, n := range c.world.nodes {
		for i, at := range n.shadow.configurations {
			last := i+1 == len(n.shadow.configurations) || n.shadow.configurations[i+1].Index > index
			if last && !seen[at.Index] {
				seen[at.Index] = true
				all = append(all, at.Configuration)
			}
		}
	}
	return all
}

// applied checks that all state machines go the same way.
func (c *checker) applied(n *node, e *raft.Entry) {
	w := c.world
	w.counts.Checks++
	w.trace.mix(uint64(w.now), uint64(n.id), uint64(e.ID.Index), n.machine.chain)
	at := int(e.ID.Index) - 1
	switch {
	case at >= len(c.chosen) || c.chosen[at].id != e.ID || c.chosen[at].hash != mixEntry(0, e):
		w.fail("state-machine-safety", "node %d applies %v, which is not what was committed there", n.id, e.ID)
	case c.chosen[at].chain == 0:
		c.chosen[at].chain = n.machine.chain
		if e.Kind == raft.EntryCommand {
			c.values = append(c.values, decode(e.Data).value)
		}
	case c.chosen[at].chain != n.machine.chain:
		w.fail("state-machine-safety", "node %d has another content than others after %v", n.id, e.ID)
	}
}

// sample reads every disk as it is, without what is not durable on it, and compares it with what must be there.
func (c *checker) sample() {
	for _, n := range c.world.nodes {
		if n.out == "" && len(n.writing) == 0 && len(c.world.atlas.Lost(n.id)) == 0 {
			c.onDisk(n)
		}
	}
}

func (c *checker) onDisk(n *node) {
	o := n.options()
	o.Files = n.disk.Durable().Mount()
	log, found, err := wal.Open(o)
	if err != nil {
		c.world.fail("promises-are-durable", "node %d could not start from what is durable on its disk: %v", n.id, err)
		return
	}
	if why := n.durable.differs(found.HardState, &found.Log); why != "" {
		c.world.fail("promises-are-durable", "node %d would start from another log than it has written: %s", n.id, why)
	}
	if err := log.Close(); err != nil {
		c.world.fail("promises-are-durable", "closing the log of node %d: %v", n.id, err)
	}
	c.world.counts.Checks++
}

// finish checks what the clients have seen, and all disks once more.
func (c *checker) finish() {
	w := c.world
	c.sample()
	if err := w.history.CheckOnce(c.values); err != nil {
		w.fail("exactly-once", "%v", err)
	}
	if err := w.history.CheckLinearizable(c.values); err != nil {
		w.fail("linearizable", "%v", err)
	}
	w.counts.Checks += 2
}

// max2 returns the later one of two entries.
func max2(a, b raft.EntryID) raft.EntryID {
	if a.Compare(b) < 0 {
		return b
	}
	return a
}
