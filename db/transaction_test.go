package db_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

const (
	isOpen   = sqlpb.Transaction_TRANSACTION_OPEN
	isFailed = sqlpb.Transaction_TRANSACTION_FAILED
	isNone   = sqlpb.Transaction_TRANSACTION_NONE
	again    = sqlpb.Retry_RETRY_TRANSACTION
)

func (r *raw) begin(b *sqlpb.Begin) answer {
	r.Helper()
	r.id++
	b.Id = r.id
	r.send(&sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Begin{Begin: b}})
	return r.answer()
}

func (r *raw) commit(seq uint64) answer {
	r.Helper()
	r.id++
	r.send(&sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Commit{Commit: &sqlpb.Commit{Id: r.id, Seq: seq}}})
	return r.answer()
}

func (r *raw) rollback() answer {
	r.Helper()
	r.id++
	r.send(&sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Rollback{Rollback: &sqlpb.Rollback{Id: r.id}}})
	return r.answer()
}

// in runs a text in the session's transaction.
func (r *raw) in(sql string) answer {
	r.Helper()
	r.execute(&sqlpb.Execute{InTransaction: true}, sql)
	return r.answer()
}

// well fails unless a request ended well, with the transaction standing as it should.
func (a answer) well(t testing.TB, stands sqlpb.Transaction) answer {
	t.Helper()
	if a.err != nil {
		t.Fatalf("it failed: %v", a.err)
	}
	if got := a.dones[len(a.dones)-1].Transaction; got != stands {
		t.Fatalf("the transaction is %v, not %v", got, stands)
	}
	return a
}

// fails fails unless a request failed so.
func (a answer) fails(t testing.TB, class sqlpb.Class, retry sqlpb.Retry, stands sqlpb.Transaction, says string) {
	t.Helper()
	if a.err == nil || a.err.Class != class || a.err.Retry != retry || a.err.Transaction != stands || !strings.Contains(a.err.Message, says) {
		t.Fatalf("it ended with %v, not class %v, %v, %v, %q", a, class, retry, stands, says)
	}
}

// A transaction happens as a whole, from whichever node its session is connected to: it sees itself, nobody else does before
// it is committed, and writers wait for their turn.
func TestTransactionAnywhere(t *testing.T) {
	c := startCluster(t, time.Second)
	leader := c.leader()
	mustRun(t, c.open(leader), "create table t(id integer primary key, a unique)")
	for i := range c.nodes {
		t.Run(fmt.Sprintf("node %d", i+1), func(t *testing.T) {
			r, other := c.raw(i), c.open((i+1)%3)
			mustRun(t, other, "delete from t")
			r.begin(&sqlpb.Begin{}).well(t, isOpen)
			r.in("insert into t(a) values('one')").well(t, isOpen)
			if got := r.in("insert into t(a) values('two') returning a").well(t, isOpen); fmt.Sprint(got.rows) != "[[two]]" {
				t.Errorf("returned %v", got.rows)
			}
			r.in("insert into t(a) values('three'), ('one')").fails(t, sqlpb.Class_CLASS_SQL, sqlpb.Retry_RETRY_NEVER, isOpen, "UNIQUE")
			r.in("savepoint s; insert into t(a) values('gone'); rollback to s").well(t, isOpen)
			if got := r.in("select group_concat(a) from t").well(t, isOpen); fmt.Sprint(got.rows) != "[[one,two]]" {
				t.Errorf("it sees %v", got.rows)
			}
			expect(t, other, driver.Request{SQL: "select count(*) from t", Level: driver.LevelLinearizable}, "[[0]]")
			written := make(chan error, 1)
			go func() {
				_, err := run(t, other, driver.Request{SQL: "insert into t(a) values('behind')"})
				written <- err
			}()
			r.in("update t set a = a || (select count(*) from t)").well(t, isOpen)
			r.commit(1).well(t, isNone)
			if err := <-written; err != nil {
				t.Errorf("the writer behind it: %v", err)
			}
			for j := range c.nodes {
				expect(t, c.open(j), driver.Request{SQL: "select group_concat(a) from (select a from t order by id)", Level: driver.LevelLinearizable}, "[[one2,two2,behind]]")
			}
			r.execute(&sqlpb.Execute{}, "select 1")
			r.answer().well(t, isNone)
		})
	}
}

