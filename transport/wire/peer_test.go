package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire/peerpb"
)

// randomMessage draws a message of any kind that keeps all rules.
func randomMessage(r *rand.Rand) raft.Message {
	number := func() uint64 { return r.Uint64() >> (1 + r.UintN(63)) }
	e := raft.Envelope{From: raft.ID(1 + number()), Term: raft.Term(1 + number())}
	e.To = e.From + 1
	id := func() raft.EntryID {
		if r.IntN(4) == 0 {
			return raft.EntryID{}
		}
		return raft.EntryID{Term: 1 + raft.Term(r.Uint64N(uint64(e.Term))), Index: raft.Index(1 + number()/2)}
	}
	index := func() raft.Index { return raft.Index(number()) }
	coin := func() bool { return r.IntN(2) == 0 }
	switch r.IntN(11) {
	case 0:
		return randomAppend(r, e, id())
	case 1:
		if coin() {
			hint := id()
			return raft.AppendAck{Envelope: e, Rejected: true, Prev: hint.Index + raft.Index(r.UintN(5)), Hint: hint, Round: number()}
		}
		return raft.AppendAck{Envelope: e, Match: index(), Round: number()}
	case 2:
		return raft.Heartbeat{Envelope: e, Commit: index(), Round: number(), Silent: number()%2 == 1}
	case 3:
		return raft.HeartbeatAck{Envelope: e, Round: number()}
	case 4:
		return raft.Vote{Envelope: e, Last: id(), Pre: coin(), Transfer: coin()}
	case 5:
		if coin() {
			e.Term = 0 // a node that has heard of no term refuses
		}
		return raft.VoteAck{Envelope: e, Pre: coin(), Granted: coin()}
	case 6:
		return raft.TimeoutNow{Envelope: e, Commit: index()}
	case 7:
		return raft.ReadIndex{Envelope: e, Seq: number()}
	case 8:
		return raft.ReadIndexAck{Envelope: e, Seq: number(), Index: index(), Rejected: coin()}
	case 9:
		return Clock{e}
	default:
		return raft.Removed{Envelope: e, Index: index()}
	}
}

func randomAppend(r *rand.Rand, e raft.Envelope, prev raft.EntryID) raft.Append {
	m := raft.Append{Envelope: e, Prev: prev, Commit: raft.Index(r.Uint64() >> 1), Round: r.Uint64()}
	last := prev
	for range r.IntN(6) {
		last = raft.EntryID{Term: max(1, last.Term), Index: last.Index + 1}
		if r.IntN(2) == 0 {
			last.Term += raft.Term(r.Uint64N(uint64(e.Term-last.Term) + 1))
		}
		entry := raft.Entry{ID: last, Kind: raft.EntryKind(r.UintN(3))}
		if entry.Data = randomBytes(r); len(entry.Data) == 0 {
			entry.Data = nil
		}
		m.Entries = append(m.Entries, entry)
	}
	return m
}

// TestPeer proves that every kind of message, with any fields that the rules allow, is decoded as it was encoded, from a
// datagram and from a frame.
func TestPeer(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	kinds := map[string]int{}
	for range 5000 {
		want := PeerEnvelope{Incarnation: 1 + r.Uint64()>>1, Clock: int64(r.Uint64()), Message: randomMessage(r)}
		binary.BigEndian.PutUint64(want.Cluster[:], r.Uint64())
		kinds[fmt.Sprintf("%T", want.Message)]++
		encoded, err := EncodePeer([]byte("before"), want.Cluster, want.Incarnation, want.Clock, want.Message)
		if err != nil {
			t.Fatalf("encoding %+v: %v", want.Message, err)
		}
		got, err := DecodePeer(encoded[len("before"):])
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
		frame, err := AppendPeerFrame(nil, want.Cluster, want.Incarnation, want.Clock, want.Message)
		if err != nil {
			t.Fatal(err)
		}
		body, err := ReadFrameBytes(bufio.NewReader(bytes.NewReader(frame)), MaxPeerFrame, nil)
		if err != nil || !bytes.Equal(body, encoded[len("before"):]) {
			t.Fatalf("the frame holds something else than the datagram: %v", err)
		}
	}
	if len(kinds) != 11 {
		t.Errorf("only these kinds were tried: %v", kinds)
	}
}

