package engine

import (
	"reflect"
	"testing"

	"github.com/rsqld/rsqld/db/command"
	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/raft"
)

// Whatever SQL an entry holds, it does not stop a healthy node from applying (that would stop the whole cluster at this
// entry, for ever), and it has the same result in a batch and alone.
func FuzzApply(f *testing.F) {
	for _, seed := range append(hostile,
		"insert into rt select id + 100, x0, x1, y0, y1 from rt", // SQLITE_LOCKED_VTAB
		"delete from rt where id in (select id from rt where x0 > 0)",
		"insert into rt values(1, 5, 2, 0, 0); insert into rt(rt) values('x')",
		"insert into ft(ft, rank) values('integrity-check', 1)", "insert into ft(ft) values('delete-all')",
		"insert into ft(ft, rank) values('pgsz', 1)", "insert into ft(ft) select body from ft",
		"insert into ft_data values(1, 1)", "drop table ft_content", "update sqlite_schema set sql = ''",
		"create virtual table e using fts5(a, content='absent'); insert into e(e) values('rebuild'); select * from e",
		"create virtual table e using fts5(a, content='t', content_rowid='id'); insert into e(rowid, a) values(99, 'x'); select * from e where e match 'x'",
		"select zeroblob(2000000000)", "select printf('%.*c', 2000000000, 'x')", "select hex(zeroblob(200000000))",
		"create table x(a references x on delete cascade deferrable); insert into x values(1); delete from x",
		"create table x as select * from x", "create view x as select * from x; select * from x",
		"select json('{'), json_extract('[1]', '$['), 1 -> 2", "select * from json_each('[')", "reindex absent", "analyze absent",
		"create trigger r after insert on t begin insert into t(a) values(1); end; insert into t(a) values(1)",
		"with recursive r(i) as (select 1 union all select i + 1 from r) insert into t(a) select i from r limit 5",
		"select abs(-9223372036854775808)", "select sum(9223372036854775807) from (values(1),(2))", "select likely(raise(rollback, 'x'))",
		"drop table sqlite_sequence", "alter table t drop column id", "pragma incremental_vacuum(-1)", "explain vacuum",
	) {
		f.Add(seed)
	}
	open := func() *Engine {
		e := openEngine(f, Config{})
		l := newLog(f)
		l.bootstrap(map[string]string{SettingMaxSteps: "200000", SettingMaxRows: "10000"})
		l.script(hostileSchema, "insert into rt values(1, 0, 1, 0, 1), (2, 0, 1, 0, 1); insert into ft(body) values('a b'), ('c')")
		for _, r := range l.apply(e) {
			if r.Err != nil {
				f.Fatal(r.Err)
			}
		}
		return e
	}
	together, alone := open(), open()
	f.Fuzz(func(t *testing.T, text string) {
		next := together.Applied() + 1
		data, err := command.Encode(&commandpb.Command{Version: command.Version, Seed: uint64(next),
			Body: &commandpb.Command_Script{Script: &commandpb.Script{Statements: []*commandpb.Statement{{Sql: text}}}}})
		if err != nil {
			return
		}
		entries := []raft.Entry{{ID: raft.EntryID{Term: 1, Index: next}, Kind: raft.EntryNoop}, {ID: raft.EntryID{Term: 1, Index: next + 1}, Data: data}}
		got, err := together.Apply(entries)
		if err != nil {
			t.Fatalf("%q stops the node: %v", text, err)
		}
		_, errFirst := alone.Apply(entries[:1])
		want, err := alone.Apply(entries[1:])
		if err != nil || errFirst != nil {
			t.Fatalf("%q stops the node: %v, %v", text, errFirst, err)
		}
		if !reflect.DeepEqual(got[1], want[0]) || together.Chain() != alone.Chain() {
			t.Fatalf("%q: in a batch %+v, alone %+v", text, got[1], want[0])
		}
	})
}
