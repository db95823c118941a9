package testcluster_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/driver"
)

// runaway counts for ever.
const runaway = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"

// cpu is how much processor time a process has used (proc(5), in ticks of 10 ms).
func cpu(t *testing.T, p *process) time.Duration {
	t.Helper()
	text := readFile(t, fmt.Sprintf("/proc/%d/stat", p.command.Process.Pid))
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	user, err := strconv.Atoi(fields[11])
	system, wrong := strconv.Atoi(fields[12])
	if err := errors.Join(err, wrong); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// TestCancelRelayed proves: a read without an end that a follower has given to the leader ends with its context, within 100 ms,
// on the leader too, and its session goes on.
func TestCancelRelayed(t *testing.T) {
	nodes := trio(t)
	leader := leaderOf(t, nodes...)
	follower := except(nodes, leader)[0]
	const rounds, most = 9, 100 * time.Millisecond
	var late []time.Duration
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := withConn(ctx, follower.config(), func(c *driver.Conn) error {
		for range rounds {
			before := cpu(t, leader)
			ended, stop := context.WithTimeout(ctx, 300*time.Millisecond)
			_, err := query(ended, c, driver.LevelStrong, runaway)
			deadline, _ := ended.Deadline()
			late = append(late, time.Since(deadline))
			stop()
			if !errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("the read ended with %w", err)
			}
			if spent := cpu(t, leader) - before; spent < 20*time.Millisecond {
				return fmt.Errorf("the leader computed for %v: the read did not run there", spent)
			}
			if rows, err := query(ctx, c, driver.LevelStrong, "select 7"); err != nil || rows[0][0] != int64(7) {
				return fmt.Errorf("after it: %v, %w", rows, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(late)
	t.Logf("cancel=relayed_read rounds=%d late_median=%v late_max=%v", rounds, late[rounds/2], late[rounds-1])
	if late[rounds/2] > most {
		t.Errorf("the median read ended %v after its context, want at most %v", late[rounds/2], most)
	}
	before, began := cpu(t, leader), time.Now()
	follower.eventually("time to pass", func(context.Context) error {
		if time.Since(began) < 500*time.Millisecond {
			return errors.New("not yet")
		}
		return nil
	})
	if spent := cpu(t, leader) - before; spent > time.Since(began)/2 {
		t.Errorf("in the %v after the last read the leader computed for %v", time.Since(began), spent)
	}
}

// TestCancelledWrite proves: a write whose context ends was executed or was not, and its error says which, or that it does not know.
func TestCancelledWrite(t *testing.T) {
	nodes := trio(t)
	leader := leaderOf(t, nodes...)
	follower := except(nodes, leader)[0]
	follower.exec("create table w(id integer, part integer)")
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	const writes, parts = 60, 2000
	outcome := make(map[int64]string)
	err := withConn(ctx, follower.config(), func(c *driver.Conn) error {
		for id := range int64(writes) {
			if id == writes*2/3 {
				// The rest waits for its turn behind a transaction, and is given up there.
				holder, err := driver.NewConnector(leader.config())
				if err != nil {
					return err
				}
				defer holder.Close()
				held, err := holder.Open(ctx)
				if err != nil {
					return err
				}
				if err := held.BeginTransaction(ctx, driver.TxOptions{}); err != nil {
					return err
				}
				defer held.Close()
			}
			ended, stop := context.WithTimeout(ctx, time.Duration(rand.Int64N(int64(12*time.Millisecond))))
			_, err := query(ended, c, driver.LevelSession,
				"insert into w with recursive n(i) as (select 1 union all select i + 1 from n where i < ?) select ?, i from n", parts, id)
			stop()
			switch {
			case err == nil:
				outcome[id] = "done"
			case errors.Is(err, driver.ErrOutcomeUnknown):
				outcome[id] = "unknown"
			case errors.Is(err, context.DeadlineExceeded), errors.Is(err, driver.ErrBusy):
				outcome[id] = "not done"
			default:
				return fmt.Errorf("write %d ended with %w", id, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	follower.exec("insert into w values(-1, 0)") // what was not known to be over is over once a later write is
	counts := make(map[string]int)
	for id, said := range outcome {
		counts[said]++
		switch n := leader.value(fmt.Sprintf("select count(*) from w where id = %d", id)).(int64); {
		case n != 0 && n != parts, said == "done" && n == 0, said == "not done" && n != 0:
			t.Errorf("write %d was said to be %s and has %d of its %d rows", id, said, n, parts)
		}
	}
	t.Logf("cancel=write %v", counts)
	if counts["not done"] == 0 || counts["done"]+counts["unknown"] == 0 {
		t.Errorf("the writes ended as %v: the test does not reach what it is for", counts)
	}
}
