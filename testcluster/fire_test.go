package testcluster_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/testcluster"
	"github.com/rsqld/rsqld/testcluster/sim"
)

const (
	// accounts and balance are what the transfers begin with.
	accounts, balance = 10, 1000
	// keyOperations is how many operations of a register are held against each other.
	keyOperations = 200
)

const fireSchema = `
create table once(k integer);
create table account(id integer primary key, balance integer not null);
create table moved(k integer);
create table reg(k text primary key, v integer);
create table applied(id integer primary key, v integer);
create table own(worker integer primary key, n integer)`

// fire is a load under which the truth of every answer is checked, while a cluster is hurt.
type fire struct {
	t      *testing.T
	config driver.Config // all addresses
	stop   chan struct{}
	group  sync.WaitGroup

	next                   atomic.Int64
	acked, unsure          sync.Map // of keys
	unknown, refused       atomic.Int64
	movedAcked, movedOpen  sync.Map
	transfers, undone      atomic.Int64
	sums, wrongSums        atomic.Int64
	ownReads, ownMissed    atomic.Int64
	localReads, backwards  atomic.Int64
	registers, unreadables atomic.Int64

	mu      sync.Mutex // guards history and keys
	history sim.History
	// key is the register in use, and operations how often it was used.
	key        int
	operations int
}

// startFire makes the tables and starts the load.
func startFire(t *testing.T, config driver.Config, each ...driver.Config) *fire {
	t.Helper()
	f := &fire{t: t, config: config, stop: make(chan struct{})}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	db := f.open("")
	defer db.Close()
	if _, err := db.ExecContext(ctx, fireSchema); err != nil {
		t.Fatal(err)
	}
	for i := range accounts {
		if _, err := db.ExecContext(ctx, "insert into account values(?, ?)", i, balance); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 16 {
		switch i % 4 {
		case 0, 1:
			f.loop("", f.insert)
		case 2:
			f.loop("", f.transfer)
		case 3:
			f.loop([]driver.Level{driver.LevelStrong, driver.LevelLinearizable}[i/4%2], f.register(i))
		}
	}
	for _, level := range []driver.Level{driver.LevelLocal, driver.LevelSession, driver.LevelLinearizable, driver.LevelStrong} {
		f.loop(level, f.sum)
	}
	shared := f.open(driver.LevelSession)
	t.Cleanup(func() { shared.Close() })
	for i := range 16 {
		f.on(shared, f.own(i))
	}
	for _, one := range each {
		f.group.Go(func() { f.local(one) })
	}
	return f
}

// open opens a pool of its own.
func (f *fire) open(level driver.Level) *sql.DB {
	config := f.config
	config.Level = level
	connector, err := driver.NewConnector(config)
	if err != nil {
		f.t.Fatal(err)
	}
	return sql.OpenDB(connector)
}

// loop does something again and again with a pool of its own.
func (f *fire) loop(level driver.Level, one func(context.Context, *sql.DB)) {
	db := f.open(level)
	f.t.Cleanup(func() { db.Close() })
	f.on(db, one)
}

func (f *fire) on(db *sql.DB, one func(context.Context, *sql.DB)) {
	f.group.Go(func() {
		for {
			select {
			case <-f.stop:
				return
			default:
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			one(ctx, db)
			cancel()
		}
	})
}

// insert writes a key that must be there once if it was acknowledged, and once or not at all if its outcome is unknown.
func (f *fire) insert(ctx context.Context, db *sql.DB) {
	key := f.next.Add(1)
	switch _, err := db.ExecContext(ctx, "insert into once values(?)", key); {
	case err == nil:
		f.acked.Store(key, true)
	case errors.Is(err, driver.ErrOutcomeUnknown):
		f.unknown.Add(1)
		f.unsure.Store(key, true)
	default:
		f.refused.Add(1)
		f.t.Logf("an insert: %v", err)
	}
}

// transfer moves money between two accounts in a transaction, and notes that it did.
func (f *fire) transfer(ctx context.Context, db *sql.DB) {
	key := f.next.Add(1)
	from, to := rand.IntN(accounts), rand.IntN(accounts)
	amount := rand.IntN(20)
	err := driver.RunTx(ctx, db, nil, func(tx *sql.Tx) error {
		var total int
		if err := tx.QueryRowContext(ctx, "select sum(balance) from account").Scan(&total); err != nil {
			return err
		}
		if f.sums.Add(1); total != accounts*balance {
			f.wrongSums.Add(1)
			f.t.Errorf("a transaction sees %d in all accounts", total)
		}
		if _, err := tx.ExecContext(ctx, "update account set balance = balance - ? where id = ?", amount, from); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "update account set balance = balance + ? where id = ?", amount, to); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "insert into moved values(?)", key)
		return err
	})
	switch {
	case err == nil:
		f.transfers.Add(1)
		f.movedAcked.Store(key, true)
	case errors.Is(err, driver.ErrOutcomeUnknown):
		f.unknown.Add(1)
		f.movedOpen.Store(key, true)
	default:
		f.undone.Add(1)
		f.t.Logf("a transfer: %v", err)
	}
}

