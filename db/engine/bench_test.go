package engine

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/rsqld/rsqld/db/command/commandpb"
)

// discard is a Sink that looks at nothing.
type discard struct{}

func (discard) Columns([]Column) error { return nil }
func (discard) Row([]byte) error       { return nil }

// BenchmarkApply measures one entry with an insert of one row of three arguments, in batches of a size: into a table
// without a further index, as `rsqld bench` does, and into one with an index on a scattered column. cpu-ns/entry is
// what three replicas on one machine share.
func BenchmarkApply(b *testing.B) {
	for schema, sql := range map[string]string{
		"plain":   "create table t(id integer primary key, a, b)",
		"indexed": "create table t(id integer primary key, a, b); create index t_a on t(a)",
	} {
		for _, size := range []int{1, 10, 100, 1000} {
			b.Run(fmt.Sprintf("%s/batch=%d", schema, size), func(b *testing.B) { benchmarkApply(b, sql, size) })
		}
	}
}

func benchmarkApply(b *testing.B, schema string, size int) {
	e := openEngine(b, Config{})
	l := newLog(b)
	l.script(schema)
	for i := range b.N {
		l.statement("insert into t values(?, ?, ?)", integer(int64(i)), integer(int64(i*7919%1000003)), text("some text of a row"))
	}
	if _, err := e.Apply(l.entries[:1]); err != nil {
		b.Fatal(err)
	}
	runtime.GC()
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	for i := 1; i <= b.N; i += size {
		if _, err := e.Apply(l.entries[i:min(i+size, b.N+1)]); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/entry")
}

// BenchmarkQuery measures a point select, and a scan of 10,000 rows with what one of them costs.
func BenchmarkQuery(b *testing.B) {
	e := openEngine(b, Config{})
	l := newLog(b)
	l.must(e, "create table t(id integer primary key, a, b)",
		"insert into t with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000) select i, i, 'some text of a row' from n")
	b.Run("point", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			if _, err := e.Query(b.Context(), "select a, b from t where id = ?", []*commandpb.Argument{integer(int64(i % 100000))}, discard{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("scan", func(b *testing.B) {
		rows := int64(0)
		for b.Loop() {
			q, err := e.Query(b.Context(), "select a, b from t limit 10000", nil, discard{})
			if err != nil {
				b.Fatal(err)
			}
			rows += q.Rows
		}
		b.ReportMetric(float64(b.Elapsed())/float64(rows), "ns/row")
	})
	b.Run("classify", func(b *testing.B) {
		for b.Loop() {
			if _, err := e.Classify("select a, b from t where id = ?"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
