package snapshot_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
	"github.com/rsqld/rsqld/snapshot"
)

// A database is copied as it is at one raft entry, and arrives chunk by chunk.
func Example() {
	dir, err := os.MkdirTemp("", "snapshot")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	conn, err := sqlite.Open(filepath.Join(dir, "main.sqlite"), sqlite.WriterOptions(sqlite.NewClock()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Exec("create table t(a); insert into t values('kept')"); err != nil {
		log.Fatal(err)
	}

	image, err := snapshot.Take(context.Background(), conn, dir, [16]byte{}, func() (raft.Base, error) {
		return raft.Base{Applied: raft.EntryID{Term: 1, Index: 2}}, nil
	})
	if err != nil {
		log.Fatal(err)
	}
	defer image.Close()
	arrivals, err := snapshot.OpenArrivals(wal.OS(), dir)
	if err != nil {
		log.Fatal(err)
	}
	in, err := arrivals.Receive(*image.Manifest())
	if err != nil {
		log.Fatal(err)
	}
	defer in.Close()
	for _, chunk := range in.Lacks() {
		offset, length := image.Manifest().Extent(chunk)
		b := make([]byte, length)
		if _, err := image.ReadAt(b, offset); err != nil {
			log.Fatal(err)
		}
		if err := in.Put(context.Background(), chunk, nil, b); err != nil {
			log.Fatal(err)
		}
	}
	if err := in.Finish(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("a copy as of", in.Meta().Applied, "in", len(in.Manifest().Chunks), "chunk")
	// Output: a copy as of 1/2 in 1 chunk
}
