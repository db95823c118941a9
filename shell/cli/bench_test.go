package cli

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rsqld/rsqld/shell/repl"
)

// benchWorld is a cluster that takes a millisecond for each request.
func benchWorld(args ...string) *world {
	w := newWorld(append([]string{"bench"}, args...)...)
	w.cluster.answer = func(ctx context.Context, _ repl.Request) ([][]any, error) {
		select {
		case <-time.After(time.Millisecond):
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return w
}

// TestBenchWrite proves the figures of a cluster of known speed, on one line of stdout, and that the table is dropped.
func TestBenchWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := benchWorld("--clients", "4", "--duration", "2s", "--batch", "10")
		w.expect(t, 0, "write: clients=4 batch=10 level=session seconds=2.0 ops=8000 ops/s=4000 rows/s=40000 p50=1.00ms p95=1.00ms p99=1.00ms p99.9=1.00ms max=1.00ms errors=0\n", "")
		first, last := w.cluster.seen[0].SQL, w.cluster.seen[len(w.cluster.seen)-1].SQL
		table := strings.Fields(strings.ReplaceAll(first, "(", " "))[2]
		if !strings.HasPrefix(first, "CREATE TABLE rsqld_bench_") || last != "DROP TABLE "+table {
			t.Errorf("it begins with %q and ends with %q", first, last)
		}
		for _, request := range w.cluster.seen {
			if strings.HasPrefix(request.SQL, "INSERT") && (len(request.Args) != 10 || !request.Atomic || !strings.Contains(request.SQL, table)) {
				t.Fatalf("a batch of 10 is %+v", request)
			}
		}
	})
}

// TestBenchRead proves that reads ask for keys that are there, at the level that was asked for.
func TestBenchRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := benchWorld("--workload", "read", "--clients", "2", "--duration", "1s", "--level", "strong", "--batch", "5", "--json")
		if code := w.run(); code != 0 {
			t.Fatalf("exit code %d: %s", code, w.err.String())
		}
		var result benchResult
		if err := json.Unmarshal([]byte(w.out.String()), &result); err != nil || result.Ops != 2000 || result.Level != "strong" {
			t.Errorf("%v: %s", err, w.out.String())
		}
		filled := 0
		for _, request := range w.cluster.seen {
			if strings.HasPrefix(request.SQL, "INSERT") {
				filled += len(request.Args)
			}
			if !strings.HasPrefix(request.SQL, "SELECT v") {
				continue
			}
			from, to := request.Args[0].(int64), request.Args[1].(int64)
			if request.Level != "strong" || from < 1 || to != from+4 || to > benchRows {
				t.Fatalf("it reads %+v", request)
			}
		}
		if filled != benchRows {
			t.Errorf("%d rows were filled in", filled)
		}
	})
}

// TestBenchMixed proves that about one request in ten writes, and that the others read rows that are there.
func TestBenchMixed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := benchWorld("--workload", "mixed", "--clients", "4", "--duration", "3s")
		if code := w.run(); code != 0 || !strings.HasPrefix(w.out.String(), "mixed: clients=4 batch=1 ") {
			t.Fatalf("exit code %d: %s%s", code, w.out.String(), w.err.String())
		}
		count := map[string]int{}
		for _, request := range w.cluster.seen {
			count[strings.Fields(request.SQL)[0]]++
		}
		count["INSERT"] -= 2 // before
		if all := count["INSERT"] + count["SELECT"]; all < 12_000 || count["INSERT"] < all/12 || count["INSERT"] > all/8 {
			t.Errorf("%v", count)
		}
	})
}

// TestBenchBulk proves that a request of the bulk workload has a thousand rows.
func TestBenchBulk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := benchWorld("--workload", "bulk", "--clients", "1", "--duration", "1s")
		if code := w.run(); code != 0 || !strings.HasPrefix(w.out.String(), "bulk: clients=1 batch=1000 level=session seconds=1.0 ops=1000 ops/s=1000 rows/s=1000000 ") {
			t.Errorf("exit code %d: %s%s", code, w.out.String(), w.err.String())
		}
		if second := w.cluster.seen[2]; len(second.Args) != 1000 || !second.Atomic {
			t.Errorf("it inserts %d rows", len(second.Args))
		}
	})
}

