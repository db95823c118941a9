//go:build mutants

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"

	"github.com/rsqld/rsqld/testcluster/sim"
)

func main() {
	var r runner
	flag.StringVar(&r.root, "root", ".", "the module's root")
	flag.IntVar(&r.seeds, "seeds", 8000, "how many seeds a mutant may survive")
	flag.IntVar(&r.workers, "workers", 2, "how many mutants are at work at a time")
	flag.IntVar(&r.seconds, "seconds", 10, "the simulated time of the faults of each seed")
	only := flag.String("run", "", "only mutants whose names match")
	flag.Parse()
	killed, all, err := r.run(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
	fmt.Printf("mutants=%d killed=%d\n", all, killed)
	if killed < all || r.faults.Load() > 0 {
		os.Exit(1)
	}
}

// unsound tells of a seed that is violated without a mutant.
func (r *runner) unsound(seed int, invariant string, err error) {
	r.faults.Add(1)
	fmt.Printf("unsound seed=%d invariant=%s err=%v\n", seed, invariant, err)
}

type runner struct {
	root                    string
	seeds, seconds, workers int
	// sound is the simulator without a mutant. A seed that it finds fault with kills nobody; faults counts them.
	sound  string
	faults atomic.Int64
}

// run lets the mutants live, some at a time, so that one compiles while another runs. Their results are printed in the
// order in which they come.
func (r *runner) run(only string) (killed, all int, err error) {
	pattern, err := regexp.Compile(only)
	if err != nil {
		return 0, 0, err
	}
	if r.root, err = filepath.Abs(r.root); err != nil {
		return 0, 0, err
	}
	mutants, err := sim.Mutants(filepath.Join(r.root, "testcluster/sim/testdata/mutants"))
	if err != nil {
		return 0, 0, err
	}
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	r.sound = filepath.Join(dir, "sound.exe")
	if err := r.compile(ctx, r.sound); err != nil {
		return 0, 0, err
	}
	waiting := make(chan *sim.Mutant)
	var mu sync.Mutex
	var group sync.WaitGroup
	for range r.workers {
		group.Go(func() {
			for m := range waiting {
				v, err := r.live(ctx, m, filepath.Join(dir, m.Name))
				if err != nil {
					cancel(fmt.Errorf("%s: %w", m.Name, err))
					continue
				}
				mu.Lock()
				fmt.Printf("mutant=%s %s\n", m.Name, v)
				if all++; v.seed != 0 {
					killed++
				}
				mu.Unlock()
			}
		})
	}
	for i := range mutants {
		if ctx.Err() == nil && pattern.MatchString(mutants[i].Name) {
			waiting <- &mutants[i]
		}
	}
	close(waiting)
	group.Wait()
	return killed, all, context.Cause(ctx)
}