// badMessages are messages that break one rule each, and a word of the error that says so.
func badMessages() map[string]struct {
	m    raft.Message
	want string
} {
	type bad = struct {
		m    raft.Message
		want string
	}
	e := raft.Envelope{From: 1, To: 2, Term: 5}
	at := func(term raft.Term, index raft.Index) raft.EntryID { return raft.EntryID{Term: term, Index: index} }
	entries := func(ids ...raft.EntryID) (list []raft.Entry) {
		for _, id := range ids {
			list = append(list, raft.Entry{ID: id})
		}
		return list
	}
	return map[string]bad{
		"nil":                   {nil, "nil"},
		"from nobody":           {raft.Removed{Envelope: raft.Envelope{To: 2}}, "ids begin at 1"},
		"to nobody":             {raft.Removed{Envelope: raft.Envelope{From: 1}}, "ids begin at 1"},
		"to itself":             {raft.Removed{Envelope: raft.Envelope{From: 2, To: 2}}, "sends to itself"},
		"append in term 0":      {raft.Append{Envelope: raft.Envelope{From: 1, To: 2}}, "term is zero"},
		"heartbeat in term 0":   {raft.Heartbeat{Envelope: raft.Envelope{From: 1, To: 2}}, "term is zero"},
		"vote in term 0":        {raft.Vote{Envelope: raft.Envelope{From: 1, To: 2}}, "term is zero"},
		"ack in term 0":         {raft.AppendAck{Envelope: raft.Envelope{From: 1, To: 2}}, "term is zero"},
		"timeout now in term 0": {raft.TimeoutNow{Envelope: raft.Envelope{From: 1, To: 2}}, "term is zero"},
		"half an id":            {raft.Append{Envelope: e, Prev: at(1, 0)}, "prev is 1/0"},
		"other half":            {raft.Vote{Envelope: e, Last: at(0, 1)}, "last is 0/1"},
		"prev of the future":    {raft.Append{Envelope: e, Prev: at(6, 1)}, "later term"},
		"last of the future":    {raft.Vote{Envelope: e, Last: at(6, 1)}, "later term"},
		"a term that falls":     {raft.Append{Envelope: e, Prev: at(3, 1), Entries: entries(at(2, 2))}, "has term 2"},
		"a term that falls two": {raft.Append{Envelope: e, Entries: entries(at(3, 1), at(2, 2))}, "has term 2"},
		"a term of the future":  {raft.Append{Envelope: e, Entries: entries(at(6, 1))}, "has term 6"},
		"an entry in term 0":    {raft.Append{Envelope: e, Entries: entries(at(0, 1))}, "has term 0"},
		"a kind nobody knows":   {raft.Append{Envelope: e, Entries: []raft.Entry{{ID: at(1, 1), Kind: 3}}}, "kind 3"},
		"commit beyond":         {raft.Heartbeat{Envelope: e, Commit: math.MaxInt64 + 1}, "beyond"},
		"last entry beyond":     {raft.Append{Envelope: e, Prev: at(1, math.MaxInt64), Entries: entries(at(1, math.MaxInt64+1))}, "beyond"},
		"match beyond":          {raft.AppendAck{Envelope: e, Match: math.MaxUint64}, "beyond"},
		"rejection with match":  {raft.AppendAck{Envelope: e, Rejected: true, Match: 1}, "rejection with match"},
		"hint behind prev":      {raft.AppendAck{Envelope: e, Rejected: true, Prev: 3, Hint: at(1, 4)}, "behind it"},
		"read index beyond":     {raft.ReadIndexAck{Envelope: e, Index: math.MaxUint64}, "beyond"},
		"removed beyond":        {raft.Removed{Envelope: e, Index: math.MaxUint64}, "beyond"},
	}
}

// TestPeerRefuses proves that a message that breaks a rule is neither sent nor taken.
func TestPeerRefuses(t *testing.T) {
	for name, bad := range badMessages() {
		if out, err := EncodePeer(nil, [16]byte{1}, 1, 0, bad.m); !errors.Is(err, ErrPeerMessage) || !strings.Contains(err.Error(), bad.want) || len(out) > 0 {
			t.Errorf("%s: encoding: %d bytes, %v, want %q", name, len(out), err, bad.want)
		}
		if bad.m == nil {
			continue
		}
		e := bad.m.Header()
		p := &peerpb.PeerMessage{Cluster: make([]byte, 16), From: uint64(e.From), To: uint64(e.To), Term: uint64(e.Term), Incarnation: 1}
		packBody(p, bad.m)
		if _, err := decode(t, p); !errors.Is(err, ErrPeerMessage) || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s: decoding: %v, want %q", name, err, bad.want)
		}
	}
	gap := raft.Append{Envelope: raft.Envelope{From: 1, To: 2, Term: 5}, Entries: []raft.Entry{{ID: raft.EntryID{Term: 1, Index: 2}}}}
	if _, err := EncodePeer(nil, [16]byte{1}, 1, 0, gap); !errors.Is(err, ErrPeerMessage) {
		t.Errorf("a gap before the first entry: %v", err)
	}
}

func decode(t *testing.T, p *peerpb.PeerMessage) (PeerEnvelope, error) {
	t.Helper()
	encoded, err := proto.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return DecodePeer(encoded)
}

