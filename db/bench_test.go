package db_test

import (
	"context"
	"database/sql"
	"runtime"
	"testing"

	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/transport"
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// BenchmarkLocalRead measures a read of one row by its key at level local through database/sql, in the node's own process.
func BenchmarkLocalRead(b *testing.B) { readByKey(b, sql.OpenDB(openNode(b, b.TempDir()).Connector())) }

// BenchmarkLocalReads measures the same on all cores at once.
func BenchmarkLocalReads(b *testing.B) {
	pool := sql.OpenDB(openNode(b, b.TempDir()).Connector())
	defer pool.Close()
	pool.SetMaxIdleConns(runtime.GOMAXPROCS(0))
	statement := byKey(b, pool)
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		ctx := driver.WithLevel(context.Background(), driver.LevelLocal)
		for p.Next() {
			var v string
			if err := statement.QueryRowContext(ctx, 2).Scan(&v); err != nil || v != "two" {
				b.Fatal(v, err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reads/s")
}

// BenchmarkSocketRead measures the same through a socket.
func BenchmarkSocketRead(b *testing.B) {
	dir := b.TempDir()
	n := openNode(b, dir)
	connector, err := driver.NewConnector(driver.Config{Addresses: []string{n.Address()}, Cred: credential(b, dir, identity.RoleAdmin)})
	if err != nil {
		b.Fatal(err)
	}
	readByKey(b, sql.OpenDB(connector))
}

// byKey makes a table and returns a statement that reads one row of it.
func byKey(b *testing.B, pool *sql.DB) *sql.Stmt {
	if _, err := pool.Exec("create table t(k integer primary key, v text); insert into t values(1, 'one'), (2, 'two')"); err != nil {
		b.Fatal(err)
	}
	statement, err := pool.Prepare("select v from t where k = ?")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { statement.Close() })
	return statement
}

func readByKey(b *testing.B, pool *sql.DB) {
	defer pool.Close()
	statement := byKey(b, pool)
	ctx := driver.WithLevel(b.Context(), driver.LevelLocal)
	b.ReportAllocs()
	for b.Loop() {
		var v string
		if err := statement.QueryRowContext(ctx, 2).Scan(&v); err != nil || v != "two" {
			b.Fatal(v, err)
		}
	}
}

// BenchmarkIdleSession measures what a session costs that does nothing: memory of both its ends, in bytes, and the time to
// open it.
func BenchmarkIdleSession(b *testing.B) {
	dir := b.TempDir()
	n := openNode(b, dir)
	conn, err := transport.DialSQL(b.Context(), n.Address(), credential(b, dir, identity.RoleRead), transport.DialOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	used := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := used()
	var sessions []*raw
	for b.Loop() {
		r := streamOf(b, conn)
		r.hello(&sqlpb.Hello{Version: 1})
		r.next()
		if sessions = append(sessions, r); len(sessions) == 1000 {
			b.StopTimer()
			b.ReportMetric(float64(used()-before)/float64(len(sessions)), "B/session")
			for _, r := range sessions {
				r.Close()
			}
			sessions = nil
			b.StartTimer()
		}
	}
}
