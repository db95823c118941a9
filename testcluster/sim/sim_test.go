package sim

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The flags of TestSim. The command of `make mutants` uses seed and seeds, and reads the lines that begin with
// "violation" or "panic".
var (
	firstSeed = flag.Uint64("seed", 1, "the first seed of TestSim")
	seedCount = flag.Uint64("seeds", 200, "how many seeds TestSim runs")
	seconds   = flag.Int("seconds", 10, "the simulated time of the faults of each seed")
	traced    = flag.Bool("explain", false, "print the newest events before a violation, and the smallest world that has it")
)

// sweep runs worlds in parallel and hands each result to see, one at a time, in no order.
func sweep(first, count uint64, o Options, see func(o Options, r Result)) {
	var next atomic.Uint64
	var mu sync.Mutex
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for i := next.Add(1) - 1; i < count; i = next.Add(1) - 1 {
				o := o
				o.Seed = first + i
				r := Run(o)
				mu.Lock()
				see(o, r)
				mu.Unlock()
			}
		})
	}
	group.Wait()
}

// No world violates an invariant, and each comes back to life. Every hundredth runs twice, and the same way.
func TestSim(t *testing.T) {
	var total Counts
	violations := 0
	sweep(*firstSeed, *seedCount, Options{Duration: time.Duration(*seconds) * time.Second}, func(o Options, r Result) {
		total.Add(r.Counts)
		if o.Seed%100 == 0 && r.Violation == nil {
			if again := Run(o); again.Hash != r.Hash {
				r.Violation = &Violation{Invariant: "replay", Seed: o.Seed, Text: "the same seed ran in two ways"}
			}
		}
		if r.Violation != nil {
			violations++
			report(t, o, r)
		}
	})
	fmt.Printf("%v violations=%d\n", total, violations)
	if *seedCount < 100 || *firstSeed != 1 {
		return
	}
	// A count of zero is a part of the simulator that does nothing.
	for i, count := range total.fields() {
		if *count == 0 {
			t.Errorf("count %d of %v is zero", i+1, total)
		}
	}
}

func report(t *testing.T, o Options, r Result) {
	t.Fail()
	fmt.Println(r.Violation)
	if !*traced {
		return
	}
	small := Shrink(o, r)
	fmt.Printf("seed=%d duration=%v actions=%v has it as well\n", o.Seed, small.Options.Duration, small.Actions)
	small.Options.Trace = true
	last := Run(small.Options)
	for _, line := range last.Trace {
		fmt.Println(line)
	}
	fmt.Println(last.Violation.Text)
}

// Worlds that had a fault once have none.
func TestSeeds(t *testing.T) {
	file, err := os.Open("testdata/seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		seed, err := strconv.ParseUint(fields[0], 10, 64)
		if err != nil {
			t.Fatalf("seeds.txt: %v", err)
		}
		for _, duration := range []time.Duration{10 * time.Second, 60 * time.Second} {
			if r := Run(Options{Seed: seed, Duration: duration}); r.Violation != nil {
				t.Errorf("%v, as once: %s", r.Violation, strings.Join(fields[1:], " "))
			}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

// The same options run the same world, event by event, and another seed another one.
func TestReplay(t *testing.T) {
	o := Options{Seed: 7, Duration: 3 * time.Second}
	one, again := Run(o), Run(o)
	o.Seed = 8
	if other := Run(o); one.Hash != again.Hash || one.Hash == other.Hash {
		t.Errorf("hashes %x and %x of one seed, %x of another", one.Hash, again.Hash, other.Hash)
	}
}

// A violation survives the shrinking of its world, which ends with fewer actions.
func TestShrink(t *testing.T) {
	// A world that never writes anything to a client is not alive: the faults are the same, the demand is too much.
	o := Options{Seed: 3, Duration: 5 * time.Second, demand: 1 << 30}
	r := Run(o)
	if r.Violation == nil {
		t.Fatal("no violation of a demand that nobody can fulfil")
	}
	small := Shrink(o, r)
	if got := Run(small.Options).Violation; got == nil || got.Invariant != r.Violation.Invariant {
		t.Errorf("the small world has violation %v, the whole one %v", got, r.Violation)
	}
	if len(small.Actions) != 0 {
		t.Errorf("actions %v are left of %d: none of them matters", small.Actions, r.Actions)
	}
}
