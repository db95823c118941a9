//go:build figures

package testcluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/driver"
)

// The figures of `make figures`: each test prints one closing line.

// quantile returns the q-th of sorted durations.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// TestFigureStart measures from the start of the process of a new single node to the answer to its first SELECT.
func TestFigureStart(t *testing.T) {
	var times []time.Duration
	for range 20 {
		p := newProcess(t, "n1")
		begun := time.Now()
		p.launch()
		for {
			err := withConn(t.Context(), p.config(), func(c *driver.Conn) error {
				_, err := query(t.Context(), c, driver.LevelSession, "select 1")
				return err
			})
			if err == nil {
				break
			}
			if time.Since(begun) > patience {
				t.Fatal(err)
			}
			<-time.After(time.Millisecond)
		}
		times = append(times, time.Since(begun))
		p.kill()
	}
	slices.Sort(times)
	fmt.Printf("figure=start runs=%d median=%v p90=%v max=%v\n", len(times), quantile(times, 0.5), quantile(times, 0.9), times[len(times)-1])
}

// TestFigureFailover measures from kill -9 of the leader to the next acknowledged write, twenty times.
func TestFigureFailover(t *testing.T) {
	nodes := trio(t)
	nodes[0].exec("create table f(k integer primary key)")
	var times []time.Duration
	for range 20 {
		awaitVoters(t, 3, nodes...)
		leader := leaderOf(t, nodes...)
		settle(t, nodes...)
		var others []*process
		for _, p := range nodes {
			if p != leader {
				others = append(others, p)
			}
		}
		times = append(times, failover(t, leader, others))
		leader.start()
	}
	slices.Sort(times)
	fmt.Printf("figure=failover kills=%d median=%v p90=%v p99=%v max=%v\n", len(times), quantile(times, 0.5), quantile(times, 0.9),
		quantile(times, 0.99), times[len(times)-1])
}

// failover kills leader while sessions to the others are open, and returns the time until the first write on any of
// them that began after the kill is acknowledged.
func failover(t *testing.T, leader *process, others []*process) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	acked := make(chan time.Time, len(others))
	killed := make(chan struct{})
	ready := make(chan struct{}, len(others))
	for _, p := range others {
		go func() {
			err := withConn(ctx, p.config(), func(c *driver.Conn) error {
				if _, err := query(ctx, c, driver.LevelSession, "insert into f values(null)"); err != nil {
					return err
				}
				ready <- struct{}{}
				<-killed
				for {
					_, err := query(ctx, c, driver.LevelSession, "insert into f values(null)")
					if err == nil {
						acked <- time.Now()
						return nil
					}
					if !errors.Is(err, driver.ErrNoQuorum) && !errors.Is(err, driver.ErrOutcomeUnknown) {
						return err
					}
				}
			})
			if err != nil && ctx.Err() == nil {
				t.Errorf("writing through %s: %v", p.name, err)
				cancel()
			}
		}()
	}
	for range others {
		select {
		case <-ready:
		case <-ctx.Done():
			t.Fatal("the writers did not become ready")
		}
	}
	begun := time.Now()
	leader.kill()
	close(killed)
	var first time.Time
	for range others {
		select {
		case at := <-acked:
			if first.IsZero() {
				first = at
			}
		case <-ctx.Done():
			t.Fatal("no write was acknowledged")
		}
	}
	return first.Sub(begun)
}
