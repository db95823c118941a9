package command_test

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/db/command"
	"github.com/rsqld/rsqld/db/command/commandpb"
)

// insert is a command of the shape that nearly all have.
func insert(sql string, values ...*commandpb.Value) *commandpb.Command {
	statement := &commandpb.Statement{Sql: sql}
	for _, v := range values {
		statement.Args = append(statement.Args, &commandpb.Argument{Value: v})
	}
	return &commandpb.Command{Version: 1, Time: 42, Seed: 1 << 60, Body: &commandpb.Command_Script{Script: &commandpb.Script{
		Statements: []*commandpb.Statement{statement}}}}
}

// inserts returns commands around the edges of that shape.
func inserts() []*commandpb.Command {
	integer := func(v int64) *commandpb.Value { return &commandpb.Value{Kind: &commandpb.Value_Integer{Integer: v}} }
	every := []*commandpb.Value{
		nil, {}, integer(0), integer(-1), integer(math.MinInt64),
		{Kind: &commandpb.Value_Real{Real: 0.5}}, {Kind: &commandpb.Value_Real{}}, {Kind: &commandpb.Value_Text{Text: []byte("text")}},
		{Kind: &commandpb.Value_Text{}}, {Kind: &commandpb.Value_Blob{Blob: []byte{0xff}}}, {Kind: &commandpb.Value_Blob{}},
	}
	many := make([]*commandpb.Value, 40)
	for i := range many {
		many[i] = integer(int64(i))
	}
	named := insert("insert into t values(:a)", integer(1))
	named.GetScript().Statements[0].Args[0].Name = "a"
	session := insert("insert into t values(1)")
	session.Session, session.Seq = make([]byte, 16), 9
	return []*commandpb.Command{
		insert("insert into t values(?, ?)", every...), insert("insert into t values(?)", integer(7)), insert(""),
		insert(strings.Repeat("-", 5000), integer(1)), insert("insert into t values(1)", many...), named, session,
	}
}

// decodeBoth decodes data in both ways and returns what the Decoder made of it.
func decodeBoth(t *testing.T, d *command.Decoder, data []byte) *commandpb.Command {
	t.Helper()
	want, wrong := command.Decode(data)
	got, err := d.Decode(data)
	if (err == nil) != (wrong == nil) || err != nil && err.Error() != wrong.Error() {
		t.Fatalf("%x: the Decoder says %v, Decode says %v", data, err, wrong)
	}
	if err == nil && !equal(got, want) {
		t.Fatalf("%x: the Decoder gives %v, Decode gives %v", data, got, want)
	}
	return got
}

// equal compares two commands by their bytes too: for proto.Equal a NaN is no other, and -0 is 0.
func equal(a, b *commandpb.Command) bool {
	first, err := proto.MarshalOptions{Deterministic: true}.Marshal(a)
	second, wrong := proto.MarshalOptions{Deterministic: true}.Marshal(b)
	return err == nil && wrong == nil && bytes.Equal(first, second)
}

// A Decoder gives for all bytes the command or the error that Decode gives, whatever it decoded before, and a command
// stays as it is until Reset.
func TestDecoder(t *testing.T) {
	var d command.Decoder
	for range 3 {
		var got []*commandpb.Command
		all := inserts()
		for _, c := range commands() {
			all = append(all, c)
		}
		for _, c := range all {
			data, err := command.Encode(c)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, decodeBoth(t, &d, data))
			for n := range data {
				decodeBoth(t, &d, data[:n])
			}
		}
		for i := range all {
			if !equal(got[i], all[i]) {
				t.Errorf("command %d became %v, want %v", i, got[i], all[i])
			}
		}
		d.Reset()
	}
}

// Bulk inserts are decoded in the same way, up to more arguments than a bulk has, and by package proto beyond; neither keeps more
// than its share of memory.
func TestDecoderBulk(t *testing.T) {
	var d command.Decoder
	for _, count := range []int{33, 4095, 4096, 4097, 9, 20_000} {
		values := make([]*commandpb.Value, count)
		for i := range values {
			values[i] = &commandpb.Value{Kind: &commandpb.Value_Text{Text: []byte{byte(i)}}}
		}
		data, err := command.Encode(insert("insert into t values(?)", values...))
		if err != nil {
			t.Fatal(err)
		}
		for range 12 {
			decodeBoth(t, &d, data)
		}
		d.Reset()
	}
}

