package testcluster_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/driver"
)

// writers insert unique keys and remember what became of each.
type writers struct {
	t     *testing.T
	nodes []*process
	stop  chan struct{}
	group sync.WaitGroup

	next    atomic.Int64
	acked   atomic.Int64
	mu      sync.Mutex
	outcome map[int64]string // "acked" or "unknown"; keys that certainly failed are not in it
}

const writersTable = "create table if not exists written(k integer primary key, writer int) strict"

// startWriters runs count writers, each with sessions to all the nodes, starting at a different one.
func startWriters(t *testing.T, count int, nodes ...*process) *writers {
	t.Helper()
	nodes[0].exec(writersTable)
	w := &writers{t: t, nodes: nodes, stop: make(chan struct{}), outcome: make(map[int64]string)}
	for i := range count {
		w.group.Go(func() { w.write(i) })
	}
	return w
}

func (w *writers) write(writer int) {
	for {
		select {
		case <-w.stop:
			return
		default:
		}
		config := w.nodes[writer%len(w.nodes)].config()
		for i := range w.nodes {
			if i != writer%len(w.nodes) {
				config.Addresses = append(config.Addresses, w.nodes[i].address)
			}
		}
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
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var rows [][]any
	err := withConn(ctx, p.config(), func(c *driver.Conn) (err error) {
		rows, err = query(ctx, c, driver.LevelLocal, "select k, count(*) from written group by k")
		return err
	})
	if err != nil {
		w.t.Fatalf("reading what was written on %s: %v", p.name, err)
	}
	present := make(map[int64]bool)
	for _, row := range rows {
		key, count := row[0].(int64), row[1].(int64)
		present[key] = true
		if count != 1 {
			w.t.Errorf("%s: key %d is there %d times", p.name, key, count)
		}
		if w.outcome[key] == "" {
			w.t.Errorf("%s: key %d is there and its write was refused", p.name, key)
		}
	}
	lost := 0
	for key, outcome := range w.outcome {
		if outcome == "acked" && !present[key] {
			lost++
		}
	}
	if lost > 0 {
		w.t.Errorf("%s: %d of %d acknowledged writes are lost", p.name, lost, w.acked.Load())
	}
	w.t.Log(fmt.Sprintf("%s: %d acknowledged, %d present", p.name, w.acked.Load(), len(present)))
}
