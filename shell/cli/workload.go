package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rsqld/rsqld/shell/repl"
)

const (
	// benchRows is how many rows there are to read and update; a larger batch has more.
	benchRows = 1000
	// benchWriteShare says that one in so many requests of the mixed workload writes.
	benchWriteShare = 10
	// benchValue is the text that each row holds beside its key.
	benchValue = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	// warmUpShare and warmUpMost bound the time before figures count.
	warmUpShare = 10 // one of so many parts of the duration
	warmUpMost  = time.Second
	// benchPatience bounds one request, and a pause follows one that failed, so that a node that refuses at once
	// is not flooded.
	benchPatience = 10 * time.Second
	benchPause    = 10 * time.Millisecond
)

// benchmark is one run of a workload.
type benchmark struct {
	benchOptions
	cluster cluster
	client  repl.Client // makes and drops the table
	e       *Environment
	table   string
	insert  string
	rows    int

	ops, errs atomic.Int64 // for the live line
}

// worker is one session of a benchmark. Its figures are its own until it has ended.
type worker struct {
	client  repl.Client
	times   histogram
	ops     int64
	byClass map[string]int64
}

func newBenchmark(o benchOptions, cluster cluster, client repl.Client, e *Environment) *benchmark {
	b := &benchmark{benchOptions: o, cluster: cluster, client: client, e: e, rows: max(benchRows, o.batch)}
	b.table = "rsqld_bench_" + strings.ToLower(rand.Text()[:10])
	b.insert = b.insertSQL(o.batch)
	return b
}

func (b *benchmark) insertSQL(rows int) string {
	return "INSERT INTO " + b.table + "(v) VALUES" + strings.Repeat("(?),", rows-1) + "(?)"
}

// run returns the figures; they are nil if the bench did not get as far as measuring. The table is dropped in any case.
func (b *benchmark) run(ctx context.Context) (result *benchResult, err error) {
	if err := execute(ctx, b.client, repl.Request{SQL: "CREATE TABLE " + b.table + "(k INTEGER PRIMARY KEY, v TEXT)"}); err != nil {
		return nil, fmt.Errorf("making the table of the bench: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), benchPatience)
		defer cancel()
		if dropped := execute(ctx, b.client, repl.Request{SQL: "DROP TABLE " + b.table}); dropped != nil {
			err = errors.Join(err, fmt.Errorf("dropping table %s of the bench: %w", b.table, dropped))
		}
	}()
	if b.workload != "write" && b.workload != "bulk" {
		if err := b.fill(ctx); err != nil {
			return nil, fmt.Errorf("filling the table of the bench: %w", err)
		}
	}
	workers, err := b.hire(ctx)
	if err != nil {
		return nil, err
	}
	result = b.measure(ctx, workers)
	return result, b.dismiss(workers)
}

func (b *benchmark) fill(ctx context.Context) error {
	const chunk = 500
	for left := b.rows; left > 0; left -= chunk {
		n := min(left, chunk)
		if err := execute(ctx, b.client, repl.Request{SQL: b.insertSQL(n), Args: values(n)}); err != nil {
			return err
		}
	}
	return nil
}

func values(n int) []any {
	args := make([]any, n)
	for i := range args {
		args[i] = benchValue
	}
	return args
}

// hire opens the sessions. Each reads once at level session, so that its node has the table before figures count.
func (b *benchmark) hire(ctx context.Context) (workers []*worker, err error) {
	for range b.clients {
		opening, cancel := context.WithTimeout(ctx, connectTimeout)
		client, err := b.cluster.Open(opening)
		cancel()
		if err == nil {
			workers = append(workers, &worker{client: client, byClass: map[string]int64{}})
			err = execute(ctx, client, repl.Request{SQL: "SELECT count(*) FROM " + b.table, Level: "session"})
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("opening session %d of %d: %w", len(workers)+1, b.clients, err), b.dismiss(workers))
		}
	}
	return workers, nil
}

func (b *benchmark) dismiss(workers []*worker) error {
	var errs []error
	for _, w := range workers {
		errs = append(errs, w.client.Close())
	}
	return errors.Join(errs...)
}

