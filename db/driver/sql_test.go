package driver

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/transport/wire"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// openDB returns a database/sql handle on a fake cluster.
func openDB(t *testing.T, f *fakeCluster) *sql.DB {
	t.Helper()
	db := sql.OpenDB(f.connector(t, Config{}))
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// TestDatabaseSQL proves that database/sql works on top: exec, query, prepared statements, pings and the pool.
func TestDatabaseSQL(t *testing.T) {
	f := newFake(2)
	db := openDB(t, f)
	if err := db.PingContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	result, err := db.ExecContext(t.Context(), "insert")
	if err != nil {
		t.Fatal(err)
	}
	if id, _ := result.LastInsertId(); id != 3 {
		t.Errorf("last insert id %d, want 3", id)
	}
	if n, _ := result.RowsAffected(); n != 1 {
		t.Errorf("%d rows affected, want 1", n)
	}
	if x := f.nodes[0].executed()[0]; !x.Atomic {
		t.Error("an exec is not atomic")
	}
	var text string
	if err := db.QueryRowContext(t.Context(), "select x").Scan(&text); err != nil || text != "select x" {
		t.Errorf("got %q, %v", text, err)
	}
	statement, err := db.PrepareContext(t.Context(), "select y")
	if err != nil {
		t.Fatal(err)
	}
	defer statement.Close()
	if err := statement.QueryRow().Scan(&text); err != nil || text != "select y" {
		t.Errorf("got %q, %v", text, err)
	}
	if _, err := statement.Exec(); err != nil {
		t.Error(err)
	}
	f.nodes[0].kill()
	if err := db.QueryRowContext(t.Context(), "select z").Scan(&text); err != nil || text != "select z" {
		t.Errorf("after a loss: %q, %v", text, err)
	}
	if stats := db.Stats(); stats.OpenConnections != 1 {
		t.Errorf("%d sessions, want 1 that moved", stats.OpenConnections)
	}
}

// TestArguments proves what database/sql's arguments arrive as, named ones and valuers too.
func TestArguments(t *testing.T) {
	f := newFake(1)
	db := openDB(t, f)
	at := time.Date(2024, 2, 29, 12, 0, 0, 500, time.UTC)
	valid, null := sql.NullInt64{Int64: 4, Valid: true}, sql.NullString{}
	_, err := db.Exec("insert", 1, uint8(2), 1.5, true, "text", []byte("blob"), nil, at, &at, valid, null, (*sql.NullString)(nil), sql.Named("n", "named"))
	if err != nil {
		t.Fatal(err)
	}
	want := []any{int64(1), int64(2), 1.5, int64(1), "text", []byte("blob"), nil, "2024-02-29 12:00:00.0000005+00:00", "2024-02-29 12:00:00.0000005+00:00", int64(4), nil, nil, "named"}
	for i, arg := range f.nodes[0].executed()[0].Statements[0].Args {
		if got := wire.FromValue(arg.Value); !reflect.DeepEqual(got, want[i]) || (arg.Name == "n") != (i == 12) {
			t.Errorf("argument %d: %q = %T %v, want %T %v", i, arg.Name, got, got, want[i], want[i])
		}
	}
	if _, err := db.Exec("insert", make(chan int)); !errors.Is(err, wire.ErrValue) {
		t.Errorf("a channel: %v", err)
	}
	if _, err := db.Exec("insert", sql.Out{}); err == nil || !strings.Contains(err.Error(), "RETURNING") {
		t.Errorf("an output parameter: %v", err)
	}
}

// TestScan proves how columns are converted by their declared types, and what they say about themselves.
func TestScan(t *testing.T) {
	f := newFake(1)
	f.nodes[0].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
		if x := frame.GetExecute(); x != nil {
			s.send(columns(x.Id, "a DATETIME", "b TIMESTAMP(3)", "c DATE", "d BOOLEAN", "e BOOLEAN", "f DATETIME", "g VARCHAR(20)", "h BLOB", "i DATETIME", "j"),
				rowsFrame(x.Id, []any{"2024-02-29 12:30:00.5+00:00", "2024-02-29T12:30:00+02:00", "2024-02-29", int64(1), int64(2), "noon", "x", []byte("b"), int64(1709210000), nil}),
				done(x.Id, &sqlpb.Done{}))
		}
	}
	rows, err := openDB(t, f).Query("select a")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		t.Fatal(err)
	}
	names, scans := []string{}, []reflect.Type{}
	for _, column := range types {
		names, scans = append(names, column.DatabaseTypeName()), append(scans, column.ScanType())
		if _, ok := column.Nullable(); ok {
			t.Errorf("%s pretends to know whether it is nullable", column.Name())
		}
	}
	if want := []string{"DATETIME", "TIMESTAMP", "DATE", "BOOLEAN", "BOOLEAN", "DATETIME", "VARCHAR", "BLOB", "DATETIME", ""}; !reflect.DeepEqual(names, want) {
		t.Errorf("types %v", names)
	}
	if scans[0] != reflect.TypeFor[time.Time]() || scans[3] != reflect.TypeFor[bool]() || scans[6] != reflect.TypeFor[string]() ||
		scans[7] != reflect.TypeFor[[]byte]() || scans[9] != reflect.TypeFor[any]() {
		t.Errorf("scan types %v", scans)
	}
	values, pointers := make([]any, 10), make([]any, 10)
	for i := range values {
		pointers[i] = &values[i]
	}
	if !rows.Next() || rows.Scan(pointers...) != nil || rows.Next() || rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	want := []any{time.Date(2024, 2, 29, 12, 30, 0, 5e8, time.UTC), time.Date(2024, 2, 29, 10, 30, 0, 0, time.UTC), time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC),
		true, int64(2), "noon", "x", []byte("b"), int64(1709210000), nil}
	for i, value := range values {
		at, isTime := value.(time.Time)
		if isTime && at.Equal(want[i].(time.Time)) {
			continue
		}
		if !reflect.DeepEqual(value, want[i]) {
			t.Errorf("column %d: %T %v, want %T %v", i, value, value, want[i], want[i])
		}
	}
}

