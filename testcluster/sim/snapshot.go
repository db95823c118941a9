package sim

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

// What a machine holds, as bytes, and what puts it in the place of what another one holds. How it travels is in transfer.go.

// restoreDelay is the mean time of an installation.
const restoreDelay = 10 * time.Millisecond

// image is the part of a machine's content whose length varies.
type image struct {
	Base  raft.Base
	Chain uint64
}

// snapshot is the content of a machine at one moment.
type snapshot struct {
	*bytes.Reader
	meta raft.SnapshotMeta
}

func (s snapshot) Meta() raft.SnapshotMeta { return s.meta }
func (s snapshot) Close() error            { return nil }

// Snapshot implements raft.Snapshotter. Equal keys and contents are at equal places, so that two snapshots have much in common.
func (m *machine) Snapshot() (raft.SnapshotReader, error) {
	b := binary.BigEndian.AppendUint64(nil, uint64(len(m.content)))
	for _, key := range slices.Sorted(maps.Keys(m.content)) {
		b = binary.BigEndian.AppendUint64(b, uint64(key))
		b = binary.BigEndian.AppendUint64(b, uint64(m.content[key]))
	}
	rest := bytes.NewBuffer(b)
	if err := gob.NewEncoder(rest).Encode(image{m.base, m.chain}); err != nil {
		return nil, err
	}
	return snapshot{bytes.NewReader(rest.Bytes()), raft.SnapshotMeta{Base: m.base, Size: int64(rest.Len())}}, nil
}

// Restore implements raft.Snapshotter. It is one durable step.
func (m *machine) Restore(meta raft.SnapshotMeta, content io.ReaderAt) error {
	from := io.NewSectionReader(content, 0, meta.Size)
	var count uint64
	if err := binary.Read(from, binary.BigEndian, &count); err != nil {
		return err
	}
	pairs := make([][2]uint64, min(count, 1<<8))
	if err := binary.Read(from, binary.BigEndian, pairs); err != nil {
		return err
	}
	var i image
	if err := gob.NewDecoder(from).Decode(&i); err != nil {
		return err
	}
	m.base, m.applied, m.chain, m.content = i.Base, i.Base.Applied, i.Chain, map[uint8]Content{}
	for _, pair := range pairs {
		m.content[uint8(pair[0])] = Content(pair[1])
	}
	m.undo, m.restored = nil, true
	m.node.world.checker.restored(m.node)
	return nil
}

// Durable implements raft.Snapshotter. The world undoes what was not durable by undo, and compacts by what is.
func (m *machine) Durable() (raft.Base, error) { m.undo = m.undo[:0]; return m.base, nil }

// Restore implements replica.Snapshots.
func (c courier) Restore(meta raft.SnapshotMeta, content io.ReaderAt) {
	n := c.node
	n.restoring = true
	n.later(n.life, exponential(n.chance, restoreDelay), func() {
		err := n.applier.Restore(meta, content)
		if err != nil {
			n.world.fail("snapshot", "node %d: %v", n.id, err)
			return
		}
		// A crash may come between the machine's step and the log's.
		n.later(n.life, exponential(n.chance, restoreDelay), func() {
			n.restoring = false
			n.handler.Restored(nil)
			n.processUnlessPaused()
			n.world.checker.installed(n, meta.Applied)
			if n.installing != nil {
				answer := n.installing
				n.installing = nil
				n.afterWrites(func() { answer(nil) })
			}
			n.apply()
			n.world.serveReads(n)
		})
	})
}

// afterWrites does something once all that was written until now is durable.
func (n *node) afterWrites(do func()) {
	if len(n.queue) == 0 && !n.busy {
		do()
		return
	}
	n.later(n.life, time.Millisecond, func() { n.afterWrites(do) })
}

// compact lets the log begin later, as far as the core allows.
func (n *node) compact(upTo raft.Index) {
	m := n.machine
	// Entries may leave the log that the machine holds durably.
	m.undo = m.undo[:0]
	index := n.handler.Compact(min(upTo, m.applied.Index))
	if err := n.log.Compact(index); err != nil && !n.disk.Dead() {
		n.world.note(n.id, "cannot compact its log: %v", err)
	}
	n.check()
}

// rebase makes the log begin after the machine's last entry.
func (n *node) rebase(log *wal.WAL, write *raft.Write) bool {
	n.world.note(n.id, "lets its log begin after %v", write.Snapshot.Applied)
	n.writing = []*raft.Write{write}
	err := log.Append(write)
	switch {
	case n.disk.Dead():
		n.end(true)
	case err != nil:
		n.disk.Kill()
		n.restartAfter(n.world.swarm.down)
	default:
		n.durable.apply(n.world, write)
		n.shadow = n.durable.clone()
		n.promised.acked = raft.EntryID{}
		n.writing = nil
		return true
	}
	return false
}

// beginning describes a log that begins after base, empty.
func beginning(base *raft.Base) raft.Log {
	return raft.Log{
		Base: base.Applied, Last: base.Applied,
		BaseConfiguration: raft.ConfigurationAt{Index: base.ConfigurationIndex, Configuration: base.Configuration},
	}
}

// installed checks the log of a node that has installed a snapshot: it holds the snapshot's last entry or begins after it.
// Another entry in its place is another history, although it may do no harm for a long time.
func (c *checker) installed(n *node, at raft.EntryID) {
	if c.world.now < n.paused {
		return // the write is still to come
	}
	c.world.counts.Checks++
	if e, found := n.shadow.at(at.Index); found && e.id != at {
		c.world.fail("log-matching", "node %d has installed a snapshot of %v and its log holds %v there", n.id, at, e.id)
	}
}

// restored checks what a machine has got: what was committed up to there, and no other.
func (c *checker) restored(n *node) {
	at := n.machine.applied
	if int(at.Index) > len(c.chosen) || c.chosen[at.Index-1].id != at || c.chosen[at.Index-1].chain != n.machine.chain {
		c.world.fail("state-machine-safety", "node %d installs a snapshot of %v, which is not what was committed", n.id, at)
	}
	if at.Index < n.commit {
		c.world.fail("monotone", "node %d installs a snapshot of %v, and has committed %d", n.id, at, n.commit)
	}
	n.commit = at.Index
	c.world.counts.Checks++
}
