package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/sqlite"
)

// interactive runs a transaction for a test.
type interactive struct {
	*Transaction
	t    testing.TB
	l    *log
	seed uint64
}

// begin begins a transaction on e.
func (l *log) begin(e *Engine) *interactive {
	l.t.Helper()
	x := &interactive{t: l.t, l: l, seed: uint64(l.next())}
	tx, err := e.Begin(x.stamp())
	if err != nil {
		l.t.Fatal(err)
	}
	x.Transaction = tx
	return x
}

// stamp gives each statement a time of its own.
func (x *interactive) stamp() StepOptions {
	x.l.time += 13_000_000
	x.seed = x.seed*0x9e3779b97f4a7c15 + 1
	return StepOptions{UnixNano: x.l.time, Seed: x.seed}
}

// try runs all statements of a text and returns the rows of the last.
func (x *interactive) try(text string, args ...*commandpb.Argument) (string, error) {
	x.t.Helper()
	var got rows
	for text != "" {
		r, rest, others, err := x.Run(x.t.Context(), x.stamp(), text, args)
		if err != nil {
			return "", err
		}
		got = rows{columns: r.Columns}
		if r.Rows != nil {
			if err := errors.Join(r.Rows.Each(got.Row), r.Rows.Close()); err != nil {
				x.t.Fatal(err)
			}
		}
		text, args = rest, others
	}
	return got.String(), nil
}

func (x *interactive) must(text string, args ...*commandpb.Argument) string {
	x.t.Helper()
	got, err := x.try(text, args...)
	if err != nil {
		x.t.Fatalf("%q: %v", text, err)
	}
	return got
}

// finish ends the transaction and adds what it did to the log.
func (x *interactive) finish() {
	x.t.Helper()
	steps, err := x.Finish(x.t.Context())
	if err != nil {
		x.t.Fatal(err)
	}
	if steps != nil {
		x.l.command(&commandpb.Command{Body: &commandpb.Command_Transaction{Transaction: steps}})
	}
}

// A transaction sees what it did and nobody else does, until it is applied as one entry; then all see what it saw.
func TestTransaction(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.bootstrap(nil)
	l.must(e, "create table t(id integer primary key, a unique, r default (random()), at default current_timestamp)")
	x := l.begin(e)
	x.must("insert into t(a) values(?)", text("one"))
	if got := x.must("insert into t(a) values('two') returning id, a"); got != "2|two" {
		t.Errorf("returned %s", got)
	}
	if _, err := x.try("insert into t(a) values('three'), ('one')"); err == nil || !strings.Contains(err.Error(), "UNIQUE") {
		t.Errorf("a double key: %v", err)
	}
	x.must("SAVEPOINT s; insert into t(a) values('gone'); rollback /* all */ to savepoint \"s\"; release s")
	x.must("update t set a = a || last_insert_rowid() where id = 1; create table u(b); insert into u select max(id) from t")
	saw := x.must("select group_concat(id || a || r || at), (select b from u), strftime('%s') > 0 from t")
	if got := rowsOf(t, e, "select count(*) from t"); got != "0" {
		t.Errorf("others see %s rows", got)
	}
	x.finish()
	if got := rowsOf(t, e, "select count(*) from t"); got != "0" {
		t.Errorf("others see %s rows of what was not applied", got)
	}
	if r := l.one(e); r.Err != nil || len(r.Statements) != 0 {
		t.Fatalf("applied: %+v", r)
	}
	if got := rowsOf(t, e, "select group_concat(id || a || r || at), (select b from u), strftime('%s') > 0 from t"); got != saw {
		t.Errorf("it saw\n%s\nand came to\n%s", saw, got)
	}
	if got := rowsOf(t, e, "select group_concat(id || a) from t"); got != "1one3,2two" {
		t.Errorf("the rows are %s", got)
	}
}

