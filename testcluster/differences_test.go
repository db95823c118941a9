package testcluster_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/driver"
)

// The ways in which replicas of statements were seen to come apart in rqlite v10, each on three processes.

// send executes one atomic request through a node.
func send(ctx context.Context, p *process, request driver.Request) error {
	request.Atomic = true
	return withConn(ctx, p.config(), func(conn *driver.Conn) error {
		results, err := conn.Execute(ctx, request)
		if err != nil {
			return err
		}
		_, err = collect(results)
		return errors.Join(err, results.Close())
	})
}

// equalContent waits until all nodes hold the same.
func equalContent(ctx context.Context, t *testing.T, nodes []*process) {
	t.Helper()
	want := content(ctx, t, nodes[0], driver.LevelStrong)
	for _, p := range nodes {
		p.eventually("to hold what the others do", func(ctx context.Context) error {
			got, err := dump(ctx, p, driver.LevelLocal)
			if err == nil && got != want {
				err = fmt.Errorf("it differs:\n%s", difference(got, want))
			}
			return err
		})
	}
}

// TestNoDifferences proves: what made replicas of statements differ elsewhere leaves them equal here, or is refused in words,
// with each node restarted in turn between the statements.
func TestNoDifferences(t *testing.T) {
	nodes := trio(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	nodes[0].exec("create table t(id integer primary key, a, b default (random()), at default current_timestamp)",
		"create table parent(id integer primary key)", "create table child(id integer primary key, p references parent(id))")
	one := func(sql string, args ...any) []driver.Request { return []driver.Request{{SQL: sql, Args: args}} }
	for i, test := range []struct {
		name    string
		sends   []driver.Request
		refused bool
	}{
		{"CURRENT_TIMESTAMP", one("insert into t(a) values(current_timestamp), (current_time)"), false},
		{"strftime('%f')", one("insert into t(a) select strftime('%Y-%m-%d %H:%M:%f', 'now') from (values(1), (2))"), false},
		{"julianday()", one("insert into t(a) values(julianday()), (julianday('now')), (unixepoch('now', 'subsec'))"), false},
		{"randomblob(?)", one("insert into t(a) values(randomblob(?)), (hex(randomblob(?)))", int64(16), int64(4)), false},
		{"the second statement of a script", one("insert into t(a) values('first'); insert into t(a) values(random()), (strftime('%f', 'now'))"), false},
		{"ORDER BY random()", one("insert into t(a) select id from t order by random() limit 5"), false},
		{"DEFAULT (random())", one("insert into t(a) values('default')"), false},
		{"last_insert_rowid() and total_changes()", []driver.Request{{SQL: "insert into t(a) values(last_insert_rowid()), (total_changes()), (changes())"},
			{SQL: "insert into t(a) values('x'); insert into t(a) values(last_insert_rowid()), (total_changes())"}}, false},
		{"TEMP", one("create temp table s(a)"), true},
		{"PRAGMA foreign_keys", one("pragma foreign_keys = off"), true},
		{"a child without a parent", one("insert into child(p) values(99)"), true},
		{"a statement without an end", one("insert into t(a) with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			// The node that is restarted forgets what its connections had in memory; the request goes through another one.
			again, through := nodes[i%3], nodes[(i+1)%3]
			again.kill()
			again.start()
			for _, request := range test.sends {
				began := time.Now()
				err := send(ctx, through, request)
				var refused *driver.Error
				switch {
				case !test.refused && err != nil:
					t.Errorf("%s: %v", request.SQL, err)
				case test.refused && (!errors.As(err, &refused) || refused.Class != driver.ClassSQL && refused.Class != driver.ClassDenied && refused.Class != driver.ClassTooLarge):
					t.Errorf("%s: %v", request.SQL, err)
				case time.Since(began) > endlessPatience:
					t.Errorf("%s took %v", request.SQL, time.Since(began))
				}
			}
			equalContent(ctx, t, nodes)
		})
	}
}

// endlessPatience bounds a write that would not end. On an idle machine with two processors three nodes take 4 s; other
// work on it makes that longer, because what is bounded are steps and not seconds.
const endlessPatience = 25 * time.Second

// TestEndlessWrite proves: a write that would never end, sent through a follower, is ended at its limit on every node alike,
// whether it gives rows or not. A node that is killed in the middle comes to the same end, and the next write is executed.
func TestEndlessWrite(t *testing.T) {
	for _, test := range []struct{ name, column, limit string }{
		{"without rows", "count(*)", "sql.max_steps"},
		{"of rows", "i", "sql.max_rows"},
	} {
		t.Run(test.name, func(t *testing.T) {
			nodes := trioWith(t, "--set", "sql.max_rows=2000000") // the other limit has its default
			ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
			defer cancel()
			nodes[0].exec("create table t(a)")
			followers := except(nodes, leaderOf(t, nodes...))
			ended := make(chan error, 1)
			began := time.Now()
			go func() {
				ended <- send(ctx, followers[0], driver.Request{SQL: "insert into t with recursive n(i) as (select 1 union all select i + 1 from n) select " + test.column + " from n"})
			}()
			// The other follower dies while it applies, or before: the entry is in its log, or comes to it.
			<-time.After(300 * time.Millisecond) // any moment in the run of the statement
			followers[1].kill()
			var refused *driver.Error
			err := <-ended
			took := time.Since(began)
			t.Logf("it ended after %v", took)
			if !errors.As(err, &refused) || refused.Class != driver.ClassTooLarge || !strings.Contains(refused.Message, test.limit) || took > endlessPatience {
				t.Errorf("it ends with %v after %v", err, took)
			}
			followers[1].start()
			if err := send(ctx, followers[0], driver.Request{SQL: "insert into t values('next')"}); err != nil {
				t.Error(err)
			}
			equalContent(ctx, t, nodes)
			for _, p := range nodes { // whoever has another result chain than the rest finds out and is not healthy
				p.await()
				p.eventuallyValue("next", "select group_concat(a) from t")
			}
		})
	}
}
