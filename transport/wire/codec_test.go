package wire

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// frequent are the frames that codec.go knows, at their edges.
func frequent() []proto.Message {
	var messages []proto.Message
	values := []*sqlpb.Value{
		nil, {}, {Kind: &sqlpb.Value_Integer{}}, {Kind: &sqlpb.Value_Integer{Integer: math.MinInt64}}, {Kind: &sqlpb.Value_Real{}},
		{Kind: &sqlpb.Value_Real{Real: math.Inf(-1)}}, {Kind: &sqlpb.Value_Real{Real: math.NaN()}}, {Kind: &sqlpb.Value_Text{}},
		{Kind: &sqlpb.Value_Text{Text: []byte("a\xffb\x00")}}, {Kind: &sqlpb.Value_Blob{}}, {Kind: &sqlpb.Value_Blob{Blob: make([]byte, 300)}},
	}
	statement := &sqlpb.Statement{Sql: "insert into t values(?, ?)"}
	for _, v := range values {
		statement.Args = append(statement.Args, &sqlpb.Argument{Value: v})
		messages = append(messages, executes(&sqlpb.Statement{Sql: "select ?", Args: []*sqlpb.Argument{{Value: v}}}))
	}
	named := &sqlpb.Statement{Sql: "select :a", Args: []*sqlpb.Argument{{Name: "a", Value: values[2]}}}
	whole := executes(statement, &sqlpb.Statement{}, named, &sqlpb.Statement{Sql: "ü"})
	x := whole.GetExecute()
	x.Atomic, x.Level, x.MinIndex, x.Seq, x.TimeoutMs, x.MaxStalenessMs = true, sqlpb.Level_LEVEL_STRONG, math.MaxUint64, 7, math.MaxUint32, 1
	x.ReadOnly, x.InTransaction = true, true
	odd := executes(&sqlpb.Statement{Sql: strings.Repeat("x", 200)})
	odd.GetExecute().Level = -1
	messages = append(messages, whole, odd, executes(), executes(nil), new(sqlpb.ClientFrame),
		&sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Ping{Ping: &sqlpb.Ping{Id: 1}}})
	for _, columns := range [][]*sqlpb.Column{
		nil, {{}}, {{Name: "a", DeclaredType: "INTEGER"}, {Name: strings.Repeat("ä", 100)}, {DeclaredType: "x"}, {}},
	} {
		messages = append(messages, answer(&sqlpb.ServerFrame_Columns{Columns: &sqlpb.Columns{Id: uint64(len(columns)), Columns: columns}}))
	}
	for _, packed := range [][]byte{nil, {}, {0}, make([]byte, 70_000)} {
		messages = append(messages, answer(&sqlpb.ServerFrame_Rows{Rows: &sqlpb.Rows{Id: 3, Count: uint32(len(packed)), Packed: packed}}))
	}
	messages = append(messages, new(sqlpb.ServerFrame),
		answer(&sqlpb.ServerFrame_Done{Done: &sqlpb.Done{}}), answer(&sqlpb.ServerFrame_Pong{Pong: &sqlpb.Pong{Id: 3}}),
		answer(&sqlpb.ServerFrame_Done{Done: &sqlpb.Done{Id: 1, RowsAffected: -1, LastInsertId: math.MinInt64, Index: math.MaxUint64, More: true, Wrote: true,
			Transaction: sqlpb.Transaction_TRANSACTION_FAILED}}),
		answer(&sqlpb.ServerFrame_Done{Done: &sqlpb.Done{Transaction: -1}}),
		answer(&sqlpb.ServerFrame_Error{Error: &sqlpb.Error{Id: 1, Message: "no", Offset: -1}}))
	return messages
}

func executes(statements ...*sqlpb.Statement) *sqlpb.ClientFrame {
	return &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Execute{Execute: &sqlpb.Execute{Id: 9, Statements: statements}}}
}

// answer makes a frame; its argument is one of the kinds of ServerFrame.
func answer(kind any) *sqlpb.ServerFrame {
	m := new(sqlpb.ServerFrame)
	switch kind := kind.(type) {
	case *sqlpb.ServerFrame_Columns:
		m.Frame = kind
	case *sqlpb.ServerFrame_Rows:
		m.Frame = kind
	case *sqlpb.ServerFrame_Done:
		m.Frame = kind
	case *sqlpb.ServerFrame_Pong:
		m.Frame = kind
	case *sqlpb.ServerFrame_Error:
		m.Frame = kind
	}
	return m
}

