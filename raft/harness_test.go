package raft

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// disk is what survives a crash: the hard state and the log as the completed writes made them.
type disk struct {
	hard    HardState
	base    EntryID
	baseCfg ConfigurationAt
	entries []Entry
}

func (d *disk) last() EntryID {
	if len(d.entries) == 0 {
		return d.base
	}
	return d.entries[len(d.entries)-1].ID
}

func (d *disk) holds(id EntryID) bool {
	if id.Index <= d.base.Index {
		return true
	}
	at := int(id.Index - d.base.Index - 1)
	return at < len(d.entries) && d.entries[at].ID == id
}

func (d *disk) write(w *Write) {
	d.hard = w.HardState
	if b := w.Snapshot; b != nil && !(d.holds(b.Applied) && d.last().Index >= b.Applied.Index) {
		d.base, d.entries = b.Applied, nil
		d.baseCfg = ConfigurationAt{b.ConfigurationIndex, b.Configuration}
	}
	if w.TruncateFrom != 0 {
		d.entries = slices.Clone(d.entries[:w.TruncateFrom-d.base.Index-1])
	}
	for _, e := range w.Entries {
		if e.ID.Index != d.last().Index+1 {
			panic(fmt.Sprintf("write of %s after %s", e.ID, d.last()))
		}
		d.entries = append(d.entries, e)
	}
}

func (d *disk) read(r Range) []Entry {
	if r.First <= d.base.Index {
		return nil
	}
	return d.entries[r.First-d.base.Index-1 : r.Last-d.base.Index]
}

func (d *disk) compact(index Index) {
	if index <= d.base.Index {
		return
	}
	for _, c := range d.log(0).Configurations {
		if c.Index <= index {
			d.baseCfg = c
		}
	}
	kept := d.read(Range{index + 1, d.last().Index})
	d.base = d.entries[index-d.base.Index-1].ID
	d.entries = slices.Clone(kept)
}

// log is what recovery reads from the disk, with at most tail entries in memory.
func (d *disk) log(tail int) Log {
	l := Log{Base: d.base, BaseConfiguration: d.baseCfg, Last: d.last()}
	term := d.base.Term
	for i, e := range d.entries {
		if i == 0 || e.ID.Term != term {
			l.Runs = append(l.Runs, TermRun{e.ID.Index, e.ID.Term})
			term = e.ID.Term
		}
		if e.Kind == EntryConfiguration {
			c, err := DecodeConfiguration(e.Data)
			if err != nil {
				panic(err)
			}
			l.Configurations = append(l.Configurations, ConfigurationAt{e.ID.Index, c})
		}
	}
	l.Tail = d.entries[max(0, len(d.entries)-tail):]
	return l
}

// member is one node with its disk, its state machine and its mail.
type member struct {
	id      ID
	config  Config
	node    *Node // nil while crashed
	disk    disk
	writes  []*Write // on their way to the disk
	waiting []AfterWrite
	stable  Seq
	stalled bool // the disk completes nothing
	applied Index
	machine []Entry // what was applied, from index 1 on
	// arriving is the snapshot that is being installed.
	arriving Base
	reads    []ReadResult
	events   []Event
	starts   uint64
}

// start recovers the node from its disk.
func (m *member) start(t testing.TB) {
	m.starts++
	m.config.Seed += m.starts << 32
	m.writes, m.waiting, m.stable, m.reads, m.events = nil, nil, 0, nil, nil
	node, err := New(m.config, m.disk.hard, m.disk.log(4), m.applied)
	if err != nil {
		t.Fatalf("node %d: %v", m.id, err)
	}
	m.node = node
}

// base returns where the state machine stands.
func (m *member) base() Base {
	b := Base{ConfigurationIndex: m.disk.baseCfg.Index, Configuration: m.disk.baseCfg.Configuration}
	for _, e := range m.machine {
		b.Applied = e.ID
		if e.Kind == EntryConfiguration {
			b.ConfigurationIndex = e.ID.Index
			b.Configuration, _ = DecodeConfiguration(e.Data)
		}
	}
	return b
}

// installed puts the snapshot that arrives in the place of the state machine, whose entries before it are not known then.
func (m *member) installed() {
	m.applied = m.arriving.Applied.Index
	m.node.Installed(true)
}

// cluster is a set of members and the messages between them.
type cluster struct {
	t       testing.TB
	members []*member
	mail    []Message
	// watch is called for each Ready before it is carried out, and for each message that leaves.
	ready func(*member, *Ready)
	sent  func(*member, Message)
	wrote func(*member, *Write)
}

// found returns the disk of a member of a cluster of voters and learners: entry 1 is the configuration.
func found(c Configuration) disk {
	data, err := c.AppendBinary(nil)
	if err != nil {
		panic(err)
	}
	return disk{hard: HardState{Term: 1}, entries: []Entry{{EntryID{1, 1}, EntryConfiguration, data}}}
}

func newCluster(t testing.TB, seed uint64, limits Config, c Configuration) *cluster {
	cl := &cluster{t: t}
	for _, id := range c.Members() {
		cl.add(id, seed, limits, found(c)).start(t)
	}
	return cl
}