// Nothing of a transaction that ends in any other way stays, and why it ended is told.
func TestTransactionOver(t *testing.T) {
	endless := "insert into t(a) with recursive n(i) as (select 1 union all select i + 1 from n) select i from n"
	for name, c := range map[string]struct {
		end  func(l *log, e *Engine, x *interactive) error
		want string
	}{
		"killed": {func(_ *log, _ *Engine, x *interactive) error {
			x.Kill(errors.New("its time is over"))
			return x.Err()
		}, "its time is over"},
		"an entry": {func(l *log, e *Engine, x *interactive) error {
			l.must(e, "insert into t(a) values('entry')")
			_, err := x.try("select 1")
			return err
		}, "other entries"},
		"or rollback": {func(_ *log, _ *Engine, x *interactive) error {
			_, err := x.try("insert or rollback into t(a) values('one')")
			return err
		}, "UNIQUE"},
		"a limit": {func(_ *log, _ *Engine, x *interactive) error {
			_, err := x.try(endless)
			return err
		}, "sql.max_steps"},
		"a veto": {func(_ *log, _ *Engine, x *interactive) error {
			_, err := x.try("insert into t(id) values(9223372036854775807)")
			return err
		}, "9223372036854775807"},
		"a cancelled write": {func(_ *log, _ *Engine, x *interactive) error {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			_, _, _, err := x.Run(ctx, x.stamp(), endless, nil)
			return err
		}, "deadline exceeded"},
		"close": {func(_ *log, e *Engine, x *interactive) error {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
			return x.Err()
		}, "closed"},
		"quarantine": {func(_ *log, e *Engine, x *interactive) error {
			e.Quarantine(Chain{}, errors.New("it differs"))
			return x.Err()
		}, "entries"},
	} {
		t.Run(name, func(t *testing.T) {
			e := openEngine(t, Config{})
			l := newLog(t)
			steps := "100000"
			if name == "a cancelled write" {
				steps = "10000000000"
			}
			l.bootstrap(map[string]string{SettingMaxSteps: steps, SettingMaxRows: "10000000000"})
			l.must(e, "create table t(id integer primary key, a unique); insert into t(a) values('one')")
			before := e.Chain()
			x := l.begin(e)
			x.must("insert into t(a) values('gone')")
			x.must("create table gone(a)")
			err := c.end(l, e, x)
			if err == nil || !errors.Is(err, ErrTransactionOver) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("it ended with %v", err)
			}
			<-x.Done()
			if _, err := x.try("select 1"); !errors.Is(err, ErrTransactionOver) {
				t.Errorf("a statement after its end: %v", err)
			}
			if steps, err := x.Finish(t.Context()); steps != nil || !errors.Is(err, ErrTransactionOver) {
				t.Errorf("finished with %v, %v", steps, err)
			}
			if name == "close" || name == "quarantine" {
				return
			}
			if name != "an entry" && e.Chain() != before {
				t.Error("the chain moved")
			}
			if got := rowsOf(t, e, "select count(*) from t where a = 'gone'"); got != "0" {
				t.Error("a row stayed")
			}
			l.must(e, "create table gone(a)")
		})
	}
}

// A read that is cancelled leaves its transaction as it was; so does a statement that is refused.
func TestTransactionGoesOn(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.bootstrap(nil)
	l.must(e, "create table t(id integer primary key, a)")
	x := l.begin(e)
	x.must("insert into t(a) values('kept')")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, _, err := x.Run(ctx, x.stamp(), "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	for _, refused := range []string{"begin", "commit", "rollback", "release none", "rollback to none", "savepoint _rsqld_entry", "rollback to _rsqld_entry",
		"attach 'x' as y", "select * from _rsqld_meta", "insert into nowhere values(1)", "not sql", "select ?", "insert into t(a) values(sqlite_version())",
		"create virtual table v using fts5(a); savepoint s; rollback to s"} {
		if got, err := x.try(refused); err == nil || errors.Is(err, ErrTransactionOver) {
			t.Errorf("%q: %q, %v", refused, got, err)
		}
	}
	if _, err := e.Begin(x.stamp()); !errors.Is(err, ErrTransactionOpen) {
		t.Errorf("a second one: %v", err)
	}
	x.finish()
	l.one(e)
	if got := rowsOf(t, e, "select a from t"); got != "kept" {
		t.Errorf("the rows are %s", got)
	}
	x = l.begin(e)
	x.must("select * from t; savepoint s; release s")
	if steps, err := x.Finish(t.Context()); steps != nil || err != nil {
		t.Errorf("a transaction that only read has steps %v, %v", steps, err)
	}
}

// Deferred foreign keys are checked before anything is proposed.
func TestTransactionForeignKeys(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.bootstrap(nil)
	l.must(e, "create table p(id integer primary key); create table c(p references p deferrable initially deferred)")
	x := l.begin(e)
	x.must("insert into c values(7)")
	if _, err := x.Finish(t.Context()); err == nil || !strings.Contains(err.Error(), "FOREIGN KEY") {
		t.Errorf("finished with %v", err)
	}
	x = l.begin(e)
	x.must("insert into c values(7)")
	x.must("insert into p values(7)")
	x.finish()
	if r := l.one(e); r.Err != nil {
		t.Error(r.Err)
	}
}

// The sooner half of a request of the caller can be undone alone.
func TestTransactionOwnSavepoint(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.bootstrap(nil)
	l.must(e, "create table t(a)")
	x := l.begin(e)
	if err := x.Savepoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	x.must("insert into t values(1)")
	if err := errors.Join(x.RollbackTo(t.Context()), x.Release(t.Context())); err != nil {
		t.Fatal(err)
	}
	x.must("insert into t values(2)")
	x.finish()
	if r := l.one(e); r.Err != nil {
		t.Fatal(r.Err)
	}
	if got := rowsOf(t, e, "select group_concat(a) from t"); got != "2" {
		t.Errorf("the rows are %s", got)
	}
}

