package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"path/filepath"
	"sync"
	"time"

	etcd "go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// The same as the replica's: T/15, T/3 and T of 150 ms.
const (
	tick           = 10 * time.Millisecond
	electionTicks  = 15
	heartbeatTicks = 5
)

// etcdCluster is three of etcd's nodes.
type etcdCluster struct {
	nodes map[uint64]*etcdNode
	stop  chan struct{}
	group sync.WaitGroup
	// leader is the first one that there is; leading is closed then.
	leader  *etcdNode
	leading chan struct{}
	once    sync.Once
}

func startEtcd(ctx context.Context, dir string) (cluster, error) {
	c := &etcdCluster{nodes: make(map[uint64]*etcdNode), stop: make(chan struct{}), leading: make(chan struct{})}
	for _, id := range voters {
		n, err := newEtcdNode(c, uint64(id), filepath.Join(dir, fmt.Sprint(id)))
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.nodes[n.id] = n
	}
	for _, n := range c.nodes {
		c.group.Go(n.loop)
		c.group.Go(n.appendLoop)
		c.group.Go(n.applyLoop)
	}
	ctx, cancel := context.WithTimeout(ctx, electionTimeout)
	defer cancel()
	select {
	case <-c.leading:
		return c, nil
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("waiting for a leader: %w", ctx.Err()), c.Close())
	}
}

// leads notes the first leader.
func (c *etcdCluster) leads(n *etcdNode) {
	c.once.Do(func() {
		c.leader = n
		close(c.leading)
	})
}

// send hands a message to its receiver.
func (c *etcdCluster) send(m *raftpb.Message) { c.nodes[m.GetTo()].receive(m) }

func (c *etcdCluster) Propose(ctx context.Context, data []byte) error {
	return c.leader.propose(ctx, data)
}

func (c *etcdCluster) Close() error {
	close(c.stop)
	c.group.Wait()
	var errs []error
	for _, n := range c.nodes {
		errs = append(errs, n.log.Close())
	}
	return errors.Join(errs...)
}

// newRawNode makes etcd's core with the limits of the replica's.
func newRawNode(id uint64, storage *etcd.MemoryStorage) (*etcd.RawNode, error) {
	return etcd.NewRawNode(&etcd.Config{
		ID: id, ElectionTick: electionTicks, HeartbeatTick: heartbeatTicks, Storage: storage, Applied: 1,
		AsyncStorageWrites: true, MaxSizePerMsg: 1 << 20, MaxCommittedSizePerReady: 4 << 20,
		MaxUncommittedEntriesSize: 64 << 20, MaxInflightMsgs: 256, MaxInflightBytes: 8 << 20,
		CheckQuorum: true, PreVote: true, Logger: &etcd.DefaultLogger{Logger: log.New(io.Discard, "", 0)},
	})
}

// founding is the storage of a node of a founded cluster: its configuration stands at index 1.
func founding() (*etcd.MemoryStorage, error) {
	var ids []uint64
	for _, id := range voters {
		ids = append(ids, uint64(id))
	}
	storage := etcd.NewMemoryStorage()
	return storage, errors.Join(
		storage.ApplySnapshot(&raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
			ConfState: &raftpb.ConfState{Voters: ids}, Index: new(uint64(1)), Term: new(uint64(1)),
		}}),
		storage.SetHardState(&raftpb.HardState{Term: new(uint64(1)), Vote: new(uint64(0)), Commit: new(uint64(1))}),
	)
}