func (c *cluster) add(id ID, seed uint64, limits Config, d disk) *member {
	limits.ID, limits.Seed = id, seed+uint64(id)
	m := &member{id: id, config: limits, disk: d}
	c.members = append(c.members, m)
	return m
}

func (c *cluster) member(id ID) *member {
	for _, m := range c.members {
		if m.id == id {
			return m
		}
	}
	return nil
}

func (c *cluster) leader() *member {
	var leader *member
	for _, m := range c.members {
		if m.node != nil && m.node.role == Leader && (leader == nil || m.node.hard.Term > leader.node.hard.Term) {
			leader = m
		}
	}
	return leader
}

// process carries out one Ready of m, leaving its write in flight. It reports whether there was anything to do.
func (c *cluster) process(m *member) bool {
	r := m.node.Ready()
	if r.Empty() {
		return false
	}
	if c.ready != nil {
		c.ready(m, &r)
	}
	if r.Write != nil {
		m.writes = append(m.writes, r.Write)
	}
	for _, msg := range r.Send {
		c.send(m, msg)
	}
	m.waiting = append(m.waiting, r.SendAt...)
	m.apply(c.t, r.Commit)
	m.reads = append(m.reads, r.Reads...)
	m.events = append(m.events, r.Events...)
	for _, load := range r.Load {
		entries, size := m.disk.read(load.Range), 0
		for i := range entries {
			if size += entryBytes(&entries[i]); i > 0 && size > load.MaxBytes {
				entries = entries[:i]
				break
			}
		}
		m.node.Loaded(load, entries)
	}
	return true
}

func (c *cluster) send(m *member, msg Message) {
	if c.sent != nil {
		c.sent(m, msg)
	}
	c.mail = append(c.mail, msg)
}

// apply runs committed entries through the state machine, which is durable at once. They come from the disk.
func (m *member) apply(t testing.TB, r Range) {
	if r.Len() == 0 {
		return
	}
	if r.First != m.applied+1 || r.Last > m.disk.last().Index {
		t.Fatalf("node %d: told to apply %s after %d with a disk that ends at %s", m.id, r, m.applied, m.disk.last())
	}
	m.machine = append(m.machine, m.disk.read(r)...)
	m.applied = r.Last
	m.node.Applied(r.Last)
}

// finish completes the oldest write of m, if its disk moves.
func (c *cluster) finish(m *member) bool {
	if len(m.writes) == 0 || m.stalled {
		return false
	}
	w := m.writes[0]
	m.writes = m.writes[1:]
	m.disk.write(w)
	m.stable = w.Seq
	if c.wrote != nil {
		c.wrote(m, w)
	}
	m.node.Stable(w.Seq)
	for len(m.waiting) > 0 && m.waiting[0].Seq <= m.stable {
		c.send(m, m.waiting[0].Message)
		m.waiting = m.waiting[1:]
	}
	return true
}

// deliver steps msg into its receiver.
func (c *cluster) deliver(msg Message) error {
	m := c.member(msg.Header().To)
	if m == nil || m.node == nil {
		return nil
	}
	return m.node.Step(msg)
}

// settle runs all members and delivers all mail until nothing moves. lost says which messages are lost.
func (c *cluster) settle(lost func(Message) bool) {
	for range 10_000 {
		moved := false
		for _, m := range c.members {
			if m.node != nil {
				for c.process(m) || c.finish(m) {
					moved = true
				}
			}
		}
		mail := c.mail
		c.mail = nil
		for _, msg := range mail {
			moved = true
			if lost == nil || !lost(msg) {
				_ = c.deliver(msg) // stale messages are part of every trace
			}
		}
		if !moved {
			return
		}
	}
	c.t.Fatal("the cluster does not come to rest")
}

// tick lets time pass for all members alike.
func (c *cluster) tick(ticks int, lost func(Message) bool) {
	for range ticks {
		for _, m := range c.members {
			if m.node != nil {
				m.node.Tick()
			}
		}
		c.settle(lost)
	}
}

// elect makes id campaign by letting its election timer fire, and settles.
func (c *cluster) elect(id ID) {
	c.timeout(id)
	c.settle(nil)
	if m := c.member(id); m.node.role != Leader {
		c.t.Fatalf("node %d is %s, want leader", id, m.node.role)
	}
}

func (c *cluster) timeout(id ID) {
	n := c.member(id).node
	n.elapsed = n.timeout - 1
	for _, m := range c.members {
		if m.node != nil && m.node.role != Leader {
			m.node.contact = max(m.node.contact, m.node.config.ElectionTicks)
		}
	}
	n.Tick()
}

func sameMachine(a, b []Entry) bool {
	n := min(len(a), len(b))
	return slices.EqualFunc(a[:n], b[:n], func(a, b Entry) bool {
		return a.ID == b.ID && a.Kind == b.Kind && bytes.Equal(a.Data, b.Data)
	})
}

func voters(ids ...ID) Configuration { return Configuration{Voters: ids} }
