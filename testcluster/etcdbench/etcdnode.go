package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	etcd "go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

// etcdNode is one node around etcd's core, with three goroutines: the loop owns core, the append goroutine the log, the
// apply goroutine answers proposers. The loop takes everything that arrived at once, as the replica's does.
type etcdNode struct {
	id      uint64
	cluster *etcdCluster
	core    *etcd.RawNode
	storage *etcd.MemoryStorage

	mu        sync.Mutex // guards what arrived
	messages  []*raftpb.Message
	proposals []*proposal
	wake      chan struct{}

	writes *queue // of MsgStorageAppend
	// claim is held by who writes the log: the append goroutine, or the loop for a lone write.
	claim sync.Mutex
	log   *wal.WAL
	hard  raft.HardState
	seq   raft.Seq
	last  uint64 // the newest index in the log
	// streak counts the newest batches that were lone writes; the loop's own.
	streak int

	applies *queue // of MsgStorageApply

	waitMu  sync.Mutex
	waiting []*proposal // in the order of their entries, which is the order in which they are applied
}

// proposal is one that waits. Done has room for its outcome.
type proposal struct {
	data []byte
	done chan error
}

var proposals = sync.Pool{New: func() any { return &proposal{done: make(chan error, 1)} }}

func newEtcdNode(c *etcdCluster, id uint64, dir string) (*etcdNode, error) {
	log, _, err := openLog(dir, raft.ID(id))
	if err != nil {
		return nil, err
	}
	storage, err := founding()
	if err != nil {
		return nil, err
	}
	core, err := newRawNode(id, storage)
	if err != nil {
		return nil, err
	}
	return &etcdNode{
		id: id, cluster: c, core: core, storage: storage, wake: make(chan struct{}, 1), writes: newQueue(), applies: newQueue(),
		log: log, hard: raft.HardState{Term: 1}, seq: 1, last: 1,
	}, nil
}

// propose returns when data is applied.
func (n *etcdNode) propose(ctx context.Context, data []byte) error {
	p := proposals.Get().(*proposal)
	p.data = data
	n.mu.Lock()
	n.proposals = append(n.proposals, p)
	n.mu.Unlock()
	poke(n.wake)
	select {
	case err := <-p.done:
		proposals.Put(p)
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *etcdNode) receive(messages ...*raftpb.Message) {
	n.mu.Lock()
	n.messages = append(n.messages, messages...)
	n.mu.Unlock()
	poke(n.wake)
}

func poke(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

func (n *etcdNode) loop() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var messages []*raftpb.Message
	var proposed []*proposal
	for {
		ticked := false
		select {
		case <-n.cluster.stop:
			return
		case <-ticker.C:
			ticked = true
		case <-n.wake:
		}
		for again := true; again; again = n.writeLone() {
			n.mu.Lock()
			messages, n.messages = n.messages, messages[:0]
			proposed, n.proposals = n.proposals, proposed[:0]
			n.mu.Unlock()
			n.turn(messages, proposed, ticked)
			clear(messages)
			clear(proposed)
			ticked = false
		}
	}
}

// turn steps everything that arrived and carries out what the core wants.
func (n *etcdNode) turn(messages []*raftpb.Message, proposed []*proposal, ticked bool) {
	for _, m := range messages {
		_ = n.core.Step(m) // a refusal says that the message was stale
	}
	n.offer(proposed)
	if ticked {
		n.core.Tick()
	}
	for n.core.HasReady() {
		ready := n.core.Ready()
		if ready.SoftState != nil && ready.SoftState.RaftState == etcd.StateLeader {
			n.cluster.leads(n)
		}
		for _, m := range ready.Messages {
			switch m.GetTo() {
			case etcd.LocalAppendThread:
				n.writes.put(m)
			case etcd.LocalApplyThread:
				n.applies.put(m)
			default:
				n.cluster.send(m)
			}
		}
	}
}

// offer proposes all that came, as one message.
func (n *etcdNode) offer(proposed []*proposal) {
	if len(proposed) == 0 {
		return
	}
	entries := make([]*raftpb.Entry, len(proposed))
	for i, p := range proposed {
		entries[i] = &raftpb.Entry{Data: p.data}
	}
	n.waitMu.Lock()
	n.waiting = append(n.waiting, proposed...)
	n.waitMu.Unlock()
	err := n.core.Step(&raftpb.Message{Type: raftpb.MsgProp.Enum(), From: new(n.id), To: new(n.id), Entries: entries})
	if err == nil {
		return
	}
	n.waitMu.Lock()
	n.waiting = n.waiting[:len(n.waiting)-len(proposed)]
	n.waitMu.Unlock()
	for _, p := range proposed {
		p.done <- fmt.Errorf("proposing: %w", err)
	}
}

// loneStreak is the replica's.
const loneStreak = 8

// writeLone writes a lone write in the loop itself, after a streak of them: what the replica does for a lone proposer. It
// reports whether it did; else it wakes the append goroutine.
func (n *etcdNode) writeLone() bool {
	batch := n.writes.peek()
	switch lone := len(batch) == 1 && len(batch[0].GetEntries()) <= 1; {
	case len(batch) == 0:
		return false
	case !lone:
		n.streak = 0
	case n.streak < loneStreak:
		n.streak++
	case n.quiet() && n.claim.TryLock():
		defer n.claim.Unlock()
		n.write(n.writes.take(nil))
		return true
	}
	n.writes.signal()
	return false
}

// quiet reports whether nothing has arrived.
func (n *etcdNode) quiet() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.messages) == 0 && len(n.proposals) == 0
}

// applyLoop answers the proposers of what is committed.
func (n *etcdNode) applyLoop() {
	var batch []*raftpb.Message
	for {
		select {
		case <-n.cluster.stop:
			return
		case <-n.applies.wake:
		}
		batch = n.applies.take(batch[:0])
		for _, m := range batch {
			n.apply(m.GetEntries())
			n.receive(m.GetResponses()...)
		}
	}
}

func (n *etcdNode) apply(entries []*raftpb.Entry) {
	count := 0
	for _, entry := range entries {
		if entry.GetType() == raftpb.EntryNormal && len(entry.GetData()) > 0 {
			count++
		}
	}
	n.waitMu.Lock()
	count = min(count, len(n.waiting)) // on the followers nobody waits
	answered := append([]*proposal(nil), n.waiting[:count]...)
	n.waiting = append(n.waiting[:0], n.waiting[count:]...)
	n.waitMu.Unlock()
	for _, p := range answered {
		p.done <- nil
	}
}
