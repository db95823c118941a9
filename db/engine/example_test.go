package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/rsqld/rsqld/db/command"
	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire"
)

// printer is a sink that prints rows.
type printer struct{ columns []engine.Column }

func (p *printer) Columns(columns []engine.Column) error {
	p.columns = columns
	return nil
}

func (p *printer) Row(packed []byte) error {
	rows, err := wire.DecodeRows(packed, len(p.columns), 1)
	if err == nil {
		fmt.Println(rows[0]...)
	}
	return err
}

// entry is what a leader would have put into the log.
func entry(index raft.Index, sql string) raft.Entry {
	data, err := command.Encode(&commandpb.Command{
		Version: command.Version, Time: 1_700_000_000_000_000_000, Seed: uint64(index),
		Body: &commandpb.Command_Script{Script: &commandpb.Script{Statements: []*commandpb.Statement{{Sql: sql}}}},
	})
	if err != nil {
		panic(err)
	}
	return raft.Entry{ID: raft.EntryID{Term: 1, Index: index}, Data: data}
}

// Two replicas apply the same log, in other batches. Both hold the time and the random number that the entries carry.
func Example() {
	log := []raft.Entry{
		entry(1, "create table t(at default current_timestamp, n default (abs(random() % 1000)))"),
		entry(2, "insert into t default values; insert into t default values"),
		entry(3, "insert into t select * from absent"),
		entry(4, "vacuum"),
	}
	for _, size := range []int{1, 4} {
		dir, err := os.MkdirTemp("", "engine")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		e, err := engine.Open(engine.Config{Dir: dir + "/db", Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			panic(err)
		}
		for begin := 0; begin < len(log); begin += size {
			results, err := e.Apply(log[begin : begin+size])
			if err != nil {
				panic(err)
			}
			for _, r := range results {
				if result := r.(*engine.Result); result.Err != nil && size == 1 {
					fmt.Printf("entry %d: %v\n", result.Index, result.Err)
				}
			}
		}
		if _, err := e.Query(context.Background(), "select * from t", nil, new(printer)); err != nil {
			panic(err)
		}
		fmt.Printf("%d %x\n", e.Chain().Index, e.Chain().Hash>>48)
		if err := e.Close(); err != nil {
			panic(err)
		}
	}
	// Output:
	// entry 3: no such table: absent (sqlite code 1)
	// entry 4: vacuum is not supported: it would renumber rowids on one node only; `pragma incremental_vacuum` frees pages on every node, and `rsqld backup` writes a copy
	// 2023-11-14 22:13:20 506
	// 2023-11-14 22:13:20 390
	// 4 8b55
	// 2023-11-14 22:13:20 506
	// 2023-11-14 22:13:20 390
	// 4 8b55
}
