package sim

import (
	"encoding/binary"
	"errors"

	"github.com/rsqld/rsqld/raft"
)

// errMachine is a failure of a state machine's environment.
var errMachine = errors.New("simulated state machine: no memory")

// command is what a client wants done: key := put(value), or append(key, value).
type command struct {
	append bool
	key    uint8
	value  uint64
}

const commandSize = 10

// encode returns the command with padding, so that entries differ in size.
func (c command) encode(padding int) []byte {
	b := make([]byte, commandSize+padding)
	if c.append {
		b[0] = 1
	}
	b[1] = c.key
	binary.LittleEndian.PutUint64(b[2:], c.value)
	return b
}

func decode(b []byte) command {
	return command{append: b[0] == 1, key: b[1], value: binary.LittleEndian.Uint64(b[2:])}
}

// machine is a hash-chained map. What it has applied and not synced is an exact tail: a loss of power takes some of it,
// newest first, as with a database whose applied index is in the transaction of the rows.
type machine struct {
	node *node
	// base is how far it has come, applied the same as base.Applied, chain the hash of all entries up to there.
	base    raft.Base
	applied raft.EntryID
	chain   uint64
	content map[uint8]Content
	// restored says that it was ahead of the log for a while: a snapshot was installed.
	restored bool
	// undo leads back from the newest state to the newest durable one.
	undo []undo
}

// undo is the state before one entry.
type undo struct {
	base    raft.Base
	chain   uint64
	key     uint8
	content Content
	changed bool
}

// syncEvery is the mean number of entries between two moments at which all that was applied becomes durable.
const syncEvery = 40

func newMachine(n *node) *machine { return &machine{node: n, content: map[uint8]Content{}} }

// Apply implements raft.Machine.
func (m *machine) Apply(entries []raft.Entry) (results []raft.Result, err error) {
	n := m.node
	for i := range entries {
		if !n.world.calm && happens(n.chance, n.world.swarm.applyErrors) {
			return results, errMachine
		}
		results = append(results, m.apply(&entries[i]))
		if n.chance.IntN(syncEvery) == 0 {
			m.undo = m.undo[:0]
		}
	}
	return results, nil
}

func (m *machine) apply(e *raft.Entry) raft.Result {
	before := undo{base: m.base, chain: m.chain}
	m.applied = e.ID
	m.base.Applied = e.ID
	m.chain = mixEntry(m.chain, e)
	var result raft.Result
	switch e.Kind {
	case raft.EntryConfiguration:
		// The core has checked it.
		m.base.Configuration, _ = raft.DecodeConfiguration(e.Data)
		m.base.ConfigurationIndex = e.ID.Index
	case raft.EntryCommand:
		c := decode(e.Data)
		old := m.content[c.key]
		before.changed, before.key, before.content = true, c.key, old
		if !c.append {
			old = 0
		}
		m.content[c.key] = old.Append(c.value)
		result = m.content[c.key]
	}
	m.undo = append(m.undo, before)
	m.node.world.checker.applied(m.node, e)
	return result
}

// Base implements raft.Machine. All of it counts as durable: what a crash takes from the end is applied again.
func (m *machine) Base() (raft.Base, error) { return m.base, nil }

// crash loses what a loss of power takes.
func (m *machine) crash(power bool) {
	if !power || len(m.undo) == 0 {
		return
	}
	for keep := m.node.chance.IntN(len(m.undo) + 1); len(m.undo) > keep; {
		last := len(m.undo) - 1
		u := m.undo[last]
		m.base, m.applied, m.chain = u.base, u.base.Applied, u.chain
		if u.changed {
			m.content[u.key] = u.content
		}
		m.undo = m.undo[:last]
	}
}

// mixEntry continues a hash chain with an entry.
func mixEntry(chain uint64, e *raft.Entry) uint64 {
	h := chain
	for _, v := range [...]uint64{uint64(e.ID.Term), uint64(e.ID.Index), uint64(e.Kind), uint64(len(e.Data))} {
		h = (h ^ v) * 0x9e3779b97f4a7c15
		h ^= h >> 29
	}
	// The padding of a command is zeros: its length says all.
	for _, b := range e.Data[:min(len(e.Data), 2*commandSize)] {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return h ^ h>>32
}
