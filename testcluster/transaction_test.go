package testcluster_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/testcluster"
)

// pool opens a pool of one connection to one node, of the cluster that knows all others too.
func pool(t *testing.T, c *testcluster.Cluster, node int) *sql.DB {
	t.Helper()
	connector, err := driver.NewConnector(at(c, node))
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { db.Close() })
	return db
}

// one reads one value as text.
func one(t *testing.T, ctx context.Context, q interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}, query string) string {
	t.Helper()
	var got string
	if err := q.QueryRowContext(ctx, query).Scan(&got); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return got
}

// Transactions of database/sql work at every node, as BeginTx and as text, and a connection that was left with one goes back
// to its pool without it.
func TestTransactionsOfDatabaseSQL(t *testing.T) {
	c := startCluster(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	mustAsk(t, ctx, c, 1, "create table t(id integer primary key, a unique)")
	for node := 1; node <= 3; node++ {
		db := pool(t, c, node)
		db.SetMaxOpenConns(1)
		must := func(_ any, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(db.ExecContext(ctx, "delete from t"))
		tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
		must(nil, err)
		must(tx.ExecContext(ctx, "insert into t(a) values(?)", "one"))
		if _, err := tx.ExecContext(ctx, "insert into t(a) values('two'), ('one')"); !errors.Is(err, driver.ErrUnique) {
			t.Errorf("a double key: %v", err)
		}
		must(tx.ExecContext(ctx, "savepoint s; insert into t(a) values('gone'); rollback to s"))
		rows, err := tx.QueryContext(ctx, "select id from t")
		must(nil, err)
		for rows.Next() { // while it is open
			must(tx.ExecContext(ctx, "insert into t(a) values('three')"))
		}
		must(nil, errors.Join(rows.Err(), rows.Close()))
		if got := one(t, ctx, tx, "insert into t(a) values('four') returning a"); got != "four" {
			t.Errorf("returned %s", got)
		}
		must(nil, tx.Commit())
		if got := one(t, ctx, db, "select group_concat(a) from (select a from t order by id)"); got != "one,three,four" {
			t.Errorf("node %d holds %s", node, got)
		}
		tx, err = db.BeginTx(ctx, nil)
		must(nil, err)
		must(tx.ExecContext(ctx, "delete from t"))
		must(nil, tx.Rollback())
		tx, err = db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
		must(nil, err)
		if got := one(t, ctx, tx, "select count(*) from t"); got != "3" {
			t.Errorf("a read-only transaction sees %s", got)
		}
		if _, err := tx.ExecContext(ctx, "delete from t"); !errors.Is(err, driver.ErrDenied) {
			t.Errorf("a write in a read-only transaction: %v", err)
		}
		must(nil, tx.Commit())

		conn, err := db.Conn(ctx)
		must(nil, err)
		must(conn.ExecContext(ctx, "BEGIN IMMEDIATE;"))
		must(conn.ExecContext(ctx, "delete from t"))
		if _, err := conn.BeginTx(ctx, nil); err == nil {
			t.Error("a transaction within a transaction")
		}
		must(nil, conn.Close())
		if got := one(t, ctx, db, "select count(*) from t"); got != "3" {
			t.Errorf("a connection that was given back has left %s rows", got)
		}
		conn, err = db.Conn(ctx)
		must(nil, err)
		must(conn.ExecContext(ctx, "begin"))
		must(conn.ExecContext(ctx, "update t set a = a || '!'"))
		must(conn.ExecContext(ctx, "end transaction"))
		if _, err := conn.ExecContext(ctx, "commit"); err == nil || !strings.Contains(err.Error(), "no transaction is active") {
			t.Errorf("a commit without a transaction: %v", err)
		}
		must(nil, conn.Close())
		if got := one(t, ctx, db, "select min(a) from t"); got != "four!" {
			t.Errorf("after a text transaction: %s", got)
		}
	}
}

// A transaction whose node goes away is over: nothing goes on as if it were not, and RunTx runs it again elsewhere.
func TestTransactionLosesItsNode(t *testing.T) {
	c := startCluster(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	mustAsk(t, ctx, c, 1, "create table t(a)")
	for round, away := range []int{0, 1} { // connected to the leader, and to a follower
		leader, err := c.Leader(ctx)
		if err != nil {
			t.Fatal(err)
		}
		node := (leader+away-1)%3 + 1
		for _, victim := range []int{node, leader}[:1+away] {
			db := pool(t, c, node)
			runs := 0
			err = driver.RunTx(ctx, db, nil, func(tx *sql.Tx) error {
				if runs++; runs > 1 {
					_, err := tx.ExecContext(ctx, "insert into t values(?)", round)
					return err
				}
				if _, err := tx.ExecContext(ctx, "insert into t values('lost')"); err != nil {
					return err
				}
				if err := c.Kill(victim); err != nil {
					t.Fatal(err)
				}
				_, err := tx.ExecContext(ctx, "insert into t values('lost too')")
				var failed *driver.Error
				if !errors.As(err, &failed) || failed.Retry != driver.RetryTransaction {
					t.Errorf("a statement after the loss: %v", err)
				}
				if _, again := tx.ExecContext(ctx, "insert into t values('lost again')"); !errors.As(again, &failed) || failed.Retry != driver.RetryTransaction {
					t.Errorf("one more: %v", again)
				}
				return err
			})
			if err != nil || runs < 2 {
				t.Errorf("after %d runs: %v", runs, err)
			}
			if err := c.Restart(ctx, victim); err != nil {
				t.Fatal(err)
			}
			if leader, err = c.Leader(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := one(t, ctx, pool(t, c, 1), "select group_concat(a) from t"); got != "0,1,1" {
		t.Errorf("the table holds %s", got)
	}
}

// A commit during which the leader dies tells the truth.
func TestCommitTellsTheTruth(t *testing.T) {
	c := startCluster(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	mustAsk(t, ctx, c, 1, "create table t(a)")
	done, undone := 0, 0
	for round := range 4 {
		leader, err := c.Leader(ctx)
		if err != nil {
			t.Fatal(err)
		}
		db := pool(t, c, leader%3+1)
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(ctx, "insert into t values(?)", round); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		if answerLost := round%2 == 1; answerLost {
			// The leader hears of the commit, and is not heard any more where the client is.
			if err := c.Cut(leader, leader%3+1, true); err != nil {
				t.Fatal(err)
			}
			before := c.Node(leader).Status().Raft.Last.Index
			go func() { ended <- tx.Commit() }()
			eventually(t, "the commit to be committed", func(context.Context) error {
				if s := c.Node(leader).Status().Raft; s.Commit <= before {
					return fmt.Errorf("%d is committed, and the log ended with %d", s.Commit, before)
				}
				return nil
			})
		} else {
			go func() { ended <- tx.Commit() }()
		}
		if err := c.Kill(leader); err != nil {
			t.Fatal(err)
		}
		c.Heal()
		committed := <-ended
		if committed != nil && round%2 == 1 {
			t.Errorf("a transaction that was committed ended with %v", committed)
		}
		var failed *driver.Error
		want := "1"
		switch {
		case committed == nil:
			done++
		case errors.As(committed, &failed) && failed.Retry == driver.RetryTransaction:
			undone++
			want = "0"
		default:
			t.Fatalf("it ended with %v", committed)
		}
		if got := one(t, driver.WithLevel(ctx, driver.LevelLinearizable), db, fmt.Sprintf("select count(*) from t where a = %d", round)); got != want {
			t.Errorf("it ended with %v, and %s rows are there", committed, got)
		}
		if err := c.Restart(ctx, leader); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d done, %d undone", done, undone)
	if done < 2 {
		t.Errorf("%d transactions of 4 were done", done)
	}
}
