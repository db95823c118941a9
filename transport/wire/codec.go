package wire

import (
	"fmt"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/transport/wire/field"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// Every statement costs a frame there and three back, and package proto's reading and writing of them was a tenth of a
// point read. The functions below know the few messages of which nearly all frames consist; they decline what is not written
// as this program writes it, and everything else, in favour of package proto. Frames mean the same either way.

// maxListed is up to how many arguments or columns the memory is taken at once: more than SQLite takes in one statement is a
// claim, for which no memory is set aside.
const maxListed = 1 << 15

// Unmarshal decodes the message of a frame into m, whose old content is dropped. m shares no memory with data. The error
// is package proto's.
func Unmarshal(data []byte, m proto.Message) error {
	switch m := m.(type) {
	case *sqlpb.ClientFrame:
		if readClientFrame(data, m) {
			return nil
		}
	case *sqlpb.ServerFrame:
		if readServerFrame(data, m) {
			return nil
		}
	}
	return proto.Unmarshal(data, m)
}

// readClientFrame reads a frame with an Execute in it.
func readClientFrame(data []byte, m *sqlpb.ClientFrame) bool {
	outer := field.Reader{Rest: data}
	if !outer.Next(2, protowire.BytesType) {
		return false
	}
	r := field.Reader{Rest: outer.Content()}
	if !outer.End() {
		return false
	}
	frame := new(struct {
		sqlpb.ClientFrame_Execute
		execute    sqlpb.Execute
		statement  sqlpb.Statement // the first one, and nearly always the only one
		statements [1]*sqlpb.Statement
	})
	x := &frame.execute
	frame.Execute, x.Statements = x, frame.statements[:0]
	x.Id = r.Varint(1)
	for r.Next(2, protowire.BytesType) {
		statement := &frame.statement
		if len(x.Statements) > 0 {
			statement = new(sqlpb.Statement)
		}
		if !readStatement(r.Content(), statement) {
			return false
		}
		x.Statements = append(x.Statements, statement)
	}
	x.Atomic = r.Varint(3) != 0
	x.Level = sqlpb.Level(int32(r.Varint(4)))
	x.MinIndex = r.Varint(5)
	x.Seq = r.Varint(6)
	x.TimeoutMs = uint32(r.Varint(7))
	x.MaxStalenessMs = uint32(r.Varint(8))
	x.ReadOnly = r.Varint(9) != 0
	x.InTransaction = r.Varint(10) != 0
	if !r.End() {
		return false
	}
	proto.Reset(m)
	m.Frame = &frame.ClientFrame_Execute
	return true
}

func readStatement(data []byte, s *sqlpb.Statement) bool {
	r := field.Reader{Rest: data}
	sql := r.Bytes(1)
	if !utf8.Valid(sql) {
		return false // package proto says so
	}
	s.Sql = string(sql)
	// All arguments have one memory, for which they are counted first.
	count := 0
	for arguments := r; arguments.Next(2, protowire.BytesType); count++ {
		arguments.Content()
	}
	if count == 0 || count > maxListed {
		return r.End()
	}
	memory := make([]struct {
		sqlpb.Argument
		value sqlpb.Value
	}, count)
	s.Args = make([]*sqlpb.Argument, 0, count)
	for i := range memory {
		r.Next(2, protowire.BytesType)
		if !readArgument(r.Content(), &memory[i].Argument, &memory[i].value) {
			return false
		}
		s.Args = append(s.Args, &memory[i].Argument)
	}
	return r.End()
}

// readArgument reads an Argument without a name, whose value is value unless it has none.
func readArgument(data []byte, a *sqlpb.Argument, value *sqlpb.Value) bool {
	r := field.Reader{Rest: data}
	if !r.Next(2, protowire.BytesType) {
		return r.End()
	}
	v := field.Reader{Rest: r.Content()}
	a.Value = value
	switch {
	case v.Next(1, protowire.VarintType):
		value.Kind = &sqlpb.Value_Integer{Integer: protowire.DecodeZigZag(v.Number())}
	case v.Next(2, protowire.Fixed64Type):
		value.Kind = &sqlpb.Value_Real{Real: math.Float64frombits(v.Word())}
	case v.Next(3, protowire.BytesType):
		value.Kind = &sqlpb.Value_Text{Text: clone(v.Content())}
	case v.Next(4, protowire.BytesType):
		value.Kind = &sqlpb.Value_Blob{Blob: clone(v.Content())}
	}
	return v.End() && r.End()
}

// clone copies b, as package proto does: what is empty is not nil.
func clone(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }

// readServerFrame reads a frame with Columns, Rows or Done in it.
func readServerFrame(data []byte, m *sqlpb.ServerFrame) bool {
	outer := field.Reader{Rest: data}
	switch {
	case outer.Next(2, protowire.BytesType):
		frame := new(struct {
			sqlpb.ServerFrame_Columns
			columns sqlpb.Columns
		})
		if !readColumns(outer.Content(), &frame.columns) || !outer.End() {
			return false
		}
		frame.Columns = &frame.columns
		proto.Reset(m)
		m.Frame = &frame.ServerFrame_Columns
	case outer.Next(3, protowire.BytesType):
		frame := new(struct {
			sqlpb.ServerFrame_Rows
			rows sqlpb.Rows
		})
		r := field.Reader{Rest: outer.Content()}
		frame.rows.Id, frame.rows.Count = r.Varint(1), uint32(r.Varint(2))
		if r.Next(3, protowire.BytesType) {
			frame.rows.Packed = clone(r.Content())
		}
		if !r.End() || !outer.End() {
			return false
		}
		frame.Rows = &frame.rows
		proto.Reset(m)
		m.Frame = &frame.ServerFrame_Rows
	case outer.Next(4, protowire.BytesType):
		frame := new(struct {
			sqlpb.ServerFrame_Done
			done sqlpb.Done
		})
		r := field.Reader{Rest: outer.Content()}
		d := &frame.done
		d.Id, d.RowsAffected, d.LastInsertId, d.Index = r.Varint(1), int64(r.Varint(2)), int64(r.Varint(3)), r.Varint(4)
		d.More, d.Wrote, d.Transaction = r.Varint(5) != 0, r.Varint(6) != 0, sqlpb.Transaction(int32(r.Varint(7)))
		if !r.End() || !outer.End() {
			return false
		}
		frame.Done = d
		proto.Reset(m)
		m.Frame = &frame.ServerFrame_Done
	default:
		return false
	}
	return true
}

func readColumns(data []byte, c *sqlpb.Columns) bool {
	r := field.Reader{Rest: data}
	c.Id = r.Varint(1)
	count := 0
	for columns := r; columns.Next(2, protowire.BytesType); count++ {
		columns.Content()
	}
	if count == 0 || count > maxListed {
		return r.End()
	}
	memory := make([]sqlpb.Column, count)
	c.Columns = make([]*sqlpb.Column, 0, count)
	for i := range memory {
		r.Next(2, protowire.BytesType)
		column := field.Reader{Rest: r.Content()}
		name, declared := column.Bytes(1), column.Bytes(2)
		if !column.End() || !utf8.Valid(name) || !utf8.Valid(declared) {
			return false
		}
		memory[i].Name, memory[i].DeclaredType = string(name), string(declared)
		c.Columns = append(c.Columns, &memory[i])
	}
	return r.End()
}

// appendServerFrame appends the frame, length and all, of a message with Columns, Rows or Done in it, of at most limit
// bytes. Not ok: package proto is to do it, and dst is as it was.
func appendServerFrame(dst []byte, m *sqlpb.ServerFrame, limit int) (framed []byte, ok bool) {
	var number protowire.Number
	var size int
	switch f := m.Frame.(type) {
	case *sqlpb.ServerFrame_Columns:
		number, size = 2, sizeColumns(f.Columns)
	case *sqlpb.ServerFrame_Rows:
		number, size = 3, sizeRows(f.Rows)
	case *sqlpb.ServerFrame_Done:
		number, size = 4, sizeDone(f.Done)
	default:
		return dst, false
	}
	whole := protowire.SizeTag(number) + protowire.SizeBytes(size)
	if size < 0 || whole > limit || extended(m) {
		return dst, false
	}
	dst = protowire.AppendVarint(dst, uint64(whole))
	dst = protowire.AppendTag(dst, number, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(size))
	switch f := m.Frame.(type) {
	case *sqlpb.ServerFrame_Columns:
		dst = appendVarint(dst, 1, f.Columns.Id)
		for _, c := range f.Columns.Columns {
			dst = protowire.AppendTag(dst, 2, protowire.BytesType)
			dst = protowire.AppendVarint(dst, uint64(sizeString(c.Name)+sizeString(c.DeclaredType)))
			dst = appendString(dst, 1, c.Name)
			dst = appendString(dst, 2, c.DeclaredType)
		}
	case *sqlpb.ServerFrame_Rows:
		dst = appendVarint(dst, 1, f.Rows.Id)
		dst = appendVarint(dst, 2, uint64(f.Rows.Count))
		if len(f.Rows.Packed) > 0 {
			dst = protowire.AppendTag(dst, 3, protowire.BytesType)
			dst = protowire.AppendBytes(dst, f.Rows.Packed)
		}
	case *sqlpb.ServerFrame_Done:
		for i, v := range valuesOfDone(f.Done) {
			dst = appendVarint(dst, protowire.Number(i+1), v)
		}
	}
	return dst, true
}

// extended reports whether a message has fields that this program does not know: it is another node's, of a newer version,
// and is passed on whole.
func extended(m proto.Message) bool { return len(m.ProtoReflect().GetUnknown()) > 0 }

// The sizes below are negative for a message that package proto is to write.

func sizeColumns(c *sqlpb.Columns) int {
	if c == nil || extended(c) {
		return -1
	}
	size := sizeVarint(c.Id)
	for _, column := range c.Columns {
		if column == nil || !utf8.ValidString(column.Name) || !utf8.ValidString(column.DeclaredType) || extended(column) {
			return -1
		}
		size += 1 + protowire.SizeBytes(sizeString(column.Name)+sizeString(column.DeclaredType))
	}
	return size
}

func sizeRows(r *sqlpb.Rows) int {
	if r == nil || extended(r) {
		return -1
	}
	size := sizeVarint(r.Id) + sizeVarint(uint64(r.Count))
	if len(r.Packed) > 0 {
		size += 1 + protowire.SizeBytes(len(r.Packed))
	}
	return size
}

func sizeDone(d *sqlpb.Done) int {
	if d == nil || extended(d) {
		return -1
	}
	size := 0
	for _, v := range valuesOfDone(d) {
		size += sizeVarint(v)
	}
	return size
}

// valuesOfDone are the fields of a Done, in the order of their numbers.
func valuesOfDone(d *sqlpb.Done) [7]uint64 {
	return [...]uint64{
		d.Id, uint64(d.RowsAffected), uint64(d.LastInsertId), d.Index, protowire.EncodeBool(d.More), protowire.EncodeBool(d.Wrote),
		uint64(d.Transaction),
	}
}

// Zero is not written (proto3). The numbers are below 16: a tag has one byte.

func sizeVarint(v uint64) int {
	if v == 0 {
		return 0
	}
	return 1 + protowire.SizeVarint(v)
}

func appendVarint(dst []byte, number protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return protowire.AppendVarint(protowire.AppendTag(dst, number, protowire.VarintType), v)
}

func sizeString(s string) int {
	if s == "" {
		return 0
	}
	return 1 + protowire.SizeBytes(len(s))
}

func appendString(dst []byte, number protowire.Number, s string) []byte {
	if s == "" {
		return dst
	}
	return protowire.AppendString(protowire.AppendTag(dst, number, protowire.BytesType), s)
}

// unmarshal is Unmarshal for the package's own readers.
func unmarshal(frame []byte, m proto.Message) error {
	if err := Unmarshal(frame, m); err != nil {
		return fmt.Errorf("%w: %d bytes that are no %s: %w", ErrFrame, len(frame), name(m), err)
	}
	return nil
}
