package engine

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/transport/wire"
)

func float(v float64) *commandpb.Argument {
	return &commandpb.Argument{Value: &commandpb.Value{Kind: &commandpb.Value_Real{Real: v}}}
}

func blob(v []byte) *commandpb.Argument {
	return &commandpb.Argument{Value: &commandpb.Value{Kind: &commandpb.Value_Blob{Blob: v}}}
}

// null is an argument without a value.
func null() *commandpb.Argument { return &commandpb.Argument{Value: &commandpb.Value{}} }

// An argument is stored, returned and read as it was given, bit by bit: the extremes of each type, text that is no UTF-8,
// and nothing of a kind where nothing is not NULL. SQLite has no NaN and takes NULL for it.
func TestArgumentTypes(t *testing.T) {
	megabyte := bytes.Repeat([]byte{0, 255, 'x'}, 1<<20/3)
	tests := map[string]struct {
		arg  *commandpb.Argument
		want any
	}{
		"null":             {null(), nil},
		"no value":         {&commandpb.Argument{}, nil},
		"zero":             {integer(0), int64(0)},
		"largest":          {integer(math.MaxInt64), int64(math.MaxInt64)},
		"smallest":         {integer(math.MinInt64), int64(math.MinInt64)},
		"real":             {float(0.1), 0.1},
		"whole real":       {float(2), 2.0},
		"real beyond int":  {float(1 << 62), float64(1 << 62)},
		"largest real":     {float(math.MaxFloat64), math.MaxFloat64},
		"smallest real":    {float(math.SmallestNonzeroFloat64), math.SmallestNonzeroFloat64},
		"infinite":         {float(math.Inf(1)), math.Inf(1)},
		"minus infinite":   {float(math.Inf(-1)), math.Inf(-1)},
		"not a number":     {float(math.NaN()), nil},
		"minus zero":       {float(math.Copysign(0, -1)), math.Copysign(0, -1)},
		"text":             {text("straße"), "straße"},
		"empty text":       {text(""), ""},
		"number as text":   {text("12"), "12"},
		"no UTF-8":         {text("a\xff\xc3"), "a\xff\xc3"},
		"NUL in text":      {text("a\x00b\x00"), "a\x00b\x00"},
		"a megabyte":       {text(string(megabyte)), string(megabyte)},
		"blob":             {blob([]byte{0, 1, 255}), []byte{0, 1, 255}},
		"empty blob":       {blob(nil), []byte{}},
		"megabyte of blob": {blob(megabyte), megabyte},
	}
	e := openEngine(t, Config{})
	l := newLog(t)
	l.must(e, "create table t(name text, v)")
	for name, test := range tests {
		want := wire.AppendRow(nil, []any{test.want})
		l.statement("insert into t values(:name, :v)", named("name", text(name)), named("v", test.arg))
		l.statement("select v from t where name = ?", text(name))
		l.statement("select ?", test.arg)
		got := map[string][]byte{}
		for i, r := range l.apply(e) {
			if r.Err != nil {
				t.Fatalf("%s, entry %d: %v", name, i, r.Err)
			}
			if i > 0 && !r.Statements[0].RowsDropped {
				got[[]string{"", "stored", "returned"}[i]] = r.Statements[0].Rows
			}
		}
		var read, selected packedRows
		if _, err := e.Query(t.Context(), "select v from t where name = ?", []*commandpb.Argument{text(name)}, &read); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Query(t.Context(), "select ?", []*commandpb.Argument{test.arg}, &selected); err != nil {
			t.Fatal(err)
		}
		got["read"], got["selected"] = read, selected
		for way, row := range got {
			if !bytes.Equal(row, want) {
				t.Errorf("%s, %s: got %.40x, want %.40x", name, way, row, want)
			}
		}
	}
}

// packedRows is a Sink that keeps rows as they come.
type packedRows []byte

func (*packedRows) Columns([]Column) error { return nil }

func (s *packedRows) Row(packed []byte) error {
	*s = append(*s, packed...)
	return nil
}

