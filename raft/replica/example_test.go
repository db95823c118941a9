package replica_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/replica"
	"github.com/rsqld/rsqld/raft/wal"
)

// sum is a state machine: it adds up numbers. It is not durable, so it starts from nothing and replays the log.
type sum struct {
	base  raft.Base
	total int
}

func (s *sum) Base() (raft.Base, error) { return s.base, nil }

func (s *sum) Apply(entries []raft.Entry) ([]raft.Result, error) {
	results := make([]raft.Result, len(entries))
	for i, e := range entries {
		if e.Kind == raft.EntryCommand {
			s.total += int(e.Data[0])
			results[i] = s.total
		}
		s.base.Applied = e.ID
	}
	return results, nil
}

// alone is a transport without peers.
type alone struct{}

func (alone) Send(raft.Message) {}

// A cluster of one node is founded, started, and asked to add up three numbers.
func Example() {
	dir, err := os.MkdirTemp("", "replica")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	// The log of a new cluster begins with its configuration.
	options := wal.Options{Files: wal.OS(), Dir: dir, Cluster: [16]byte{1}, Node: 1}
	created, err := wal.Create(options)
	if err != nil {
		log.Fatal(err)
	}
	configuration, err := raft.Configuration{Voters: []raft.ID{1}}.AppendBinary(nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := created.Append(&raft.Write{Seq: 1, HardState: raft.HardState{Term: 1}, Entries: []raft.Entry{
		{ID: raft.EntryID{Term: 1, Index: 1}, Kind: raft.EntryConfiguration, Data: configuration},
	}}); err != nil {
		log.Fatal(err)
	}
	if err := created.Close(); err != nil {
		log.Fatal(err)
	}

	opened, recovered, err := wal.Open(options)
	if err != nil {
		log.Fatal(err)
	}
	r, err := replica.Open(replica.Config{
		ID: 1, Seed: 1, WAL: opened, Recovered: recovered, Machine: &sum{}, Transport: alone{},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()

	ctx := context.Background()
	for id, _, changed := r.Leader(); id != 1; id, _, changed = r.Leader() {
		<-changed
	}
	for _, n := range []byte{1, 2, 39} {
		applied, err := r.Propose(ctx, 0, []byte{n})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(applied.Result)
	}
	// Output:
	// 1
	// 3
	// 42
}
