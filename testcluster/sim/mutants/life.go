//go:build mutants

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rsqld/rsqld/testcluster/sim"
)

const (
	// chunk is how many seeds one process is asked to run.
	chunk = 50
	// patience is how long a process may take.
	patience = 10 * time.Minute
)

// verdict is what became of a mutant.
type verdict struct {
	// seed is the one that has killed it, zero if none has. invariant is what noticed.
	seed      int
	invariant string
	// ran counts the seeds that ran to their end, panics those that ended in a panic, hung those that took too long.
	ran, panics, hung int
}

func (v verdict) String() string {
	if v.seed != 0 {
		return fmt.Sprintf("seed=%d invariant=%s panics=%d", v.seed, v.invariant, v.panics)
	}
	return fmt.Sprintf("survived seeds=%d panics=%d hung=%d", v.ran, v.panics, v.hung)
}

// live compiles a mutant and runs it to its end.
func (r *runner) live(ctx context.Context, m *sim.Mutant, dir string) (v verdict, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	overlay, err := m.Overlay(r.root, dir)
	if err != nil {
		return v, err
	}
	binary := filepath.Join(dir, "sim.exe")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-overlay", overlay, "-o", binary, "./testcluster/sim")
	build.Dir = r.root
	if out, err := build.CombinedOutput(); err != nil {
		return v, fmt.Errorf("%w: %w: it does not compile:\n%s", sim.ErrMutant, err, out)
	}
	for next := 1; next <= r.seeds && v.seed == 0; {
		if next, err = v.advance(ctx, r, binary, next, min(chunk, r.seeds-next+1)); err != nil {
			return v, err
		}
	}
	return v, nil
}

// advance runs seeds in one process and returns the next one to be run: the one after the last, or, if a seed has ended
// the process by a panic, the one after that. A process that dies without a word is run again with fewer seeds.
func (v *verdict) advance(ctx context.Context, r *runner, binary string, from, count int) (next int, err error) {
	said, err := r.process(ctx, binary, from, count)
	switch {
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	case said.violated != 0:
		v.seed, v.invariant, v.ran = said.violated, said.invariant, v.ran+said.violated-from
		return from + count, nil
	case said.panicked != 0:
		v.panics++
		v.ran += said.panicked - from
		return said.panicked + 1, nil
	case err == nil:
		v.ran += count
		return from + count, nil
	case count > 1:
		return v.advance(ctx, r, binary, from, count/2)
	case errors.Is(err, context.DeadlineExceeded):
		v.hung++
	default:
		v.panics++
	}
	return from + 1, nil
}

// sayings are what a process says first.
type sayings struct {
	// violated is the seed of a violation, panicked that of a panic; one of them at most is not zero.
	violated, panicked int
	invariant          string
}

// process runs seeds up to the first one that is violated or panics.
func (r *runner) process(ctx context.Context, binary string, from, count int) (s sayings, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	command := exec.CommandContext(ctx, binary, "-test.run", "^TestSim$", "-test.timeout", "0",
		"-seed", fmt.Sprint(from), "-seeds", fmt.Sprint(count))
	command.Dir = filepath.Join(r.root, "testcluster", "sim")
	out, err := command.StdoutPipe()
	if err != nil {
		return s, err
	}
	if err := command.Start(); err != nil {
		return s, err
	}
	if s.read(out) {
		cancel() // what it would say next does not matter
		_ = command.Wait()
		return s, nil
	}
	if err := command.Wait(); ctx.Err() == nil {
		return s, err
	}
	return s, ctx.Err()
}

// read looks for a line "violation seed=… invariant=…". It reports whether there is one.
func (s *sayings) read(from io.Reader) bool {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		_, line, _ := strings.Cut(" "+lines.Text(), " violation ")
		var seed int
		var invariant string
		if n, _ := fmt.Sscanf(line, "seed=%d invariant=%s", &seed, &invariant); n < 2 {
			continue
		}
		if invariant == "panic" {
			s.panicked = seed
		} else {
			s.violated, s.invariant = seed, invariant
		}
		return true
	}
	return false
}
