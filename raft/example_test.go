package raft_test

import (
	"fmt"

	"github.com/rsqld/rsqld/raft"
)

// A cluster of one, with a slice for a durable log: the smallest driver there is.
func Example() {
	configuration, err := raft.Configuration{Voters: []raft.ID{1}}.AppendBinary(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	// Founding a cluster is writing entry 1.
	durable := []raft.Entry{{ID: raft.EntryID{Term: 1, Index: 1}, Kind: raft.EntryConfiguration, Data: configuration}}
	node, err := raft.New(raft.Config{ID: 1, Seed: 1}, raft.HardState{Term: 1}, raft.Log{
		Last: durable[0].ID,
		Runs: []raft.TermRun{{First: 1, Term: 1}},
		Configurations: []raft.ConfigurationAt{
			{Index: 1, Configuration: raft.Configuration{Voters: []raft.ID{1}}},
		},
	}, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	drive := func() {
		for ready := node.Ready(); !ready.Empty(); ready = node.Ready() {
			for _, event := range ready.Events {
				if changed, ok := event.(raft.RoleChanged); ok {
					fmt.Printf("%s of term %d: %s\n", changed.Role, changed.Term, changed.Why)
				}
			}
			if ready.Commit.Len() > 0 {
				for _, entry := range durable[ready.Commit.First-1 : ready.Commit.Last] {
					fmt.Printf("apply %s %s %q\n", entry.ID, entry.Kind, entry.Data)
				}
				node.Applied(ready.Commit.Last)
			}
			if ready.Write != nil {
				durable = append(durable, ready.Write.Entries...)
				node.Stable(ready.Write.Seq)
			}
		}
	}
	drive()
	if _, err := node.Propose(0, []byte("hello"), []byte("world")); err != nil {
		fmt.Println(err)
		return
	}
	drive()
	// Output:
	// candidate of term 2: only voter
	// leader of term 2: won election
	// apply 1/1 configuration "\x02\x01\x01\x00\x00\x00\x00"
	// apply 2/2 noop ""
	// apply 2/3 command "hello"
	// apply 2/4 command "world"
}
