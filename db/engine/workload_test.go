package engine

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/raft"
)

var (
	workloadEntries = flag.Int("equal.entries", 1000, "how many entries a random workload has")
	workloadSeed    = flag.Uint64("equal.seed", 1, "the seed of the random workload")
)

// workload makes random entries. Names come from small sets, so that about a third of the entries fail because
// something is there already, or is not, or is another kind of thing; each is a function of the seed alone.
type workload struct {
	*rand.Rand
	serial int
}

func (w *workload) pick(from ...string) string { return from[w.IntN(len(from))] }

// table is one that is likely there.
func (w *workload) table() string { return w.pick("ta", "tb", "tc", "td", "te", "tf") }

func (w *workload) column() string { return w.pick("id", "a", "b", "c", "d") }

func (w *workload) name() string { return fmt.Sprint(w.pick("x", "y", "z"), w.IntN(4)) }

// value is an expression, some of which take what an entry must bring along.
func (w *workload) value() string {
	return w.pick("random()", "random() % 50", "abs(random() % 20)", "randomblob(4)", "hex(randomblob(2))", "current_timestamp",
		"strftime('%f', 'now')", "julianday('now')", "datetime('now', 'localtime', '+1 day')", "last_insert_rowid()", "changes()", "total_changes()",
		"null", "x'00ff'", "1.5e300 * 1e300", "-0.0", "'text ' || "+fmt.Sprint(w.IntN(30)), fmt.Sprint(w.IntN(40)), fmt.Sprint(w.IntN(40)),
		fmt.Sprint(w.IntN(1000000)), "(select max(id) from "+w.table()+")", "(select count(*) from ft where ft match 'word"+fmt.Sprint(w.IntN(30))+"*')",
		"json_object('k', random() % 9, 'l', json_array(1, 2.5))", "printf('%.3f', "+fmt.Sprint(w.Float64())+")", "zeroblob("+fmt.Sprint(w.IntN(3000))+")")
}

// condition is a WHERE whose rows may depend on chance.
func (w *workload) condition() string {
	return w.pick("id % 7 = "+fmt.Sprint(w.IntN(7)), "a > "+fmt.Sprint(w.IntN(40)), "b between 3 and 9", "c like 'text 1%'", "a in (select b from "+w.table()+")",
		"random() % 4 = 0", "rowid in (select rowid from "+w.table()+" order by random() limit 4)", "1", "exists (select 1 from "+w.table()+" o where o.a = "+fmt.Sprint(w.IntN(9))+")")
}

func (w *workload) conflict() string {
	return w.pick("", "", "", "", "or ignore", "or replace", "or rollback", "or abort", "or fail")
}

// source gives two columns and a few rows without an order of their own.
func (w *workload) source() string {
	return w.pick(
		"select a, b from "+w.table()+" where "+w.condition()+" limit 8",
		"select distinct b, a from "+w.table()+" limit 5",
		"select o.a, i.b from "+w.table()+" o, "+w.table()+" i where o.a = i.b limit 6",
		"with recursive n(i) as (select 1 union all select i + 1 from n where i < 12) select i, "+w.value()+" from n",
		"select value, random() from json_each('[3,1,2]')",
		"select count(*), group_concat(b) from "+w.table()+" group by a % 3",
		"select row_number() over (order by b), sum(a) over (partition by b % 3) from "+w.table()+" limit 6",
		"select id, x0 from rt where x1 > "+fmt.Sprint(w.IntN(40))+" limit 5",
		"select rowid, body from ft where ft match 'word"+fmt.Sprint(w.IntN(20))+" OR again' limit 5",
		"select a, b from v0 limit 3")
}

// statement is one of a kind; the weights are the numbers of the cases.
func (w *workload) statement() string {
	w.serial++
	switch kind := w.IntN(100); {
	case kind < 30:
		return w.change()
	case kind < 42:
		return w.search()
	case kind < 50:
		return fmt.Sprintf("delete from %s where %s", w.table(), w.condition())
	case kind < 58:
		return w.keys()
	case kind < 82:
		return w.schema()
	case kind < 90:
		return w.end()
	}
	return w.pick("select count(*), max(a), min(b) from "+w.table(), "select * from "+w.table()+" where "+w.condition()+" limit 3", "select changes(), total_changes(), last_insert_rowid()",
		"pragma user_version="+fmt.Sprint(w.serial), "pragma incremental_vacuum(3)", "pragma table_info("+w.table()+")", "pragma foreign_keys=on",
		"explain query plan select * from "+w.table()+" where a = 1", "select group_concat(id) from (select id from "+w.table()+" order by b)")
}