// A transaction that is rolled back, left, or undone leaves nothing and frees the way for others.
func TestTransactionUndone(t *testing.T) {
	dir := t.TempDir()
	n := openNode(t, dir)
	other := open(t, n, dir)
	mustRun(t, other, "create table t(id integer primary key, a unique); insert into t(a) values('one')")
	for name, end := range map[string]func(t *testing.T, r *raw){
		"rollback": func(t *testing.T, r *raw) { r.rollback().well(t, isNone) },
		"hang up":  func(t *testing.T, r *raw) { r.Close() },
		"killed": func(t *testing.T, r *raw) {
			r.in("insert or rollback into t(a) values('one')").fails(t, sqlpb.Class_CLASS_SQL, sqlpb.Retry_RETRY_NEVER, isFailed, "UNIQUE")
			r.in("select 1").fails(t, sqlpb.Class_CLASS_SQL, sqlpb.Retry_RETRY_NEVER, isFailed, "must roll back")
			r.rollback().well(t, isNone)
		},
		"killed and committed": func(t *testing.T, r *raw) {
			r.in("insert or rollback into t(a) values('one')").fails(t, sqlpb.Class_CLASS_SQL, sqlpb.Retry_RETRY_NEVER, isFailed, "UNIQUE")
			r.commit(1).fails(t, sqlpb.Class_CLASS_SQL, sqlpb.Retry_RETRY_NEVER, isNone, "not committed")
		},
		"foreign key": func(t *testing.T, r *raw) {
			r.in("create table p(id primary key); create table c(p references p deferrable initially deferred); insert into c values(1)").well(t, isOpen)
			r.commit(1).fails(t, sqlpb.Class_CLASS_SQL, sqlpb.Retry_RETRY_NEVER, isNone, "FOREIGN KEY")
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := greeted(t, n, dir)
			r.begin(&sqlpb.Begin{}).well(t, isOpen)
			r.in("insert into t(a) values('gone')").well(t, isOpen)
			end(t, r)
			mustRun(t, other, "insert into t(a) values('gone'); delete from t where a = 'gone'")
		})
	}
}

// What does not fit a transaction's state is refused and changes it in nothing.
func TestTransactionRefusals(t *testing.T) {
	dir := t.TempDir()
	n := openNode(t, dir)
	mustRun(t, open(t, n, dir), "create table t(a); insert into t values(1)")
	r := greeted(t, n, dir)
	r.in("insert into t values(2)").fails(t, sqlpb.Class_CLASS_PROTOCOL, again, isNone, "no transaction")
	r.commit(0).fails(t, sqlpb.Class_CLASS_PROTOCOL, sqlpb.Retry_RETRY_NEVER, isNone, "no transaction")
	r.rollback().well(t, isNone)
	r.begin(&sqlpb.Begin{}).well(t, isOpen)
	r.begin(&sqlpb.Begin{}).fails(t, sqlpb.Class_CLASS_PROTOCOL, sqlpb.Retry_RETRY_NEVER, isOpen, "within a transaction")
	for _, refused := range []string{"commit", "attach 'x' as y", "select * from _rsqld_meta", "not sql", "select ?", "release none"} {
		if a := r.in(refused); a.err == nil || a.err.Transaction != isOpen {
			t.Errorf("%q: %v", refused, a)
		}
	}
	r.execute(&sqlpb.Execute{InTransaction: true, ReadOnly: true}, "insert into t values(2)")
	r.answer().fails(t, sqlpb.Class_CLASS_DENIED, sqlpb.Retry_RETRY_NEVER, isOpen, "read-only")
	r.execute(&sqlpb.Execute{InTransaction: true, Atomic: true}, "insert into t values(3); insert into nowhere values(1)")
	r.answer().fails(t, sqlpb.Class_CLASS_SQL, sqlpb.Retry_RETRY_NEVER, isOpen, "nowhere")
	r.execute(&sqlpb.Execute{InTransaction: true, Atomic: true}, "insert into t values(4); insert into t values(5)")
	r.answer().well(t, isOpen)
	r.send(&sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Control{Control: &sqlpb.Control{Id: 77, Verb: "set", Args: []string{"sql.max_rows=5"}}}})
	r.answer().fails(t, sqlpb.Class_CLASS_PROTOCOL, sqlpb.Retry_RETRY_NEVER, isOpen, "inside a transaction")
	r.id = 77
	r.commit(1).well(t, isNone)
	expect(t, open(t, n, dir), driver.Request{SQL: "select group_concat(a) from t"}, "[[1,4,5]]")

	reader := dialRaw(t, n, credential(t, dir, identity.RoleRead))
	reader.hello(&sqlpb.Hello{Version: 1})
	reader.next()
	reader.begin(&sqlpb.Begin{}).fails(t, sqlpb.Class_CLASS_DENIED, sqlpb.Retry_RETRY_NEVER, isNone, "read-only transaction")
	reader.begin(&sqlpb.Begin{ReadOnly: true}).well(t, isOpen)
}

