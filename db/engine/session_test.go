package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/raft"
)

// sessionID is a session that was made at a time.
func sessionID(made int64, n byte) []byte {
	id := binary.BigEndian.AppendUint64(nil, uint64(made))
	return append(id, 0, 0, 0, 0, 0, 0, 0, n)
}

// numbered adds a session's write.
func (l *log) numbered(session []byte, seq uint64, texts ...string) raft.Entry {
	l.t.Helper()
	s := new(commandpb.Script)
	for _, text := range texts {
		s.Statements = append(s.Statements, &commandpb.Statement{Sql: text})
	}
	return l.command(&commandpb.Command{Session: session, Seq: seq, Body: &commandpb.Command_Script{Script: s}})
}

// one applies what was added and returns the newest result.
func (l *log) one(e *Engine) *Result {
	l.t.Helper()
	results := l.apply(e)
	return results[len(results)-1]
}

// same compares what a write came to with what is told once more.
func same(t *testing.T, again, first *Result) {
	t.Helper()
	if !again.Repeated || again.Index != first.Index || again.Code != first.Code || again.Extended != first.Extended ||
		again.Statement != first.Statement || again.SQL != first.SQL || len(again.Statements) != len(first.Statements) ||
		fmt.Sprint(again.Err) != fmt.Sprint(first.Err) {
		t.Errorf("told once more:\n%+v\nwant\n%+v", again, first)
	}
	for i := range again.Statements {
		if !reflect.DeepEqual(again.Statements[i], first.Statements[i]) {
			t.Errorf("statement %d told once more:\n%+v\nwant\n%+v", i, again.Statements[i], first.Statements[i])
		}
	}
}

// A write of a session that is applied a second time is not executed, and is answered as the first time: with its counts,
// its rows or its error, also after a restart, from a snapshot, and when it has ended the transaction of its batch.
func TestWriteHappensOnce(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.bootstrap(map[string]string{"sql.max_steps": "100000"})
	l.must(e, "create table t(id integer primary key, a unique); create trigger kill before insert on t when new.a = 'kill' begin select raise(rollback, 'killed'); end")
	for i, text := range []string{
		"insert into t(a) values(random()) returning id, a, current_timestamp",
		"insert into t(a) values('x'), ('y')",
		"insert into t(a) values('x')",
		"insert into t(a) values('kill')",
		"delete from t; insert into t(a) select hex(randomblob(8)) from t",
		"insert into t(a) values(1); insert into nowhere values(1)",
		"attach 'x' as y",
		"insert into t(a) values(?)",
		"insert into t(a) with recursive n(i) as (select 1 union all select i + 1 from n) select i from n",
		"insert into t(a) values(zeroblob(2000000)) returning a",
		"select 1",
	} {
		session := sessionID(l.time, byte(i))
		l.numbered(session, 3, text)
		first := l.one(e)
		rows := rowsOf(t, e, "select count(*), sum(id) from t")
		chain := e.Chain()
		for _, again := range []*Engine{e, openEngine(t, copyFiles(t, e))} {
			before := len(l.entries)
			l.numbered(session, 3, text)
			same(t, l.one(again), first)
			if again != e {
				l.entries = l.entries[:before] // the other replica goes its own way
			}
			if got := rowsOf(t, again, "select count(*), sum(id) from t"); got != rows {
				t.Errorf("%q executed twice: %s became %s", text, rows, got)
			}
		}
		if chain == e.Chain() {
			t.Error("the chain stands still")
		}
	}
	l.numbered(sessionID(l.time, 200), 1, "insert into t(a) values('last')")
	first := l.one(e)
	copied := openEngine(t, Config{})
	image := snapshotOf(t, e)
	if err := copied.Restore(image.Meta(), image); err != nil {
		t.Fatal(err)
	}
	l.numbered(sessionID(l.time-1_007_000_000, 200), 1, "insert into t(a) values('last')")
	same(t, l.one(copied), first)
}

// A session's numbers rise; one that is lower than the newest was executed long ago, and is refused.
func TestSessionOrder(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.bootstrap(nil)
	l.must(e, "create table t(a)")
	session := sessionID(l.time, 1)
	for _, seq := range []uint64{1, 2, 7} { // reads may have taken numbers
		l.numbered(session, seq, fmt.Sprintf("insert into t values(%d)", seq))
		if r := l.one(e); r.Err != nil || r.Repeated {
			t.Fatalf("write %d: %+v", seq, r)
		}
	}
	for _, seq := range []uint64{1, 6} {
		l.numbered(session, seq, "insert into t values('again')")
		if r := l.one(e); !errors.Is(r.Err, ErrSessionOrder) {
			t.Errorf("write %d after 7: %v", seq, r.Err)
		}
	}
	l.numbered(session, 7, "anything")
	if r := l.one(e); r.Err != nil || !r.Repeated {
		t.Errorf("write 7 once more: %+v", r)
	}
	l.numbered(nil, 0, "insert into t values('unnumbered')")
	l.numbered(nil, 0, "insert into t values('unnumbered')")
	l.apply(e)
	if got := rowsOf(t, e, "select group_concat(a) from t"); got != "1,2,7,unnumbered,unnumbered" {
		t.Errorf("rows %s", got)
	}
}