// change writes rows of ordinary tables.
func (w *workload) change() string {
	table := w.table()
	switch w.IntN(9) {
	case 0:
		return fmt.Sprintf("insert %s into %s(a, b) %s", w.conflict(), table, w.source())
	case 1:
		return fmt.Sprintf("update %s %s set %s = %s where %s", w.conflict(), table, w.column(), w.value(), w.condition())
	case 2:
		return fmt.Sprintf("insert into %s(id, a, c) values(%d, %s, %s) on conflict(id) do update set a = excluded.a, b = %s where %s.id > 3 returning id, a, %s",
			table, w.IntN(30), w.value(), w.value(), w.value(), table, w.value())
	case 3:
		return fmt.Sprintf("update %s set b = o.b, c = %s from (with v(a, b) as (%s) select * from v) as o where %s.a = o.a returning *", table, w.value(), w.source(), table)
	case 4:
		return fmt.Sprintf("with m(v) as (select max(id) from %s) insert into %s(a, b) select v, %s from m", w.table(), table, w.value())
	case 5:
		return fmt.Sprintf("insert into au(v) values(%s), (%s)", w.value(), w.value())
	case 6:
		return fmt.Sprintf("replace into %s(id, a, b) values(%d, %s, %s)", table, w.IntN(40), w.value(), w.value())
	}
	return fmt.Sprintf("insert %s into %s(a, b, c) values(%s, %s, %s), (%s, %s, %s)", w.conflict(), table, w.value(), w.value(), w.value(), w.value(), w.value(), w.value())
}

// search writes full-text and spatial tables.
func (w *workload) search() string {
	word := func() string { return fmt.Sprint("word", w.IntN(60)) }
	return w.pick(
		fmt.Sprintf("insert into ft(body) values('%s %s %s'), (%s)", word(), word(), word(), w.value()),
		fmt.Sprintf("insert into ft(body) select '%s ' || group_concat(b, ' ') from %s", word(), w.table()),
		fmt.Sprintf("update ft set body = body || ' again %s' where rowid %% 7 = %d", word(), w.IntN(7)),
		fmt.Sprintf("delete from ft where rowid %% 9 = %d", w.IntN(9)),
		fmt.Sprintf("insert into ft(ft, rank) values('merge', %d)", 1+w.IntN(40)),
		"insert into ft(ft) values('"+w.pick("optimize", "rebuild", "integrity-check", "nonsense")+"')",
		fmt.Sprintf("insert into doc(text) values('%s %s'); update doc set text = text || ' %s' where id %% 3 = 1", word(), word(), word()),
		fmt.Sprintf("delete from doc where id %% 5 = %d; select rowid from ext where ext match '%s*' limit 3", w.IntN(5), word()),
		fmt.Sprintf("insert %s into rt values(%d, abs(random() %% 30), 40 + %d, %d.5, 60)", w.conflict(), w.IntN(300), w.IntN(9), w.IntN(30)),
		fmt.Sprintf("update rt set x1 = x1 + random() %% 3 where id %% 5 = %d", w.IntN(5)),
		fmt.Sprintf("delete from rt where x0 < %d", w.IntN(6)),
		fmt.Sprintf("insert into slim(rowid, body) values(%d, '%s'); delete from slim where rowid = %d", w.IntN(90), word(), w.IntN(90)),
		fmt.Sprintf("create virtual table %s using fts5(body); insert into %[1]s values('%s')", w.name(), word()),
		fmt.Sprintf("create virtual table %s using rtree(id, p, q); insert into %[1]s values(1, 2, 3)", w.name()))
}

// keys works on tables with foreign keys.
func (w *workload) keys() string {
	n := w.IntN(25)
	return w.pick(
		fmt.Sprintf("insert %s into parent values(%d)", w.conflict(), n), fmt.Sprintf("delete from parent where id = %d", n),
		fmt.Sprintf("insert into child values(%d, %d)", w.serial, n), fmt.Sprintf("insert into child values(%d, 99); insert or ignore into parent values(99)", w.serial),
		fmt.Sprintf("pragma defer_foreign_keys=1; insert into strict_child values(%d); insert or ignore into parent values(%[1]d)", n),
		fmt.Sprintf("insert into strict_child values(%d)", n), fmt.Sprintf("update parent set id = id + 100 where id = %d", n), "delete from parent where id > 50")
}

