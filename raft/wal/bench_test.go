package wal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

func BenchmarkAppend(b *testing.B) {
	for _, entries := range []int{1, 64} {
		b.Run(fmt.Sprintf("entries=%d", entries), func(b *testing.B) {
			dir, err := os.MkdirTemp(".", "bench-")
			if err != nil {
				b.Fatal(err)
			}
			defer os.RemoveAll(dir)
			w, err := wal.Create(wal.Options{Dir: filepath.Join(dir, "wal"), Node: 1})
			if err != nil {
				b.Fatal(err)
			}
			next := raft.Index(1)
			b.ReportAllocs()
			for b.Loop() {
				write := &raft.Write{HardState: raft.HardState{Term: 1}}
				for range entries {
					write.Entries = append(write.Entries, entry(1, next, 100))
					next++
				}
				mustAppend(b, w, write)
			}
			closeLog(b, w)
		})
	}
}
