package engine

import (
	"errors"
	"math"
	"testing"
)

// A write that would never end is ended by sql.max_steps, with an error that names the setting; the entry has no effect,
// those around it in the batch have theirs, and it ends at the same place on a replica with other batches and a restart.
func TestEndlessWriteIsTooLarge(t *testing.T) {
	l := newLog(t)
	l.bootstrap(map[string]string{SettingMaxSteps: "100000"})
	l.script("create table t(a); create virtual table ft using fts5(body)")
	l.script("insert into t values(1)")
	l.script("insert into t with recursive endless(n) as (select 1 union all select n + 1 from endless) select n from endless")
	l.script("insert into t values(2)")
	l.script("insert into t with recursive endless(n) as (select 1 union all select n + 1 from endless) select count(*) from endless")
	l.script("with recursive endless(n) as (select 1 union all select n + 1 from endless) select count(*) from endless")
	l.script("insert into t values(3)")
	var chains []Chain
	for _, size := range []int{100, 1} {
		e := openEngine(t, Config{})
		for int(e.Applied()) < len(l.entries) {
			applied := int(e.Applied())
			results, err := e.Apply(l.entries[applied:min(applied+size, len(l.entries))])
			if err != nil {
				t.Fatal(err)
			}
			for _, any := range results {
				r := any.(*Result)
				var limit *LimitError
				tooLarge := errors.As(r.Err, &limit) && limit.Setting == SettingMaxSteps && limit.Limit == 100000 && r.Code == codeTooBig
				if want := r.Index == 4 || r.Index == 6 || r.Index == 7; tooLarge != want {
					t.Errorf("batch size %d, entry %d: %v", size, r.Index, r.Err)
				}
			}
		}
		if got := rowsOf(t, e, "select group_concat(a) from t"); got != "1,2,3" {
			t.Errorf("rows %s", got)
		}
		chains = append(chains, e.Chain())
	}
	if chains[0] != chains[1] {
		t.Errorf("chains %v", chains)
	}
}

// The budget of steps is used up at the same statement whether it was prepared now or before, and whatever FTS5 has
// cached: at the smallest budget that a statement fits into it fits again after a restart, and at a step less it fails.
func TestStepsAreCountedAlike(t *testing.T) {
	const insert = "insert into ft(body) with recursive n(i) as (select 1 union all select i + 1 from n where i < 400) select 'word' || i from n"
	run := func(budget int64, restart bool) bool {
		e := openEngine(t, Config{})
		l := newLog(t)
		l.must(e, "create virtual table ft using fts5(body)", "create table t(a)")
		l.must(e, insert)
		l.run(e, "create table gone(a); insert into absent values(1)") // a schema that is rolled back
		if restart {
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			e = openEngine(t, Config{Dir: e.config.Dir})
		}
		e.writer.meter.limits.maxSteps = budget
		return l.run(e, insert).Err == nil
	}
	least := int64(1000)
	for !run(least, false) {
		if least += 1000; least > 1_000_000 {
			t.Fatal("no budget is enough")
		}
	}
	if least < 3000 {
		t.Fatalf("%d steps are enough: the statement proves nothing", least)
	}
	if !run(least, true) || run(least-1000, true) {
		t.Errorf("%d steps are the least that are enough, and not so after a restart", least)
	}
}

// What FTS5 runs inside of a statement has no part in the budget, however long it is.
func TestNestedStepsDoNotCount(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.must(e, "create virtual table ft using fts5(body)",
		"insert into ft(body) with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000) select 'word' || i from n")
	e.writer.meter.limits.maxSteps = stepsPerTick
	l.must(e, "insert into ft(ft) values('rebuild')")
}

// An entry that changes more rows than sql.max_rows is too large, however it changes them.
func TestMaxRows(t *testing.T) {
	const ten = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 10) select i from n"
	tests := map[string]bool{
		"insert into t " + ten:                                       true,
		"insert into w " + ten:                                       true, // WITHOUT ROWID: no update hook
		"insert into t " + ten + " limit 9":                          false,
		"insert into t values(1); insert into t " + ten + " limit 9": true,
		"insert into fired " + ten + " limit 5":                      true, // each fires one more
		"insert into fired " + ten + " limit 4":                      false,
		"delete from many":                                           true, // without WHERE: no update hook
		"delete from many where 1":                                   true,
	}
	for sql, tooLarge := range tests {
		e := openEngine(t, Config{})
		l := newLog(t)
		l.must(e, `create table t(a); create table w(a primary key) without rowid; create table fired(a); create table many(a);
			create trigger f after insert on fired begin insert into t values(new.a); end;
			insert into many `+ten)
		e.writer.meter.limits.maxRows = 9
		r := l.run(e, sql)
		var limit *LimitError
		if errors.As(r.Err, &limit) != tooLarge || tooLarge && (limit.Setting != SettingMaxRows || r.Extended != codeTooBig) {
			t.Errorf("%q: %v, want too large: %t", sql, r.Err, tooLarge)
		}
	}
}

// A sequence at its end is a deterministic error also when it ends the transaction of a batch: it is told from a full
// disk.
func TestFullSequence(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.must(e, "create table auto(id integer primary key autoincrement, v); insert into auto values(1, 0); create table t(a)")
	l.script("insert into t values(1)")
	l.script("update sqlite_sequence set seq = 9223372036854775807; insert into t values(0); insert into auto(v) values(1)")
	l.script("update sqlite_sequence set seq = 9223372036854775807; insert or rollback into auto(v) select 1 union select 2")
	l.script("insert into t values(2)")
	for i, r := range l.apply(e) {
		if want := i == 1 || i == 2; (r.Code == codeFull) != want || (r.Err != nil) != want {
			t.Errorf("entry %d: %v", r.Index, r.Err)
		}
	}
	if got := rowsOf(t, e, "select (select group_concat(a) from t), (select seq from sqlite_sequence)"); got != "1,2|1" {
		t.Errorf("rows %s", got)
	}
	if r := l.run(e, "insert into t(rowid) values(9223372036854775807)"); r.Err == nil || !errors.As(r.Err, new(*VetoError)) {
		t.Errorf("rowid %d: %v", int64(math.MaxInt64), r.Err)
	}
}
