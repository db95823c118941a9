//go:build figures && linux

package testcluster_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/driver"
)

// TestFigureCompaction measures RSQLD_MINUTES (1) of writes of 4 KiB, which make the log outgrow what is kept of it all the
// time: how large the log gets, and how long writes take that are under way while some node drops a part of it, beside all others.
// Then it measures the start of a node with a database of RSQLD_BYTES (268435456), after SIGTERM and after kill -9.
func TestFigureCompaction(t *testing.T) {
	minutes, size := 1, 256<<20
	for name, value := range map[string]*int{"RSQLD_MINUTES": &minutes, "RSQLD_BYTES": &size} {
		if text := os.Getenv(name); text != "" {
			if _, err := fmt.Sscan(text, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	nodes := trio(t)
	leader := leaderOf(t, nodes...)
	fillCities(t, leader, size)
	leader.exec("create table load(k integer primary key, b)")
	settle(t, nodes...)

	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var writes []timed
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			mine := blobWriter(ctx, t, nodes[i%len(nodes)])
			mu.Lock()
			defer mu.Unlock()
			writes = append(writes, mine...)
		})
	}
	watch := logWatch{nodes: nodes, seen: make(map[string]bool)}
	group.Go(func() { watch.run(ctx) })
	began := time.Now()
	<-time.After(time.Duration(minutes) * time.Minute)
	cancel()
	group.Wait()
	watch.report(writes, time.Since(began))

	follower := except(nodes, leader)[0]
	bytes := follower.value("select page_count * 4096 from pragma_page_count").(int64)
	for _, how := range []string{"term", "kill"} {
		var times []time.Duration
		for range 5 {
			if how == "term" {
				follower.stop()
			} else {
				follower.kill()
			}
			began := time.Now()
			follower.launch()
			follower.await()
			times = append(times, time.Since(began))
		}
		slices.Sort(times)
		fmt.Printf("figure=restart after=%s database_MB=%d median=%v max=%v\n", how, bytes>>20, quantile(times, 0.5), times[len(times)-1])
	}
}

// timed is a write.
type timed struct {
	end  time.Time
	took time.Duration
}

// blobWriter replaces rows of a table of a bounded size until ctx ends.
func blobWriter(ctx context.Context, t *testing.T, p *process) (writes []timed) {
	blob := make([]byte, 4096)
	err := withConn(ctx, p.config(), func(conn *driver.Conn) error {
		for {
			began := time.Now()
			_, err := query(ctx, conn, driver.LevelSession, "insert or replace into load values(?, ?)", rand.Int64N(20_000), blob)
			if err != nil {
				return err
			}
			writes = append(writes, timed{time.Now(), time.Since(began)})
		}
	})
	if ctx.Err() == nil {
		t.Errorf("writing through %s: %v", p.name, err)
	}
	return writes
}

// logWatch looks at the logs of nodes.
type logWatch struct {
	nodes []*process
	seen  map[string]bool
	// compactions are when a part of a log was found gone, most the largest log.
	compactions []time.Time
	most        int64
}

// lookEvery is the time between two looks: a compaction happened at most so long before it is seen.
const lookEvery = 20 * time.Millisecond

func (w *logWatch) run(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := make(map[string]bool)
		for _, p := range w.nodes {
			size := int64(0)
			files, _ := os.ReadDir(filepath.Join(p.data, "wal")) // one that goes away meanwhile is not there
			for _, f := range files {
				if info, err := f.Info(); err == nil && strings.HasSuffix(f.Name(), ".wal") {
					now[p.name+"/"+f.Name()] = true
					size += info.Size()
				}
			}
			w.most = max(w.most, size)
		}
		for name := range w.seen {
			if !now[name] {
				w.compactions = append(w.compactions, time.Now())
				break
			}
		}
		w.seen = now
	}
}

// report compares the writes that were under way within a quarter of a second of a compaction with all others.
func (w *logWatch) report(writes []timed, took time.Duration) {
	const near = 250 * time.Millisecond
	var beside, apart []time.Duration
	slow := [2]int{}
	for _, write := range writes {
		at, _ := slices.BinarySearchFunc(w.compactions, write.end.Add(-write.took-near), time.Time.Compare)
		isNear := at < len(w.compactions) && w.compactions[at].Before(write.end.Add(near))
		which := 0
		if isNear {
			beside, which = append(beside, write.took), 1
		} else {
			apart = append(apart, write.took)
		}
		if write.took > 50*time.Millisecond {
			slow[which]++
		}
	}
	slices.Sort(beside)
	slices.Sort(apart)
	for name, times := range map[string][]time.Duration{"beside": beside, "apart": apart} {
		if len(times) == 0 {
			continue
		}
		fmt.Printf("figure=compaction writes=%s count=%d median=%v p99=%v p999=%v max=%v\n", name, len(times), quantile(times, 0.5), quantile(times, 0.99),
			quantile(times, 0.999), times[len(times)-1])
	}
	fmt.Printf("figure=compaction seconds=%.0f writes_per_second=%.0f compactions=%d log_MB_most=%d over_50ms_beside=%d_of_%d over_50ms_apart=%d_of_%d\n", took.Seconds(),
		float64(len(writes))/took.Seconds(), len(w.compactions), w.most>>20, slow[1], len(beside), slow[0], len(apart))
}
