//go:build crash

package testcluster_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/driver"
)

var (
	crashKills = flag.Int("crash.kills", 50, "how often all processes are killed")
	crashSeed  = flag.Uint64("crash.seed", 1, "what the load is drawn from")
)

// load writes to a table without a key, so that what is there twice is seen, and remembers what must be there.
type load struct {
	t      *testing.T
	config driver.Config
	stop   chan struct{}
	group  sync.WaitGroup
	next   atomic.Int64
	// quiet is held by whoever wants no write on its way.
	quiet sync.RWMutex

	mu sync.Mutex
	// there are the keys that were acknowledged, open those of which nobody knows.
	there, open map[int64]bool
	acked       int
}

func (l *load) write(seed uint64) {
	chance := rand.New(rand.NewPCG(*crashSeed, seed))
	connector, err := driver.NewConnector(l.config)
	if err != nil {
		l.t.Error(err)
		return
	}
	defer connector.Close()
	var mine []int64
	for {
		conn, err := connector.Open(context.Background())
		for err == nil {
			select {
			case <-l.stop:
				conn.Close()
				return
			default:
			}
			l.quiet.RLock()
			mine, err = l.one(conn, chance, mine)
			l.quiet.RUnlock()
		}
		if conn != nil {
			conn.Close()
		}
	}
}

// one does one write, and returns the keys of this writer that are there.
func (l *load) one(conn *driver.Conn, chance *rand.Rand, mine []int64) ([]int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	kind := chance.IntN(10)
	if len(mine) == 0 || kind < 6 {
		size := chance.IntN(200)
		if chance.IntN(20) == 0 {
			size = 100_000 + chance.IntN(400_000) // what makes SQLite's log long enough for checkpoints
		}
		key := l.next.Add(1)
		_, err := query(ctx, conn, driver.LevelSession, "insert into crash(k, v, b) values(?, random(), randomblob(?))", key, size)
		if l.note(key, true, err) {
			mine = append(mine, key)
		}
		return mine, err
	}
	i := chance.IntN(len(mine))
	if kind < 9 {
		_, err := query(ctx, conn, driver.LevelSession, "update crash set v = random(), at = current_timestamp where k = ?", mine[i])
		return mine, err
	}
	key := mine[i]
	mine = append(mine[:i], mine[i+1:]...)
	_, err := query(ctx, conn, driver.LevelSession, "delete from crash where k = ?", key)
	l.note(key, false, err)
	return mine, err
}

// note remembers what became of a write and reports whether it was acknowledged.
func (l *load) note(key int64, there bool, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.acked++
		delete(l.open, key)
		if there {
			l.there[key] = true
		} else {
			delete(l.there, key)
		}
		return true
	case errors.Is(err, driver.ErrOutcomeUnknown):
		delete(l.there, key)
		l.open[key] = true
	}
	return false
}

// check compares a node's rows with what was acknowledged.
func (l *load) check(rows [][]any) (lost, doubled int) {
	found := make(map[int64]int, len(rows))
	for _, row := range rows {
		found[row[0].(int64)]++
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for key := range l.there {
		if found[key] == 0 {
			lost++
			l.t.Errorf("key %d was acknowledged and is lost", key)
		}
	}
	for key, n := range found {
		switch {
		case n > 1:
			doubled++
			l.t.Errorf("key %d is there %d times", key, n)
		case !l.there[key] && !l.open[key]:
			doubled++
			l.t.Errorf("key %d was deleted or refused, and is there", key)
		}
	}
	return lost, doubled
}

// TestCrash kills all processes of a cluster at once, again and again, at any moment of a mixed load. Nothing that was
// acknowledged is lost or there twice, all nodes hold the same, and each file is sound.
func TestCrash(t *testing.T) {
	nodes := trio(t)
	nodes[0].exec("create table crash(k integer, v integer, b blob, at text)", "create index crash_k on crash(k)", "create index crash_v on crash(v)")
	l := &load{t: t, config: nodes[0].config(), stop: make(chan struct{}), there: map[int64]bool{}, open: map[int64]bool{}}
	for _, p := range nodes[1:] {
		l.config.Addresses = append(l.config.Addresses, p.address)
	}
	for i := range 8 {
		l.group.Go(func() { l.write(uint64(i)) })
	}
	chance := rand.New(rand.NewPCG(*crashSeed, 1<<32))
	var lost, doubled, unequal int
	for kill := range *crashKills {
		<-time.After(time.Duration(100+chance.IntN(900)) * time.Millisecond) // the moment of the kill: any
		for _, p := range nodes {
			if err := p.command.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range nodes {
			p.kill()
		}
		for _, i := range chance.Perm(3) {
			nodes[i].launch()
		}
		for _, p := range nodes {
			p.await()
		}
		l.quiet.Lock() // the writers' last writes have been answered: by the nodes that were started, mostly
		var want string
		for i, p := range nodes {
			rows, text := l.look(p)
			if i == 0 {
				want = text
				more, twice := l.check(rows)
				lost, doubled = lost+more, doubled+twice
			} else if text != want {
				unequal++
				t.Errorf("kill %d: %s differs from %s: %s", kill+1, p.name, nodes[0].name, difference(text, want))
			}
		}
		l.quiet.Unlock()
		if t.Failed() {
			break
		}
	}
	close(l.stop)
	l.group.Wait()
	fmt.Fprintf(os.Stdout, "kills=%d acked=%d lost=%d doubled=%d unequal=%d\n", *crashKills, l.acked, lost, doubled, unequal)
}

// look reads all rows of a node, once it has applied what the leader had committed, and checks its file.
func (l *load) look(p *process) (rows [][]any, text string) {
	l.t.Helper()
	p.eventually("to answer", func(ctx context.Context) error {
		return withConn(ctx, p.config(), func(conn *driver.Conn) (err error) {
			if rows, err = query(ctx, conn, driver.LevelLinearizable, "select k, v, length(b), substr(hex(b), 1, 16), at from crash order by rowid"); err != nil {
				return err
			}
			sound, err := query(ctx, conn, driver.LevelLocal, "pragma integrity_check")
			if err == nil && fmt.Sprint(sound) != "[[ok]]" {
				l.t.Fatalf("%s: integrity check: %v", p.name, sound)
			}
			return err
		})
	})
	var b []byte
	for _, row := range rows {
		b = fmt.Appendln(b, row...)
	}
	return rows, string(b)
}