// schema changes it.
func (w *workload) schema() string {
	name, table, column := w.name(), w.table(), w.column()
	switch w.IntN(16) {
	case 0:
		return fmt.Sprintf("create table %s(id integer primary key, a any, b any %s, c any default (random()), d any default current_timestamp%s)%s", table,
			w.pick("", "unique", "unique on conflict rollback", "not null on conflict ignore", "check (b is null or b <> 13)", "collate nocase", "references parent deferrable initially deferred"),
			w.pick("", ", e any generated always as (a || b) stored", ", e any as (a) virtual unique", ", unique(a, b) on conflict replace"), w.pick("", "", "", " without rowid", " strict"))
	case 1:
		return "drop table if exists " + table
	case 2, 3, 4:
		return fmt.Sprintf("create %s index %s on %s(%s %s) %s", w.pick("", "", "unique"), name, table, w.pick(column, column+", a", "a % 5", "lower(c)"), w.pick("", "desc"), w.pick("", "", "where a > 5"))
	case 5, 6:
		return "drop index if exists " + name
	case 7:
		return fmt.Sprintf("create trigger %s %s %s on %s %s begin %s; end", name, w.pick("before", "after"), w.pick("insert", "delete", "update of a"), table,
			w.pick("", "when new.a % 3 = 1", "when random() % 2"), w.pick(
				"insert into log values('fired', random(), strftime('%f'))", "update tb set c = "+w.value()+" where id = 3", "delete from ft where rowid = 5",
				"select raise(rollback, 'killed by a trigger') where new.b = 7", "select raise(ignore) where new.b = 8", "insert into ft(body) values('trigger')",
				"select raise(abort, 'no')", "insert or rollback into parent values(1)"))
	case 8, 9:
		return "drop trigger if exists " + name
	case 10:
		return w.pick("analyze", "analyze "+table, "analyze "+name, "reindex", "reindex "+table)
	case 11:
		return fmt.Sprintf("alter table %s %s", table, w.pick("add column n"+fmt.Sprint(w.serial%7), "rename to "+w.table(), "rename column d to dd", "rename column dd to d", "drop column d", "add column d default (1)"))
	case 12:
		return fmt.Sprintf("drop view if exists v0; create view v0(a, b) as %s", w.source())
	case 13:
		return fmt.Sprintf("create table %s as select a, b, random() as c, a as id from %s limit 5", table, w.table())
	case 14:
		return "drop table if exists " + name
	}
	return fmt.Sprintf("create table if not exists %s(k unique on conflict %s, v); insert into %[1]s values(%[3]d %% 5, %[4]s)", name, w.pick("rollback", "fail", "replace"), w.serial, w.value())
}

// end is what fails, kills or is refused.
func (w *workload) end() string {
	return w.pick("insert into absent values(1)", "this is no SQL", "select abs(-9223372036854775808)", "insert or rollback into parent values(1), (1)",
		"insert into killer values("+fmt.Sprint(w.IntN(4))+")", "begin", "commit", "vacuum", "create temp table q(a)", "pragma journal_mode=off", "select * from _rsqld_meta",
		"insert into "+w.table()+"(id) values(9223372036854775807)", "update sqlite_sequence set seq = 9223372036854775807 where name = 'au'; insert or rollback into au default values",
		"insert into log with recursive e(n) as (select 1 union all select n + 1 from e) select 'endless', count(*), 1 from e",
		"insert into log with recursive e(n) as (select 1 union all select n + 1 from e) select 'rows', n, 1 from e", "delete from sqlite_stat1", "attach 'x' as y",
		"drop table parent", "select json('{'), ?", "insert into log values(zeroblob(1), randomblob(2), 1, 2)")
}

const workloadSchema = `
create table ta(id integer primary key, a, b, c default (random()), d default current_timestamp);
create table tb(id integer primary key, a, b unique, c, d default (datetime('now')));
create table tc(id integer primary key autoincrement, a any check (a is null or a <> 11), b any, c any, d any) strict;
create table td(id primary key, a, b, c, d) without rowid;
create table te(id integer primary key, a, b, c, d default (hex(randomblob(3))), e as (a || '-' || b) stored);
create table log(what, x, y); create table au(id integer primary key autoincrement, v);
create table parent(id integer primary key); create table child(id integer primary key, p references parent deferrable initially deferred);
create table strict_child(p references parent on delete cascade on update cascade);
create table killer(k); create trigger killed before insert on killer when new.k = 2 begin insert into log values('dead', 1, 2); select raise(rollback, 'killed'); end;
create virtual table ft using fts5(body, prefix='2'); create virtual table slim using fts5(body, content='', contentless_delete=1);
create table doc(id integer primary key, text); create virtual table ext using fts5(text, content='doc', content_rowid='id');
create trigger doc_in after insert on doc begin insert into ext(rowid, text) values(new.id, new.text); end;
create trigger doc_out after delete on doc begin insert into ext(ext, rowid, text) values('delete', old.id, old.text); end;
create trigger doc_new after update on doc begin insert into ext(ext, rowid, text) values('delete', old.id, old.text); insert into ext(rowid, text) values(new.id, new.text); end;
create virtual table rt using rtree(id, x0, x1, y0, y1); create view v0(a, b) as select a, b from ta;
`