// measure lets the workers run and adds their figures up. What a worker begins it ends, unless ctx is cancelled.
func (b *benchmark) measure(ctx context.Context, workers []*worker) *benchResult {
	warm := time.Now().Add(min(b.duration/warmUpShare, warmUpMost))
	end := warm.Add(b.duration)
	var group sync.WaitGroup
	for _, w := range workers {
		group.Go(func() { b.work(ctx, w, warm, end) })
	}
	b.watch(ctx, warm, end)
	group.Wait()
	seconds := time.Since(warm).Seconds() // to the end of the last request, so that none counts for free
	result := &benchResult{Workload: b.workload, Clients: b.clients, Batch: b.batch, Level: b.level, Seconds: max(seconds, 1e-3),
		ByClass: map[string]int64{}}
	var times histogram
	for _, w := range workers {
		times.merge(&w.times)
		result.Ops += w.ops
		for class, n := range w.byClass {
			result.ByClass[class] += n
			result.Errors += n
		}
	}
	result.OpsPerSecond = float64(result.Ops) / result.Seconds
	result.RowsPerSecond = result.OpsPerSecond * float64(b.batch)
	for q, figure := range map[float64]*float64{0.5: &result.P50, 0.95: &result.P95, 0.99: &result.P99, 0.999: &result.P999} {
		*figure = milliseconds(times.quantile(q))
	}
	result.Max = milliseconds(times.longest)
	return result
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// work sends requests one after the other. Those that end before warm do not count.
func (b *benchmark) work(ctx context.Context, w *worker, warm, end time.Time) {
	args := values(b.batch)
	for ctx.Err() == nil {
		begin := time.Now()
		if !begin.Before(end) {
			return
		}
		err := b.request(ctx, w, args)
		now := time.Now()
		switch {
		case err == nil && now.After(warm):
			w.times.add(now.Sub(begin))
			w.ops++
			b.ops.Add(1)
		case err != nil && ctx.Err() == nil:
			if now.After(warm) {
				w.byClass[classOf(err)]++
				b.errs.Add(1)
			}
			select {
			case <-time.After(benchPause):
			case <-ctx.Done():
			}
		}
	}
}

func (b *benchmark) request(ctx context.Context, w *worker, args []any) error {
	ctx, cancel := context.WithTimeout(ctx, benchPatience)
	defer cancel()
	switch {
	case b.workload == "tx":
		return b.transaction(ctx, w)
	case b.workload == "write", b.workload == "bulk", b.workload == "mixed" && mathrand.IntN(benchWriteShare) == 0:
		return execute(ctx, w.client, repl.Request{SQL: b.insert, Args: args, Atomic: true})
	}
	first := b.key(b.batch)
	return execute(ctx, w.client, repl.Request{
		SQL:  "SELECT v FROM " + b.table + " WHERE k BETWEEN ? AND ?",
		Args: []any{first, first + int64(b.batch) - 1}, Level: b.level, ReadOnly: true,
	})
}

// key is one of the rows that are there, with n of them from it on.
func (b *benchmark) key(n int) int64 { return 1 + mathrand.Int64N(int64(b.rows-n+1)) }

// transaction reads a row and updates as many as a batch has. It leaves no transaction behind, however it ends.
func (b *benchmark) transaction(ctx context.Context, w *worker) (err error) {
	if err := execute(ctx, w.client, repl.Request{SQL: "BEGIN"}); err != nil {
		return err
	}
	defer func() {
		if err == nil || w.client.Transaction() == repl.TransactionNone {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), benchPatience)
		defer cancel()
		if undone := execute(ctx, w.client, repl.Request{SQL: "ROLLBACK"}); undone != nil {
			err = errors.Join(err, undone)
		}
	}()
	err = execute(ctx, w.client, repl.Request{SQL: "SELECT v FROM " + b.table + " WHERE k = ?", Args: []any{b.key(1)}})
	first := b.key(b.batch)
	for i := 0; i < b.batch && err == nil; i++ {
		err = execute(ctx, w.client, repl.Request{SQL: "UPDATE " + b.table + " SET v = ? WHERE k = ?", Args: []any{benchValue, first + int64(i)}})
	}
	if err != nil {
		return err
	}
	return execute(ctx, w.client, repl.Request{SQL: "COMMIT"})
}

// classOf is the name that an error is counted under.
func classOf(err error) string {
	var known *repl.Error
	switch {
	case errors.As(err, &known):
		return string(known.Class)
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	}
	return "connection"
}

// watch shows how it goes, on a terminal, until the end.
func (b *benchmark) watch(ctx context.Context, warm, end time.Time) {
	if !b.e.StderrTerminal {
		return
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for now := time.Now(); now.Before(end); {
		select {
		case <-ctx.Done():
			return
		case now = <-ticker.C:
		}
		ops := b.ops.Load()
		fmt.Fprintf(b.e.Stderr, "\r%s: %d ops, %.0f/s, %d errors, %s left\x1b[K", b.workload, ops,
			float64(ops)/max(now.Sub(warm).Seconds(), 1e-3), b.errs.Load(), end.Sub(now).Round(time.Second))
	}
}

// execute runs a request and drops its rows.
func execute(ctx context.Context, client repl.Client, request repl.Request) error {
	results, err := client.Execute(ctx, request)
	if err != nil {
		return err
	}
	for results.NextResult() {
		for results.Next() {
		}
	}
	return errors.Join(results.Err(), results.Close())
}