// encoded is what package proto writes: two messages with the same bytes are the same, NaN and -0 included.
func encoded(t *testing.T, m proto.Message) []byte {
	t.Helper()
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// decodeBoth decodes data in both ways, into messages that held something else.
func decodeBoth(t *testing.T, data []byte, a, b proto.Message) {
	t.Helper()
	got, want := Unmarshal(data, a), proto.Unmarshal(data, b)
	if (got == nil) != (want == nil) || got != nil && got.Error() != want.Error() {
		t.Fatalf("%x: Unmarshal says %v, package proto %v", data, got, want)
	}
	if got == nil && !bytes.Equal(encoded(t, a), encoded(t, b)) {
		t.Fatalf("%x: Unmarshal gives %v, package proto %v", data, a, b)
	}
}

// checkCodec proves that data is the same to codec.go and to package proto, as a frame of either side, and that what it
// means is written by both as the same bytes.
func checkCodec(t *testing.T, data []byte) {
	t.Helper()
	decodeBoth(t, data, executes(&sqlpb.Statement{Sql: "old"}), executes(nil))
	m := answer(&sqlpb.ServerFrame_Done{Done: &sqlpb.Done{Id: 77}})
	decodeBoth(t, data, m, new(sqlpb.ServerFrame))
	if proto.Unmarshal(data, m) != nil {
		return
	}
	framed, err := AppendFrame([]byte("before"), m)
	if err != nil {
		t.Fatal(err)
	}
	want := encoded(t, m)
	if !bytes.Equal(framed, append(protowire.AppendVarint([]byte("before"), uint64(len(want))), want...)) {
		t.Fatalf("%v is written as %x, and by package proto as %x", m, framed, want)
	}
}

// TestCodec proves that frames whole, cut, changed, doubled and with fields of a newer version are the same to codec.go and to
// package proto.
func TestCodec(t *testing.T) {
	newer := protowire.AppendString(protowire.AppendTag(nil, 99, protowire.BytesType), "new")
	for _, m := range frequent() {
		data := encoded(t, m)
		checkCodec(t, data)
		checkCodec(t, append(bytes.Clone(data), data...))
		checkCodec(t, append(bytes.Clone(data), newer...))
		if len(data) > 1000 {
			continue
		}
		for i := range data {
			checkCodec(t, data[:i])
			for _, flip := range []byte{0x01, 0x08, 0x80, 0xff} {
				changed := bytes.Clone(data)
				changed[i] ^= flip
				checkCodec(t, changed)
			}
		}
		// A newer field inside: package proto keeps it, and so do frames that are passed on.
		tag, number := protowire.ConsumeVarint(data)
		if content, n := protowire.ConsumeBytes(data[min(max(number, 0), len(data)):]); n > 0 {
			inner := append(bytes.Clone(content), newer...)
			checkCodec(t, protowire.AppendBytes(protowire.AppendVarint(nil, tag), inner))
		}
	}
}

// TestCodecKnows proves that the frequent frames are not left to package proto.
func TestCodecKnows(t *testing.T) {
	for _, m := range frequent() {
		switch m := m.(type) {
		case *sqlpb.ClientFrame:
			x := m.GetExecute()
			if x == nil || len(x.Statements) > 0 && x.Statements[0] == nil || len(x.Statements) > 1 { // with a named argument
				continue
			}
			if !readClientFrame(encoded(t, m), new(sqlpb.ClientFrame)) {
				t.Errorf("%v is left to package proto", m)
			}
		case *sqlpb.ServerFrame:
			if m.GetColumns() == nil && m.GetRows() == nil && m.GetDone() == nil {
				continue
			}
			if !readServerFrame(encoded(t, m), new(sqlpb.ServerFrame)) {
				t.Errorf("reading %v is left to package proto", m)
			}
			if _, ok := appendServerFrame(nil, m, MaxClientFrame); !ok {
				t.Errorf("writing %v is left to package proto", m)
			}
		}
	}
}

// TestCodecShares proves that a message shares no memory with what it was decoded from, which the next frame overwrites.
func TestCodecShares(t *testing.T) {
	for _, m := range frequent() {
		data := encoded(t, m)
		before := bytes.Clone(data)
		got := m.ProtoReflect().New().Interface()
		if err := Unmarshal(data, got); err != nil {
			t.Fatal(err)
		}
		clear(data)
		if !bytes.Equal(encoded(t, got), before) {
			t.Errorf("%v changed with the bytes that it came from", m)
		}
	}
}

// FuzzCodec proves it for all bytes.
func FuzzCodec(f *testing.F) {
	for _, m := range frequent() {
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		if len(data) < 1000 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) { checkCodec(t, data) })
}

// BenchmarkCodec measures what the frames of a point read cost: one there, three back.
func BenchmarkCodec(b *testing.B) {
	request := executes(&sqlpb.Statement{Sql: "SELECT a, b FROM t WHERE id = ?", Args: []*sqlpb.Argument{{Value: &sqlpb.Value{Kind: &sqlpb.Value_Integer{Integer: 7}}}}})
	asked, err := proto.Marshal(request)
	if err != nil {
		b.Fatal(err)
	}
	answers := []*sqlpb.ServerFrame{
		answer(&sqlpb.ServerFrame_Columns{Columns: &sqlpb.Columns{Id: 1, Columns: []*sqlpb.Column{{Name: "a"}, {Name: "b", DeclaredType: "TEXT"}}}}),
		answer(&sqlpb.ServerFrame_Rows{Rows: &sqlpb.Rows{Id: 1, Count: 1, Packed: make([]byte, 20)}}),
		answer(&sqlpb.ServerFrame_Done{Done: &sqlpb.Done{Id: 1, Index: 12345}}),
	}
	for name, unmarshal := range map[string]func([]byte, proto.Message) error{"codec": Unmarshal, "proto": proto.Unmarshal} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			out := make([]byte, 1, 256)
			for b.Loop() {
				if err := unmarshal(asked, new(sqlpb.ClientFrame)); err != nil {
					b.Fatal(err)
				}
				for _, m := range answers {
					if name == "codec" {
						out, err = AppendFrame(out[:0], m)
					} else {
						out, err = proto.MarshalOptions{}.MarshalAppend(out[:1], m)
					}
					if err != nil {
						b.Fatal(err)
					}
					if err := unmarshal(out[1:], new(sqlpb.ServerFrame)); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
