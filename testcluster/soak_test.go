//go:build soak && !windows

package testcluster_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// soaking says whether the drills take their full time.
const soaking = true

// TestDrillBenchWithoutElection proves: full load of 64 writers causes no election.
func TestDrillBenchWithoutElection(t *testing.T) {
	nodes := trio(t)
	leader := leaderOf(t, nodes...)
	before := termOf(t, leader)
	line := bench(t, nodes[0], leader, "64", time.Minute)
	after := termOf(t, leader)
	if after != before {
		t.Errorf("term %d became %d under load\n%s", before, after, line)
	}
	report("bench_64 elections=%d term=%d %s", after-before, before, line)
}

// bench runs `rsqld bench` and returns its closing line.
func bench(t *testing.T, founder, leader *process, clients string, duration time.Duration) string {
	t.Helper()
	out, code := rsqldWithin(t, duration+patience, "", "bench", leader.address, "--cred", adminOf(founder),
		"--workload", "write", "--clients", clients, "--duration", duration.String())
	out = strings.TrimSpace(out)
	if code != 0 {
		t.Fatalf("bench exits with %d\n%s", code, out)
	}
	return out[strings.LastIndex(out, "\n")+1:]
}

// TestDrillBesideLargeFile proves: somebody who writes a large file to the same file system as fast as it goes, causes no
// election.
func TestDrillBesideLargeFile(t *testing.T) {
	nodes := trio(t)
	w := startWriters(t, 4, nodes...)
	w.awaitAcks(50)
	leader := leaderOf(t, nodes...)
	before := termOf(t, leader)
	const size, least = 1 << 30, time.Minute
	acked, begun, files := w.acked.Load(), time.Now(), 0
	for time.Since(begun) < least {
		writeLarge(t, filepath.Join(filepath.Dir(leader.data), "large"), size)
		files++
	}
	took := time.Since(begun)
	w.awaitAcks(50)
	after := termOf(t, leader)
	if after != before {
		t.Errorf("term %d became %d beside a large file", before, after)
	}
	w.finish()
	report("beside_large_file elections=%d seconds=%.0f files=%d bytes_each=%d acked=%d",
		after-before, took.Seconds(), files, size, w.acked.Load()-acked)
}

// writeLarge writes a file without a pause, syncs it and removes it.
func writeLarge(t *testing.T, name string, size int64) {
	t.Helper()
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}()
	block := make([]byte, 1<<20)
	for i := range block {
		block[i] = byte(i * i)
	}
	for written := int64(0); written < size; written += int64(len(block)) {
		if _, err := file.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Sync(); err != nil {
		t.Fatal(err)
	}
}
