//go:build figures

package testcluster_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/db/driver"
)

// benchRounds is how often each figure is taken; its median counts, because machines are shared.
const benchRounds = 3

// bencher runs `rsqld bench` against a cluster of three processes.
type bencher struct {
	*testing.T
	cred string
	line strings.Builder // the closing line
}

// bench returns the rate of one workload: what is counted by key in bench's JSON.
func (b *bencher) bench(node *process, key string, args ...string) float64 {
	b.Helper()
	out, code := rsqld(b.T, "", append([]string{"bench", node.address, "--cred", b.cred, "--json", "--duration", "4s"}, args...)...)
	if code != 0 {
		b.Fatalf("bench exits with %d\n%s", code, out)
	}
	var figures map[string]any
	text := strings.TrimSpace(out)
	if err := json.Unmarshal([]byte(text[strings.LastIndex(text, "\n")+1:]), &figures); err != nil {
		b.Fatalf("bench prints %q: %v", out, err)
	}
	rate, is := figures[key].(float64)
	if !is {
		b.Fatalf("bench prints no %s: %q", key, out)
	}
	fmt.Printf("figure=bench args=%q %s=%.0f\n", strings.Join(args, " "), key, rate)
	return rate
}

// floor returns the writes a second of the program that RSQLD_FLOOR names, zero without one.
func (b *bencher) floor(clients string) (rate float64) {
	b.Helper()
	program := os.Getenv("RSQLD_FLOOR")
	if program == "" {
		return 0
	}
	command := exec.Command(program, "-c", clients, "-d", "4s")
	command.Dir = b.TempDir()
	out, err := command.CombinedOutput()
	if err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	var n int
	if _, err := fmt.Sscanf(string(out), "clients=%d writes/s=%f", &n, &rate); err != nil {
		b.Fatalf("%q: %v", out, err)
	}
	fmt.Printf("figure=floor clients=%d writes_per_second=%.0f\n", n, rate)
	return rate
}

func median(rates []float64) float64 {
	slices.Sort(rates)
	return rates[len(rates)/2]
}

// TestFigureBench runs all workloads of `rsqld bench` against three processes, the writes beside the floor if RSQLD_FLOOR names
// its program, and reads in the node's own process. Its closing line has the median of each.
func TestFigureBench(t *testing.T) {
	nodes := trio(t)
	leader := leaderOf(t, nodes...)
	follower := except(nodes, leader)[0]
	b := &bencher{T: t, cred: filepath.Join(nodes[0].data, "admin.pem")}
	for _, clients := range []string{"1", "16", "64", "256"} {
		var ours, floors, ratios []float64
		for range benchRounds {
			rate, floor := b.bench(leader, "ops_per_second", "--workload", "write", "--clients", clients), b.floor(clients)
			ours = append(ours, rate)
			if floor > 0 {
				floors, ratios = append(floors, floor), append(ratios, rate/floor)
			}
		}
		fmt.Fprintf(&b.line, " writes_%s=%.0f", clients, median(ours))
		if len(floors) > 0 {
			fmt.Fprintf(&b.line, " floor_%s=%.0f ratio_%s=%.2f", clients, median(floors), clients, median(ratios))
		}
	}
	for _, figure := range []struct {
		name string
		node *process
		key  string
		args []string
	}{
		{"bulk_100_rows", leader, "rows_per_second", []string{"--workload", "bulk", "--batch", "100", "--clients", "16"}},
		{"bulk_1000_rows", leader, "rows_per_second", []string{"--workload", "bulk", "--batch", "1000", "--clients", "4"}},
		{"reads_local", leader, "ops_per_second", []string{"--workload", "read", "--level", "local", "--clients", "16"}},
		{"reads_session", leader, "ops_per_second", []string{"--workload", "read", "--level", "session", "--clients", "16"}},
		{"reads_linearizable_leader", leader, "ops_per_second", []string{"--workload", "read", "--level", "linearizable", "--clients", "16"}},
		{"reads_linearizable_follower", follower, "ops_per_second", []string{"--workload", "read", "--level", "linearizable", "--clients", "16"}},
		{"reads_strong", leader, "ops_per_second", []string{"--workload", "read", "--level", "strong", "--clients", "16"}},
		{"transactions", leader, "ops_per_second", []string{"--workload", "tx", "--clients", "1"}},
	} {
		var rates []float64
		for range benchRounds {
			rates = append(rates, b.bench(figure.node, figure.key, figure.args...))
		}
		fmt.Fprintf(&b.line, " %s=%.0f", figure.name, median(rates))
	}
	for _, p := range nodes {
		p.stop() // what follows has the machine to itself
	}
	var rates []float64
	for range benchRounds {
		rates = append(rates, embeddedReads(t))
	}
	fmt.Printf("figure=bench cores=%d rounds=%d%s embedded_reads_local=%.0f\n", runtime.NumCPU(), benchRounds, &b.line, median(rates))
}

// embeddedReads returns how many reads by a key a second database/sql does on a node in its own process, on all cores.
func embeddedReads(t *testing.T) float64 {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	node, err := db.Open(ctx, db.Config{Data: t.TempDir(), Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close(ctx)
	pool := sql.OpenDB(node.Connector())
	defer pool.Close()
	pool.SetMaxIdleConns(runtime.NumCPU())
	if _, err := pool.ExecContext(ctx, `create table t(id integer primary key, a, b);
		insert into t with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000) select i, i, 'some text of a row' from n`); err != nil {
		t.Fatal(err)
	}
	read, err := pool.PrepareContext(ctx, "select a, b from t where id = ?")
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	var reads atomic.Int64
	var readers sync.WaitGroup
	began := time.Now()
	for range runtime.NumCPU() {
		readers.Go(func() {
			local := driver.WithLevel(ctx, driver.LevelLocal)
			for i := int64(0); time.Since(began) < 4*time.Second; i++ {
				var a int64
				var b string
				if err := read.QueryRowContext(local, i%100_000+1).Scan(&a, &b); err != nil {
					t.Error(err)
					return
				}
				reads.Add(1)
			}
		})
	}
	readers.Wait()
	rate := float64(reads.Load()) / time.Since(began).Seconds()
	fmt.Printf("figure=embedded reads_per_second=%.0f\n", rate)
	return rate
}
