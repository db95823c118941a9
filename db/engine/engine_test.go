package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire"
)

// A write is applied, its result says what it did, and a read sees it; after a restart all is as before.
func TestApplyAndQuery(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.add(raft.EntryNoop, nil)
	l.bootstrap(nil)
	l.script("create table t(id integer primary key, v text default 'x', at text default current_timestamp)")
	l.statement("insert into t(v) values(?),(:b),(?) returning id, v, at", text("one"), named("b", text("two")), text("three"))
	l.script("update t set v = upper(v) where id > 1", "delete from t where id = 1; select count(*) as n from t")
	results := l.apply(e)
	if results[0] != nil {
		t.Errorf("a no-op has the result %v", results[0])
	}
	for i, r := range results[1:] {
		if r.Err != nil || r.Index != raft.Index(i+2) {
			t.Fatalf("entry %d: index %d, error %v", i+2, r.Index, r.Err)
		}
	}
	inserted := results[3].Statements[0]
	if inserted.RowsAffected != 3 || inserted.LastInsertID != 3 || inserted.RowCount != 3 {
		t.Errorf("the insert: %+v", inserted)
	}
	if want := []Column{{"id", "INTEGER"}, {"v", "TEXT"}, {"at", "TEXT"}}; !slices.Equal(inserted.Columns, want) {
		t.Errorf("columns: got %v, want %v", inserted.Columns, want)
	}
	packed, err := wire.DecodeRows(inserted.Rows, 3, 3)
	if err != nil || packed[1][1] != "two" || packed[0][2] != "2024-01-01 00:00:03" {
		t.Errorf("rows: %v, %v", packed, err)
	}
	if last := results[4].Statements; len(last) != 3 || last[0].RowsAffected != 2 || last[1].RowsAffected != 1 || last[2].RowsAffected != 0 || last[2].RowCount != 1 {
		t.Errorf("the script: %+v", last)
	}
	const all = "select id, v from t order by id"
	if got, want := rowsOf(t, e, all), "2|TWO 3|THREE"; got != want {
		t.Errorf("rows: got %q, want %q", got, want)
	}
	chain, base, size := e.Chain(), mustBase(t, e), e.Size()
	if chain.Index != 5 || base.Applied != (raft.EntryID{Term: 3, Index: 5}) || size == 0 {
		t.Errorf("chain %v, base %v, size %d", chain, base, size)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	again := openEngine(t, Config{Dir: e.config.Dir})
	if got := rowsOf(t, again, all); got != "2|TWO 3|THREE" || again.Chain() != chain || again.LastTime() != l.time {
		t.Errorf("after a restart: rows %q, chain %v, time %d", got, again.Chain(), again.LastTime())
	}
	if got, err := os.ReadFile(filepath.Join(e.config.Dir, "current")); err != nil || string(got) != "1\n" {
		t.Errorf("current holds %q (%v)", got, err)
	}
}

func mustBase(t testing.TB, e *Engine) raft.Base {
	t.Helper()
	base, err := e.Base()
	if err != nil {
		t.Fatal(err)
	}
	return base
}

// The last configuration applied is in the base, with its index, also after a restart.
func TestConfigurationOutlivesRestart(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	configuration := raft.Configuration{Voters: []raft.ID{1, 2}, Learners: []raft.ID{9}}
	data, err := configuration.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	l.add(raft.EntryNoop, nil)
	l.add(raft.EntryConfiguration, data)
	l.add(raft.EntryNoop, nil)
	l.apply(e)
	for range 2 {
		base := mustBase(t, e)
		if base.Applied.Index != 3 || base.ConfigurationIndex != 2 || base.Configuration.String() != configuration.String() {
			t.Fatalf("got %+v", base)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		e = openEngine(t, Config{Dir: e.config.Dir})
	}
}

// An entry out of order, of an unknown kind, of a newer version or undecodable stops applying with a sentence that names
// it; what precedes it is applied, and applying goes on once the program can.
func TestEntriesThatStop(t *testing.T) {
	future := []byte{8, 2} // version 2
	tests := []struct {
		name  string
		entry raft.Entry
		says  string
	}{
		{"gap", raft.Entry{ID: raft.EntryID{Term: 3, Index: 9}, Kind: raft.EntryNoop}, "entry 3/9 cannot be applied: the next index is 2"},
		{"kind", raft.Entry{ID: raft.EntryID{Term: 3, Index: 2}, Kind: 77}, "upgrade this node"},
		{"version", raft.Entry{ID: raft.EntryID{Term: 3, Index: 2}, Data: future}, "the command has version 2 and this program knows versions up to 1"},
		{"garbage", raft.Entry{ID: raft.EntryID{Term: 3, Index: 2}, Data: []byte("garbage")}, "malformed command"},
		{"configuration", raft.Entry{ID: raft.EntryID{Term: 3, Index: 2}, Kind: raft.EntryConfiguration, Data: []byte("x")}, "not a configuration"},
	}
	for _, test := range tests {
		e := openEngine(t, Config{})
		l := newLog(t)
		first := l.script("create table t(a)")
		results, err := e.Apply([]raft.Entry{first, test.entry})
		if err == nil || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one sentence with %q", test.name, err, test.says)
		}
		if len(results) != 1 || e.Applied() != 1 || mustBase(t, e).Applied.Index != 1 {
			t.Errorf("%s: %d results, applied %d", test.name, len(results), e.Applied())
		}
		l.must(e, "insert into t values(1)")
	}
}

// A copy of the files of a running engine, as a kill leaves them, opens at an entry boundary: the rows are exactly those
// of the entries up to the applied index.
func TestCrashLeavesAnExactPrefix(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.must(e, "create table t(i integer primary key, pad text)")
	for round := range 10 {
		for range 1 + round%4*7 {
			l.script("insert into t select coalesce(max(i),0)+1, hex(randomblob(500)) from t")
		}
		l.apply(e)
		again := openEngine(t, copyFiles(t, e))
		applied := again.Applied()
		if applied != e.Applied() || again.Chain() != e.Chain() {
			t.Fatalf("the copy is at %d, the engine at %d", applied, e.Applied())
		}
		if got, want := rowsOf(t, again, "select count(*), max(i) from t"), rowsOf(t, e, "select count(*), max(i) from t"); got != want {
			t.Fatalf("at index %d: got %s, want %s", applied, got, want)
		}
		l.script("insert into t select max(i)+1, '' from t")
		results, err := again.Apply(l.entries[applied:])
		if err != nil || results[0].(*Result).Err != nil {
			t.Fatalf("the copy does not go on: %v", err)
		}
		l.apply(e)
	}
}

// A database whose pointer was lost is not taken for a new one, and a pointer that makes no sense is an error.
func TestGenerations(t *testing.T) {
	e := openEngine(t, Config{})
	dir := e.config.Dir
	newLog(t).must(e, "create table t(a)")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	current := filepath.Join(dir, "current")
	for _, text := range []string{"", "1", "0\n", "x\n", "2\n"} {
		if err := os.WriteFile(current, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if e, err := Open(Config{Dir: dir}); err == nil {
			e.Close()
			t.Errorf("opened with the pointer %q", text)
		}
	}
	if err := os.Remove(current); err != nil {
		t.Fatal(err)
	}
	again := openEngine(t, Config{Dir: dir}) // creating it did not come to its end
	if got := rowsOf(t, again, "select count(*) from t"); got != "0" || again.Applied() != 1 {
		t.Errorf("got %q at %d", got, again.Applied())
	}
	again.Close()
	if err := errors.Join(os.Remove(current), os.Mkdir(filepath.Join(dir, "2"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "holds generation 2 and no file") {
		t.Errorf("with two generations and no pointer: %v", err)
	}
}

// An error of the disk, wherever it strikes in a batch, is returned and records nothing; once the disk works, the same
// entries apply with the results that they would have had.
func TestEnvironmentErrors(t *testing.T) {
	const full, ioWrite, ioSync = 13, 778, 1034
	tests := []struct {
		name string
		op   sqlite.FaultOp
		code int
	}{{"disk full", sqlite.FaultWrite, full}, {"write error", sqlite.FaultWrite, ioWrite}, {"sync error", sqlite.FaultSync, ioSync}, {"open error", sqlite.FaultOpen, 14}}
	for _, test := range tests {
		broken := false
		e := openEngine(t, Config{Fault: func(op sqlite.FaultOp, file string, offset int64, n int) int {
			if broken && op == test.op {
				return test.code
			}
			return 0
		}})
		l := newLog(t)
		l.must(e, "create table t(i integer primary key autoincrement, pad)")
		for range 3 {
			l.script("insert into t(pad) values(hex(randomblob(3000)))", "insert or rollback into t values(1, 0)")
			l.script("insert into t(pad) values(hex(randomblob(3000)))")
		}
		before := mustBase(t, e)
		if test.op == sqlite.FaultOpen { // the writer is open; only what opens again fails
			e.abandon()
		}
		if broken = true; test.op != sqlite.FaultSync { // WAL and NORMAL sync only when the log begins
			results, err := e.Apply(l.entries[1:])
			if err == nil || len(results) != 0 {
				t.Fatalf("%s: %d results, error %v", test.name, len(results), err)
			}
			if _, err := e.Apply(l.entries[1:]); err == nil {
				t.Fatalf("%s: a second call succeeds on the broken disk", test.name)
			}
		}
		broken = false
		if after := mustBase(t, e); after.Applied != before.Applied {
			t.Errorf("%s: the base moved from %v to %v", test.name, before.Applied, after.Applied)
		}
		for i, r := range l.apply(e) {
			if failed := r.Err != nil; failed != (i%2 == 0) {
				t.Errorf("%s: entry %d: %v", test.name, r.Index, r.Err)
			}
		}
		if got := rowsOf(t, e, "select group_concat(i) from t"); got != "1,2,3" {
			t.Errorf("%s: rows %s", test.name, got)
		}
	}
}

// A full disk that strikes within a statement, and undoes the transaction with it, is not taken for a full sequence: the
// code is the same. Not even if there is room again when the entry is looked at once more.
func TestDiskFullInAStatement(t *testing.T) {
	broken := false
	e := openEngine(t, Config{Fault: func(op sqlite.FaultOp, file string, offset int64, n int) int {
		if broken && op == sqlite.FaultWrite {
			broken = false
			return codeFull
		}
		return 0
	}})
	l := newLog(t)
	l.must(e, "create table t(a integer primary key autoincrement, pad)")
	l.script("insert into t(pad) values(0)")
	l.script("insert into t(pad) with recursive n(i) as (select 1 union all select i + 1 from n where i < 300) select zeroblob(3000) from n")
	l.script("insert into t(pad) values(0)")
	if err := e.writer.conn.Exec("PRAGMA cache_size=5"); err != nil { // pages go to the disk while the statement runs
		t.Fatal(err)
	}
	broken = true
	if results, err := e.Apply(l.entries[1:]); err == nil || len(results) != 0 || !Full(err) {
		t.Fatalf("%d results, error %v", len(results), err)
	}
	if got := mustBase(t, e).Applied.Index; got != 1 {
		t.Errorf("the base moved to %d", got)
	}
	l.apply(e)
	if got := rowsOf(t, e, "select count(*), max(a) from t"); got != "302|302" {
		t.Errorf("rows %s", got)
	}
}

// Calls on a closed engine say so.
func TestClosed(t *testing.T) {
	e := openEngine(t, Config{})
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	_, errApply := e.Apply(nil)
	_, errBase := e.Base()
	_, errClassify := e.Classify("select 1")
	_, errQuery := e.Query(t.Context(), "select 1", nil, new(rows))
	for i, err := range []error{errApply, errBase, errClassify, errQuery} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if err := e.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

// What Apply returned and wrote does not depend on the entries any more, nor on what is applied next: the memory of both
// is used again.
func TestApplyKeepsNothingOfTheEntries(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.must(e, "create table t(id integer primary key, a text unique)")
	for i := range 3 {
		l.statement("insert into t values(?, ?) returning a", integer(int64(i)), text(fmt.Sprint("value ", i)))
	}
	l.statement("insert into t values(?, ?) returning a", integer(7), text("value 1"))
	l.statement("insert into missing values(?)", text("x"))
	results := l.apply(e)
	shown := func() string {
		var s strings.Builder
		for _, r := range results {
			fmt.Fprintf(&s, "%d %v %q %+v\n", r.Index, r.Err, r.SQL, r.Statements)
		}
		return s.String()
	}
	before := shown()
	for _, entry := range l.entries {
		for i := range entry.Data {
			entry.Data[i] = 'X'
		}
	}
	for range len(results) {
		l.statement("insert into t values(?, ?) returning a", integer(99), text("another"))
	}
	l.apply(e)
	if after := shown(); after != before {
		t.Errorf("the results became\n%s\nand were\n%s", after, before)
	}
	if got, want := rowsOf(t, e, "select * from t"), "0|value 0 1|value 1 2|value 2 99|another"; got != want {
		t.Errorf("the rows are %s, want %s", got, want)
	}
}

// Rows of one entry beyond the limit are dropped, said so, and change nothing of what the statement does.
func TestRowsDropped(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.must(e, "create table t(a, b)")
	r := l.must(e, "insert into t values(1, zeroblob(900000)) returning b", "insert into t select value, zeroblob(20000) from json_each('[1,2,3,4,5,6,7,8]') returning b", "select 1")
	if first := r.Statements[0]; first.RowCount != 1 || first.RowsDropped {
		t.Errorf("the first statement: %d rows, dropped %t", first.RowCount, first.RowsDropped)
	}
	if second := r.Statements[1]; second.RowCount != 0 || !second.RowsDropped || second.RowsAffected != 8 || second.Rows != nil {
		t.Errorf("the second statement: %d rows, dropped %t, %d affected", second.RowCount, second.RowsDropped, second.RowsAffected)
	}
	if third := r.Statements[2]; third.RowCount != 1 {
		t.Errorf("the third statement fits and has %d rows", third.RowCount)
	}
	if got := rowsOf(t, e, "select count(*) from t"); got != "9" {
		t.Errorf("%s rows in the table", got)
	}
}
