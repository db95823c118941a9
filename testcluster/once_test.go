package testcluster_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/testcluster"
)

// inserter inserts keys into a table without a key, so that a row that is there twice is seen.
type inserter struct {
	t      *testing.T
	config driver.Config
	stop   chan struct{}
	group  sync.WaitGroup
	next   atomic.Int64
	acked  sync.Map // of keys
	// unknown counts errors that leave the outcome open, failed all others.
	unknown, failed atomic.Int64
}

func startInserters(t *testing.T, c *testcluster.Cluster, count int) *inserter {
	i := &inserter{t: t, stop: make(chan struct{}), config: driver.Config{Credential: c.Credential()}}
	for n := 1; n <= c.Size(); n++ {
		i.config.Addresses = append(i.config.Addresses, c.Address(n))
	}
	for range count {
		i.group.Go(i.run)
	}
	return i
}

// run inserts with sessions of one Connector, as a program would.
func (i *inserter) run() {
	connector, err := driver.NewConnector(i.config)
	if err != nil {
		i.t.Error(err)
		return
	}
	defer connector.Close()
	for {
		conn, err := connector.Open(context.Background())
		if err != nil {
			i.t.Errorf("opening a session: %v", err)
			return
		}
		for err == nil {
			select {
			case <-i.stop:
				conn.Close()
				return
			default:
			}
			err = i.insert(conn)
		}
		conn.Close()
	}
}

func (i *inserter) insert(conn *driver.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	key := i.next.Add(1)
	rows, err := query(ctx, conn, driver.LevelSession, "insert into once(k) values(?) returning k", key)
	switch {
	case err == nil && fmt.Sprint(rows) == fmt.Sprintf("[[%d]]", key):
		i.acked.Store(key, true)
	case err == nil:
		i.t.Errorf("key %d is answered with %v", key, rows)
	case errors.Is(err, driver.ErrOutcomeUnknown):
		i.unknown.Add(1)
	default:
		i.failed.Add(1)
		i.t.Logf("key %d: %v", key, err)
	}
	return err
}

// await waits for so many more keys.
func (i *inserter) await(more int64) {
	i.t.Helper()
	target := i.next.Load() + more
	eventually(i.t, "more keys", func(context.Context) error {
		if n := i.next.Load(); n < target {
			return fmt.Errorf("%d of %d", n, target)
		}
		return nil
	})
}

// While leaders are killed, moved and cut off, a program that only inserts sees none of it: each insert is answered, with
// its own row, and is there exactly once, because the driver and the nodes send it again under the same number.
func TestWritesHappenOnce(t *testing.T) {
	c := startCluster(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	leader, err := c.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	mustAsk(t, ctx, c, leader, "create table once(k integer)")
	i := startInserters(t, c, 8)
	for round := range 6 {
		i.await(100)
		if leader, err = c.Leader(ctx); err != nil {
			t.Fatal(err)
		}
		others := []int{leader%3 + 1, (leader+1)%3 + 1}
		switch round % 3 {
		case 0:
			if err := c.Kill(leader); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Leader(ctx, others...); err != nil {
				t.Fatal(err)
			}
			i.await(50)
			if err := c.Restart(ctx, leader); err != nil {
				t.Fatal(err)
			}
		case 1:
			if err := c.Partition([]int{leader}, others); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Leader(ctx, others...); err != nil {
				t.Fatal(err)
			}
			i.await(50)
			c.Heal()
		case 2:
			// A transfer may fail while the cluster finds itself; then nothing happened.
			_, _ = askControl(ctx, c, leader, "transfer")
		}
	}
	i.await(100)
	close(i.stop)
	i.group.Wait()

	found := make(map[int64]int)
	rows, err := ask(ctx, c, leader, driver.LevelStrong, "select k from once")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		found[row[0].(int64)]++
	}
	acked := 0
	i.acked.Range(func(key, _ any) bool {
		acked++
		if n := found[key.(int64)]; n != 1 {
			t.Errorf("key %d was acknowledged and is there %d times", key, n)
		}
		return true
	})
	for key, n := range found {
		if n > 1 {
			t.Errorf("key %d is there %d times", key, n)
		}
	}
	t.Logf("%d inserts acknowledged, %d unknown, %d failed", acked, i.unknown.Load(), i.failed.Load())
	if n := i.failed.Load(); n > 0 {
		t.Errorf("%d inserts failed", n)
	}
}

// askControl asks one node about the cluster.
func askControl(ctx context.Context, c *testcluster.Cluster, node int, verb string, args ...string) (rows [][]any, err error) {
	config := driver.Config{Addresses: []string{c.Address(node)}, Credential: c.Credential()}
	err = withConn(ctx, config, func(conn *driver.Conn) error {
		results, err := conn.Control(ctx, verb, args...)
		if err != nil {
			return err
		}
		defer results.Close()
		for results.NextResult() {
			for results.Next() {
				rows = append(rows, append([]any(nil), results.Row()...))
			}
		}
		return results.Err()
	})
	return rows, err
}