// TestResultSets proves that a script's results with columns come one after the other, that a script without any has no
// rows, and that an error of a later statement is not swallowed.
func TestResultSets(t *testing.T) {
	f := newFake(1)
	f.nodes[0].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
		x := frame.GetExecute()
		switch x.GetStatements()[0].Sql {
		case "two":
			s.send(done(x.Id, &sqlpb.Done{Wrote: true, RowsAffected: 2, LastInsertId: 2, More: true}),
				columns(x.Id, "a"), rowsFrame(x.Id, []any{int64(1)}), done(x.Id, &sqlpb.Done{More: true}),
				done(x.Id, &sqlpb.Done{Wrote: true, RowsAffected: 3, LastInsertId: 9, More: true}),
				columns(x.Id, "b", "c"), rowsFrame(x.Id, []any{int64(2), int64(3)}), done(x.Id, &sqlpb.Done{}))
		case "broken":
			s.send(columns(x.Id, "a"), rowsFrame(x.Id, []any{int64(1)}), done(x.Id, &sqlpb.Done{More: true}),
				failed(x.Id, sqlpb.Class_CLASS_SQL, sqlpb.Retry_RETRY_NEVER, "second"))
		default:
			s.answer(frame)
		}
	}
	db := openDB(t, f)
	rows, err := db.Query("two")
	if err != nil {
		t.Fatal(err)
	}
	var a, b, c int
	if !rows.Next() || rows.Scan(&a) != nil || a != 1 || rows.Next() {
		t.Errorf("first: %d, %v", a, rows.Err())
	}
	if names, _ := rows.Columns(); !reflect.DeepEqual(names, []string{"a"}) {
		t.Errorf("at the end of the first result its columns are %v", names)
	}
	if !rows.NextResultSet() || !rows.Next() || rows.Scan(&b, &c) != nil || b != 2 || c != 3 || rows.Next() || rows.NextResultSet() || rows.Err() != nil {
		t.Errorf("second: %d %d, %v", b, c, rows.Err())
	}
	result, err := db.Exec("two")
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := result.RowsAffected(); n != 5 {
		t.Errorf("%d rows affected, want those of both writes", n)
	}
	if id, _ := result.LastInsertId(); id != 9 {
		t.Errorf("last insert id %d, want that of the last write", id)
	}
	if rows, err = db.Query("broken"); err != nil {
		t.Fatal(err)
	}
	if !rows.Next() || rows.Next() || rows.Err() == nil || rows.Err().Error() != "second" {
		t.Errorf("an error of the second statement: %v", rows.Err())
	}
	if _, err := db.Exec("broken"); err == nil || err.Error() != "second" {
		t.Errorf("an error of the second statement of an exec: %v", err)
	}
	if rows, err = db.Query("insert"); err != nil {
		t.Fatal(err)
	}
	if names, err := rows.Columns(); len(names) != 0 || err != nil || rows.Next() || rows.Err() != nil {
		t.Errorf("a write through query: %v, %v", names, err)
	}
}