// An entry one of whose steps does not come to what it came to for the client is undone whole, everywhere alike.
func TestStepDiffers(t *testing.T) {
	for name, change := range map[string]func(*commandpb.Step){
		"rows": func(s *commandpb.Step) { s.RowsAffected++ },
		"id":   func(s *commandpb.Step) { s.LastInsertId++ },
		"code": func(s *commandpb.Step) { s.Extended = 19 },
	} {
		e := openEngine(t, Config{})
		l := newLog(t)
		l.bootstrap(nil)
		l.must(e, "create table t(a)")
		x := l.begin(e)
		x.must("insert into t values(1)")
		x.must("insert into t values(2)")
		steps, err := x.Finish(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		steps = proto.CloneOf(steps)
		change(steps.Steps[1])
		l.command(&commandpb.Command{Body: &commandpb.Command_Transaction{Transaction: steps}})
		if r := l.one(e); !errors.Is(r.Err, ErrStepDiffers) || r.Statement != 1 || r.SQL == "" {
			t.Errorf("%s: %+v", name, r)
		}
		if got := rowsOf(t, e, "select count(*) from t"); got != "0" {
			t.Errorf("%s: %s rows stayed", name, got)
		}
	}
}

// Whoever asks what became of a commit gets its result if it happened; if it did not, it never will.
func TestAbandon(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.bootstrap(nil)
	l.must(e, "create table t(a)")
	x := l.begin(e)
	x.must("insert into t values(1)")
	steps, err := x.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	session := sessionID(l.time, 1)
	ask := func(seq uint64) *Result {
		l.command(&commandpb.Command{Session: session, Seq: seq, Body: &commandpb.Command_Abandon{Abandon: &commandpb.Abandon{}}})
		return l.one(e)
	}
	l.command(&commandpb.Command{Session: session, Seq: 1, Body: &commandpb.Command_Transaction{Transaction: steps}})
	if r := l.one(e); r.Err != nil {
		t.Fatal(r.Err)
	}
	if r := ask(1); r.Err != nil || !r.Repeated {
		t.Errorf("asked for a commit that happened: %+v", r)
	}
	if r := ask(2); !errors.Is(r.Err, ErrAbandoned) {
		t.Errorf("asked for one that did not: %+v", r)
	}
	l.command(&commandpb.Command{Session: session, Seq: 2, Body: &commandpb.Command_Transaction{Transaction: steps}})
	if r := l.one(e); r.Err == nil || r.Err.Error() != ErrAbandoned.Error() {
		t.Errorf("one that was abandoned before: %+v", r)
	}
	if got := rowsOf(t, e, "select count(*) from t"); got != "1" {
		t.Errorf("%s rows", got)
	}
}

// Rows that memory has no room for go to a file, which goes with them.
func TestTransactionSpools(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.bootstrap(nil)
	l.must(e, "create table t(a)")
	x := l.begin(e)
	r, _, _, err := x.Run(t.Context(), x.stamp(), "with n(i) as (select 1 union all select i + 1 from n where i < 9000) select i, zeroblob(999) from n", nil)
	if err != nil {
		t.Fatal(err)
	}
	files := func() []string {
		found, err := filepath.Glob(filepath.Join(e.config.SnapshotDir, spoolPattern))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if len(files()) != 1 {
		t.Errorf("files: %v", files())
	}
	got := rows{columns: r.Columns}
	if err := r.Rows.Each(got.Row); err != nil {
		t.Fatal(err)
	}
	if len(got.rows) != 9000 || got.rows[8999][0] != int64(9000) {
		t.Errorf("%d rows", len(got.rows))
	}
	if err := r.Rows.Close(); err != nil || len(files()) != 0 {
		t.Errorf("files: %v, %v", files(), err)
	}
	x.Kill(errors.New("enough"))
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(e.config.SnapshotDir, "spool-1")
	if err := os.WriteFile(left, []byte("left"), 0o600); err != nil {
		t.Fatal(err)
	}
	openEngine(t, Config{Dir: e.config.Dir})
	if len(files()) != 0 {
		t.Errorf("files after a restart: %v", files())
	}
}

// content is what the tables of the workload hold, as somebody sees it.
const workloadContent = `select (select group_concat(quote(id) || quote(a) || quote(b) || quote(c)) from ta), (select group_concat(quote(what) || quote(x) || quote(y)) from log),
	(select group_concat(quote(body)) from ft), (select group_concat(name || coalesce(sql, '')) from sqlite_schema where name not like '\_rsqld%' escape '\')`

// Random transactions, run for a client on one replica, do the same when they are applied on four: nothing differs from
// what the client was told, and the replicas differ in nothing.
func TestEqualTransactions(t *testing.T) {
	w := &workload{Rand: rand.New(rand.NewPCG(*workloadSeed, 99))}
	l := newLog(t)
	leader := openEngine(t, Config{})
	l.bootstrap(map[string]string{SettingMaxSteps: "50000", SettingMaxRows: "500", SettingMaxValue: "2097152"})
	l.must(leader, workloadSchema)
	committed, over := 0, 0
	for i := range *workloadEntries / 2 {
		if i%25 == 24 {
			l.script(revive, tidy)
			l.apply(leader)
		}
		x := l.begin(leader)
		for range 1 + w.IntN(8) {
			statement := w.statement()
			switch w.IntN(12) {
			case 0:
				statement = w.pick("savepoint a", "savepoint b", "savepoint \"a\"")
			case 1:
				statement = w.pick("rollback to a", "rollback to b", "release a", "release b")
			case 2:
				statement = workloadContent
			}
			x.try(statement)
			if x.Err() != nil {
				break
			}
		}
		if x.Err() != nil {
			over++
			continue
		}
		saw, err := x.try(workloadContent)
		if err != nil { // the table or view is gone or broken
			saw = ""
		}
		steps, err := x.Finish(t.Context())
		if err != nil || steps == nil {
			continue
		}
		l.command(&commandpb.Command{Body: &commandpb.Command_Transaction{Transaction: steps}})
		if r := l.one(leader); r.Err != nil {
			t.Fatalf("transaction %d was applied with %v (%s):\n%v", i, r.Err, r.SQL, steps)
		}
		committed++
		var after rows
		if _, err := leader.Query(t.Context(), workloadContent, nil, &after); saw != "" && (err != nil || after.String() != saw) {
			t.Fatalf("transaction %d saw\n%s\nand came to\n%s\n(%v)\n%v", i, saw, after.String(), err, steps)
		}
	}
	l.mustBeEqual(t)
	t.Logf("transactions=%d over=%d entries=%d", committed, over, len(l.entries))
	if committed < *workloadEntries/8 || over < *workloadEntries/40 {
		t.Errorf("%d committed, %d over: the workload proves little", committed, over)
	}
}

// Statements about savepoints are known in all their forms, and nothing else is taken for one.
func TestParseSavepoint(t *testing.T) {
	for text, want := range map[string]string{
		"savepoint a":                                "SAVEPOINT a|",
		" /* c */ SavePoint -- x\n a ; select 1":     "SAVEPOINT a|select 1",
		"release a;":                                 "RELEASE a|",
		"release savepoint a":                        "RELEASE a|",
		"release savepoint":                          "RELEASE savepoint|",
		"rollback to a":                              "ROLLBACK TO a|",
		"rollback transaction to savepoint [a b]; x": "ROLLBACK TO a b|x",
		`rollback to "a""b"`:                         `ROLLBACK TO a"b|`,
		"savepoint 'it''s'":                          "SAVEPOINT it's|",
		"savepoint `a`":                              "SAVEPOINT a|",
		"savepoint":                                  "",
		"savepoint 1":                                "",
		"savepoint a b":                              "",
		"savepoint \"a":                              "",
		"rollback":                                   "",
		"rollback transaction":                       "",
		"savepoints a":                               "",
		"select 'savepoint a'":                       "",
	} {
		m, rest, is := parseSavepoint(text)
		got := ""
		if is {
			got = string(m.verb) + " " + m.name + "|" + rest
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// What is taken for a savepoint is one for SQLite too, whose name is the same.
func FuzzParseSavepoint(f *testing.F) {
	for _, seed := range []string{"savepoint a", "release savepoint \"a\"\"b\"", "rollback to [a]", "savepoint 'x' -- c"} {
		f.Add(seed)
	}
	conn, err := sqlite.Open(filepath.Join(f.TempDir(), "x"), sqlite.Options{Create: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = conn.Close() })
	var told string
	conn.SetAuthorizer("fuzz", func(a sqlite.Action) sqlite.Decision {
		if a.Op == sqlite.OpSavepoint {
			told = fmt.Sprintf("%s %s", a.Arg1, a.Arg2)
		}
		return sqlite.Allow
	})
	f.Fuzz(func(t *testing.T, text string) {
		m, _, is := parseSavepoint(text)
		if !is {
			return
		}
		told = ""
		stmt, _, err := conn.Prepare(skipBlank(text))
		if err != nil {
			return // a keyword as a name, or no UTF-8: it is refused when it runs
		}
		if stmt != nil {
			defer stmt.Release()
		}
		verb := map[savepointVerb]string{setSavepoint: "BEGIN", releaseSavepoint: "RELEASE", rollbackTo: "ROLLBACK"}[m.verb]
		if told != verb+" "+m.name {
			t.Errorf("%q is %v, and for SQLite %q", text, m, told)
		}
	})
}
