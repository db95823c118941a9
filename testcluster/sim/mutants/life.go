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
	if err := r.compile(ctx, binary, "-overlay", overlay); err != nil {
		return v, fmt.Errorf("%w: it does not compile: %w", sim.ErrMutant, err)
	}
	for next := 1; next <= r.seeds && v.seed == 0; {
		if next, err = v.advance(ctx, r, binary, next, min(chunk, r.seeds-next+1)); err != nil {
			return v, err
		}
	}
	return v, nil
}

// compile makes a simulator.
func (r *runner) compile(ctx context.Context, binary string, flags ...string) error {
	args := append([]string{"test", "-c", "-o", binary}, flags...)
	build := exec.CommandContext(ctx, "go", append(args, "./testcluster/sim")...)
	build.Dir = r.root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w:\n%s", err, out)
	}
	return nil
}

// advance runs seeds in one process and returns the next one to be run. A process that dies without a word is run again
// with fewer seeds, down to the one that it dies of.
func (v *verdict) advance(ctx context.Context, r *runner, binary string, from, count int) (next int, err error) {
	said, err := r.process(ctx, binary, from, count)
	switch {
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	case said.violated != 0:
		v.panics += said.panics
		sound, err := r.process(ctx, r.sound, said.violated, 1)
		if err != nil || !sound.complete {
			// What is wrong without the mutant as well says nothing about it.
			if ctx.Err() == nil {
				r.unsound(said.violated, sound.invariant, err)
			}
			return said.violated + 1, context.Cause(ctx)
		}
		v.seed, v.invariant = said.violated, said.invariant
	case said.complete:
		v.ran, v.panics = v.ran+count-said.panics, v.panics+said.panics
	case count > 1:
		return v.advance(ctx, r, binary, from, count/2)
	case errors.Is(err, context.DeadlineExceeded):
		v.hung++
	default:
		v.panics++
	}
	return from + count, nil
}

// sayings are what a process says.
type sayings struct {
	// violated is the first seed of a violation, zero if there was none.
	violated  int
	invariant string
	// panics counts seeds that ended in a panic of the code under test.
	panics int
	// complete says that all seeds ran.
	complete bool
}

// process runs seeds up to the first violation, one after the other.
func (r *runner) process(ctx context.Context, binary string, from, count int) (s sayings, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	command := exec.CommandContext(ctx, binary, "-test.run", "^TestSim$", "-test.timeout", "0",
		"-seed", fmt.Sprint(from), "-seeds", fmt.Sprint(count), "-seconds", fmt.Sprint(r.seconds))
	command.Env = append(os.Environ(), "GOMAXPROCS=1") // the simulator has a world at work on each processor
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

// read takes the lines "violation seed=… invariant=…", "panic seed=…" and the closing "seeds=…". It reports whether there
// is a violation, and does not read on then.
func (s *sayings) read(from io.Reader) bool {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "violation "):
			if n, _ := fmt.Sscanf(line, "violation seed=%d invariant=%s", &s.violated, &s.invariant); n == 2 {
				return true
			}
		case strings.HasPrefix(line, "panic seed="):
			s.panics++
		case strings.HasPrefix(line, "seeds="):
			s.complete = true
		}
	}
	return false
}