// sum reads all accounts at one level, or in a read-only transaction: no level shows half a transfer.
func (f *fire) sum(ctx context.Context, db *sql.DB) {
	var total, again int
	err := db.QueryRowContext(ctx, "select sum(balance) from account").Scan(&total)
	if err == nil && rand.IntN(4) == 0 {
		var tx *sql.Tx
		if tx, err = db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}); err == nil {
			var changed bool
			err = tx.QueryRowContext(ctx, "select sum(balance) from account").Scan(&total)
			if err == nil {
				err = tx.QueryRowContext(ctx, "select sum(balance), sum(balance) <> ? from account", total).Scan(&again, &changed)
			}
			if rolled := tx.Rollback(); err == nil {
				err = rolled
			}
			if err == nil && changed {
				f.t.Errorf("a read-only transaction sees %d and then %d", total, again)
			}
		}
	}
	if err != nil {
		f.unreadables.Add(1)
		f.t.Logf("a sum: %v", err)
		return
	}
	if f.sums.Add(1); total != accounts*balance {
		f.wrongSums.Add(1)
		f.t.Errorf("a read sees %d in all accounts", total)
	}
}

// register writes and reads registers; what it is told is held against every order that there could be.
func (f *fire) register(client int) func(context.Context, *sql.DB) {
	return func(ctx context.Context, db *sql.DB) {
		write := rand.IntN(2) == 0
		value := uint64(f.next.Add(1))
		f.mu.Lock()
		if f.operations++; f.operations > keyOperations {
			f.key, f.operations = f.key+1, 0
		}
		key := fmt.Sprint("r", f.key)
		var call sim.Call
		if write {
			call = f.history.Put(client, key, value)
		} else {
			call = f.history.Get(client, key)
		}
		f.mu.Unlock()
		var got sql.NullInt64
		var err error
		if write {
			_, err = db.ExecContext(ctx, "insert into reg values(?, ?) on conflict(k) do update set v = excluded.v; insert into applied(v) values(?)", key, int64(value), int64(value))
		} else if err = db.QueryRowContext(ctx, "select v from reg where k = ?", key).Scan(&got); errors.Is(err, sql.ErrNoRows) {
			err = nil
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		switch {
		case err == nil:
			content := sim.Content(0)
			if got.Valid {
				content = sim.Put(uint64(got.Int64))
			}
			f.registers.Add(1)
			f.history.Done(call, content)
		case write && errors.Is(err, driver.ErrOutcomeUnknown):
			f.unknown.Add(1)
		default:
			f.history.Refused(call)
		}
	}
}

// own writes and reads it back, on whatever connection and node: a session never misses its own write.
func (f *fire) own(worker int) func(context.Context, *sql.DB) {
	return func(ctx context.Context, db *sql.DB) {
		n := f.next.Add(1)
		_, err := db.ExecContext(ctx, "insert into own values(?, ?) on conflict(worker) do update set n = excluded.n", worker, n)
		if err != nil {
			f.refused.Add(1)
			f.t.Logf("an own write: %v", err)
			return
		}
		for range 4 {
			var got int64
			if err := db.QueryRowContext(ctx, "select n from own where worker = ?", worker).Scan(&got); err != nil {
				f.unreadables.Add(1)
				continue
			}
			if f.ownReads.Add(1); got != n {
				f.ownMissed.Add(1)
				f.t.Errorf("worker %d wrote %d and reads %d", worker, n, got)
			}
		}
	}
}

// local reads one node at level local: what it shows never goes back.
func (f *fire) local(config driver.Config) {
	config.Level = driver.LevelLocal
	seen := map[uint64]int64{}
	for {
		err := withConn(context.Background(), config, func(conn *driver.Conn) error {
			for {
				select {
				case <-f.stop:
					return nil
				default:
				}
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				rows, err := query(ctx, conn, driver.LevelLocal, "select count(*) from once")
				cancel()
				if err != nil {
					return err
				}
				count, node := rows[0][0].(int64), conn.Node()
				if f.localReads.Add(1); count < seen[node] {
					f.backwards.Add(1)
					f.t.Errorf("node %d showed %d rows and then %d", node, seen[node], count)
				}
				seen[node] = count
			}
		})
		if err == nil {
			return
		}
	}
}

// put ends the load.
func (f *fire) put() {
	close(f.stop)
	f.group.Wait()
}

// column reads one column of integers at level linearizable.
func (f *fire) column(query string) (values []int64) {
	f.t.Helper()
	db := f.open(driver.LevelLinearizable)
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		f.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var v int64
		if err := rows.Scan(&v); err != nil {
			f.t.Fatal(err)
		}
		values = append(values, v)
	}
	if err := rows.Err(); err != nil {
		f.t.Fatal(err)
	}
	return values
}