// TestBenchTransactions proves what a transaction is, that one counts as one, and that one that failed is rolled back before the next.
func TestBenchTransactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := benchWorld("--workload", "tx", "--clients", "1", "--duration", "1s", "--batch", "2")
		quick, updates := w.cluster.answer, 0
		w.cluster.answer = func(ctx context.Context, request repl.Request) ([][]any, error) {
			switch word := strings.Fields(request.SQL)[0]; word {
			case "BEGIN":
				w.cluster.transaction = repl.TransactionOpen
			case "COMMIT", "ROLLBACK":
				w.cluster.transaction = repl.TransactionNone
			case "UPDATE":
				if updates++; updates%100 == 0 {
					return nil, &repl.Error{Class: repl.ClassNoQuorum, Message: "deposed"}
				}
			}
			return quick(ctx, request)
		}
		if code := w.run(); code != 0 || !strings.HasPrefix(w.out.String(), "tx: clients=1 batch=2 ") || !strings.Contains(w.out.String(), "(no_quorum=") {
			t.Errorf("exit code %d: %s%s", code, w.out.String(), w.err.String())
		}
		var words []string
		for _, request := range w.cluster.seen {
			words = append(words, strings.Fields(request.SQL)[0])
		}
		all := strings.Join(words[4:], " ")
		all = strings.ReplaceAll(all, "BEGIN SELECT UPDATE UPDATE COMMIT", "good")
		all = strings.ReplaceAll(all, "BEGIN SELECT UPDATE UPDATE ROLLBACK", "bad")
		if left := strings.Trim(strings.NewReplacer("good ", "", "bad ", "").Replace(all), " "); left != "DROP" || !strings.Contains(all, "bad good") {
			t.Errorf("it sends %s", left)
		}
	})
}

// TestBenchErrors proves that failures are counted by class and do not end the bench, and that nothing but failures
// is a failure.
func TestBenchErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := benchWorld("--clients", "1", "--duration", "1s")
		quick, n := w.cluster.answer, 0
		w.cluster.answer = func(ctx context.Context, request repl.Request) ([][]any, error) {
			if n++; strings.HasPrefix(request.SQL, "INSERT") && n%3 == 0 {
				return nil, &repl.Error{Class: repl.ClassBusy, Message: "busy"}
			}
			return quick(ctx, request)
		}
		if code := w.run(); code != 0 || !strings.Contains(w.out.String(), "errors=83 (busy=83)") {
			t.Errorf("exit code %d: %s", code, w.out.String())
		}
		w = benchWorld("--clients", "1", "--duration", "1s")
		w.cluster.answer = func(ctx context.Context, request repl.Request) ([][]any, error) {
			if strings.HasPrefix(request.SQL, "INSERT") {
				return nil, errors.New("gone")
			}
			return nil, nil
		}
		if code := w.run(); code != 1 || !strings.Contains(w.out.String(), "ops=0") || !strings.Contains(w.err.String(), "no request succeeded") {
			t.Errorf("exit code %d: %s%s", code, w.out.String(), w.err.String())
		}
	})
}

// TestBenchInterrupted proves that Ctrl-C ends a bench with its figures so far and its table dropped.
func TestBenchInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := benchWorld("--clients", "2", "--duration", "10m")
		code := make(chan int, 1)
		go func() { code <- w.run() }()
		time.AfterFunc(5*time.Second, func() { w.signal(os.Interrupt) <- os.Interrupt })
		if got := <-code; got != 130 || !strings.HasPrefix(w.out.String(), "write: clients=2") {
			t.Errorf("exit code %d: %s%s", got, w.out.String(), w.err.String())
		}
		if last := w.cluster.seen[len(w.cluster.seen)-1].SQL; !strings.HasPrefix(last, "DROP TABLE") {
			t.Errorf("it ends with %q", last)
		}
	})
}

// TestHistogram proves that quantiles are never too low and at most 1.6 % too high.
func TestHistogram(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var h, half histogram
	var all []time.Duration
	for i := range 20_000 {
		d := time.Duration(math.Exp(random.Float64() * 30))
		all = append(all, d)
		if i%2 == 0 {
			h.add(d)
		} else {
			half.add(d)
		}
	}
	h.merge(&half)
	slices.Sort(all)
	for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 0.9999} {
		exact := all[int(q*float64(len(all)))]
		got := h.quantile(q)
		if got < exact || float64(got) > float64(exact)*1.016+1 {
			t.Errorf("quantile %g is %v, exactly %v", q, got, exact)
		}
	}
	if h.quantile(1) != all[len(all)-1] || new(histogram).quantile(0.5) != 0 {
		t.Error("the ends are wrong")
	}
	for _, d := range []time.Duration{-1, 0, 1, 63, 64, 65, 127, 128, math.MaxInt64} {
		if row, column := bucket(d); upper(row, column) < d {
			t.Errorf("%d is counted among those up to %d", d, upper(row, column))
		}
	}
}
