package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rsqld/rsqld/raft"
)

// entryBytes is the size of what is proposed.
const entryBytes = 100

// targets are proposals a second that this repository's replica shall reach on two quiet cores, by proposers.
var targets = map[int]float64{1: 4500, 16: 22000, 64: 65000, 256: 120000}

// cluster is three replicas with a leader.
type cluster interface {
	// Propose returns when the leader has applied data.
	Propose(ctx context.Context, data []byte) error
	Close() error
}

// contestant is one implementation.
type contestant struct {
	name  string
	start func(ctx context.Context, dir string) (cluster, error)
}

var contestants = []contestant{
	{"rsqld", startOurs},
	{"etcd", startEtcd},
}

// options are what the flags say.
type options struct {
	rounds    int
	each      time.Duration
	proposers []int
	dir       string
}

func main() {
	runtime.GOMAXPROCS(max(4, runtime.GOMAXPROCS(0))) // a blocked sync holds a P, see package raft/replica
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var o options
	var proposers string
	flag.IntVar(&o.rounds, "rounds", 5, "how often each is measured")
	flag.DurationVar(&o.each, "each", 2*time.Second, "how long one measurement takes")
	flag.StringVar(&proposers, "proposers", "1,16,64,256", "how many propose at once")
	flag.StringVar(&o.dir, "dir", os.TempDir(), "where the logs are written and removed again")
	flag.Parse()
	for text := range strings.SplitSeq(proposers, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			fmt.Fprintf(os.Stderr, "--proposers: %q is no number of proposers\n", text)
			os.Exit(2)
		}
		o.proposers = append(o.proposers, n)
	}
	if err := compare(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// compare measures both in turns and prints the medians, and the median of the rounds' ratios.
func compare(ctx context.Context, o options, out io.Writer) error {
	fmt.Fprintf(out, "%d rounds of %v, %d-byte entries, 3 replicas, one disk, %d processors\n", o.rounds, o.each, entryBytes, runtime.NumCPU())
	alone, err := logAlone(ctx, o)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "the log alone: %.0f records of one entry a second, each synced\n", alone)
	fmt.Fprintf(out, "%9s %10s %10s %7s %10s\n", "proposers", contestants[0].name, contestants[1].name, "ratio", "target")
	for _, proposers := range o.proposers {
		var rates [2][]float64
		var ratios []float64
		for round := range o.rounds {
			var rate [2]float64
			for turn := range contestants {
				which := (turn + round) % len(contestants) // whoever comes first, comes second next time
				var err error
				if rate[which], err = measure(ctx, contestants[which], proposers, o); err != nil {
					return fmt.Errorf("%s with %d proposers: %w", contestants[which].name, proposers, err)
				}
				rates[which] = append(rates[which], rate[which])
			}
			ratios = append(ratios, rate[0]/rate[1])
		}
		target := "-"
		if t, has := targets[proposers]; has {
			target = fmt.Sprintf("%.0f", t)
		}
		fmt.Fprintf(out, "%9d %10.0f %10.0f %7.2f %10s\n", proposers, median(rates[0]), median(rates[1]), median(ratios), target)
	}
	return nil
}

// logAlone returns how many records of one entry the log takes in a second, one after the other: what the disk gives at
// this moment, to read the rest by.
func logAlone(ctx context.Context, o options) (rate float64, err error) {
	dir, err := os.MkdirTemp(o.dir, "etcdbench-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	log, _, err := openLog(filepath.Join(dir, "alone"), 1)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	data, index, begun := make([]byte, entryBytes), raft.Index(1), time.Now()
	for time.Since(begun) < o.each && ctx.Err() == nil {
		index++
		err := log.Append(&raft.Write{Seq: raft.Seq(index), HardState: raft.HardState{Term: 1}, Entries: []raft.Entry{
			{ID: raft.EntryID{Term: 1, Index: index}, Kind: raft.EntryCommand, Data: data}}})
		if err != nil {
			return 0, fmt.Errorf("the log alone: %w", err)
		}
	}
	return float64(index-1) / time.Since(begun).Seconds(), ctx.Err()
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// measure returns the proposals a second of a new cluster, after a short time to warm up.
func measure(ctx context.Context, c contestant, proposers int, o options) (rate float64, err error) {
	dir, err := os.MkdirTemp(o.dir, "etcdbench-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	running, err := c.start(ctx, dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, running.Close()) }()
	runtime.GC() // of the one before
	if _, err := load(ctx, running, proposers, o.each/10); err != nil {
		return 0, err
	}
	begun := time.Now()
	done, err := load(ctx, running, proposers, o.each)
	return float64(done) / time.Since(begun).Seconds(), err
}

// load proposes for a while and returns how many proposals were applied.
func load(ctx context.Context, c cluster, proposers int, d time.Duration) (int64, error) {
	var done atomic.Int64
	var over atomic.Bool
	var group sync.WaitGroup
	failed := make(chan error, proposers)
	defer time.AfterFunc(d, func() { over.Store(true) }).Stop()
	for range proposers {
		group.Go(func() {
			data := make([]byte, entryBytes)
			for !over.Load() {
				if err := c.Propose(ctx, data); err != nil {
					failed <- err
					return
				}
				done.Add(1)
			}
		})
	}
	group.Wait()
	select {
	case err := <-failed:
		return 0, err
	default:
		return done.Load(), nil
	}
}
