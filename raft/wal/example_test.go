package wal_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

// A log keeps entries, term and vote across a restart.
func Example() {
	dir, err := os.MkdirTemp("", "wal-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	options := wal.Options{Dir: filepath.Join(dir, "wal"), Node: 1, SegmentSize: 64 << 10}
	log, err := wal.Create(options)
	if err != nil {
		panic(err)
	}
	err = log.Append(&raft.Write{HardState: raft.HardState{Term: 1, Vote: 1}, Entries: []raft.Entry{
		{ID: raft.EntryID{Term: 1, Index: 1}, Data: []byte("hello")},
	}})
	if err != nil {
		panic(err)
	}
	if err := log.Close(); err != nil {
		panic(err)
	}
	log, recovered, err := wal.Open(options)
	if err != nil {
		panic(err)
	}
	entries, err := log.Entries(1, 1, 1<<20)
	if err != nil {
		panic(err)
	}
	fmt.Println(recovered.HardState.Vote, recovered.Log.Last, string(entries[0].Data))
	fmt.Println(log.Close())
	// Output:
	// 1 1/1 hello
	// <nil>
}
