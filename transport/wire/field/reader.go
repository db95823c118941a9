package field

import "google.golang.org/protobuf/encoding/protowire"

// Reader reads the fields of one message. After bytes that it cannot read End is false, and what was returned since means
// nothing.
type Reader struct {
	// Rest is what was not read yet.
	Rest []byte
	bad  bool
}

// End reports whether everything was read.
func (r *Reader) End() bool { return len(r.Rest) == 0 && !r.bad }

// Next steps over the tag of a field if that field comes now.
func (r *Reader) Next(number protowire.Number, kind protowire.Type) bool {
	if len(r.Rest) == 0 || r.Rest[0] != byte(protowire.EncodeTag(number, kind)) {
		return false
	}
	r.Rest = r.Rest[1:]
	return true
}

// took steps over a value of n bytes; a negative n is protowire's error.
func (r *Reader) took(n int) {
	if n < 0 {
		r.Rest, r.bad = nil, true
		return
	}
	r.Rest = r.Rest[n:]
}

// Number reads the varint after a tag.
func (r *Reader) Number() uint64 {
	v, n := protowire.ConsumeVarint(r.Rest)
	r.took(n)
	return v
}

// Word reads the eight bytes after a tag.
func (r *Reader) Word() uint64 {
	v, n := protowire.ConsumeFixed64(r.Rest)
	r.took(n)
	return v
}

// Content returns the bytes after a tag, which are part of what is read, without room to append to them.
func (r *Reader) Content() []byte {
	v, n := protowire.ConsumeBytes(r.Rest)
	r.took(n)
	return v[:len(v):len(v)]
}

// Varint is the value of a field that may be missing, as the two below are.
func (r *Reader) Varint(number protowire.Number) uint64 {
	if !r.Next(number, protowire.VarintType) {
		return 0
	}
	return r.Number()
}

// Fixed64 is the value of a field of eight bytes.
func (r *Reader) Fixed64(number protowire.Number) uint64 {
	if !r.Next(number, protowire.Fixed64Type) {
		return 0
	}
	return r.Word()
}

// Bytes is the value of a field of bytes, see Content.
func (r *Reader) Bytes(number protowire.Number) []byte {
	if !r.Next(number, protowire.BytesType) {
		return nil
	}
	return r.Content()
}
