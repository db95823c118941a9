package sqlite

import (
	"fmt"
	"testing"
)

// The figures beside each benchmark are those of the design's measurement (2 cores of an EPYC, warm cache, one
// transaction), in ns: this binding | database/sql with modernc's driver | mattn's cgo driver without database/sql.

const benchRows = 100_000

// benchTable opens a writer with the table of the benchmarks.
func benchTable(b *testing.B, rows int) *Conn {
	b.Helper()
	c := mustOpen(b, tempFile(b), WriterOptions(NewClock()))
	mustExec(b, c, "CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER, s TEXT, f REAL)")
	mustExec(b, c, fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO t SELECT i, i * 7, 'some text of a row ' || i, i * 0.5 FROM n WHERE %[1]d > 0`, rows))
	mustExec(b, c, "BEGIN")
	return c
}

// 670 | 1406 | 615
func BenchmarkInsert(b *testing.B) {
	c := benchTable(b, 0)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s, _, err := c.Cached("INSERT INTO t(n, s, f) VALUES (?, ?, ?)")
		if err != nil {
			b.Fatal(err)
		}
		s.BindInt64(1, int64(i))
		s.BindText(2, "some text of a row")
		s.BindFloat64(3, 0.5)
		if _, err := s.Step(); err != nil {
			b.Fatal(err)
		}
		s.Release()
	}
}

// 796 (704 without copying) | 3161 | 839
func BenchmarkPointSelect(b *testing.B) {
	c := benchTable(b, benchRows)
	b.ReportAllocs()
	var buffer []byte
	for i := 0; b.Loop(); i++ {
		s, _, err := c.Cached("SELECT id, n, s, f FROM t WHERE id = ?")
		if err != nil {
			b.Fatal(err)
		}
		s.BindInt64(1, int64(i*7919%benchRows)+1)
		if row, err := s.Step(); err != nil || !row {
			b.Fatal(row, err)
		}
		_, _, _ = s.ColumnInt64(0), s.ColumnInt64(1), s.ColumnFloat64(3)
		buffer = s.ColumnBytes(2, buffer[:0])
		s.Release()
	}
}

// 179 (140 without copying) | 394 | 268, a row
func BenchmarkScan(b *testing.B) {
	for name, read := range map[string]func(s *Stmt, buffer []byte) []byte{
		"copy": func(s *Stmt, buffer []byte) []byte { return s.ColumnBytes(2, buffer) },
		"lend": func(s *Stmt, buffer []byte) []byte { s.ColumnRaw(2); return buffer },
	} {
		b.Run(name, func(b *testing.B) {
			c := benchTable(b, benchRows)
			b.ReportAllocs()
			var buffer []byte
			for b.Loop() {
				s, _, err := c.Cached("SELECT id, n, s, f FROM t")
				if err != nil {
					b.Fatal(err)
				}
				for {
					row, err := s.Step()
					if err != nil {
						b.Fatal(err)
					}
					if !row {
						break
					}
					_, _, _ = s.ColumnInt64(0), s.ColumnInt64(1), s.ColumnFloat64(3)
					buffer = read(s, buffer[:0])
				}
				s.Release()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRows, "ns/row")
		})
	}
}

// 1450 without an authorizer, 2030 with one
func BenchmarkPrepare(b *testing.B) {
	for name, decide := range map[string]func(Action) Decision{"plain": nil, "authorizer": func(Action) Decision { return Allow }} {
		b.Run(name, func(b *testing.B) {
			c := benchTable(b, 0)
			c.SetAuthorizer("bench", decide)
			b.ReportAllocs()
			for b.Loop() {
				s, _, err := c.Prepare("INSERT INTO t(n, s, f) VALUES (?, ?, ?)")
				if err != nil {
					b.Fatal(err)
				}
				s.Release()
			}
		})
	}
}
