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
	// chunk is how many seeds one process runs: what is left of them is lost when it dies.
	chunk = 50
	// patience is how long a process may take that runs as many seeds.
	patience = 10 * time.Minute
)

// verdict is what became of a mutant.
type verdict struct {
	// seed is the one that has killed it, zero if none has. invariant is what noticed.
	seed      int
	invariant string
	// ran counts the seeds that count, panics those that ended in a panic, hung those in a process that took too long.
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
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for from := 1; from <= r.seeds && v.seed == 0; from += chunk {
		if err := v.runChunk(ctx, r, binary, from, min(chunk, r.seeds-from+1)); err != nil {
			return v, err
		}
	}
	return v, nil
}

// runChunk runs seeds in one process. If that dies without a word, each of them gets a process of its own.
func (v *verdict) runChunk(ctx context.Context, r *runner, binary string, from, count int) error {
	result, err := r.process(ctx, binary, from, count)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil || result.seed != 0:
		v.add(result, count)
	case count == 1 && errors.Is(err, context.DeadlineExceeded):
		v.hung++
	case count == 1:
		v.panics++
	default:
		for seed := from; seed < from+count && v.seed == 0; seed++ {
			if err := v.runChunk(ctx, r, binary, seed, 1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *verdict) add(result verdict, count int) {
	v.seed, v.invariant = result.seed, result.invariant
	v.panics += result.panics
	v.ran += count - result.panics
}

// process runs seeds and reads what they say, up to the first violation.
func (r *runner) process(ctx context.Context, binary string, from, count int) (verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	command := exec.CommandContext(ctx, binary, "-test.run", "^TestSim$", "-test.timeout", "0",
		"-seed", fmt.Sprint(from), "-seeds", fmt.Sprint(count))
	command.Dir = filepath.Join(r.root, "testcluster", "sim")
	out, err := command.StdoutPipe()
	if err != nil {
		return verdict{}, err
	}
	if err := command.Start(); err != nil {
		return verdict{}, err
	}
	var v verdict
	if v.read(out) {
		cancel() // what it would say next does not matter
	}
	err = command.Wait()
	if v.seed != 0 {
		return v, nil
	}
	if cause := ctx.Err(); cause != nil {
		return v, cause
	}
	return v, err
}

// read takes the lines "violation seed=… invariant=…" and "panic seed=…". It reports whether there was a violation.
func (v *verdict) read(from io.Reader) bool {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var seed int
		line := strings.TrimSpace(lines.Text())
		if n, _ := fmt.Sscanf(line, "panic seed=%d", &seed); n == 1 {
			v.panics++
		}
		if n, _ := fmt.Sscanf(line, "violation seed=%d", &seed); n == 1 {
			v.seed = seed
			_, invariant, _ := strings.Cut(line, "invariant=")
			v.invariant, _, _ = strings.Cut(invariant, " ")
			return true
		}
	}
	return false
}
