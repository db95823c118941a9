package db_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/driver"
)

// embedded opens a node and a pool of sessions in its process.
func embedded(t *testing.T) *sql.DB {
	t.Helper()
	pool := sql.OpenDB(openNode(t, t.TempDir()).Connector())
	t.Cleanup(func() { pool.Close() })
	return pool
}

// A session in the node's process does what one through a socket does: writes, reads, transactions, errors, and what is asked
// of the cluster.
func TestConnector(t *testing.T) {
	n := openNode(t, t.TempDir())
	connector := n.Connector()
	pool := sql.OpenDB(connector)
	defer pool.Close()
	if _, err := pool.Exec("create table t(a integer primary key, b unique); insert into t(b) values(?), (?)", "one", "two"); err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec("insert into t(b) values('one')"); !errors.Is(err, driver.ErrUnique) {
		t.Errorf("a double key: %v", err)
	}
	err := driver.RunTx(t.Context(), pool, nil, func(tx *sql.Tx) error {
		_, err := tx.Exec("insert into t(b) values('three')")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, level := range []driver.Level{driver.LevelLocal, driver.LevelSession, driver.LevelLinearizable, driver.LevelStrong} {
		var all string
		err := pool.QueryRowContext(driver.WithLevel(t.Context(), level), "select group_concat(b) from t").Scan(&all)
		if err != nil || all != "one,two,three" {
			t.Errorf("level %s: %q, %v", level, all, err)
		}
	}
	conn, err := connector.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	lines, err := control(t, conn, "sessions")
	if all := strings.Join(lines, "\n"); err != nil || !strings.Contains(all, "embedded") || !strings.Contains(all, n.Address()) {
		t.Errorf("sessions: %s, %v", all, err)
	}
	if err := conn.Ping(t.Context()); err != nil || conn.Address() != n.Address() || !conn.Leads() {
		t.Errorf("ping: %v at %s", err, conn.Address())
	}
}

// What a program does with its own memory after a call, or with what it was given, changes nothing that the node has.
func TestConnectorSharesNothing(t *testing.T) {
	pool := embedded(t)
	pool.SetMaxOpenConns(1)
	if _, err := pool.Exec("create table t(a, b)"); err != nil {
		t.Fatal(err)
	}
	blob, want := bytes.Repeat([]byte("x"), 1000), bytes.Repeat([]byte("x"), 1000)
	for range 3 {
		if _, err := pool.Exec("insert into t values(?, ?)", blob, "text"); err != nil {
			t.Fatal(err)
		}
		clear(blob)
		copy(blob, want)
	}
	rows, err := pool.Query("select a from t")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var raw sql.RawBytes
		if err := rows.Scan(&raw); err != nil || !bytes.Equal(raw, want) {
			t.Fatalf("%q, %v", raw, err)
		}
		clear(raw)
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	var same int
	if err := pool.QueryRow("select count(*) from t where a = ?", want).Scan(&same); err != nil || same != 3 {
		t.Errorf("%d rows are as they were, %v", same, err)
	}
}

// A result larger than memory for it streams: who does not read on holds the statement up, and who stops ends it.
func TestConnectorStreams(t *testing.T) {
	pool := embedded(t)
	const million = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000000) select i, hex(zeroblob(50)) from n"
	rows, err := pool.Query(million)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if !rows.Next() {
			t.Fatal(rows.Err())
		}
	}
	if err := rows.Close(); err != nil {
		t.Error(err)
	}
	var count, sum int64
	if err := pool.QueryRow("select count(*), sum(i) from ("+million+")").Scan(&count, &sum); err != nil || count != 1e6 || sum != 500000500000 {
		t.Errorf("%d rows, sum %d, %v", count, sum, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if rows, err = pool.QueryContext(ctx, million); err != nil {
		t.Fatal(err)
	}
	if !rows.Next() {
		t.Fatal(rows.Err())
	}
	cancel()
	for rows.Next() {
	}
	if err := rows.Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled query: %v", err)
	}
}

// The end of a statement's context interrupts it in the middle, and the session goes on.
func TestConnectorCancels(t *testing.T) {
	pool := embedded(t)
	conn, err := pool.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	const endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"
	var got int
	if err := conn.QueryRowContext(ctx, endless).Scan(&got); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an endless query: %v", err)
	}
	if err := conn.QueryRowContext(t.Context(), "select 7").Scan(&got); err != nil || got != 7 {
		t.Errorf("after it: %d, %v", got, err)
	}
}

// A node that is closed says so to those who use it, at once, and holds nobody; a Connector that is closed ends its sessions.
func TestConnectorAfterTheEnd(t *testing.T) {
	n := openNode(t, t.TempDir())
	connector := n.Connector()
	conn, err := connector.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other := n.Connector()
	idle, err := other.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mustRun(t, idle, "create table t(a)")
	if err := idle.BeginTransaction(t.Context(), driver.TxOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	if idle.Connected() {
		t.Error("a session of a closed Connector is connected")
	}
	// What it had begun does not keep others from writing.
	mustRun(t, conn, "insert into t values(1)")
	closeNode(t, n)
	for range 2 {
		_, err = run(t, conn, driver.Request{SQL: "insert into t values(2)"})
		if !errors.Is(err, driver.ErrUnreachable) && !errors.Is(err, driver.ErrShuttingDown) || errors.Is(err, driver.ErrOutcomeUnknown) {
			t.Errorf("after the node was closed: %v", err)
		}
	}
	if !strings.Contains(fmt.Sprint(err), "this node is closed") {
		t.Errorf("it does not say why: %v", err)
	}
	if _, err := connector.Open(t.Context()); !errors.Is(err, driver.ErrUnreachable) {
		t.Errorf("a new session: %v", err)
	}
	if _, err := n.ConnectorWith(driver.Config{Level: "latest"}); !errors.Is(err, driver.ErrConfig) {
		t.Errorf("a wrong level: %v", err)
	}
}
