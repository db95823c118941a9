package wire

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"

	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// TimeLayout is how a [time.Time] is bound: as text in UTC that SQLite's date functions understand and that sorts by
// time as long as all values have the same number of fractional digits.
const TimeLayout = "2006-01-02 15:04:05.999999999+00:00"

// ErrValue is the cause of the error for an argument that SQLite has no storage class for.
var ErrValue = errors.New("cannot be bound")

// ToValue converts an argument of a Go program: nil, every kind of integer that fits into an int64, floats, bool (as 0
// and 1), string, []byte (nil is NULL), [time.Time] (as [TimeLayout]), named types of these, and pointers to them (nil
// is NULL). The value shares the memory of a []byte. The error wraps [ErrValue].
func ToValue(v any) (*sqlpb.Value, error) {
	switch v := v.(type) {
	case nil:
		return &sqlpb.Value{}, nil
	case int64:
		return integer(v), nil
	case float64:
		return &sqlpb.Value{Kind: &sqlpb.Value_Real{Real: v}}, nil
	case string:
		return &sqlpb.Value{Kind: &sqlpb.Value_Text{Text: []byte(v)}}, nil
	case []byte:
		if v == nil {
			return &sqlpb.Value{}, nil
		}
		return &sqlpb.Value{Kind: &sqlpb.Value_Blob{Blob: v}}, nil
	case time.Time:
		return &sqlpb.Value{Kind: &sqlpb.Value_Text{Text: v.UTC().AppendFormat(nil, TimeLayout)}}, nil
	case bool:
		if v {
			return integer(1), nil
		}
		return integer(0), nil
	}
	return toValue(reflect.ValueOf(v))
}

func integer(v int64) *sqlpb.Value { return &sqlpb.Value{Kind: &sqlpb.Value_Integer{Integer: v}} }

// toValue converts by the kind of a named type or pointer.
func toValue(v reflect.Value) (*sqlpb.Value, error) {
	switch {
	case v.Kind() == reflect.Pointer && v.IsNil():
		return &sqlpb.Value{}, nil
	case v.Kind() == reflect.Pointer:
		return ToValue(v.Elem().Interface())
	case v.CanInt():
		return integer(v.Int()), nil
	case v.CanUint() && v.Uint() > math.MaxInt64:
		return nil, fmt.Errorf("%d %w: SQLite's integers end at %d", v.Uint(), ErrValue, int64(math.MaxInt64))
	case v.CanUint():
		return integer(int64(v.Uint())), nil
	case v.CanFloat():
		return ToValue(v.Float())
	case v.Kind() == reflect.String:
		return ToValue(v.String())
	case v.Kind() == reflect.Bool:
		return ToValue(v.Bool())
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
		return ToValue(v.Bytes())
	}
	return nil, fmt.Errorf("a %s %w: SQLite stores NULL, integers, reals, text and blobs", v.Type(), ErrValue)
}

// FromValue converts a value to nil, int64, float64, string or []byte. A nil or empty message is NULL; a []byte is the
// message's own and never nil.
func FromValue(v *sqlpb.Value) any {
	switch kind := v.GetKind().(type) {
	case *sqlpb.Value_Integer:
		return kind.Integer
	case *sqlpb.Value_Real:
		return kind.Real
	case *sqlpb.Value_Text:
		return string(kind.Text)
	case *sqlpb.Value_Blob:
		if kind.Blob == nil {
			return []byte{}
		}
		return kind.Blob
	}
	return nil
}
