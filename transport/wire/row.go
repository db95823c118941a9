package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// A packed row is its values one after the other. A value is a tag, which is SQLite's storage class, and:
//
//	tag  class    bytes
//	0    NULL     none
//	1    INTEGER  zigzag varint, 1 to 10
//	2    REAL     8, IEEE 754, little-endian
//	3    TEXT     uvarint length, then that many; need not be valid UTF-8
//	4    BLOB     uvarint length, then that many
//
// Rows have no mark between them: the number of columns tells them apart.
const (
	tagNull byte = iota
	tagInteger
	tagReal
	tagText
	tagBlob
)

// ErrRow is the cause of every failure to decode packed rows.
var ErrRow = errors.New("malformed rows")

// AppendNull appends a NULL.
func AppendNull(dst []byte) []byte { return append(dst, tagNull) }

// AppendInteger appends an INTEGER.
func AppendInteger(dst []byte, v int64) []byte {
	return binary.AppendVarint(append(dst, tagInteger), v)
}

// AppendReal appends a REAL.
func AppendReal(dst []byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(append(dst, tagReal), math.Float64bits(v))
}

// AppendText appends a TEXT, whose bytes may be given as either type.
func AppendText[T string | []byte](dst []byte, v T) []byte {
	return append(binary.AppendUvarint(append(dst, tagText), uint64(len(v))), v...)
}

// AppendBlob appends a BLOB. A nil slice is an empty blob, not NULL.
func AppendBlob(dst, v []byte) []byte {
	return append(binary.AppendUvarint(append(dst, tagBlob), uint64(len(v))), v...)
}

// AppendRow appends a row of values, each nil, int64, float64, string or []byte. Another type is a mistake in the
// calling program, and panics.
func AppendRow(dst []byte, row []any) []byte {
	for i, value := range row {
		switch v := value.(type) {
		case nil:
			dst = AppendNull(dst)
		case int64:
			dst = AppendInteger(dst, v)
		case float64:
			dst = AppendReal(dst, v)
		case string:
			dst = AppendText(dst, v)
		case []byte:
			dst = AppendBlob(dst, v)
		default:
			panic(fmt.Sprintf("wire: value %d of a row is a %T, which SQLite has no storage class for", i, value))
		}
	}
	return dst
}

// RowDecoder reads packed rows one after the other.
type RowDecoder struct {
	packed  []byte // what is not decoded yet
	columns int
	left    int // rows not decoded yet
	row     int // number of the row that is being decoded, from 1
	err     error
}

// NewRowDecoder returns a decoder of count rows of columns values each. It reads packed, which must not change while
// the decoder or blobs that it returned are in use.
func NewRowDecoder(packed []byte, columns, count int) *RowDecoder {
	d := &RowDecoder{packed: packed, columns: columns, left: count}
	if columns <= 0 && count != 0 || count < 0 {
		d.fail("%d rows of %d columns", count, columns)
	} else if count > 0 && count > len(packed)/columns {
		// Every value has a tag. Without this check a count alone could make a caller allocate.
		d.fail("%d bytes cannot hold %d rows of %d columns", len(packed), count, columns)
	}
	return d
}

// Next decodes a row into dst, which has as many elements as there are columns: nil, int64, float64, string or []byte.
// A []byte is part of the packed bytes. False means that there are no more rows, or that Err has the reason.
func (d *RowDecoder) Next(dst []any) bool {
	if d.err != nil {
		return false
	}
	if d.left == 0 {
		if len(d.packed) > 0 {
			d.fail("%d bytes follow the last row", len(d.packed))
		}
		return false
	}
	d.left--
	d.row++
	for i := range d.columns {
		value, err := d.value()
		if err != "" {
			d.fail("row %d, value %d: %s", d.row, i+1, err)
			return false
		}
		dst[i] = value
	}
	return true
}

// Err returns nil, or why decoding stopped; it wraps [ErrRow].
func (d *RowDecoder) Err() error { return d.err }

func (d *RowDecoder) fail(format string, args ...any) {
	d.err = fmt.Errorf("%w: "+format, append([]any{ErrRow}, args...)...)
}

// value decodes one value; problem is empty on success.
func (d *RowDecoder) value() (value any, problem string) {
	if len(d.packed) == 0 {
		return nil, "missing"
	}
	tag, rest := d.packed[0], d.packed[1:]
	switch tag {
	case tagNull:
		d.packed = rest
		return nil, ""
	case tagInteger:
		v, n := binary.Varint(rest)
		if n <= 0 {
			return nil, "a broken integer"
		}
		d.packed = rest[n:]
		return v, ""
	case tagReal:
		if len(rest) < 8 {
			return nil, "a real that is cut off"
		}
		d.packed = rest[8:]
		return math.Float64frombits(binary.LittleEndian.Uint64(rest)), ""
	case tagText, tagBlob:
		length, n := binary.Uvarint(rest)
		if n <= 0 || length > uint64(len(rest)-n) {
			return nil, "text or a blob that is cut off"
		}
		end := n + int(length)
		d.packed = rest[end:]
		if tag == tagText {
			return string(rest[n:end]), ""
		}
		return rest[n:end:end], ""
	}
	return nil, fmt.Sprintf("unknown tag %d", tag)
}

// DecodeRows decodes count rows of columns values at once; blobs are parts of packed. The error wraps [ErrRow].
func DecodeRows(packed []byte, columns, count int) ([][]any, error) {
	d := NewRowDecoder(packed, columns, count)
	if d.err != nil {
		return nil, d.err
	}
	values := make([]any, columns*count)
	rows := make([][]any, 0, count)
	for i := 0; ; i += columns {
		if i == len(values) {
			if d.Next(nil); d.err != nil {
				return nil, d.err
			}
			return rows, nil
		}
		row := values[i : i+columns : i+columns]
		if !d.Next(row) {
			return nil, d.err
		}
		rows = append(rows, row)
	}
}