// Memory that is used again shows nothing of the command before: each argument in turn takes the place of every other.
func TestDecoderMemory(t *testing.T) {
	every := inserts()[0].GetScript().Statements[0].Args
	var d command.Decoder
	for _, before := range append(every, nil) {
		for _, after := range every {
			for _, arg := range []*commandpb.Argument{before, after} {
				c := insert("insert into t values(?)")
				if arg != nil {
					c.GetScript().Statements[0].Args = []*commandpb.Argument{arg}
				} else {
					c.Session, c.Seq = make([]byte, 16), 9
				}
				data, err := command.Encode(c)
				if err != nil {
					t.Fatal(err)
				}
				decodeBoth(t, &d, data)
				d.Reset()
			}
		}
	}
}

// What only looks like the common shape is decoded as package proto says: fields twice or out of order, numbers that
// are longer than they need be, unknown fields, text that is not UTF-8, and other versions.
func TestDecoderOddities(t *testing.T) {
	data, err := command.Encode(insert("insert into t values(?)", &commandpb.Value{Kind: &commandpb.Value_Integer{Integer: 7}}))
	if err != nil {
		t.Fatal(err)
	}
	field := func(number protowire.Number, content string) []byte {
		return protowire.AppendString(protowire.AppendTag(nil, number, protowire.BytesType), content)
	}
	script := func(statement string) []byte { return append([]byte{8, 1}, field(10, string(field(1, statement)))...) }
	argument := func(value string) []byte { return script(string(field(2, string(field(2, value))))) }
	var d command.Decoder
	for name, odd := range map[string][]byte{
		"twice":                append(bytes.Clone(data), data...),
		"version twice":        append(bytes.Clone(data), 8, 1),
		"version last":         append(bytes.Clone(data[2:]), data[:2]...),
		"version 2":            append([]byte{8, 2}, data[2:]...),
		"version 2^32+1":       append([]byte{8, 0x81, 0x80, 0x80, 0x80, 0x10}, data[2:]...),
		"a long 1":             append([]byte{8, 0x81, 0}, data[2:]...),
		"unknown field":        append(bytes.Clone(data), field(99, "x")...),
		"another body":         append(bytes.Clone(data), field(11, "")...),
		"short session":        append([]byte{8, 1}, append(field(4, "x"), field(10, "")...)...),
		"not UTF-8":            script(string(field(1, "select '\xff'"))),
		"not UTF-8 and long":   script(string(field(1, strings.Repeat("\xff", 5000)))),
		"no statement":         append([]byte{8, 1}, field(10, "")...),
		"value of two kinds":   argument("\x08\x02" + string(field(3, "x"))),
		"value twice":          argument("\x08\x02\x08\x04"),
		"value without number": argument("\x08"),
		"name after value":     script(string(field(2, string(field(2, ""))+string(field(1, "a"))))),
		"text after arguments": script(string(field(2, "")) + string(field(1, "select 1"))),
	} {
		t.Run(name, func(t *testing.T) { decodeBoth(t, &d, odd) })
	}
}

// A Decoder that has met a text and has memory for a command allocates nothing.
func TestDecoderAllocates(t *testing.T) {
	data, err := command.Encode(insert("insert into t values(?, ?)", &commandpb.Value{Kind: &commandpb.Value_Integer{Integer: 7}},
		&commandpb.Value{Kind: &commandpb.Value_Text{Text: []byte("text")}}))
	if err != nil {
		t.Fatal(err)
	}
	var d command.Decoder
	allocations := testing.AllocsPerRun(100, func() {
		if _, err := d.Decode(data); err != nil {
			t.Fatal(err)
		}
		d.Reset()
	})
	if allocations != 0 {
		t.Errorf("decoding takes %v allocations, want none", allocations)
	}
}

// Whatever the bytes are, a Decoder and Decode agree on them.
func FuzzDecoder(f *testing.F) {
	for _, c := range append(inserts(), commands()["bootstrap"]) {
		data, err := command.Encode(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(data[:len(data)-1])
	}
	var d command.Decoder
	f.Fuzz(func(t *testing.T, data []byte) {
		decodeBoth(t, &d, data)
		decodeBoth(t, &d, data) // into memory with the traces of a command
		d.Reset()
	})
}

func BenchmarkDecoder(b *testing.B) {
	data, err := command.Encode(insert("insert into t values(?, ?, ?)", &commandpb.Value{Kind: &commandpb.Value_Integer{Integer: 7}},
		&commandpb.Value{Kind: &commandpb.Value_Integer{Integer: 1 << 40}}, &commandpb.Value{Kind: &commandpb.Value_Text{Text: []byte("some text of a row")}}))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("Decoder", func(b *testing.B) {
		var d command.Decoder
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.Decode(data); err != nil {
				b.Fatal(err)
			}
			d.Reset()
		}
	})
	b.Run("Decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := command.Decode(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
