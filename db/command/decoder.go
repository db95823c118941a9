package command

import (
	"hash/maphash"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/rsqld/rsqld/db/command/commandpb"
)

// Decoder decodes the commands of a batch into memory that the next batch uses again. Nearly every command is a script
// of one statement with a few arguments, as Encode writes it: that shape is read here, for a tenth of what package
// proto needs. Any other, and any that is not written exactly so, goes through Decode: a Decoder returns the same
// command, or the same error, for all bytes.
//
// The zero Decoder is ready. It is for one goroutine at a time.
type Decoder struct {
	// simple holds the memory of commands, of which the first used are handed out.
	simple []*simple
	used   int
	// texts are SQL texts met before, by hash: most commands come with one of a few, which is copied once.
	texts [rememberedTexts]string
	seed  maphash.Seed
}

// Limits of what a Decoder keeps between batches. Past them it only decodes slower.
const (
	rememberedTexts   = 64
	maxRememberedText = 4 << 10 // bytes
	maxSimple         = 1024    // commands
	maxSimpleArgs     = 32
)

// Decode is the function Decode with two differences: the command may refer to data, and it is valid until Reset.
func (d *Decoder) Decode(data []byte) (*commandpb.Command, error) {
	if len(data) > MaxBytes {
		return Decode(data) // refuses it
	}
	if d.used == len(d.simple) {
		d.simple = append(d.simple, newSimple())
	}
	s := d.simple[d.used]
	d.used++
	if !s.command(d, data) || check(&s.Command) != nil {
		return Decode(data)
	}
	return &s.Command, nil
}

// Reset ends the use of every command decoded before.
func (d *Decoder) Reset() {
	for _, s := range d.simple[:d.used] {
		s.forget()
	}
	if len(d.simple) > maxSimple {
		clear(d.simple[maxSimple:])
		d.simple = d.simple[:maxSimple]
	}
	d.used = 0
}

// text returns sql as a string. Not ok: it is not UTF-8, as a proto3 string must be.
func (d *Decoder) text(sql []byte) (text string, ok bool) {
	if len(sql) > maxRememberedText {
		return string(sql), utf8.Valid(sql)
	}
	if d.seed == (maphash.Seed{}) {
		d.seed = maphash.MakeSeed()
	}
	known := &d.texts[maphash.Bytes(d.seed, sql)%rememberedTexts]
	if *known == string(sql) {
		return *known, true
	}
	if !utf8.Valid(sql) {
		return "", false
	}
	*known = string(sql)
	return *known, true
}

// simple is a command of the simple shape, with all that it points to.
type simple struct {
	commandpb.Command
	body       commandpb.Command_Script
	script     commandpb.Script
	statement  commandpb.Statement
	statements [1]*commandpb.Statement
	// args are those that the command has room for; the statement has the first of them.
	args []*simpleArgument
	list []*commandpb.Argument
}

// simpleArgument is an argument with its value of any kind.
type simpleArgument struct {
	commandpb.Argument
	value   commandpb.Value
	integer commandpb.Value_Integer
	real    commandpb.Value_Real
	text    commandpb.Value_Text
	blob    commandpb.Value_Blob
}

func newSimple() *simple {
	s := new(simple)
	s.Body, s.body.Script = &s.body, &s.script
	s.statements[0] = &s.statement
	s.script.Statements = s.statements[:]
	return s
}

// forget lets go of what belongs to the caller of Decode.
func (s *simple) forget() {
	s.Session, s.statement.Sql = nil, ""
	for _, arg := range s.args[:len(s.list)] {
		arg.text.Text, arg.blob.Blob = nil, nil
	}
	s.list = s.list[:0]
}

// The methods below return false for anything but the simple shape: each field at most once, in the order of their
// numbers, none unknown.

// command reads a Command. The field numbers are those of command.proto.
func (s *simple) command(d *Decoder, data []byte) bool {
	r := fields{rest: data}
	version, time := r.varint(1), r.varint(2)
	s.Version, s.Time = uint32(version), int64(time)
	s.Seed = r.fixed64(3)
	s.Session = r.bytes(4)
	s.Seq = r.varint(5)
	if version != Version || !r.next(10, protowire.BytesType) {
		return false
	}
	script := fields{rest: r.content()}
	if !r.end() || !script.next(1, protowire.BytesType) {
		return false
	}
	statement := fields{rest: script.content()}
	if !script.end() {
		return false
	}
	sql, ok := d.text(statement.bytes(1))
	s.statement.Sql = sql
	s.list = s.list[:0]
	for ok && len(statement.rest) > 0 && len(s.list) < maxSimpleArgs {
		if len(s.list) == len(s.args) {
			s.args = append(s.args, new(simpleArgument))
		}
		arg := s.args[len(s.list)]
		s.list = append(s.list, &arg.Argument)
		ok = statement.next(2, protowire.BytesType) && arg.argument(statement.content())
	}
	s.statement.Args = s.list
	return ok && statement.end()
}

// argument reads an Argument without a name.
func (a *simpleArgument) argument(data []byte) bool {
	r := fields{rest: data}
	v := fields{}
	if a.Value = nil; r.next(2, protowire.BytesType) {
		a.Value, v.rest = &a.value, r.content()
	}
	switch a.value.Kind = nil; {
	case v.next(1, protowire.VarintType):
		a.integer.Integer = protowire.DecodeZigZag(v.number())
		a.value.Kind = &a.integer
	case v.next(2, protowire.Fixed64Type):
		a.real.Real = math.Float64frombits(v.word())
		a.value.Kind = &a.real
	case v.next(3, protowire.BytesType):
		a.text.Text = v.content()
		a.value.Kind = &a.text
	case v.next(4, protowire.BytesType):
		a.blob.Blob = v.content()
		a.value.Kind = &a.blob
	}
	return r.end() && v.end()
}

// fields reads the fields of one message in the order of their numbers. After bytes that it cannot read end is false,
// and what was returned since means nothing.
type fields struct {
	rest []byte
	bad  bool
}

// end reports whether everything was read.
func (f *fields) end() bool { return len(f.rest) == 0 && !f.bad }

// next steps over the tag of a field if that field comes now. Numbers below 16 have tags of one byte.
func (f *fields) next(number protowire.Number, kind protowire.Type) bool {
	if len(f.rest) == 0 || f.rest[0] != byte(protowire.EncodeTag(number, kind)) {
		return false
	}
	f.rest = f.rest[1:]
	return true
}

// took steps over a value of n bytes; a negative n is protowire's error.
func (f *fields) took(n int) {
	if n < 0 {
		f.rest, f.bad = nil, true
		return
	}
	f.rest = f.rest[n:]
}

func (f *fields) number() uint64 {
	v, n := protowire.ConsumeVarint(f.rest)
	f.took(n)
	return v
}

func (f *fields) word() uint64 {
	v, n := protowire.ConsumeFixed64(f.rest)
	f.took(n)
	return v
}

// content returns the bytes of a field, without room to append to them.
func (f *fields) content() []byte {
	v, n := protowire.ConsumeBytes(f.rest)
	f.took(n)
	return v[:len(v):len(v)]
}

// varint is the value of a field that may be missing, as the two below are.
func (f *fields) varint(number protowire.Number) uint64 {
	if !f.next(number, protowire.VarintType) {
		return 0
	}
	return f.number()
}

func (f *fields) fixed64(number protowire.Number) uint64 {
	if !f.next(number, protowire.Fixed64Type) {
		return 0
	}
	return f.word()
}

func (f *fields) bytes(number protowire.Number) []byte {
	if !f.next(number, protowire.BytesType) {
		return nil
	}
	return f.content()
}
