package db_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/driver"
)

// usage is what this process uses: both ends of the sessions of a test are in it.
type usage struct {
	goroutines int
	bytes      int64 // of heap and stacks
}

func measure() usage {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{runtime.NumGoroutine(), int64(m.HeapAlloc + m.StackInuse)}
}

// TestManySessions proves that a thousand idle sessions and two hundred that work, all through one socket, cost what they
// should: goroutines and memory by the session, and nothing once they are closed.
func TestManySessions(t *testing.T) {
	const idle, active, requests = 1000, 200, 50
	const mostGoroutines, mostBytes = 4, 64 << 10 // of a session, both its ends
	dir := t.TempDir()
	n := openNode(t, dir)
	connector, err := driver.NewConnector(driver.Config{Addresses: []string{n.Address()}, Credential: dir + "/admin.pem"})
	if err != nil {
		t.Fatal(err)
	}
	defer connector.Close()
	open := func(count int) (sessions []*driver.Conn) {
		for range count {
			c, err := connector.Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			sessions = append(sessions, c)
		}
		return sessions
	}
	first := open(1)[0]
	mustRun(t, first, "create table t(id integer primary key, by integer)")
	before := measure()
	sessions := open(idle)
	after := measure()
	goroutines, bytes := float64(after.goroutines-before.goroutines)/idle, (after.bytes-before.bytes)/idle
	if goroutines > mostGoroutines || bytes > mostBytes {
		t.Errorf("an idle session has %.2f goroutines and %d bytes, want at most %d and %d", goroutines, bytes, mostGoroutines, mostBytes)
	}

	busy := open(active)
	var working sync.WaitGroup
	var errs [active]error
	working.Add(active)
	begin, peak := make(chan struct{}), usage{}
	for i, c := range busy {
		go func() {
			defer working.Done()
			<-begin
			for k := range requests {
				if k%2 == 0 {
					errs[i] = errors.Join(errs[i], executes(t.Context(), c, "insert into t(by) values(?)", i))
				} else {
					errs[i] = errors.Join(errs[i], executes(t.Context(), c, "select count(*) from t where id % 7 = ?", i))
				}
			}
		}()
	}
	close(begin)
	done := make(chan struct{})
	go func() {
		working.Wait()
		close(done)
	}()
	sample := time.NewTicker(10 * time.Millisecond)
	defer sample.Stop()
	for working := true; working; {
		select {
		case <-done:
			working = false
		case <-sample.C:
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.goroutines, peak.bytes = max(peak.goroutines, runtime.NumGoroutine()), max(peak.bytes, int64(m.HeapInuse+m.StackInuse))
		}
	}
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	if got := mustRun(t, first, "select count(*), count(distinct by) from t"); fmt.Sprint(got) != fmt.Sprintf("[[%d %d]]", active*requests/2, active) {
		t.Errorf("%d sessions wrote %v", active, got)
	}
	for _, c := range append(sessions, busy...) {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "goroutines to end", func() error {
		if now := runtime.NumGoroutine(); now > before.goroutines {
			return fmt.Errorf("there are %d, and were %d", now, before.goroutines)
		}
		return nil
	})
	left := measure().bytes - before.bytes
	t.Logf("sessions=%d goroutines_each=%.2f bytes_each=%d active=%d peak_goroutines=%d peak_bytes=%d left_bytes=%d",
		idle, goroutines, bytes, active, peak.goroutines, peak.bytes, left)
	if left > idle*mostBytes/4 {
		t.Errorf("%d bytes are still in use after the sessions were closed", left)
	}
}

// executes runs a request to its end.
func executes(ctx context.Context, c *driver.Conn, sql string, args ...any) error {
	results, err := c.Execute(ctx, driver.Request{SQL: sql, Args: args})
	if err != nil {
		return err
	}
	_, err = drain(results)
	return err
}