// tidy keeps the tables small: entries of a long workload should cost what those of a short one do.
const tidy = `delete from log; delete from au where id < (select max(id) from au) - 50; delete from ft where rowid < (select max(rowid) from ft) - 200;
delete from doc where id < (select max(id) from doc) - 50`

// revive makes tables again, whatever became of them.
const revive = `create table if not exists parent(id integer primary key);
create table if not exists ta(id integer primary key, a, b, c, d); create table if not exists tb(id integer primary key, a, b, c, d);
create table if not exists tc(id integer primary key, a, b, c, d); create table if not exists td(id integer primary key, a, b, c, d);
create table if not exists te(id integer primary key, a, b, c, d); create table if not exists tf(id integer primary key, a, b, c, d)`

// log is a random workload of so many entries.
func (w *workload) log(t testing.TB, count int) *log {
	l := newLog(t)
	limits := map[string]string{SettingMaxSteps: "50000", SettingMaxRows: "500", SettingMaxValue: "2097152"}
	l.bootstrap(limits)
	l.script(workloadSchema)
	for i := range count {
		switch kind := w.IntN(100); {
		case i%100 == 99:
			l.script(tidy)
		case i%100 == 98:
			table := w.table()
			l.script(fmt.Sprintf("delete from %s where id not in (select id from %[1]s order by id desc limit 60)", table))
		case i%50 == 49:
			l.script(revive)
		case kind < 2:
			l.add(raft.EntryNoop, nil)
		case kind < 3:
			l.changeSettings(map[string]string{w.pick(SettingForeignKeys, SettingRecursiveTriggers): w.pick("on", "off", "")})
		case kind < 4:
			l.time -= int64(w.IntN(10)) * 1_000_000_000 // a leader whose clock was behind
			l.script(w.statement())
		case kind < 14:
			l.statement(fmt.Sprintf("insert into %s(a, b, c) values(?, ?, :c) returning *", w.table()), w.argument(), w.argument(), named("c", w.argument()))
		case kind < 24:
			l.script(w.statement(), w.statement()+"; "+w.statement())
		case kind < 26:
			l.script(strings.Repeat(w.statement()+";\n", 1+w.IntN(6)))
		default:
			l.script(w.statement())
		}
	}
	return l
}

func (w *workload) argument() *commandpb.Argument {
	switch w.IntN(4) {
	case 0:
		return integer(w.Int64N(50))
	case 1:
		return text(w.pick("", "text 1", "é\x00ü", "\xff\xfe"))
	case 2:
		return &commandpb.Argument{Value: &commandpb.Value{Kind: &commandpb.Value_Real{Real: w.NormFloat64()}}}
	}
	return &commandpb.Argument{Value: &commandpb.Value{Kind: &commandpb.Value_Blob{Blob: make([]byte, w.IntN(5))}}}
}

// Replicas that apply a random workload differ in nothing. -equal.entries=100000 makes it a long one (make equal).
func TestEqualRandom(t *testing.T) {
	w := &workload{Rand: rand.New(rand.NewPCG(*workloadSeed, 0))}
	o := w.log(t, *workloadEntries).mustBeEqual(t)
	if schema := o.results[1]; schema.Err != nil {
		t.Fatal(schema.Err)
	}
	failed, codes := o.powers()
	t.Logf("equal: seed=%d entries=%d failed=%d codes=%v chain=%016x content=%.16s unequal=0", *workloadSeed, len(o.results), failed, codes, o.chain.Hash, o.content)
	if failed < len(o.results)/6 || failed > len(o.results)*2/3 || len(codes) < 8 {
		t.Errorf("%d of %d entries failed, with codes %v: the workload proves little", failed, len(o.results), codes)
	}
}
