package testcluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/driver"
)

// ledger is written by writers that do not give up: each repeats a row until it is acknowledged. A row has nothing unique,
// so that one that were written twice would show.
type ledger struct {
	t     *testing.T
	stop  chan struct{}
	group sync.WaitGroup

	rows    atomic.Int64 // acknowledged
	retries atomic.Int64

	mu     sync.Mutex // guards config, whose addresses change
	config driver.Config
}

// openLedger starts count writers on the nodes.
func openLedger(t *testing.T, count int, nodes ...*process) *ledger {
	t.Helper()
	nodes[0].exec("create table ledger(writer integer, row integer)", "create index ledger_row on ledger(writer, row)")
	l := &ledger{t: t, stop: make(chan struct{})}
	l.use(nodes)
	for i := range count {
		l.group.Go(func() { l.write(i) })
	}
	return l
}

// use tells the writers which nodes there are from the next session on.
func (l *ledger) use(nodes []*process) {
	config := nodes[0].config()
	for _, p := range nodes[1:] {
		config.Addresses = append(config.Addresses, p.address)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.config = config
}

// write writes row after row, in session after session.
func (l *ledger) write(writer int) {
	row := 1
	var since time.Time // of the first failure of the row
	for session := 0; ; session++ {
		l.mu.Lock()
		config := l.config
		l.mu.Unlock()
		first := (writer + session) % len(config.Addresses)
		config.Addresses = slices.Concat(config.Addresses[first:], config.Addresses[:first])
		err := withConn(context.Background(), config, func(c *driver.Conn) error {
			for {
				select {
				case <-l.stop:
					return nil
				default:
				}
				if err := l.insert(c, writer, row); err != nil {
					return err
				}
				row, since = row+1, time.Time{}
				l.rows.Add(1)
			}
		})
		if err == nil {
			return
		}
		l.retries.Add(1)
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) > patience {
			l.t.Errorf("writer %d could not write row %d for %v: %v", writer, row, patience, err)
			return
		}
	}
}

// insert writes a row unless it is there: an attempt before may have been one whose outcome nobody told.
func (l *ledger) insert(c *driver.Conn, writer, row int) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := query(ctx, c, driver.LevelSession,
		"insert into ledger select ?1, ?2 where not exists (select 1 from ledger where writer = ?1 and row = ?2)", writer, row)
	return err
}

// await waits for so many more rows.
func (l *ledger) await(more int64) {
	l.t.Helper()
	target := l.rows.Load() + more
	eventually(l.t, fmt.Sprintf("%d more rows", more), func(context.Context) error {
		if rows := l.rows.Load(); rows < target {
			return fmt.Errorf("%d are missing", target-rows)
		}
		return nil
	})
}

// close stops the writers and proves on each node that every acknowledged row is there once.
func (l *ledger) close(nodes []*process) {
	l.t.Helper()
	close(l.stop)
	l.group.Wait()
	settle(l.t, nodes...)
	for _, p := range nodes {
		if rows := p.value("select count(*) from ledger"); rows != l.rows.Load() {
			l.t.Errorf("%s has %v rows, and %d were acknowledged", p.name, rows, l.rows.Load())
		}
		if twice := p.value("select count(*) from (select 1 from ledger group by writer, row having count(*) > 1)"); twice != int64(0) {
			l.t.Errorf("%s has %v rows more than once", p.name, twice)
		}
		if gaps := p.value("select count(*) from (select max(row) - count(*) as g from ledger group by writer having g <> 0)"); gaps != int64(0) {
			l.t.Errorf("%s has gaps in the rows of %v writers", p.name, gaps)
		}
	}
}

// TestDrillRollingReplacement proves: every node of a cluster can be replaced by a new one under load, the leader too, and
// no write fails for good, none is lost and none is there twice.
func TestDrillRollingReplacement(t *testing.T) {
	t.Parallel()
	size, rounds, writers := 3, 2, 6
	if soaking {
		size, rounds, writers = 5, 5, 16
	}
	founder := newProcess(t, "n1").start()
	nodes := []*process{founder}
	for i := 2; i <= size; i++ {
		nodes = append(nodes, newProcess(t, fmt.Sprint("n", i)).joins(founder, founder).start())
	}
	awaitVoters(t, size, nodes...)
	begun := time.Now()
	l := openLedger(t, writers, nodes...)
	// The oldest one each time, so that all of the first are gone in the end; but the leader first, whoever leads later.
	nodes = replace(t, l, nodes, leaderOf(t, nodes...), founder)
	for range rounds - 1 {
		nodes = replace(t, l, nodes, nodes[0], founder)
	}
	seconds := time.Since(begun).Seconds()
	l.close(nodes)
	report("rolling_replacement nodes=%d replaced=%d writers=%d seconds=%.1f rows=%d retried=%d failed=0 lost=0 doubled=0",
		size, rounds, writers, seconds, l.rows.Load(), l.retries.Load())
}

// replace adds a new node, waits until it votes, removes the old one and waits until it has ended.
func replace(t *testing.T, l *ledger, nodes []*process, old, founder *process) []*process {
	t.Helper()
	l.await(50)
	wasLeader := leaderOf(t, nodes...) == old
	id := old.id()
	remaining := except(nodes, old)
	fresh := newProcess(t, "new"+fmt.Sprint(id)).joins(founder, remaining[0]).start()
	awaitVoters(t, len(nodes)+1, append(remaining, fresh)...)
	nodes = append(remaining, fresh)
	l.use(nodes)
	l.await(50)
	fresh.eventuallyControl("remove", fmt.Sprint(id))
	select {
	case <-old.exited:
	case <-time.After(patience):
		t.Fatalf("%s goes on after it was removed", old.name)
	}
	awaitVoters(t, len(nodes), nodes...)
	l.await(50)
	t.Logf("replaced %s (node %d, leader: %v) by node %d", old.name, id, wasLeader, fresh.id())
	return nodes
}

// eventuallyControl runs a control verb until it is done, or was done by an attempt whose outcome was not told.
func (p *process) eventuallyControl(verb string, args ...string) {
	p.t.Helper()
	p.eventually("to do "+verb, func(ctx context.Context) error {
		err := withConn(ctx, p.config(), func(c *driver.Conn) error {
			_, err := control(ctx, c, verb, args...)
			return err
		})
		var refused *driver.Error
		if errors.As(err, &refused) && refused.Class == driver.ClassProtocol {
			return nil // there is no such node any more
		}
		return err
	})
}