// TestExecWhileIterating proves that a connection can execute while its rows are open, as ORMs do.
func TestExecWhileIterating(t *testing.T) {
	f := newFake(1)
	f.nodes[0].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
		if x := frame.GetExecute(); x != nil && x.Statements[0].Sql == "select a" {
			s.send(columns(x.Id, "a"), rowsFrame(x.Id, []any{int64(1)}), rowsFrame(x.Id, []any{int64(2)}), done(x.Id, &sqlpb.Done{}))
		} else {
			s.answer(frame)
		}
	}
	conn, err := openDB(t, f).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	rows, err := conn.QueryContext(t.Context(), "select a")
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for rows.Next() {
		var a int
		if err := rows.Scan(&a); err != nil {
			t.Fatal(err)
		}
		sum += a
		if _, err := conn.ExecContext(t.Context(), "update"); err != nil {
			t.Fatal(err)
		}
	}
	if rows.Err() != nil || sum != 3 || len(f.nodes[0].executed()) != 3 {
		t.Errorf("sum %d, %v", sum, rows.Err())
	}
}

// TestClosedConn proves that a closed session sends database/sql to
// another one.
func TestClosedConn(t *testing.T) {
	f := newFake(1)
	c := f.open(t, Config{})
	c.Close()
	if c.IsValid() || c.ResetSession(context.Background()) != driver.ErrBadConn {
		t.Error("a closed session is valid")
	}
	if _, err := c.Prepare("select"); err != driver.ErrBadConn {
		t.Errorf("preparing on a closed session: %v", err)
	}
}

// TestDriver proves that the driver is registered and reads data source names.
func TestDriver(t *testing.T) {
	for dsn, want := range map[string]string{"rsqld://a": "no credential", "rsqld://a?x=1": "unknown key"} {
		if _, err := sql.Open("rsqld", dsn); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", dsn, err)
		}
		if _, err := new(Driver).Open(dsn); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", dsn, err)
		}
	}
}

// TestLevels proves that a level is chosen for the Connector, for a Conn, and for a request, the narrower one first, and that one of
// database/sql ends with its turn.
func TestLevels(t *testing.T) {
	f := newFake(1)
	db := sql.OpenDB(f.connector(t, Config{Level: LevelLinearizable}))
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	query := func(ctx context.Context) {
		t.Helper()
		var text string
		if err := conn.QueryRowContext(ctx, "select a").Scan(&text); err != nil {
			t.Fatal(err)
		}
	}
	query(t.Context())
	err = conn.Raw(func(c any) error {
		return errors.Join(c.(*Conn).SetLevel(LevelLocal), c.(*Conn).BeginTransaction(t.Context(), TxOptions{}))
	})
	if err != nil {
		t.Fatal(err)
	}
	query(t.Context())
	query(WithLevel(t.Context(), LevelStrong))
	err = conn.Raw(func(c any) error {
		if err := c.(*Conn).SetLevel("latest"); !errors.Is(err, ErrProtocol) {
			t.Errorf("an unknown level: %v", err)
		}
		return errors.Join(c.(*Conn).Rollback(t.Context()), c.(*Conn).ResetSession(t.Context()))
	})
	if err != nil {
		t.Fatal(err)
	}
	query(t.Context())
	if got := f.nodes[0].hellos[0].Level; got != sqlpb.Level_LEVEL_LINEARIZABLE {
		t.Errorf("the session begins at %v", got)
	}
	var got []sqlpb.Level
	for _, x := range f.nodes[0].executed() {
		got = append(got, x.Level)
	}
	const none, local, strong = sqlpb.Level_LEVEL_UNSPECIFIED, sqlpb.Level_LEVEL_LOCAL, sqlpb.Level_LEVEL_STRONG
	if want := []sqlpb.Level{none, local, strong, none}; !reflect.DeepEqual(got, want) || f.nodes[0].requests[1].GetBegin().Level != local {
		t.Errorf("levels %v, want %v; begin %v", got, want, f.nodes[0].requests[1])
	}
	if _, err := conn.QueryContext(WithLevel(t.Context(), "latest"), "select a"); !errors.Is(err, ErrProtocol) {
		t.Errorf("an unknown level of a query: %v", err)
	}
}