// A read-only transaction sees one snapshot, on whatever node, and keeps nobody from writing.
func TestReadOnlyTransaction(t *testing.T) {
	c := startCluster(t, time.Second)
	follower := (c.leader() + 1) % 3
	writer := c.open(c.leader())
	mustRun(t, writer, "create table t(a); insert into t values(1)")
	r := c.raw(follower)
	r.begin(&sqlpb.Begin{ReadOnly: true, Level: sqlpb.Level_LEVEL_LINEARIZABLE}).well(t, isOpen)
	mustRun(t, writer, "insert into t values(2)")
	for range 2 {
		if got := r.in("select count(*) from t").well(t, isOpen); fmt.Sprint(got.rows) != "[[1]]" {
			t.Errorf("it sees %v", got.rows)
		}
	}
	r.in("insert into t values(3)").fails(t, sqlpb.Class_CLASS_DENIED, sqlpb.Retry_RETRY_NEVER, isOpen, "read-only")
	r.commit(1).well(t, isNone)
	r.begin(&sqlpb.Begin{ReadOnly: true, Level: sqlpb.Level_LEVEL_LINEARIZABLE}).well(t, isOpen)
	if got := r.in("select count(*) from t").well(t, isOpen); fmt.Sprint(got.rows) != "[[2]]" {
		t.Errorf("the next one sees %v", got.rows)
	}
	r.rollback().well(t, isNone)
}

// A writer waits for a transaction up to its deadline and learns whose it is. One that does nothing while others wait ends;
// one that nobody waits for goes on, up to its own limit.
func TestTransactionTurns(t *testing.T) {
	dir := t.TempDir()
	n := openWith(t, db.Config{Data: dir, TransactionIdle: 300 * time.Millisecond, TransactionTime: 2 * time.Second})
	other := open(t, n, dir)
	mustRun(t, other, "create table t(a)")
	r := greeted(t, n, dir)
	r.begin(&sqlpb.Begin{}).well(t, isOpen)
	r.in("insert into t values(1)").well(t, isOpen)
	begun := time.Now()
	waiting := greeted(t, n, dir)
	waiting.begin(&sqlpb.Begin{TimeoutMs: 100}).fails(t, sqlpb.Class_CLASS_BUSY, sqlpb.Retry_RETRY_SAME, isNone, "tester at 127.0.0.1")
	waiting.execute(&sqlpb.Execute{Seq: 1, TimeoutMs: 100}, "insert into t values('waited')")
	waiting.answer().fails(t, sqlpb.Class_CLASS_BUSY, sqlpb.Retry_RETRY_SAME, isNone, "begun")
	eventually(t, "the idle limit to pass with nobody waiting", func() error {
		if time.Since(begun) < 700*time.Millisecond {
			return errors.New("not yet")
		}
		return nil
	})
	r.in("insert into t values(2)").well(t, isOpen)
	mustRun(t, other, "insert into t values('next')") // ends it
	r.in("insert into t values(3)").fails(t, sqlpb.Class_CLASS_BUSY, again, isFailed, "did nothing")
	r.commit(1).fails(t, sqlpb.Class_CLASS_BUSY, again, isNone, "did nothing")
	expect(t, other, driver.Request{SQL: "select group_concat(a) from t"}, "[[next]]")

	r.begin(&sqlpb.Begin{}).well(t, isOpen)
	eventually(t, "the transaction to be open for too long", func() error {
		if a := r.in("select 1"); a.err == nil {
			return errors.New("it goes on")
		}
		return nil
	})
	r.in("select 1").fails(t, sqlpb.Class_CLASS_BUSY, again, isFailed, "too long")
	r.rollback().well(t, isNone)
}

// A client that has lost the answer to a commit asks again, under the same number, on any node: it learns whether it happened,
// and if not it never will.
func TestCommitAskedAgain(t *testing.T) {
	c := startCluster(t, time.Second)
	leader := c.leader()
	mustRun(t, c.open(leader), "create table t(a)")
	r := c.raw(leader)
	session := r.session
	r.begin(&sqlpb.Begin{}).well(t, isOpen)
	r.in("insert into t values(1)").well(t, isOpen)
	r.commit(5).well(t, isNone)
	for i := range 2 * len(c.nodes) {
		asks := dialRaw(t, c.nodes[i%3], credential(t, c.dir(0), identity.RoleAdmin))
		asks.hello(&sqlpb.Hello{Version: 1, Session: session})
		asks.next()
		if i < len(c.nodes) {
			asks.commit(5).well(t, isNone)
			continue
		}
		asks.commit(uint64(6+i)).fails(t, sqlpb.Class_CLASS_NO_QUORUM, again, isNone, "not committed")
		asks.commit(uint64(6+i)).fails(t, sqlpb.Class_CLASS_NO_QUORUM, again, isNone, "not committed")
	}
	expect(t, c.open(leader), driver.Request{SQL: "select count(*) from t"}, "[[1]]")
}

