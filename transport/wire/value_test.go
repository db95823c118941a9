package wire

import (
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

type (
	color int8
	label string
	raw   []byte
)

// TestValue proves what each Go type is bound as, also when the value has crossed the wire.
func TestValue(t *testing.T) {
	number, none := 7, (*string)(nil)
	east := time.FixedZone("east", 2*3600)
	tests := []struct{ in, want any }{
		{nil, nil}, {int64(math.MinInt64), int64(math.MinInt64)}, {uint64(math.MaxInt64), int64(math.MaxInt64)},
		{5, int64(5)}, {int8(-5), int64(-5)}, {uint16(5), int64(5)}, {color(3), int64(3)}, {true, int64(1)}, {false, int64(0)},
		{1.5, 1.5}, {float32(1.5), 1.5}, {math.Inf(-1), math.Inf(-1)}, {math.Copysign(0, -1), math.Copysign(0, -1)},
		{"", ""}, {"é\xff\x00", "é\xff\x00"}, {label("x"), "x"},
		{[]byte{}, []byte{}}, {[]byte("b"), []byte("b")}, {raw("b"), []byte("b")}, {[]byte(nil), nil}, {raw(nil), nil},
		{&number, int64(7)}, {none, nil},
		{time.Date(2024, 2, 29, 1, 30, 0, 0, east), "2024-02-28 23:30:00+00:00"},
		{time.Date(2024, 2, 29, 1, 30, 0, 120_000_000, time.UTC), "2024-02-29 01:30:00.12+00:00"},
		{time.Date(2024, 2, 29, 1, 30, 0, 1, time.UTC), "2024-02-29 01:30:00.000000001+00:00"},
	}
	for _, test := range tests {
		value, err := ToValue(test.in)
		if err != nil {
			t.Errorf("%T %v: %v", test.in, test.in, err)
			continue
		}
		packed, err := proto.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		var crossed sqlpb.Value
		if err := proto.Unmarshal(packed, &crossed); err != nil {
			t.Fatal(err)
		}
		if got := FromValue(&crossed); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%T %v: got %T %v, want %T %v", test.in, test.in, got, got, test.want, test.want)
		}
	}
	if FromValue(nil) != nil {
		t.Error("no value is not NULL")
	}
}

// TestValueRefuses proves that what SQLite cannot store exactly is an error and not a guess.
func TestValueRefuses(t *testing.T) {
	for _, v := range []any{uint64(math.MaxInt64) + 1, struct{}{}, []int{1}, map[string]int{}, complex(1, 2), make(chan int), [3]byte{}} {
		if value, err := ToValue(v); !errors.Is(err, ErrValue) {
			t.Errorf("%T: %v, %v", v, value, err)
		}
	}
}

// FuzzFromValue proves that no value from the wire is anything but the five types.
func FuzzFromValue(f *testing.F) {
	for _, v := range []any{nil, int64(-1), 1.5, "text", []byte("blob")} {
		value, _ := ToValue(v)
		packed, _ := proto.Marshal(value)
		f.Add(packed)
	}
	f.Fuzz(func(t *testing.T, packed []byte) {
		var v sqlpb.Value
		if proto.Unmarshal(packed, &v) != nil {
			return
		}
		switch got := FromValue(&v).(type) {
		case nil, int64, float64, string:
		case []byte:
			if got == nil {
				t.Error("a blob that is nil")
			}
		default:
			t.Errorf("a %T", got)
		}
	})
}
