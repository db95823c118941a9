package driver_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/transport/wire"
)

// ways opens a node and runs a test with a pool in its process, then with one through a socket: values take different ways.
func ways(t *testing.T, test func(*testing.T, *sql.DB)) {
	dir := t.TempDir()
	node, err := db.Open(t.Context(), db.Config{Data: dir, Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := node.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	socket, err := driver.NewConnector(driver.Config{Addresses: []string{node.Address()}, Credential: filepath.Join(dir, "admin.pem")})
	if err != nil {
		t.Fatal(err)
	}
	for name, connector := range map[string]*driver.Connector{"local": node.Connector(), "socket": socket} {
		t.Run(name, func(t *testing.T) {
			pool := sql.OpenDB(connector)
			defer pool.Close()
			execute(t, pool, "drop table if exists t")
			test(t, pool)
		})
	}
}

func execute(t *testing.T, pool *sql.DB, query string, args ...any) sql.Result {
	t.Helper()
	result, err := pool.ExecContext(t.Context(), query, args...)
	if err != nil {
		t.Fatalf("%.100s: %v", query, err)
	}
	return result
}

type name string

// TestValuesComeBack proves that a value of each storage class and Go type is stored as what SQLite calls it, and comes back as it
// was: from an expression, from a column, and by RETURNING.
func TestValuesComeBack(t *testing.T) {
	at := time.Date(2024, 2, 29, 23, 59, 59, 123456789, time.FixedZone("far", 14*3600))
	seven := int32(7)
	ways(t, func(t *testing.T, pool *sql.DB) {
		execute(t, pool, "create table t(id integer primary key, v)")
		for _, test := range []struct {
			in    any
			class string
			out   any
		}{
			{nil, "null", nil}, {[]byte(nil), "null", nil}, {(*int)(nil), "null", nil}, {math.NaN(), "null", nil},
			{int64(math.MinInt64), "integer", int64(math.MinInt64)}, {int64(math.MaxInt64), "integer", int64(math.MaxInt64)},
			{0, "integer", int64(0)}, {int8(-1), "integer", int64(-1)}, {uint32(math.MaxUint32), "integer", int64(math.MaxUint32)},
			{uint64(math.MaxInt64), "integer", int64(math.MaxInt64)}, {true, "integer", int64(1)}, {false, "integer", int64(0)},
			{&seven, "integer", int64(7)}, {1.0, "real", 1.0}, {float32(0.5), "real", 0.5}, {math.MaxFloat64, "real", math.MaxFloat64},
			{math.SmallestNonzeroFloat64, "real", math.SmallestNonzeroFloat64}, {math.Inf(-1), "real", math.Inf(-1)},
			{"", "text", ""}, {"a\x00b", "text", "a\x00b"}, {"\xff\xfe\x80", "text", "\xff\xfe\x80"}, {"日本", "text", "日本"}, {name("n"), "text", "n"},
			{strings.Repeat("x", 200_000), "text", strings.Repeat("x", 200_000)}, {"1", "text", "1"},
			{[]byte{}, "blob", []byte{}}, {[]byte{0, 255}, "blob", []byte{0, 255}}, {sql.RawBytes("raw"), "blob", []byte("raw")},
			{at, "text", "2024-02-29 09:59:59.123456789+00:00"}, {sql.NullTime{}, "null", nil},
			{sql.Null[int16]{V: 3, Valid: true}, "integer", int64(3)}, {sql.NullString{}, "null", nil},
		} {
			var class string
			var bound, column, returned any
			if err := pool.QueryRow("select typeof(?1), ?1", test.in).Scan(&class, &bound); err != nil {
				t.Errorf("%T %.50v: %v", test.in, test.in, err)
				continue
			}
			if err := pool.QueryRow("insert into t(v) values(?) returning v", test.in).Scan(&returned); err != nil {
				t.Errorf("%T %.50v: %v", test.in, test.in, err)
			}
			if err := pool.QueryRow("select v from t order by id desc limit 1").Scan(&column); err != nil {
				t.Errorf("%T %.50v: %v", test.in, test.in, err)
			}
			for way, got := range map[string]any{"bound": bound, "column": column, "returned": returned} {
				if !reflect.DeepEqual(got, test.out) {
					t.Errorf("%T %.50v, %s: %T %.50v, want %T %.50v", test.in, test.in, way, got, got, test.out, test.out)
				}
			}
			if class != test.class {
				t.Errorf("%T %.50v is stored as %s, want %s", test.in, test.in, class, test.class)
			}
		}
		for _, wrong := range []any{uint64(math.MaxUint64), struct{}{}, []int{1}, complex(1, 1), map[string]int{}} {
			if _, err := pool.Exec("insert into t(v) values(?)", wrong); !errors.Is(err, wire.ErrValue) {
				t.Errorf("%T: %v", wrong, err)
			}
		}
	})
}

// TestLargestValues proves that a blob close to the size of a frame goes and comes, and that a larger one is refused as such and
// leaves the connection as it was.
func TestLargestValues(t *testing.T) {
	ways(t, func(t *testing.T, pool *sql.DB) {
		pool.SetMaxOpenConns(1)
		execute(t, pool, "create table t(v)")
		blob := bytes.Repeat([]byte("0123456789"), 2_999_900) // the limit of a value is 30,000,000 bytes
		execute(t, pool, "insert into t values(?)", blob)
		var got []byte
		if err := pool.QueryRow("select v from t").Scan(&got); err != nil || !bytes.Equal(got, blob) {
			t.Errorf("%d bytes came back as %d, %v", len(blob), len(got), err)
		}
		if _, err := pool.Exec("insert into t values(?)", make([]byte, 33<<20)); !errors.Is(err, driver.ErrTooLarge) {
			t.Errorf("33 MiB: %v", err)
		}
		var count int
		if err := pool.QueryRow("select count(*) from t").Scan(&count); err != nil || count != 1 {
			t.Errorf("%d rows, %v", count, err)
		}
	})
}

// TestScansByDeclaredType proves what columns of each declared type scan into, NULL into each of the types that take it, and times of
// all zones as the moments that they are.
func TestScansByDeclaredType(t *testing.T) {
	ways(t, func(t *testing.T, pool *sql.DB) {
		execute(t, pool, `create table t(i integer, r real, s varchar(10), b blob, o boolean, d datetime, day date, ts timestamp)`)
		moment := time.Date(2021, 12, 31, 23, 30, 0, 1_000_000, time.FixedZone("", -5*3600))
		execute(t, pool, "insert into t values(?, ?, ?, ?, ?, ?, ?, ?), (null, null, null, null, null, null, null, null)",
			1, 2.5, "s", []byte("b"), true, moment, "2022-01-01", moment.Format(time.RFC3339Nano))
		rows, err := pool.Query("select * from t order by i desc")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		types, err := rows.ColumnTypes()
		if err != nil {
			t.Fatal(err)
		}
		var described []string
		for _, column := range types {
			described = append(described, fmt.Sprintf("%s %s %v", column.Name(), column.DatabaseTypeName(), column.ScanType()))
		}
		want := []string{"i INTEGER int64", "r REAL float64", "s VARCHAR string", "b BLOB []uint8", "o BOOLEAN bool", "d DATETIME time.Time",
			"day DATE time.Time", "ts TIMESTAMP time.Time"}
		if !reflect.DeepEqual(described, want) {
			t.Errorf("columns %q", described)
		}
		var i sql.NullInt64
		var r sql.NullFloat64
		var s sql.NullString
		var b []byte
		var o sql.NullBool
		var d, day sql.NullTime
		var ts sql.Null[time.Time]
		scan := func() {
			if !rows.Next() {
				t.Fatal(rows.Err())
			}
			if err := rows.Scan(&i, &r, &s, &b, &o, &d, &day, &ts); err != nil {
				t.Fatal(err)
			}
		}
		scan()
		if i.Int64 != 1 || r.Float64 != 2.5 || s.String != "s" || string(b) != "b" || !o.Bool || !d.Time.Equal(moment) || !ts.V.Equal(moment) ||
			!day.Time.Equal(time.Date(2022, 1, 1, 0, 0, 0, 0, time.UTC)) || d.Time.Location() != time.UTC {
			t.Errorf("%v %v %v %v %v %v %v %v", i, r, s, b, o, d, day, ts)
		}
		scan()
		if i.Valid || r.Valid || s.Valid || b != nil || o.Valid || d.Valid || day.Valid || ts.Valid {
			t.Errorf("NULL is %v %v %v %v %v %v %v %v", i, r, s, b, o, d, day, ts)
		}
	})
}

// TestParameters proves how arguments find their places: by position, by name with any sigil, over several statements; and that too few
// and too many are errors that change nothing. A name that no statement has is no error: lists of names serve several.
func TestParameters(t *testing.T) {
	ways(t, func(t *testing.T, pool *sql.DB) {
		execute(t, pool, "create table t(a, b)")
		result := execute(t, pool, "insert into t values(?, ?); insert into t values(?2, ?1), (?2, 'x'); delete from t where b = ?", 1, 2, 3, 4, "x")
		if n, _ := result.RowsAffected(); n != 4 {
			t.Errorf("%d rows affected, want 4", n)
		}
		execute(t, pool, "insert into t values(:a, $b)", sql.Named("a", 5), sql.Named("b", 6))
		execute(t, pool, "insert into t values(@n, @n)", sql.Named("n", 7), sql.Named("unused", 0))
		var all string
		if err := pool.QueryRow("select group_concat(a || '-' || b) from t").Scan(&all); err != nil || all != "1-2,4-3,5-6,7-7" {
			t.Errorf("rows %s, %v", all, err)
		}
		for query, args := range map[string][]any{
			"insert into t values(?, ?)":                             {1},
			"insert into t values(?, 8)":                             {1, 2},
			"insert into t values(:a, :b)":                           {sql.Named("a", 1)},
			"insert into t values(8, ?); insert into t values(8, ?)": {1},
		} {
			if _, err := pool.Exec(query, args...); err == nil {
				t.Errorf("%s with %v succeeds", query, args)
			}
		}
		var count int
		if err := pool.QueryRow("select count(*) from t").Scan(&count); err != nil || count != 4 {
			t.Errorf("%d rows, %v", count, err)
		}
	})
}

// TestScripts proves that several statements in one Exec happen as a whole or not at all, and that Query gives their results one after
// the other.
func TestScripts(t *testing.T) {
	ways(t, func(t *testing.T, pool *sql.DB) {
		execute(t, pool, "create table t(a primary key)")
		if _, err := pool.Exec("insert into t values(1); insert into t values(2); insert into t values(1)"); !errors.Is(err, driver.ErrPrimaryKey) ||
			!errors.Is(err, driver.ErrUnique) {
			t.Errorf("a double key: %v", err)
		}
		rows, err := pool.Query("select count(*) from t; insert into t values(3) returning a; select 'last'")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		var got []string
		for more := true; more; more = rows.NextResultSet() {
			for rows.Next() {
				var text string
				if err := rows.Scan(&text); err != nil {
					t.Fatal(err)
				}
				got = append(got, text)
			}
		}
		if rows.Err() != nil || !reflect.DeepEqual(got, []string{"0", "3", "last"}) {
			t.Errorf("%q, %v", got, rows.Err())
		}
	})
}

// TestSentinelsOfANode proves that each kind of constraint is known by its error.
func TestSentinelsOfANode(t *testing.T) {
	ways(t, func(t *testing.T, pool *sql.DB) {
		execute(t, pool, "drop table if exists child; drop table if exists parent")
		execute(t, pool, `create table parent(id integer primary key, u unique, n not null default 0, c check (c > 0));
			create table child(p references parent(id)); insert into parent(id, u) values(1, 'x')`)
		execute(t, pool, "pragma foreign_keys = on")
		for query, want := range map[string][]error{
			"insert into parent(u) values('x')":    {driver.ErrUnique, driver.ErrConstraint},
			"insert into parent(id) values(1)":     {driver.ErrPrimaryKey, driver.ErrUnique},
			"insert into parent(n) values(null)":   {driver.ErrNotNull},
			"insert into parent(c) values(-1)":     {driver.ErrCheck},
			"insert into child values(99)":         {driver.ErrForeignKey},
			"insert into nowhere values(1)":        {},
			"insert into parent values(1, 2, 3":    {},
			"insert into parent(u) select randomx": {},
		} {
			_, err := pool.Exec(query)
			var failed *driver.Error
			if !errors.As(err, &failed) || failed.Class != driver.ClassSQL || failed.Code == 0 || failed.Retry != driver.RetryNever {
				t.Errorf("%s: %#v", query, err)
			}
			for _, sentinel := range want {
				if !errors.Is(err, sentinel) {
					t.Errorf("%s: %v is not %v", query, err, sentinel)
				}
			}
		}
	})
}

// TestPrepare proves that a statement which SQLite cannot compile is refused when it is prepared, with the place of the mistake in its own
// text, and that anything else is not: whatever its parameters are, and inside a transaction too.
func TestPrepare(t *testing.T) {
	ways(t, func(t *testing.T, pool *sql.DB) {
		execute(t, pool, "create table t(a, b)")
		for query, offset := range map[string]int{"selec 1": 0, "insert into t values(?, ?": -1, "select nothere from t": 7, "delete from nowhere": -1} {
			_, err := pool.Prepare(query)
			var failed *driver.Error
			if !errors.As(err, &failed) || failed.Code != 1 || failed.Offset != offset || strings.Contains(failed.SQL, "EXPLAIN") {
				t.Errorf("%s: %#v", query, err)
			}
		}
		tx, err := pool.Begin()
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		for _, query := range []string{"insert into t values(?, :b)", "select 1;", "explain select 1", "", "-- nothing", "begin", "pragma user_version",
			"insert into nowhere values(1); select 1", "savepoint s", "create table u(a)", "with x(a) as (select ?) update t set a = 1 from x"} {
			statement, err := tx.Prepare(query)
			if err != nil {
				t.Errorf("%s: %v", query, err)
				continue
			}
			statement.Close()
		}
		statement, err := tx.Prepare("insert into t values(?, ?)")
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			if _, err := statement.Exec(i, "x"); err != nil {
				t.Fatal(err)
			}
		}
		var count int
		if err := tx.QueryRow("select count(*) from t").Scan(&count); err != nil || count != 3 || tx.Commit() != nil {
			t.Errorf("%d rows, %v", count, err)
		}
	})
}
