package main

import (
	"fmt"
	"sync"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/rsqld/rsqld/raft"
)

// queue holds messages for a goroutine that takes all at once.
type queue struct {
	wake chan struct{}
	mu   sync.Mutex
	held []*raftpb.Message
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

func (q *queue) signal() { poke(q.wake) }

func (q *queue) put(m *raftpb.Message) {
	q.mu.Lock()
	q.held = append(q.held, m)
	q.mu.Unlock()
	if m.GetType() == raftpb.MsgStorageApply {
		q.signal() // the append goroutine is woken at the end of the turn
	}
}

// peek returns what is held, for the loop alone to look at.
func (q *queue) peek() []*raftpb.Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.held
}

// take appends what is held to into.
func (q *queue) take(into []*raftpb.Message) []*raftpb.Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	into = append(into, q.held...)
	clear(q.held)
	q.held = q.held[:0]
	return into
}

// appendLoop is the append goroutine: all that waits is one record and one sync.
func (n *etcdNode) appendLoop() {
	var batch []*raftpb.Message
	for {
		select {
		case <-n.cluster.stop:
			return
		case <-n.writes.wake:
		}
		n.claim.Lock()
		batch = n.writes.take(batch[:0])
		n.write(batch)
		n.claim.Unlock()
	}
}

// keptEntries is how many entries the storage keeps for peers that lag. It is trimmed when twice as many are there.
const keptEntries = 10_000

// write makes a batch durable and delivers its responses. It needs claim. A commit index alone is not written, as the
// replica does not write one.
func (n *etcdNode) write(batch []*raftpb.Message) {
	var writes []*raft.Write
	for _, m := range batch {
		if w := n.convert(m); w != nil {
			writes = append(writes, w)
		}
	}
	err := n.log.Append(writes...)
	for _, m := range batch {
		if err == nil {
			err = n.store(m)
		}
	}
	if err != nil {
		panic(fmt.Sprintf("etcd's node %d: writing: %v", n.id, err)) // a benchmark goes on after no failure
	}
	var own []*raftpb.Message
	for _, m := range batch {
		for _, response := range m.GetResponses() {
			if response.GetTo() == n.id {
				own = append(own, response)
			} else {
				n.cluster.send(response)
			}
		}
	}
	n.receive(own...)
}

// convert returns the write that a message asks for, or nil.
func (n *etcdNode) convert(m *raftpb.Message) *raft.Write {
	hard := n.hard
	if m.Term != nil {
		hard = raft.HardState{Term: raft.Term(m.GetTerm()), Vote: raft.ID(m.GetVote())}
	}
	if len(m.GetEntries()) == 0 && hard == n.hard {
		return nil
	}
	n.seq++
	n.hard = hard
	w := &raft.Write{Seq: n.seq, HardState: hard, Entries: make([]raft.Entry, len(m.GetEntries()))}
	for i, entry := range m.GetEntries() {
		kind := raft.EntryCommand
		if len(entry.GetData()) == 0 {
			kind = raft.EntryNoop
		}
		id := raft.EntryID{Term: raft.Term(entry.GetTerm()), Index: raft.Index(entry.GetIndex())}
		w.Entries[i] = raft.Entry{ID: id, Kind: kind, Data: entry.GetData()}
	}
	if len(w.Entries) > 0 {
		if first := w.Entries[0].ID.Index; uint64(first) <= n.last {
			w.TruncateFrom = first
		}
		n.last = uint64(w.Entries[len(w.Entries)-1].ID.Index)
	}
	return w
}

// store shows the core what is durable.
func (n *etcdNode) store(m *raftpb.Message) error {
	if m.Term != nil {
		err := n.storage.SetHardState(&raftpb.HardState{Term: m.Term, Vote: m.Vote, Commit: m.Commit})
		if err != nil {
			return err
		}
	}
	if err := n.storage.Append(m.GetEntries()); err != nil {
		return err
	}
	first, err := n.storage.FirstIndex()
	if err != nil || n.last < first+2*keptEntries {
		return err
	}
	return n.storage.Compact(n.last - keptEntries)
}
