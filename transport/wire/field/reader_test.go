package field_test

import (
	"bytes"
	"fmt"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/rsqld/rsqld/transport/wire/field"
)

// message has the fields 1 (7), 2 (two bytes), 3 (a word) and 15 (a large number).
func message() []byte {
	m := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 7)
	m = protowire.AppendBytes(protowire.AppendTag(m, 2, protowire.BytesType), []byte("ab"))
	m = protowire.AppendFixed64(protowire.AppendTag(m, 3, protowire.Fixed64Type), 1<<60)
	return protowire.AppendVarint(protowire.AppendTag(m, 15, protowire.VarintType), 1<<63)
}

func ExampleReader() {
	r := field.Reader{Rest: message()}
	fmt.Println(r.Varint(1), string(r.Bytes(2)), r.Fixed64(3), r.Varint(4), r.Varint(15), r.End())
	// Output: 7 ab 1152921504606846976 0 9223372036854775808 true
}

// A field that is missing is zero, and one that is not read where it stands is left over.
func TestReaderOrder(t *testing.T) {
	r := field.Reader{Rest: message()}
	if r.Varint(15) != 0 || r.Bytes(2) != nil || r.Varint(1) != 7 || r.Varint(1) != 0 || r.Fixed64(2) != 0 || r.End() {
		t.Errorf("left: %x", r.Rest)
	}
}

// Content has no room to append to: what follows it stays as it is.
func TestReaderContent(t *testing.T) {
	whole := message()
	r := field.Reader{Rest: whole}
	r.Varint(1)
	_ = append(r.Bytes(2), 0xff)
	if !bytes.Equal(whole, message()) {
		t.Error("appending to a field's content changed the next field")
	}
}

// Of bytes that are cut off or are none of a message the end is never reached, and nothing panics.
func FuzzReader(f *testing.F) {
	f.Add(message())
	for i := range message() {
		f.Add(message()[:i])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := field.Reader{Rest: data}
		first, second, third, last := r.Varint(1), r.Bytes(2), r.Fixed64(3), r.Varint(15)
		if !r.End() {
			return
		}
		// What was read to its end means the same to protowire.
		for rest := data; len(rest) > 0; {
			number, kind, n := protowire.ConsumeTag(rest)
			if n < 0 {
				t.Fatalf("%x was read, and its tag at %d is none", data, len(data)-len(rest))
			}
			rest = rest[n:]
			var same bool
			switch kind {
			case protowire.VarintType:
				var v uint64
				v, n = protowire.ConsumeVarint(rest)
				same = number == 1 && v == first || number == 15 && v == last
			case protowire.BytesType:
				var v []byte
				v, n = protowire.ConsumeBytes(rest)
				same = number == 2 && bytes.Equal(v, second)
			case protowire.Fixed64Type:
				var v uint64
				v, n = protowire.ConsumeFixed64(rest)
				same = number == 3 && v == third
			}
			if n < 0 || !same {
				t.Fatalf("%x was read as %d %x %d %d", data, first, second, third, last)
			}
			rest = rest[n:]
		}
	})
}
