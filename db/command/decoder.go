package command

import (
	"hash/maphash"
	"math"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/transport/wire/field"
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
	// kept is how many arguments the commands have room for.
	kept int
	// texts are SQL texts met before, by hash: most commands come with one of a few, which is copied once.
	texts [rememberedTexts]string
	seed  maphash.Seed
}

// Limits of what a Decoder keeps between batches. Past them it only decodes slower.
const (
	rememberedTexts   = 64
	maxRememberedText = 4 << 10 // bytes
	maxSimple         = 1024    // commands
	maxSimpleArgs     = 4096    // of one command
	maxKeptArgs       = 1 << 15 // of all commands
	argChunk          = 8       // arguments whose memory comes at once
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
	if d.kept > maxKeptArgs {
		for _, s := range d.simple {
			s.args, s.list = nil, nil
		}
		d.kept = 0
	}
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

// grow makes room for more arguments and returns for how many.
func (s *simple) grow() int {
	more := make([]simpleArgument, max(argChunk, len(s.args)))
	for i := range more {
		s.args = append(s.args, &more[i])
	}
	return len(more)
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
	r := field.Reader{Rest: data}
	version, time := r.Varint(1), r.Varint(2)
	s.Version, s.Time = uint32(version), int64(time)
	s.Seed = r.Fixed64(3)
	s.Session = r.Bytes(4)
	s.Seq = r.Varint(5)
	if version != Version || !r.Next(10, protowire.BytesType) {
		return false
	}
	script := field.Reader{Rest: r.Content()}
	if !r.End() || !script.Next(1, protowire.BytesType) {
		return false
	}
	statement := field.Reader{Rest: script.Content()}
	if !script.End() {
		return false
	}
	sql, ok := d.text(statement.Bytes(1))
	s.statement.Sql = sql
	s.list = s.list[:0]
	for ok && len(statement.Rest) > 0 && len(s.list) < maxSimpleArgs {
		if len(s.list) == len(s.args) {
			d.kept += s.grow()
		}
		arg := s.args[len(s.list)]
		s.list = append(s.list, &arg.Argument)
		ok = statement.Next(2, protowire.BytesType) && arg.argument(statement.Content())
	}
	s.statement.Args = s.list
	return ok && statement.End()
}

// argument reads an Argument without a name.
func (a *simpleArgument) argument(data []byte) bool {
	r := field.Reader{Rest: data}
	v := field.Reader{}
	if a.Value = nil; r.Next(2, protowire.BytesType) {
		a.Value, v.Rest = &a.value, r.Content()
	}
	switch a.value.Kind = nil; {
	case v.Next(1, protowire.VarintType):
		a.integer.Integer = protowire.DecodeZigZag(v.Number())
		a.value.Kind = &a.integer
	case v.Next(2, protowire.Fixed64Type):
		a.real.Real = math.Float64frombits(v.Word())
		a.value.Kind = &a.real
	case v.Next(3, protowire.BytesType):
		a.text.Text = v.Content()
		a.value.Kind = &a.text
	case v.Next(4, protowire.BytesType):
		a.blob.Blob = v.Content()
		a.value.Kind = &a.blob
	}
	return r.End() && v.End()
}