// TestPeerRefusesFrames proves that bytes around a message are checked as well.
func TestPeerRefusesFrames(t *testing.T) {
	whole := func(change func(*peerpb.PeerMessage)) *peerpb.PeerMessage {
		p := &peerpb.PeerMessage{Cluster: make([]byte, 16), From: 1, To: 2, Term: 1, Incarnation: 1,
			Body: &peerpb.PeerMessage_Heartbeat{Heartbeat: &peerpb.Heartbeat{}}}
		change(p)
		return p
	}
	tests := map[string]func(*peerpb.PeerMessage){
		"unknown body": func(p *peerpb.PeerMessage) {
			p.Body = nil
			p.ProtoReflect().SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 30, protowire.BytesType), nil))
		},
		"no cluster":     func(p *peerpb.PeerMessage) { p.Cluster = nil },
		"long cluster":   func(p *peerpb.PeerMessage) { p.Cluster = make([]byte, 17) },
		"no incarnation": func(p *peerpb.PeerMessage) { p.Incarnation = 0 },
		"kind of an entry": func(p *peerpb.PeerMessage) {
			p.Body = &peerpb.PeerMessage_Append{Append: &peerpb.Append{Entries: []*peerpb.Entry{{Term: 1, Kind: 256}}}}
		},
	}
	if _, err := decode(t, whole(func(*peerpb.PeerMessage) {})); err != nil {
		t.Fatalf("a whole message: %v", err)
	}
	for name, change := range tests {
		if _, err := decode(t, whole(change)); !errors.Is(err, ErrPeerMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := DecodePeer([]byte{0xff}); !errors.Is(err, ErrFrame) {
		t.Errorf("garbage: %v", err)
	}
	if _, err := DecodePeer(make([]byte, MaxPeerFrame+1)); !errors.Is(err, ErrFrameTooLarge) {
		t.Errorf("too long: %v", err)
	}
}

// TestPeerLargestEntry proves that an entry of the largest size fits into a frame, and a larger one is refused.
func TestPeerLargestEntry(t *testing.T) {
	m := raft.Append{Envelope: raft.Envelope{From: 1, To: 2, Term: 1},
		Entries: []raft.Entry{{ID: raft.EntryID{Term: 1, Index: 1}, Data: make([]byte, MaxEntry)}}}
	encoded, err := EncodePeer(nil, [16]byte{1}, 1, 0, m)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecodePeer(encoded); err != nil || len(got.Message.(raft.Append).Entries[0].Data) != MaxEntry {
		t.Errorf("decoding it: %v", err)
	}
	m.Entries[0].Data = append(m.Entries[0].Data, 0)
	if _, err := EncodePeer(nil, [16]byte{1}, 1, 0, m); !errors.Is(err, ErrPeerMessage) {
		t.Errorf("one byte more: %v", err)
	}
	m.Entries = []raft.Entry{{ID: raft.EntryID{Term: 1, Index: 1}, Data: make([]byte, MaxEntry/2+1)}}
	m.Entries = append(m.Entries, raft.Entry{ID: raft.EntryID{Term: 1, Index: 2}, Data: make([]byte, MaxEntry/2+64<<10)})
	if _, err := EncodePeer(nil, [16]byte{1}, 1, 0, m); !errors.Is(err, ErrFrameTooLarge) {
		t.Errorf("two entries that together are too long: %v", err)
	}
}

// FuzzDecodePeer proves that no bytes make the decoder panic, and that what it accepts it encodes and decodes the same.
func FuzzDecodePeer(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 30 {
		encoded, err := EncodePeer(nil, [16]byte{1}, 1, 2, randomMessage(r))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := DecodePeer(b)
		if err != nil {
			if !errors.Is(err, ErrFrame) && !errors.Is(err, ErrPeerMessage) {
				t.Errorf("error without its cause: %v", err)
			}
			return
		}
		encoded, err := EncodePeer(nil, got.Cluster, got.Incarnation, got.Clock, got.Message)
		if err != nil {
			t.Fatalf("an accepted message cannot be sent: %v", err)
		}
		if again, err := DecodePeer(encoded); err != nil || !reflect.DeepEqual(again, got) {
			t.Fatalf("got %+v, %v, want %+v", again, err, got)
		}
	})
}

func benchmarkAppend(entries int) raft.Append {
	m := raft.Append{Envelope: raft.Envelope{From: 1, To: 2, Term: 7}, Prev: raft.EntryID{Term: 7, Index: 1 << 20}, Commit: 1 << 20}
	for i := range entries {
		m.Entries = append(m.Entries, raft.Entry{ID: raft.EntryID{Term: 7, Index: m.Prev.Index + raft.Index(i) + 1}, Data: make([]byte, 200)})
	}
	return m
}

func BenchmarkEncodePeer(b *testing.B) {
	for _, entries := range []int{1, 64} {
		b.Run(fmt.Sprintf("entries=%d", entries), func(b *testing.B) {
			m := raft.Message(benchmarkAppend(entries))
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if buf, err = AppendPeerFrame(buf[:0], [16]byte{1}, 1, 0, m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecodePeer(b *testing.B) {
	for _, entries := range []int{1, 64} {
		b.Run(fmt.Sprintf("entries=%d", entries), func(b *testing.B) {
			encoded, err := EncodePeer(nil, [16]byte{1}, 1, 0, benchmarkAppend(entries))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := DecodePeer(encoded); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
