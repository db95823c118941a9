package engine

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/command/commandpb"
)

// listOf is "item, item, …", so many times; a %d in it counts from 1.
func listOf(item string, count int, separator string) string {
	list := make([]string, count)
	for i := range list {
		list[i] = strings.ReplaceAll(item, "%d", strconv.Itoa(i+1))
	}
	return strings.Join(list, separator)
}

// Each limit of a statement is kept to the last unit: what is as large as it passes and what is one larger is refused, in
// an entry and where it can be by a reader too, with an error that names the limit.
func TestLimits(t *testing.T) {
	const value = 2 << 20
	tests := []struct {
		name  string
		limit int
		sql   func(n int) string
		says  string
		// writes: there is no reader to ask.
		writes bool
	}{
		{"parameters by number", 100, func(n int) string { return fmt.Sprintf("select ?%d is null", n) },
			"too_large: more than 100 parameters in one statement, the limit of the setting sql.max_parameters", false},
		{"parameters", 100, func(n int) string { return "select 1 in (" + listOf("?", n, ",") + ")" },
			"too_large: more than 100 parameters in one statement, the limit of the setting sql.max_parameters", false},
		{"bytes of a statement", 40_000, func(n int) string { return "select '" + strings.Repeat("x", n-len("select ''")) + "'" },
			"more than 40000 bytes in one SQL statement, the limit of the setting sql.max_statement_bytes", false},
		{"bytes of a value", value, func(n int) string { return fmt.Sprintf("select length(zeroblob(%d))", n) },
			"more than 2097152 bytes in one value or row, the limit of the setting sql.max_value_bytes", false},
		{"bytes of a text that grows", value, func(n int) string { return fmt.Sprintf("select length(zeroblob(%d) || x'00')", n-1) },
			"more than 2097152 bytes in one value or row, the limit of the setting sql.max_value_bytes", false},
		// Of a row, 7 bytes are its header.
		{"bytes of a row", value, func(n int) string {
			return fmt.Sprintf("insert into wide values(zeroblob(%d), zeroblob(1000))", n-1000-7)
		}, "more than 2097152 bytes in one value or row, the limit of the setting sql.max_value_bytes", true},
		{"rows of an entry", 50, func(n int) string { return "insert into t values" + listOf("(%d)", n, ",") },
			"more than 50 changed rows in one entry, the limit of the setting sql.max_rows", true},
		{"columns of a table", 2000, func(n int) string { return "create table columns(" + listOf("c%d", n, ",") + "); drop table columns" }, "too many columns on columns", true},
		{"columns of a result", 2000, func(n int) string { return "select " + listOf("1", n, ",") }, "too many columns in result set", false},
		{"terms of a compound", 500, func(n int) string { return listOf("select %d", n, " union all ") }, "too many terms in compound SELECT", false},
		{"tables of a join", 64, func(n int) string { return "select count(*) from " + listOf("one o%d", n, ",") }, "at most 64 tables in a join", false},
		{"depth of an expression", 1000, func(n int) string { return "select " + strings.Repeat("-(", n-1) + "+1" + strings.Repeat(")", n-1) }, "maximum depth 1000", false},
		{"arguments of a function", 1000, func(n int) string { return "select max(" + listOf("1", n, ",") + ")" }, "too many arguments on function max", false},
		{"bytes of a pattern", 1000, func(n int) string { return fmt.Sprintf("select 'x' like printf('%%.*c', %d, 'y')", n) }, "LIKE or GLOB pattern too complex", false},
		{"depth of triggers", 1000, func(n int) string {
			return fmt.Sprintf("delete from deep; insert into deep values(%d); delete from deep", n)
		},
			"triggers nested too deep", true},
	}
	e := openEngine(t, Config{})
	l := newLog(t)
	l.bootstrap(map[string]string{SettingMaxParameters: "100", SettingMaxStatement: "40000", SettingMaxValue: strconv.Itoa(value), SettingRecursiveTriggers: "on"})
	l.script("create table t(a); create table wide(a, b); create table one(a); insert into one values(1); create table deep(n)",
		"create trigger deeper after insert on deep when new.n > 1 begin insert into deep values(new.n - 1); end")
	l.apply(e)
	for _, test := range tests {
		l.configure(e, map[string]string{SettingMaxRows: ""})
		if strings.HasPrefix(test.name, "rows") {
			l.configure(e, map[string]string{SettingMaxRows: strconv.Itoa(test.limit)})
		}
		for _, n := range []int{test.limit, test.limit + 1} {
			sql := test.sql(n)
			ways := map[string]error{}
			args := make([]*commandpb.Argument, strings.Count(sql, "?"))
			if strings.Contains(sql, "select ?") {
				args = make([]*commandpb.Argument, n)
			}
			l.statement(sql, args...)
			ways["apply"] = l.apply(e)[0].Err
			if !test.writes {
				_, ways["query"] = e.Query(t.Context(), sql, args, new(rows))
			}
			for way, err := range ways {
				if n == test.limit && err != nil || n > test.limit && (err == nil || !strings.Contains(err.Error(), test.says)) {
					t.Errorf("%s, %s at %d: %v", test.name, way, n, err)
				}
			}
		}
	}
}

