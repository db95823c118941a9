package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/replica"
	"github.com/rsqld/rsqld/raft/wal"
)

// idle is a state machine that does nothing.
type idle struct{}

func (idle) Base() (raft.Base, error) { return raft.Base{}, nil }

func (idle) Apply(entries []raft.Entry) ([]raft.Result, error) {
	return make([]raft.Result, len(entries)), nil
}

// voters are the three of both clusters.
var voters = []raft.ID{1, 2, 3}

// electionTimeout bounds the wait for the first leader.
const electionTimeout = 10 * time.Second

// ours is three replicas of package raft/replica.
type ours struct {
	replicas map[raft.ID]*replica.Replica
	// settled is replicas once all have started; until then messages are lost.
	settled atomic.Pointer[map[raft.ID]*replica.Replica]
	leader  *replica.Replica
}

// Send implements raft.Transport.
func (c *ours) Send(m raft.Message) {
	if all := c.settled.Load(); all != nil {
		(*all)[m.Header().To].Step(m)
	}
}

func startOurs(ctx context.Context, dir string) (cluster, error) {
	c := &ours{replicas: make(map[raft.ID]*replica.Replica)}
	for _, id := range voters {
		log, recovered, err := openLog(filepath.Join(dir, fmt.Sprint(id)), id)
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		r, err := replica.Open(replica.Config{ID: id, Seed: uint64(id), WAL: log, Recovered: recovered, Machine: idle{}, Transport: c})
		if err != nil {
			return nil, errors.Join(err, log.Close(), c.Close())
		}
		c.replicas[id] = r
	}
	c.settled.Store(&c.replicas)
	if err := c.awaitLeader(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *ours) awaitLeader(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, electionTimeout)
	defer cancel()
	for {
		id, _, changed := c.replicas[1].Leader()
		if id != 0 {
			c.leader = c.replicas[id]
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("waiting for a leader: %w", ctx.Err())
		}
	}
}

func (c *ours) Propose(ctx context.Context, data []byte) error {
	_, err := c.leader.Propose(ctx, 0, data)
	return err
}

func (c *ours) Close() error {
	var errs []error
	for _, r := range c.replicas {
		errs = append(errs, r.Close())
	}
	return errors.Join(errs...)
}

// openLog makes a log that begins with the configuration of the three voters, and opens it.
func openLog(dir string, id raft.ID) (*wal.WAL, wal.Recovered, error) {
	options := wal.Options{Files: wal.OS(), Dir: dir, Cluster: [16]byte{1}, Node: id, Seed: uint64(id)}
	configuration, err := raft.Configuration{Voters: voters}.AppendBinary(nil)
	if err != nil {
		return nil, wal.Recovered{}, err
	}
	log, err := wal.Create(options)
	if err != nil {
		return nil, wal.Recovered{}, err
	}
	err = log.Append(&raft.Write{Seq: 1, HardState: raft.HardState{Term: 1}, Entries: []raft.Entry{
		{ID: raft.EntryID{Term: 1, Index: 1}, Kind: raft.EntryConfiguration, Data: configuration},
	}})
	if err := errors.Join(err, log.Close()); err != nil {
		return nil, wal.Recovered{}, err
	}
	return wal.Open(options)
}
