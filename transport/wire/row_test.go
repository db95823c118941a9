package wire

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
)

// randomValue draws a value, edges more often than not.
func randomValue(r *rand.Rand) any {
	switch r.IntN(5) {
	case 0:
		return nil
	case 1:
		return []int64{0, 1, -1, math.MaxInt64, math.MinInt64, int64(r.Uint64())}[r.IntN(6)]
	case 2:
		return []float64{0, math.Copysign(0, -1), math.Inf(1), math.MaxFloat64, math.SmallestNonzeroFloat64, r.NormFloat64()}[r.IntN(6)]
	case 3:
		return string(randomBytes(r))
	default:
		return randomBytes(r)
	}
}

func randomBytes(r *rand.Rand) []byte {
	b := make([]byte, []int{0, 1, 127, 128, 300}[r.IntN(5)])
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestRows proves that rows of all storage classes come out as they went in.
func TestRows(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		columns, count := 1+r.IntN(8), r.IntN(10)
		var packed []byte
		want := make([][]any, count)
		for i := range want {
			want[i] = make([]any, columns)
			for j := range want[i] {
				want[i][j] = randomValue(r)
			}
			packed = AppendRow(packed, want[i])
		}
		got, err := DecodeRows(packed, columns, count)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}

// TestRowForm proves the packed form byte by byte: nodes of different versions share it.
func TestRowForm(t *testing.T) {
	packed := AppendRow(nil, []any{nil, int64(-2), 1.5, "é", []byte{0xff}})
	want := []byte{0, 1, 3, 2, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 3, 2, 0xc3, 0xa9, 4, 1, 0xff}
	if !bytes.Equal(packed, want) {
		t.Errorf("got %v, want %v", packed, want)
	}
	if !bytes.Equal(AppendText(nil, []byte("é")), AppendText(nil, "é")) {
		t.Error("text has two forms")
	}
}

// TestRowsRefuse proves that rows that are cut off, too long, or fewer than was said are errors.
func TestRowsRefuse(t *testing.T) {
	whole := AppendRow(nil, []any{int64(300), 1.5, "text", []byte("blob")})
	for n := range whole {
		if _, err := DecodeRows(whole[:n], 4, 1); !errors.Is(err, ErrRow) {
			t.Errorf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	tests := map[string]struct {
		packed         []byte
		columns, count int
	}{
		"a row too many":     {whole, 4, 2},
		"a row too few":      {append(whole, whole...), 4, 1},
		"bytes behind":       {append(whole, 0), 4, 1},
		"no columns":         {nil, 0, 1},
		"fewer than none":    {nil, 1, -1},
		"unknown tag":        {[]byte{5}, 1, 1},
		"endless integer":    {append([]byte{1}, bytes.Repeat([]byte{0xff}, 11)...), 1, 1},
		"length wraps":       {append([]byte{3}, append(bytes.Repeat([]byte{0xff}, 9), 1)...), 1, 1},
		"a count that lies":  {make([]byte, 10), 1, math.MaxInt32},
		"columns that lie":   {make([]byte, 10), math.MaxInt32, 1},
		"no rows, but bytes": {[]byte{0}, 1, 0},
	}
	for name, test := range tests {
		if rows, err := DecodeRows(test.packed, test.columns, test.count); !errors.Is(err, ErrRow) {
			t.Errorf("%s: %v, %v", name, rows, err)
		}
	}
}

// TestAppendRowPanics proves that a type without a storage class is noticed at once.
func TestAppendRowPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("an int was packed")
		}
	}()
	AppendRow(nil, []any{1})
}

// FuzzDecodeRows proves that no bytes make the decoder panic or allocate beyond them, and that what it accepts has the
// same values when it is packed again.
func FuzzDecodeRows(f *testing.F) {
	f.Add(AppendRow(nil, []any{nil, int64(-2), 1.5, "é", []byte{0xff}}), 5, 1)
	f.Add(AppendRow(nil, []any{int64(1), int64(2)}), 1, 2)
	f.Add([]byte{3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, 1, 1)
	f.Fuzz(func(t *testing.T, packed []byte, columns, count int) {
		rows, err := DecodeRows(packed, columns, count)
		if err != nil {
			if !errors.Is(err, ErrRow) {
				t.Errorf("error without its cause: %v", err)
			}
			return
		}
		var again []byte
		for _, row := range rows {
			again = AppendRow(again, row)
		}
		second, err := DecodeRows(again, columns, count)
		if err != nil || len(second) != count {
			t.Fatalf("packed again: %d rows, %v", len(second), err)
		}
		var third []byte
		for _, row := range second {
			third = AppendRow(third, row)
		}
		if !bytes.Equal(again, third) {
			t.Errorf("%v and %v", again, third)
		}
	})
}

func BenchmarkDecodeRows(b *testing.B) {
	var packed []byte
	for i := range int64(1000) {
		packed = AppendRow(packed, []any{i, "a name of some length", float64(i), []byte("blob")})
	}
	row := make([]any, 4)
	b.SetBytes(int64(len(packed)))
	b.ReportAllocs()
	for b.Loop() {
		d := NewRowDecoder(packed, 4, 1000)
		for d.Next(row) {
		}
		if d.Err() != nil {
			b.Fatal(d.Err())
		}
	}
}
