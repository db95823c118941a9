package engine

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
)

// hostile are statements that give another effect wherever something of this node alone leaks into them. %d is a number
// that differs from entry to entry.
var hostile = []string{
	"insert into t(a, r, blob) values(%d, random(), randomblob(9))",
	"insert into t(a) select random() %% 100 from (values(1),(2),(3)) order by random()",
	"update t set r = random() where id in (select id from t order by random() limit 3)",
	"insert into t(a, at) values(%d, datetime('now', 'localtime')); update t set at = strftime('%%f', 'now') where a = %[1]d",
	"insert into t(a, r) values(last_insert_rowid(), changes() * 1000 + total_changes())",
	"update t set a = a + 1 where id %% 7 = %d %% 7; insert into t(a) values(changes()), (total_changes())",
	"insert or rollback into u values(%d %% 20, 1)",
	"insert into w values(%d %% 15)",
	"insert into killer values(%d %% 4)",
	"insert into u values(%d %% 30, 2) on conflict(k) do update set v = v + excluded.v returning k, v, random()",
	"insert or replace into u values(%d %% 10, random()); delete from u where k = %[1]d %% 13 returning *",
	"insert into child values(%d, %[1]d %% 6)",
	"insert into parent values(%d %% 12)",
	"insert into child values(%d + 100000, 77); insert or ignore into parent values(77)",
	"delete from parent where id = %d %% 12",
	"pragma defer_foreign_keys=1; insert into strict_child values(%d); insert into parent values(%[1]d)",
	"pragma defer_foreign_keys=on; insert into strict_child values(999999)",
	"insert into strict_child values(999999); insert into parent values(999999)",
	"insert into ft(body) select group_concat('word' || abs(random() %% 500), ' ') from (values(1),(2),(3),(4),(5),(6))",
	"insert into t(a) select count(*) from ft where ft match 'word' || %d %% 50 || '*'",
	"delete from ft where rowid = %d %% 9; update ft set body = body || ' again' where rowid = %[1]d %% 5",
	"insert into ft(ft) values('optimize')",
	"create virtual table ft_%d using fts5(a); insert into ft_%[1]d values(random())",
	"create virtual table ft_%d using fts5(a); insert into ft_%[1]d values(random()); insert into nowhere values(1)",
	"insert into rt values(%d, random() %% 10, 20, random() %% 10, 20)",
	"insert into t(a, r) select id, y0 from rt where x0 > 0 limit 3",
	"analyze",
	"analyze; insert into nowhere values(%d)",
	"create index if not exists t_a on t(a)",
	"drop index if exists t_a; insert into t(r) select id from t where a > 3 limit 2",
	"insert into t(a, r) select id, a from t where a between 1 and 40 limit 5",
	"create table extra_%d(x default (random()), y); insert into extra_%[1]d(y) values(1),(2)",
	"alter table u add column c%d",
	"create table copy_%d as select * from u; drop table u_gone",
	"insert into auto(v) values(random())",
	"insert into auto(v) values(%d); select raise_nothing()",
	"update sqlite_sequence set seq = seq + 3 where name = 'auto'",
	"insert into t(a) values('x'), (null); select * from t where id = 1; update t set gone = 1",
	"insert into g(a) values(%d)",
	"insert into v values(%d)",
	"delete from t where id %% 11 = %d %% 11",
	"select random(), count(*) from t",
	"insert into t(id) values(9223372036854775807)",
	"insert into full(id) values(9223372036854775806); insert into full default values; insert into full default values",
	"update sqlite_sequence set seq = 9223372036854775807 where name = 'full'; insert into full default values",
	"create trigger if not exists extra_trigger after insert on w when new.k = 3 begin select raise(rollback, 'three'); end",
	"drop trigger if exists extra_trigger",
	"pragma user_version=%d",
	"reindex",
	"pragma incremental_vacuum(2)",
	"not sql at all %d",
	"begin", "attach 'x' as y", "create temp table z(a)", "delete from sqlite_stat1",
}

const hostileSchema = `
create table t(id integer primary key, a, r default (random()), at default current_timestamp, blob default (randomblob(3)));
create table u(k integer primary key, v);
create table w(k unique on conflict rollback);
create table killer(k);
create trigger killed before insert on killer when new.k = 2 begin insert into t(a) values('dead'); select raise(rollback, 'killed'); end;
create trigger spared after insert on killer begin insert into t(a, r) values(last_insert_rowid(), random()); end;
create table parent(id integer primary key);
create table child(id integer primary key, p references parent deferrable initially deferred);
create table strict_child(p references parent on delete cascade);
create virtual table ft using fts5(body, prefix='2 3');
create virtual table rt using rtree(id, x0, x1, y0, y1);
create table auto(id integer primary key autoincrement, v);
create table full(id integer primary key autoincrement, v);
insert into full values(1, 0);
create table g(a, b generated always as (a * 2) stored);
create view v as select a from g;
create trigger v_insert instead of insert on v begin insert into g(a) values(new.a + random() % 3); end;
`

