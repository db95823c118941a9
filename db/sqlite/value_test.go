package sqlite

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

// asError finds the *Error in err.
func asError(err error) *Error {
	var e *Error
	errors.As(err, &e)
	return e
}

// Every value comes back from a table as it was bound, bit by bit.
func TestValuesRoundTrip(t *testing.T) {
	c := memory(t)
	mustExec(t, c, "CREATE TABLE t(v)")
	insert, _, err := c.Prepare("INSERT INTO t VALUES (?) RETURNING v")
	if err != nil {
		t.Fatal(err)
	}
	defer insert.Release()
	large := bytes.Repeat([]byte("0123456789abcdef"), 30<<20/16)
	for _, v := range []Value{
		{},
		{Type: Null},
		{Type: Integer, Int: 0},
		{Type: Integer, Int: math.MaxInt64},
		{Type: Integer, Int: math.MinInt64},
		{Type: Integer, Int: 1<<53 + 1},
		{Type: Float, Float: 0.1},
		{Type: Float, Float: math.Copysign(0, -1)},
		{Type: Float, Float: math.Inf(1)},
		{Type: Float, Float: math.Inf(-1)},
		{Type: Float, Float: math.MaxFloat64},
		{Type: Float, Float: math.SmallestNonzeroFloat64},
		{Type: Text, Bytes: []byte("")},
		{Type: Text, Bytes: []byte("naïve 日本")},
		{Type: Text, Bytes: []byte("a\xff\xfe\x80z")},
		{Type: Text, Bytes: []byte("before\x00after")},
		{Type: Text, Bytes: bytes.Repeat([]byte("x"), scratchSize-1)},
		{Type: Text, Bytes: bytes.Repeat([]byte("y"), scratchSize)},
		{Type: Text, Bytes: bytes.Repeat([]byte("z"), scratchSize+1)},
		{Type: Blob, Bytes: []byte{}},
		{Type: Blob, Bytes: []byte{0, 1, 255, 0}},
		{Type: Blob, Bytes: large},
	} {
		if err := insert.Bind(1, v); err != nil {
			t.Fatal(err)
		}
		if row, err := insert.Step(); err != nil || !row {
			t.Fatal(row, err)
		}
		got := insert.Column(0)
		want := v
		if want.Type == 0 {
			want.Type = Null
		}
		if want.Type == Float && want.Float == 0 { // SQLite stores a whole number, and minus zero is 0.0 again
			want.Float = 0
		}
		if got.Type != want.Type || got.Int != want.Int || got.Float != want.Float || !bytes.Equal(got.Bytes, want.Bytes) {
			t.Errorf("got %s, want %s", describe(got), describe(want))
		}
		if want.Bytes != nil && got.Bytes == nil {
			t.Errorf("%s: an empty value reads as nil", describe(want))
		}
		if err := insert.Reset(); err != nil {
			t.Fatal(err)
		}
	}
}

func describe(v Value) string {
	return fmt.Sprintf("{%d %d %g %d bytes %.20q}", v.Type, v.Int, v.Float, len(v.Bytes), v.Bytes)
}

// NaN is NULL, a nil blob is an empty blob, text bound as a string equals text bound as bytes.
func TestBindConventions(t *testing.T) {
	c := memory(t)
	s, _, err := c.Prepare("SELECT typeof(?1), typeof(?2), ?3 = ?4, typeof(?5)")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	for _, err := range []error{
		s.BindFloat64(1, math.NaN()), s.BindBlob(2, nil), s.BindText(3, "é"), s.BindTextBytes(4, []byte("é")), s.BindNull(5),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Step(); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(s.ColumnText(0), s.ColumnText(1), s.ColumnInt64(2), s.ColumnText(3))
	if want := "nullblob1null"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A parameter that is not there, a class that does not exist and a running statement are refused with a reason.
func TestBindErrors(t *testing.T) {
	c := memory(t)
	s, _, err := c.Prepare("SELECT ?1, :name, @other, $third")
	if err != nil {
		t.Fatal(err)
	}
	e := wantCode(t, "parameter 5", s.BindInt64(5, 1), CodeRange)
	if want := "there is no parameter 5: the statement has 4"; e.Message != want {
		t.Errorf("got %q, want %q", e.Message, want)
	}
	wantCode(t, "parameter 0", s.BindText(0, "x"), CodeRange)
	wantCode(t, "storage class 9", s.Bind(1, Value{Type: 9}), CodeMismatch)
	if _, err := s.Step(); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "running", s.BindInt64(1, 1), CodeMisuse)
	wantCode(t, "running, large", s.BindBlob(1, make([]byte, scratchSize+1)), CodeMisuse)
	s.Release()
	if err := s.BindInt64(1, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("after Release: got %v, want ErrClosed", err)
	}
}

// Parameters are found by number and by name with its prefix.
func TestParameters(t *testing.T) {
	c := memory(t)
	s, _, err := c.Prepare("SELECT ?, :name, @other, $third, ?7, :name")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	if got := s.ParamCount(); got != 7 {
		t.Errorf("got %d parameters, want 7", got)
	}
	for i, want := range []string{"", ":name", "@other", "$third", "", "", "?7"} {
		if got := s.ParamName(i + 1); got != want {
			t.Errorf("parameter %d: got name %q, want %q", i+1, got, want)
		}
		if want != "" && s.ParamIndex(want) != i+1 {
			t.Errorf("%s: got number %d, want %d", want, s.ParamIndex(want), i+1)
		}
	}
	for _, name := range []string{"name", ":no", "", ":na\x00me", strings.Repeat("x", 2*scratchSize)} {
		if got := s.ParamIndex(name); got != 0 {
			t.Errorf("%.20q: got number %d, want 0", name, got)
		}
	}
}

// The copying readers append to the caller's buffer, convert numbers, and read columns out of range as NULL.
func TestColumnReaders(t *testing.T) {
	c := memory(t)
	mustExec(t, c, "CREATE TABLE t(n DECIMAL(10, 2), s VARCHAR); INSERT INTO t VALUES (12.5, 'x')")
	s, _, err := c.Prepare("SELECT n, s AS label, n + 1, NULL, '42' FROM t")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	if row, err := s.Step(); err != nil || !row {
		t.Fatal(row, err)
	}
	got := fmt.Sprint(s.ColumnCount(), s.ColumnName(1), s.ColumnDeclType(0), s.ColumnDeclType(2),
		string(s.ColumnBytes(1, []byte("pre-"))), s.ColumnText(0), s.ColumnLen(1), s.ColumnInt64(4), s.ColumnFloat64(4),
		s.ColumnType(3), s.ColumnRaw(3) == nil, s.ColumnType(99), s.ColumnType(-1), s.ColumnInt64(99))
	want := fmt.Sprint(5, "label", "DECIMAL(10, 2)", "", "pre-x", "12.5", 1, int64(42), 42.0, Null, true, Null, Null, int64(0))
	if got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// A value beyond the connection's length limit is refused as too big, on the way in and when it is computed.
func TestLengthLimit(t *testing.T) {
	c := memory(t)
	if old := c.Limit(LimitLength, 100<<10); old <= 100<<10 {
		t.Fatalf("the limit was %d", old)
	}
	s, _, err := c.Prepare("SELECT length(?)")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	wantCode(t, "bind", s.BindBlob(1, make([]byte, 101<<10)), CodeTooBig)
	wantCode(t, "randomblob", run(c, "SELECT randomblob(102401)"), CodeTooBig)
	if got := ask(t, c, "SELECT length(randomblob(102400))"); got != "102400" {
		t.Errorf("got length %s, want 102400", got)
	}
}