// A transaction ends with the leadership of its node: nothing of it is left, and its client is told to run it again.
func TestTransactionLosesItsLeader(t *testing.T) {
	c := startCluster(t, time.Second)
	mustRun(t, c.open(c.leader()), "create table t(a)")
	leader := c.leader()
	follower := (leader + 1) % 3
	r := c.raw(follower)
	r.begin(&sqlpb.Begin{}).well(t, isOpen)
	r.in("insert into t values(1)").well(t, isOpen)
	if err := c.nodes[leader].Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the transaction to end", func() error {
		a := r.in("select count(*) from t")
		if a.err == nil {
			return errors.New("it goes on")
		}
		if a.err.Retry != again || a.err.Transaction != isFailed {
			t.Fatalf("it ended with %v", a.err)
		}
		return nil
	})
	r.commit(1).fails(t, sqlpb.Class_CLASS_NO_QUORUM, again, isNone, "not committed")
	eventually(t, "the next transaction", func() error {
		if a := r.begin(&sqlpb.Begin{}); a.err != nil {
			return errors.New(a.err.Message)
		}
		return nil
	})
	r.in("insert into t values(2)").well(t, isOpen)
	r.commit(2).well(t, isNone)
	expect(t, c.open(follower), driver.Request{SQL: "select group_concat(a) from t"}, "[[2]]")
}

// A change of the leader that somebody asks for waits for the end of a transaction; writes go on at the next leader.
func TestTransferWaitsForTransaction(t *testing.T) {
	c := startCluster(t, time.Second)
	leader := c.leader()
	mustRun(t, c.open(leader), "create table t(a)")
	r := c.raw(leader)
	r.begin(&sqlpb.Begin{}).well(t, isOpen)
	moved, written := make(chan error, 1), make(chan error, 1)
	asker, writer := c.open((leader+1)%3), c.open((leader+2)%3)
	go func() {
		_, err := control(t, asker, "transfer")
		moved <- err
	}()
	eventually(t, "the transfer to wait", func() error {
		list, err := control(t, c.open(leader), "sessions")
		if err != nil {
			return err
		}
		if len(list) < 4 {
			return fmt.Errorf("%d sessions", len(list))
		}
		return nil
	})
	go func() {
		_, err := run(t, writer, driver.Request{SQL: "insert into t values(2)"})
		written <- err
	}()
	for i := range 20 {
		r.in(fmt.Sprintf("insert into t values(%d)", 100+i)).well(t, isOpen)
	}
	r.commit(1).well(t, isNone)
	if err := errors.Join(<-moved, <-written); err != nil {
		t.Error(err)
	}
	if c.nodes[leader].Status().Raft.Role == raft.Leader {
		t.Error("nobody else leads")
	}
	expect(t, c.open(leader), driver.Request{SQL: "select count(*) from t", Level: driver.LevelLinearizable}, "[[21]]")
}

// A client that opens its session again, wherever, has left its transaction: it does not wait for it.
func TestSessionIsSuperseded(t *testing.T) {
	c := startCluster(t, time.Second)
	leader := c.leader()
	mustRun(t, c.open(leader), "create table t(a)")
	r := c.raw(leader)
	r.begin(&sqlpb.Begin{}).well(t, isOpen)
	r.in("insert into t values(1)").well(t, isOpen)
	for i := range c.nodes {
		next := dialRaw(t, c.nodes[(leader+i)%3], credential(t, c.dir(0), identity.RoleAdmin))
		next.hello(&sqlpb.Hello{Version: 1, Session: r.session})
		next.next()
		next.begin(&sqlpb.Begin{TimeoutMs: 4000}).well(t, isOpen)
		next.in("insert into t values(2)").well(t, isOpen)
		if i == 0 {
			if _, err := r.receive(); err == nil {
				t.Error("the old stream lives on")
			}
		}
	}
	expect(t, c.open(leader), driver.Request{SQL: "select count(*) from t", Level: driver.LevelLocal}, "[[0]]")
}