// hostileLog is the same list of entries whenever it is called.
func hostileLog(t testing.TB, count int) *log {
	random := rand.New(rand.NewPCG(7, 7))
	l := newLog(t)
	l.bootstrap(nil)
	l.script(hostileSchema)
	for i := range count {
		text := hostile[random.IntN(len(hostile))]
		if i < len(hostile) {
			text = hostile[i]
		}
		if strings.Contains(text, "%") {
			text = fmt.Sprintf(text, i)
			text, _, _ = strings.Cut(text, "%!(EXTRA")
		}
		switch random.IntN(20) {
		case 0:
			l.add(raft.EntryNoop, nil)
		case 1:
			l.script("insert into t(a) values(1)", text)
		default:
			l.script(text)
		}
	}
	return l
}

// text is what entry i says, for messages.
func (l *log) text(i int) string { return strings.ToValidUTF8(string(l.entries[i].Data), ".") }

// What FTS5 has gathered in one entry and writes later does not show in the counters of the next one.
func TestPendingWritesOfFTS5(t *testing.T) {
	var seen []string
	for _, size := range []int{1, 10} {
		e := openEngine(t, Config{})
		l := newLog(t)
		l.script("create virtual table ft using fts5(body); create table t(a, b, c)")
		l.script("insert into ft values('one two three')")
		l.script("insert into t values(last_insert_rowid(), changes(), total_changes())")
		l.script("create virtual table made using fts5(body); insert into made values('x'); insert into absent values(1)")
		l.script("create virtual table made using fts5(body); insert into made values('y')")
		l.script("insert into t values(last_insert_rowid(), changes(), total_changes())")
		for int(e.Applied()) < len(l.entries) {
			if _, err := e.Apply(l.entries[e.Applied():min(int(e.Applied())+size, len(l.entries))]); err != nil {
				t.Fatal(err)
			}
		}
		seen = append(seen, rowsOf(t, e, "select * from t")+" "+rowsOf(t, e, "select body from made where made match 'y'"))
	}
	if want := "0|0|0 0|0|0 y"; seen[0] != want || seen[1] != want {
		t.Errorf("one by one %q, together %q, want %q", seen[0], seen[1], want)
	}
}

// When the entries before a killer give other results the second time, the engine finds it out and records nothing.
func TestRedoFindsNondeterminism(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.must(e, "create table t(id integer primary key); insert into t values(1)")
	l.script("insert into t values(random()); insert into t values(random())")
	l.script("insert or rollback into t values(1)")
	e.writer.conn.SetUpdateHook(func(sqlite.Update) { e.writer.conn.SeedRandom(rand.Uint64()) })
	if results, err := e.Apply(l.entries[1:]); err == nil || !strings.Contains(err.Error(), "this node is not deterministic") || len(results) != 0 {
		t.Errorf("%d results, error %v", len(results), err)
	}
	if got := mustBase(t, e).Applied.Index; got != 1 {
		t.Errorf("the base moved to %d", got)
	}
}

// The statistics in memory are those of the file, whether they came there by a restart or not: rows that a query without
// ORDER BY chooses by its plan are the same. An ANALYZE that is rolled back and an index that is dropped are what breaks
// it in SQLite itself.
func TestStatisticsAreThoseOfARestart(t *testing.T) {
	const choose = "insert into chosen select id from t where a = 1 and b = 1 limit 5"
	for _, analyze := range []string{"analyze; insert into absent values(1)", "analyze", "analyze; drop index t_b; create index t_b on t(b)", ""} {
		var chosen []string
		for _, restart := range []bool{false, true} {
			e := openEngine(t, Config{})
			l := newLog(t)
			l.must(e, "create table t(id integer primary key, a, b); create table chosen(id)",
				"create table other(a unique); insert into other values(1); analyze other", // makes sqlite_stat1
				`insert into t with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000)
					select i, case when i > 2990 or i % 400 = 1 then 1 else i end, i % 2 from n order by i * 7919 % 3001`,
				"create index t_a on t(a, id desc); create index t_b on t(b)")
			if analyze != "" {
				l.run(e, analyze)
			}
			if restart {
				if err := e.Close(); err != nil {
					t.Fatal(err)
				}
				e = openEngine(t, Config{Dir: e.config.Dir})
			}
			l.must(e, choose)
			chosen = append(chosen, rowsOf(t, e, "select group_concat(id) from chosen"))
		}
		if chosen[0] != chosen[1] {
			t.Errorf("after %q the rows %s are chosen, and after a restart %s", analyze, chosen[0], chosen[1])
		}
	}
}