// A session that wrote nothing for long is forgotten; a write of it that comes then is not executed, because nobody can
// tell whether it was. It is the same at the edges: whatever a row's age, no write happens twice.
func TestSessionsExpire(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.bootstrap(nil)
	l.must(e, "create table t(a)")
	chance := rand.New(rand.NewPCG(5, 6))
	for i := range 300 {
		session := sessionID(l.time+int64(sessionMargin)-chance.Int64N(int64(2*sessionMargin)), byte(i))
		insert := fmt.Sprintf("insert into t values(%d)", i)
		l.numbered(session, 1, insert)
		if r := l.one(e); r.Err != nil {
			t.Fatal(r.Err)
		}
		// Once more, around the ages at which the id and the row are too old.
		age := time.Duration(chance.Int64N(int64(SessionLifetime + 4*sessionMargin)))
		l.time += int64(age)
		for len(l.entries)%sweepInterval != sweepInterval-1 && i%100 == 99 { // the rows go
			l.script("select 1")
		}
		l.script("select 1")
		l.numbered(session, 1, insert)
		r := l.one(e)
		if told := r.Err == nil && r.Repeated; !told && !errors.Is(r.Err, ErrSessionExpired) {
			t.Fatalf("after %v: %+v", age, r)
		} else if told != (age < SessionLifetime+sessionMargin-10*time.Second) && (age < SessionLifetime+sessionMargin-10*time.Second || age > SessionLifetime+sessionMargin+10*time.Second) {
			t.Errorf("after %v it is told: %t", age, told)
		}
		// A new session whose row was never there.
		l.numbered(sessionID(l.time-int64(SessionLifetime)-5e9, byte(i)), 1, "insert into t values('old')")
		if r := l.one(e); !errors.Is(r.Err, ErrSessionExpired) {
			t.Fatalf("a session of long ago: %v", r.Err)
		}
	}
	if got := rowsOf(t, e, "select count(*), count(distinct a) from t"); got != "300|300" {
		t.Errorf("%s rows", got)
	}
	if n, err := queryInt(e.writer.conn, "select count(*) from _rsqld_sessions"); err != nil || n > 150 {
		t.Errorf("%d sessions are kept, %v", n, err)
	}
	l.numbered(sessionID(l.time+int64(sessionMargin)+5e9, 1), 1, "insert into t values('ahead')")
	if r := l.one(e); !errors.Is(r.Err, ErrSessionAhead) {
		t.Errorf("a session of the future: %v", r.Err)
	}
}

// Replicas with other batches and restarts agree on what is told once more, and on the rows that are kept of sessions.
func TestEqualSessions(t *testing.T) {
	l := newLog(t)
	l.bootstrap(nil)
	l.script("create table t(id integer primary key, a unique)")
	chance := rand.New(rand.NewPCG(8, 9))
	var sent []*commandpb.Command
	for range 1500 {
		if len(sent) > 0 && chance.IntN(3) == 0 {
			c := sent[len(sent)-1-chance.IntN(min(len(sent), 20))]
			l.numbered(c.Session, c.Seq, c.GetScript().Statements[0].Sql)
			continue
		}
		c := &commandpb.Command{Session: sessionID(1_704_067_200_000_000_000, byte(chance.IntN(40))), Seq: uint64(len(l.entries)),
			Body: &commandpb.Command_Script{Script: &commandpb.Script{Statements: []*commandpb.Statement{{Sql: []string{
				"insert into t(a) values(abs(random()) % 300) returning *", "insert or rollback into t(a) values(abs(random()) % 50)",
				"update t set a = a + 1000 where id % 9 = 0", "delete from t where id in (select id from t order by random() limit 3)",
			}[chance.IntN(4)]}}}}}
		sent = append(sent, c)
		l.numbered(c.Session, c.Seq, c.GetScript().Statements[0].Sql)
		if chance.IntN(100) == 0 {
			l.time += int64(20 * time.Minute)
		}
	}
	want := replica{name: "one by one", batch: 1}.run(t, l)
	repeated := 0
	for _, r := range want.results {
		if r != nil && r.Repeated && !strings.Contains(fmt.Sprint(r.Err), "session") {
			repeated++
		}
	}
	if repeated < 20 {
		t.Errorf("%d results were told once more: the workload proves little", repeated)
	}
	for _, r := range []replica{{name: "17", batch: 17, restarts: 100}, {name: "500", batch: 500}, {name: "61", batch: 61, restarts: 300}} {
		if differs := l.difference(r.run(t, l), want); differs != "" {
			t.Errorf("replica %s: %s", r.name, differs)
		}
	}
}