// Positional arguments are used up in order by the statements of one text, named ones serve by name, and a wrong number
// is an error that says how many were expected and given.
func TestArguments(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.must(e, "create table t(a, b)")
	one, two, three := integer(1), integer(2), integer(3)
	tests := []struct {
		sql  string
		args []*commandpb.Argument
		want string // rows, or part of the error
	}{
		{"insert into t values(?, ?)", []*commandpb.Argument{one, two}, "1|2"},
		{"insert into t values(?2, ?1)", []*commandpb.Argument{one, two}, "2|1"},
		{"insert into t values(?1, ?1)", []*commandpb.Argument{one}, "1|1"},
		{"insert into t values(:a, $b)", []*commandpb.Argument{named("b", two), named("a", one)}, "1|2"},
		{"insert into t values(@a, :b)", []*commandpb.Argument{one, two}, "1|2"},
		{"insert into t values(?, 0); insert into t values(?, :x); -- end", []*commandpb.Argument{one, named("x", three), two}, "1|0 2|3"},
		{"insert into t values(?, ?)", []*commandpb.Argument{one}, "the statement expects 2 arguments and got 1: give one for each parameter"},
		{"insert into t values(?, 1)", []*commandpb.Argument{one, two}, "the statement expects 1 argument and got 2: leave out what no parameter takes"},
		{"insert into t values(?, 1); insert into t values(?, ?)", []*commandpb.Argument{one, two}, "expects 2 arguments and got 1: of the 2 given, the statements before it took 1; give one for each parameter of all of them"},
		{"insert into t values(?, ?)", nil, "the statement expects 2 arguments and got 0: give one for each parameter"},
		{"insert into t values(1, 1)", []*commandpb.Argument{one}, "the statement expects 0 arguments and got 1: leave out what no parameter takes"},
		{"insert into t values(:a, 1)", []*commandpb.Argument{named("b", two)}, `the parameter "a" has no argument: give one of that name, without the sign before it`},
		{"insert into t values(:a, 1)", []*commandpb.Argument{named(":a", two)}, `the parameter "a" has no argument`},
		{"insert into t values(:a, :b)", []*commandpb.Argument{named("b", two), one}, "1|2"},
		{"insert into t values(:a, :b)", []*commandpb.Argument{named("a", one), named("a", two), three}, "2|3"},
		// Three names for SQLite, one for the caller.
		{"insert into t values(:a, @a + $a)", []*commandpb.Argument{named("a", two)}, "2|4"},
		{"insert into t values(:a, @a + $a)", []*commandpb.Argument{one, two, three}, "1|5"},
		{"insert into t values(:a, :a)", []*commandpb.Argument{one}, "1|1"},
		{"insert into t values(:a, :A)", []*commandpb.Argument{named("a", one), named("A", two)}, "1|2"},
		// A number leaves parameters before it, each of which takes an argument.
		{"insert into t values(?3, ?)", []*commandpb.Argument{one, one, two, three}, "2|3"},
		{"insert into t values(?3, ?1)", []*commandpb.Argument{three, one}, "the statement expects 3 arguments and got 2"},
		{"insert into t values(?2, :a)", []*commandpb.Argument{one, two, named("a", three)}, "2|3"},
		{"insert into t values(1, 2)", []*commandpb.Argument{named("unused", three)}, "1|2"},
		{"insert into t select ?, ?; insert into t values(:a, :b)", []*commandpb.Argument{one, two, named("b", three), three}, "1|2 3|3"},
	}
	for _, test := range tests {
		l.must(e, "delete from t")
		l.statement(test.sql, test.args...)
		r := l.apply(e)[0]
		var wrong *ArgumentError
		if errors.As(r.Err, &wrong) {
			if !strings.Contains(r.Err.Error(), test.want) || r.Code != codeRange {
				t.Errorf("%q: got %v (code %d), want %q", test.sql, r.Err, r.Code, test.want)
			}
		} else if got := rowsOf(t, e, "select a, b from t"); r.Err != nil || got != test.want {
			t.Errorf("%q: got %q (%v), want %q", test.sql, got, r.Err, test.want)
		}
		checkSplit(t, e, test.sql, test.args, test.want)
	}
}

// checkSplit holds SplitArguments against what a whole text does with its arguments.
func checkSplit(t *testing.T, e *Engine, sql string, args []*commandpb.Argument, want string) {
	t.Helper()
	var values []string
	for rest := sql; rest != ""; {
		piece, after, err := e.Next(rest)
		if err != nil {
			t.Fatalf("%q: %v", rest, err)
		}
		var mine []*commandpb.Argument
		mine, args = SplitArguments(piece, args, after != "")
		rest = after
		a := newArguments(mine)
		var bound []string
		err = a.take(piece.Parameters, func(_ int, v *commandpb.Value) error {
			bound = append(bound, string(rune('0'+v.GetInteger())))
			return nil
		})
		if err = errors.Join(err, a.finish()); err != nil {
			return // the whole text fails as well, which the caller has seen
		}
		values = append(values, strings.Join(bound, ","))
	}
	if strings.Contains(want, "argument") {
		t.Errorf("%q: split, the statements take %q, whole it fails: %s", sql, values, want)
	}
}