// An argument may be as large as a value and no larger.
func TestLimitOfArguments(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.bootstrap(map[string]string{SettingMaxValue: strconv.Itoa(leastValue)})
	l.apply(e)
	for n, tooLarge := range map[int]bool{leastValue: false, leastValue + 1: true} {
		for _, arg := range []*commandpb.Argument{blob(make([]byte, n)), text(strings.Repeat("x", n))} {
			l.statement("select length(?)", arg)
			applied := l.apply(e)[0].Err
			_, queried := e.Query(t.Context(), "select length(?)", []*commandpb.Argument{arg}, new(rows))
			for way, err := range map[string]error{"apply": applied, "query": queried} {
				var limit *LimitError
				if errors.As(err, &limit) != tooLarge || tooLarge && limit.Setting != SettingMaxValue {
					t.Errorf("%s of %d bytes: %v", way, n, err)
				}
			}
		}
	}
}

// The rows that an entry returns are kept up to MaxResultBytes and not one byte further.
func TestLimitOfResults(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	const header = 1 + 3 // the tag of a blob and its length
	for n, dropped := range map[int]bool{MaxResultBytes - header: false, MaxResultBytes - header + 1: true} {
		r := l.must(e, fmt.Sprintf("select zeroblob(%d)", n)).Statements[0]
		if r.RowsDropped != dropped || (len(r.Rows) == 0) != dropped {
			t.Errorf("a blob of %d bytes: %d bytes of rows, dropped %t", n, len(r.Rows), r.RowsDropped)
		}
	}
}

// A duration is written with its unit and is not too short.
func TestSettingOfDuration(t *testing.T) {
	for value, good := range map[string]bool{"1s": true, "1h30m": true, "": true, "999ms": false, "-1h": false, "10": false, "soon": false} {
		if err := CheckSettings(map[string]string{SettingReplaceAfter: value}); (err == nil) != good || err != nil && !strings.Contains(err.Error(), "at least 1s") {
			t.Errorf("%q: %v", value, err)
		}
	}
}

// Every setting accepts its bounds and refuses what is beyond, with an error that says which values there are.
func TestSettingBounds(t *testing.T) {
	bounds := map[string]struct{ least, largest int64 }{
		SettingMaxRows: {1, math.MaxInt64}, SettingMaxSteps: {1000, math.MaxInt64}, SettingMaxValue: {leastValue, largestValue},
		SettingMaxStatement: {leastStatement, largestStatement}, SettingMaxParameters: {leastParameters, largestParameters},
		SettingTargetVoters: {0, largestTarget},
	}
	for name, fallback := range settingDefaults {
		b, isLimit := bounds[name]
		if !isLimit {
			if _, err := time.ParseDuration(fallback); err != nil && fallback != "on" && fallback != "off" {
				t.Errorf("%s is in no list of bounds", name)
			}
			continue
		}
		for value, good := range map[string]bool{strconv.FormatInt(b.least, 10): true, strconv.FormatInt(b.largest, 10): true, fallback: true, "": true,
			strconv.FormatInt(b.least-1, 10): false, strconv.FormatUint(uint64(b.largest)+1, 10): false, "1e6": false, "-1": false, " 5000": false} {
			err := CheckSettings(map[string]string{name: value})
			if (err == nil) != good || err != nil && (!strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), strconv.FormatInt(b.least, 10))) {
				t.Errorf("%s=%q: %v", name, value, err)
			}
		}
	}
}
