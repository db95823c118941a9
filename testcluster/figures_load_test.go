//go:build figures

package testcluster_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/driver"
)

// TestFigureImport measures how long the shell takes to import a CSV file through a follower. RSQLD_CSV names the file;
// without it one of 170,000 rows of six columns is made.
func TestFigureImport(t *testing.T) {
	file := os.Getenv("RSQLD_CSV")
	if file == "" {
		file = filepath.Join(t.TempDir(), "cities.csv")
		text := []byte("name,lat,lng,country,admin1,admin2\n")
		for i := range 170_000 {
			text = fmt.Appendf(text, "\"Place, number %d\",%d.%05d,%d.%05d,XX,%02d,\n", i, i%90, i, i%180, i, i%37)
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	nodes := trio(t)
	follower := except(nodes, leaderOf(t, nodes...))[0]
	for round := range 3 {
		table := fmt.Sprint("cities", round)
		began := time.Now()
		out, code := rsqldWithin(t, 20*patience, "", "sql", follower.address, "--cred", adminOf(follower), "-c", ".import --csv "+file+" "+table)
		took := time.Since(began)
		if code != 0 {
			t.Fatalf("import exits with %d:\n%s", code, out)
		}
		rows := follower.value("select count(*) from " + table).(int64)
		began = time.Now()
		for _, p := range nodes {
			p.eventuallyValue(rows, "select count(*) from "+table)
		}
		fmt.Printf("figure=import rows=%d seconds=%.2f rows_per_second=%.0f others_after=%v\n", rows, took.Seconds(),
			float64(rows)/took.Seconds(), time.Since(began).Round(time.Millisecond))
	}
}

// latencies are the times that writes took, from several writers.
type latencies struct {
	mu    sync.Mutex
	times []time.Duration
}

func (l *latencies) add(took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.times = append(l.times, took)
}

// take returns what was added since the last call, sorted.
func (l *latencies) take() []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	times := l.times
	l.times = nil
	slices.Sort(times)
	return times
}

// TestFigureLongReader measures writes and the size of SQLite's log while somebody reads without an end on every node, and
// without: a minute before, RSQLD_MINUTES (1) with the readers, and a minute after. A read is ended by sql.reader_timeout and begun again at once.
func TestFigureLongReader(t *testing.T) {
	minutes := 1
	if text := os.Getenv("RSQLD_MINUTES"); text != "" {
		if _, err := fmt.Sscan(text, &minutes); err != nil {
			t.Fatal(err)
		}
	}
	nodes := trio(t)
	nodes[0].exec("create table load(k integer primary key, b)", "create table few(a)", "insert into few values(1), (2), (3)")
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	times := new(latencies)
	for i := range 16 {
		group.Go(func() { loadWriter(ctx, t, nodes[i%len(nodes)], times) })
	}
	for _, phase := range []struct{ readers, minutes int }{{0, 1}, {1, minutes}, {0, 1}} {
		reading, stop := context.WithCancel(ctx)
		var ended sync.WaitGroup
		var reads latencies
		for range phase.readers {
			for _, p := range nodes {
				ended.Go(func() { longReader(reading, t, p, &reads) })
			}
		}
		times.take()
		largest, last := logSizes(t, nodes, time.Duration(phase.minutes)*time.Minute)
		all := times.take()
		stop()
		ended.Wait()
		took := reads.take()
		longest := time.Duration(0)
		if len(took) > 0 {
			longest = took[len(took)-1]
		}
		fmt.Printf("figure=long_reader readers_per_node=%d minutes=%d writes=%d per_second=%.0f median=%v p99=%v max=%v log_bytes_max=%d log_bytes_end=%d reads=%d longest_read=%v\n",
			phase.readers, phase.minutes, len(all), float64(len(all))/float64(60*phase.minutes), quantile(all, 0.5), quantile(all, 0.99), all[len(all)-1],
			largest, last, len(took), longest.Round(time.Millisecond))
	}
}

// loadWriter inserts and updates rows of a kilobyte until ctx ends.
func loadWriter(ctx context.Context, t *testing.T, p *process, times *latencies) {
	err := withConn(ctx, p.config(), func(conn *driver.Conn) error {
		for i := 0; ; i++ {
			sql := "insert into load(b) values(randomblob(1000))"
			if i%4 == 3 {
				sql = "update load set b = randomblob(1000) where k = (select abs(random()) % max(k) from load)"
			}
			began := time.Now()
			if _, err := query(ctx, conn, driver.LevelSession, sql); err != nil {
				return err
			}
			times.add(time.Since(began))
		}
	})
	if ctx.Err() == nil {
		t.Errorf("writing through %s: %v", p.name, err)
	}
}

// longReader reads rows that never end, one by one, until ctx ends.
func longReader(ctx context.Context, t *testing.T, p *process, reads *latencies) {
	for ctx.Err() == nil {
		began := time.Now()
		err := withConn(ctx, p.config(), func(conn *driver.Conn) error {
			results, err := conn.Execute(ctx, driver.Request{Level: driver.LevelLocal,
				SQL: "with recursive n(i) as (select 1 union all select i + 1 from n) select a, i, zeroblob(1000) from few, n"})
			if err != nil {
				return err
			}
			defer results.Close()
			ticker := time.NewTicker(time.Millisecond)
			defer ticker.Stop()
			for results.NextResult() {
				for results.Next() {
					<-ticker.C
				}
			}
			return results.Err()
		})
		reads.add(time.Since(began))
		if err == nil {
			t.Errorf("a read without an end on %s ended without an error", p.name)
			return
		}
	}
}

// logSizes looks at SQLite's logs of all nodes for some time and returns the largest size that one had, and the largest of
// those in the end.
func logSizes(t *testing.T, nodes []*process, watch time.Duration) (largest, last int64) {
	t.Helper()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(watch); time.Now().Before(end); {
		<-ticker.C
		last = 0
		for _, p := range nodes {
			logs, err := filepath.Glob(filepath.Join(p.data, "db", "*", "*-wal"))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range logs {
				if file, err := os.Stat(name); err == nil {
					last = max(last, file.Size())
				}
			}
		}
		largest = max(largest, last)
	}
	return largest, last
}
