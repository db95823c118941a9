package engine

import (
	"fmt"
	"testing"

	"github.com/rsqld/rsqld/db/command/commandpb"
)

// discard is a Sink that looks at nothing.
type discard struct{}

func (discard) Columns([]Column) error { return nil }
func (discard) Row([]byte) error       { return nil }

// BenchmarkApply measures one entry with an insert into a table with one more index, in batches of a size.
func BenchmarkApply(b *testing.B) {
	for _, size := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint("batch=", size), func(b *testing.B) {
			e := openEngine(b, Config{})
			l := newLog(b)
			l.script("create table t(id integer primary key, a, b); create index t_a on t(a)")
			for i := range b.N {
				l.statement("insert into t(a, b) values(?, ?)", integer(int64(i*7919%1000003)), text("some text of a row"))
			}
			if _, err := e.Apply(l.entries[:1]); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := 1; i <= b.N; i += size {
				if _, err := e.Apply(l.entries[i:min(i+size, b.N+1)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkQuery measures a point select, and one row of a scan.
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
	b.Run("row", func(b *testing.B) {
		for done := int64(0); done < int64(b.N); {
			q, err := e.Query(b.Context(), "select a, b from t", nil, discard{})
			if err != nil {
				b.Fatal(err)
			}
			done += q.Rows
		}
	})
	b.Run("classify", func(b *testing.B) {
		for b.Loop() {
			if _, err := e.Classify("select a, b from t where id = ?"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
