package wal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

// benchDir is a directory on the disk of the source tree: the temporary directory may be in memory.
func benchDir(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp(".", "bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			b.Error(err)
		}
	})
	return filepath.Join(dir, "wal")
}

func BenchmarkAppend(b *testing.B) {
	for _, entries := range []int{1, 64} {
		b.Run(fmt.Sprintf("entries=%d", entries), func(b *testing.B) {
			w, err := wal.Create(wal.Options{Dir: benchDir(b), Node: 1})
			if err != nil {
				b.Fatal(err)
			}
			next, data := raft.Index(1), make([]byte, 100)
			write := &raft.Write{HardState: raft.HardState{Term: 1}, Entries: make([]raft.Entry, entries)}
			b.ReportAllocs()
			for b.Loop() {
				for i := range write.Entries {
					write.Entries[i] = raft.Entry{ID: raft.EntryID{Term: 1, Index: next}, Data: data}
					next++
				}
				mustAppend(b, w, write)
			}
			closeLog(b, w)
		})
	}
}

// BenchmarkCreate is what the first start of a node waits for.
func BenchmarkCreate(b *testing.B) {
	dir := benchDir(b)
	for n := 0; b.Loop(); n++ {
		w, err := wal.Create(wal.Options{Dir: filepath.Join(filepath.Dir(dir), fmt.Sprint(n)), Node: 1})
		if err != nil {
			b.Fatal(err)
		}
		closeLog(b, w)
	}
}

// BenchmarkOpen is what a restart waits for, with 64 MiB of log.
func BenchmarkOpen(b *testing.B) {
	o := wal.Options{Dir: benchDir(b), Node: 1}
	w, err := wal.Create(o)
	if err != nil {
		b.Fatal(err)
	}
	if err := appendMany(w, 1, 64, 1<<20); err != nil {
		b.Fatal(err)
	}
	closeLog(b, w)
	for b.Loop() {
		w, _, err := wal.Open(o)
		if err != nil {
			b.Fatal(err)
		}
		closeLog(b, w)
	}
}

// BenchmarkEntries reads 1 MiB of entries from the cache and from the disk.
func BenchmarkEntries(b *testing.B) {
	o := wal.Options{Dir: benchDir(b), Node: 1, CacheBytes: 4 << 20}
	w, err := wal.Create(o)
	if err != nil {
		b.Fatal(err)
	}
	if err := appendMany(w, 1, 100, 100<<10); err != nil {
		b.Fatal(err)
	}
	for what, first := range map[string]raft.Index{"cache": 85, "disk": 1} {
		b.Run(what, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.Entries(first, 100, 1<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	closeLog(b, w)
}
