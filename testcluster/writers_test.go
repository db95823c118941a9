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

// writers insert unique keys and remember what became of each.
type writers struct {
	t      *testing.T
	config driver.Config // all nodes' addresses
	stop   chan struct{}
	group  sync.WaitGroup

	next    atomic.Int64
	acked   atomic.Int64
	mu      sync.Mutex
	outcome map[int64]string // "acked" or "unknown"; keys that certainly failed are not in it
}

const writersTable = "create table if not exists written(k integer primary key, writer int) strict"

// startWriters runs count writers, each with sessions to all the nodes, starting at a different one.
func startWriters(t *testing.T, count int, nodes ...*process) *writers {
	t.Helper()
	config := nodes[0].config()
	for _, p := range nodes[1:] {
		config.Addresses = append(config.Addresses, p.address)
	}
	return startWritersAt(t, count, config)
}

func startWritersAt(t *testing.T, count int, config driver.Config) *writers {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := execute(ctx, config, writersTable); err != nil {
		t.Fatal(err)
	}
	w := &writers{t: t, config: config, stop: make(chan struct{}), outcome: make(map[int64]string)}
	for i := range count {
		w.group.Go(func() { w.write(i) })
	}
	return w
}

// execute runs one statement in a session of its own.
func execute(ctx context.Context, config driver.Config, sql string, args ...any) error {
	return withConn(ctx, config, func(c *driver.Conn) error {
		_, err := query(ctx, c, driver.LevelSession, sql, args...)
		return err
	})
}

func (w *writers) write(writer int) {
	for {
		select {
		case <-w.stop:
			return
		default:
		}
		config := w.config
		first := writer % len(config.Addresses)
		config.Addresses = slices.Concat(w.config.Addresses[first:], w.config.Addresses[:first])
		// An error of withConn itself is a node that is down: the next turn tries again.
		withConn(context.Background(), config, func(c *driver.Conn) error { return w.session(c, writer) })
	}
}

// session writes until an error that is not "nothing was executed" ends the session's use.
func (w *writers) session(c *driver.Conn, writer int) error {
	for {
		select {
		case <-w.stop:
			return nil
		default:
		}
		key := w.next.Add(1)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		_, err := query(ctx, c, driver.LevelSession, "insert into written values(?, ?)", key, writer)
		cancel()
		switch {
		case err == nil:
			w.record(key, "acked")
			w.acked.Add(1)
		case errors.Is(err, driver.ErrNoQuorum):
		case errors.Is(err, driver.ErrOutcomeUnknown):
			w.record(key, "unknown")
		default:
			var sql *driver.Error
			if errors.As(err, &sql) && sql.Class == driver.ClassSQL {
				w.t.Errorf("insert of %d: %v", key, err)
			}
			w.record(key, "unknown")
			return err
		}
	}
}

func (w *writers) record(key int64, outcome string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outcome[key] = outcome
}

// awaitAcks waits until so many more writes were acknowledged.
func (w *writers) awaitAcks(more int64) {
	w.t.Helper()
	target := w.acked.Load() + more
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for w.acked.Load() < target {
		select {
		case <-ticker.C:
		case <-deadline.C:
			w.t.Fatalf("waited %v for %d more acknowledged writes, have %d", patience, more, w.acked.Load()-target+more)
		}
	}
}

func (w *writers) finish() {
	close(w.stop)
	w.group.Wait()
}

// check proves on one node: each acknowledged key is there exactly once, each unknown one at most once, no other key.
func (w *writers) check(p *process) {
	w.t.Helper()
	w.checkAt(p.name, p.config())
}

func (w *writers) checkAt(name string, node driver.Config) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var rows [][]any
	err := withConn(ctx, node, func(c *driver.Conn) (err error) {
		rows, err = query(ctx, c, driver.LevelLocal, "select k, count(*) from written group by k")
		return err
	})
	if err != nil {
		w.t.Fatalf("reading what was written on %s: %v", name, err)
	}
	present := make(map[int64]bool)
	for _, row := range rows {
		key, count := row[0].(int64), row[1].(int64)
		present[key] = true
		if count != 1 {
			w.t.Errorf("%s: key %d is there %d times", name, key, count)
		}
		if w.outcome[key] == "" {
			w.t.Errorf("%s: key %d is there and its write was refused", name, key)
		}
	}
	lost := 0
	for key, outcome := range w.outcome {
		if outcome == "acked" && !present[key] {
			lost++
		}
	}
	if lost > 0 {
		w.t.Errorf("%s: %d of %d acknowledged writes are lost", name, lost, w.acked.Load())
	}
	w.t.Log(fmt.Sprintf("%s: %d acknowledged, %d present", name, w.acked.Load(), len(present)))
}
