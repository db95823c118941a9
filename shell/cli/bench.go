package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/rsqld/rsqld/shell/repl"
)

// Limits of a bench.
const (
	maxBenchClients = 1000
	maxBenchBatch   = 10_000
)

// workloads are what a bench can measure, with the rows of one request if --batch says nothing.
//
//	write  rows inserted by one statement
//	read   rows read by their keys, by one statement
//	mixed  as read, and one request in ten as write
//	bulk   as write, of many rows
//	tx     BEGIN, one row read, rows updated by a statement each, COMMIT
var workloads = map[string]int{"write": 1, "read": 1, "mixed": 1, "bulk": 1000, "tx": 1}

// benchOptions is what a bench does.
type benchOptions struct {
	workload string
	clients  int
	duration time.Duration
	level    string
	batch    int
	json     bool
}

func benchCommand() command {
	return command{
		name: "bench", args: "[HOST:PORT|DSN]", most: 1, summary: "measure writes, reads or transactions in a table of its own",
		define: func(flags *pflag.FlagSet) action {
			var t target
			var o benchOptions
			workload := choose(flags, "workload", "write", "what to measure", []string{"write", "read", "mixed", "bulk", "tx"})
			flags.IntVar(&o.clients, "clients", 8, "sessions at once, `N`")
			flags.DurationVar(&o.duration, "duration", 10*time.Second, "how long to measure")
			level := choose(flags, "level", "", levelUsage, repl.Levels)
			flags.IntVar(&o.batch, "batch", 0, "rows in one request or transaction, `N` (default 1, and 1000 for bulk)")
			flags.BoolVar(&o.json, "json", false, "print the figures as one JSON object")
			t.flags(flags)
			return func(ctx context.Context, e *Environment, args []string) error {
				if len(args) == 1 {
					t.address = args[0]
				}
				t.level = *level
				o.workload, o.level = *workload, t.readLevel()
				if !flags.Changed("batch") {
					o.batch = workloads[o.workload]
				}
				if err := o.check(); err != nil {
					return err
				}
				return e.bench(ctx, t, o)
			}
		},
	}
}

func (o benchOptions) check() error {
	switch {
	case o.clients < 1 || o.clients > maxBenchClients:
		return usageError("--clients %d is not from 1 to %d", o.clients, maxBenchClients)
	case o.batch < 1 || o.batch > maxBenchBatch:
		return usageError("--batch %d is not from 1 to %d", o.batch, maxBenchBatch)
	case o.duration <= 0:
		return usageError("--duration %s is not positive", o.duration)
	}
	return nil
}

// bench makes its table, measures, drops the table, and prints one line.
func (e *Environment) bench(ctx context.Context, t target, o benchOptions) (err error) {
	cluster, client, err := e.dial(ctx, t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close(), cluster.Close()) }()
	interrupts, stop := e.Notify(os.Interrupt)
	defer stop()
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-interrupts:
			cancel(errStopped)
		case <-running.Done():
		}
	}()
	b := newBenchmark(o, cluster, client, e)
	result, err := b.run(running)
	if result != nil {
		if e.StderrTerminal {
			fmt.Fprint(e.Stderr, "\r\x1b[K")
		}
		fmt.Fprintln(e.Stdout, result.line(o.json))
	}
	switch {
	case errors.Is(context.Cause(running), errStopped):
		return errors.Join(err, &exit{code: exitInterrupted})
	case err == nil && result.Ops == 0:
		return errors.New("no request succeeded")
	}
	return err
}

// errStopped is the cause of a bench's end when the person pressed Ctrl-C.
var errStopped = errors.New("interrupted")

// benchResult is the figures of a bench. Durations are in milliseconds.
type benchResult struct {
	Workload      string           `json:"workload"`
	Clients       int              `json:"clients"`
	Batch         int              `json:"batch"`
	Level         string           `json:"level"`
	Seconds       float64          `json:"seconds"`
	Ops           int64            `json:"ops"`
	OpsPerSecond  float64          `json:"ops_per_second"`
	RowsPerSecond float64          `json:"rows_per_second"`
	P50           float64          `json:"p50_ms"`
	P95           float64          `json:"p95_ms"`
	P99           float64          `json:"p99_ms"`
	P999          float64          `json:"p999_ms"`
	Max           float64          `json:"max_ms"`
	Errors        int64            `json:"errors"`
	ByClass       map[string]int64 `json:"errors_by_class"`
}

func (r *benchResult) line(asJSON bool) string {
	if asJSON {
		text, err := json.Marshal(r)
		if err != nil {
			panic(err) // numbers, text and a map of them
		}
		return string(text)
	}
	line := fmt.Sprintf("%s: clients=%d batch=%d level=%s seconds=%.1f ops=%d ops/s=%.0f rows/s=%.0f p50=%.2fms p95=%.2fms p99=%.2fms p99.9=%.2fms max=%.2fms errors=%d",
		r.Workload, r.Clients, r.Batch, r.Level, r.Seconds, r.Ops, r.OpsPerSecond, r.RowsPerSecond, r.P50, r.P95, r.P99, r.P999, r.Max, r.Errors)
	var classes []string
	for _, class := range slices.Sorted(maps.Keys(r.ByClass)) {
		classes = append(classes, fmt.Sprintf("%s=%d", class, r.ByClass[class]))
	}
	if len(classes) > 0 {
		line += " (" + strings.Join(classes, " ") + ")"
	}
	return line
}