// found compares the keys that are there with what was said of them.
func (f *fire) found(table string, acked, open *sync.Map) (lost, doubled int) {
	f.t.Helper()
	times := map[int64]int{}
	for _, key := range f.column("select k from " + table) {
		times[key]++
	}
	acked.Range(func(key, _ any) bool {
		if times[key.(int64)] == 0 {
			lost++
		}
		return true
	})
	for key, n := range times {
		_, was := acked.Load(key)
		_, may := open.Load(key)
		if n > 1 || !was && !may {
			doubled++ // or there although it was refused
		}
	}
	if lost+doubled > 0 {
		f.t.Errorf("%s: %d keys lost, %d doubled or there after a refusal", table, lost, doubled)
	}
	return lost, doubled
}

// check holds what is there against what was said, and returns the closing line.
func (f *fire) check() string {
	f.t.Helper()
	lost, doubled := f.found("once", &f.acked, &f.unsure)
	movedLost, movedDoubled := f.found("moved", &f.movedAcked, &f.movedOpen)
	if total := f.column("select sum(balance) from account")[0]; total != accounts*balance {
		f.t.Errorf("all accounts hold %d", total)
	}
	var applied []uint64
	for _, v := range f.column("select v from applied order by id") {
		applied = append(applied, uint64(v))
	}
	linearizable := true
	for _, err := range []error{f.history.CheckOnce(applied), f.history.CheckLinearizable(applied)} {
		if err != nil {
			linearizable = false
			f.t.Error(err)
		}
	}
	acked := 0
	f.acked.Range(func(any, any) bool { acked++; return true })
	return fmt.Sprintf("acked=%d lost=%d doubled=%d transfers=%d undone=%d lost_or_doubled_transfers=%d sums=%d wrong_sums=%d registers=%d linearizable=%t own_reads=%d missed=%d local_reads=%d backwards=%d unknown=%d refused=%d unreadable=%d",
		acked, lost, doubled, f.transfers.Load(), f.undone.Load(), movedLost+movedDoubled, f.sums.Load(), f.wrongSums.Load(), f.registers.Load(), linearizable,
		f.ownReads.Load(), f.ownMissed.Load(), f.localReads.Load(), f.backwards.Load(), f.unknown.Load(), f.refused.Load(), f.unreadables.Load())
}

// worked fails if some part of the load did nothing.
func (f *fire) worked() {
	f.t.Helper()
	for name, n := range map[string]int64{"transfers": f.transfers.Load(), "sums": f.sums.Load(), "registers": f.registers.Load(),
		"own reads": f.ownReads.Load(), "local reads": f.localReads.Load()} {
		if n == 0 {
			f.t.Errorf("there were no %s: the drill proves nothing of them", name)
		}
	}
}

// While a cluster is hurt in every way that there is, every answer is true: what was acknowledged is there once, transactions
// are whole, no read shows half of one, registers are linearizable, sessions see their own writes, and no node goes back.
func TestTransfersUnderFire(t *testing.T) {
	c := startCluster(t, 3)
	config := configOf(c)
	config.Spread = true
	f := startFire(t, config, at(c, 1), at(c, 2), at(c, 3))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	kills, cuts, moves := hurt(ctx, t, c, time.Now().Add(lasting(5*time.Second, 5*time.Minute)))
	f.put()
	f.worked()
	line := f.check()
	report("fire_network kills=%d partitions=%d transfers_of_leadership=%d %s", kills, cuts, moves, line)
	t.Log(line)
}

// hurt kills, cuts off and moves leaders, until a time.
func hurt(ctx context.Context, t *testing.T, c *testcluster.Cluster, until time.Time) (kills, cuts, moves int) {
	t.Helper()
	for round := 0; time.Now().Before(until); round++ {
		leader, err := c.Leader(ctx)
		if err != nil {
			t.Fatal(err)
		}
		victim := leader
		if round%4 == 3 {
			victim = leader%3 + 1
		}
		others := without(c, victim)
		switch round % 3 {
		case 0:
			if err := c.Kill(victim); err != nil {
				t.Fatal(err)
			}
			kills++
			awaitWrites(t, c, others)
			if err := c.Restart(ctx, victim); err != nil {
				t.Fatal(err)
			}
		case 1:
			if err := c.Partition([]int{victim}, others); err != nil {
				t.Fatal(err)
			}
			cuts++
			awaitWrites(t, c, others)
			c.Heal()
		case 2:
			// A transfer may fail while the cluster finds itself; then nothing happened.
			if _, err := askControl(ctx, c, leader, "transfer"); err == nil {
				moves++
			}
		}
		awaitWrites(t, c, []int{1, 2, 3})
	}
	return kills, cuts, moves
}

// awaitWrites waits until each of some nodes has applied more than it had.
func awaitWrites(t *testing.T, c *testcluster.Cluster, nodes []int) {
	t.Helper()
	for _, i := range nodes {
		from := c.Node(i).Status().Raft.Applied
		eventually(t, fmt.Sprintf("node %d to go on", i), func(context.Context) error {
			if now := c.Node(i).Status().Raft.Applied; now < from+50 {
				return fmt.Errorf("it has applied %d, and %d before", now, from)
			}
			return nil
		})
	}
}
