package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/transport/wire/joinpb"
	"github.com/rsqld/rsqld/transport/wire/peerpb"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

func executeFrame(sql string) *sqlpb.ClientFrame {
	return &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Execute{Execute: &sqlpb.Execute{
		Id: 1, Statements: []*sqlpb.Statement{{Sql: sql}}}}}
}

// TestFrame proves that frames of any size come out of a stream as they went in, however the stream cuts them up, and
// that the end of the stream behind a whole frame is io.EOF.
func TestFrame(t *testing.T) {
	var stream bytes.Buffer
	var want []*sqlpb.ClientFrame
	for _, size := range []int{0, 1, 100, 127, 128, 4000, 4096, readStep - 1, readStep, 5*readStep + 3} {
		m := executeFrame(strings.Repeat("x", size))
		want = append(want, m, &sqlpb.ClientFrame{})
		for _, m := range want[len(want)-2:] {
			if err := WriteFrame(&stream, m); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, source := range map[string]io.Reader{
		"whole": bytes.NewReader(stream.Bytes()), "byte by byte": iotest.OneByteReader(bytes.NewReader(stream.Bytes())),
	} {
		r := bufio.NewReader(source)
		for i, m := range want {
			got := executeFrame("left over from before")
			if err := ReadFrame(r, MaxClientFrame, got); err != nil {
				t.Fatalf("%s: frame %d: %v", name, i, err)
			}
			if !proto.Equal(got, m) {
				t.Errorf("%s: frame %d changed on its way", name, i)
			}
		}
		if err := ReadFrame(r, MaxClientFrame, new(sqlpb.ClientFrame)); err != io.EOF {
			t.Errorf("%s: at the end: %v, want io.EOF", name, err)
		}
	}
}

// TestFrameBytes proves that the raw reader reuses the memory it is given and grows it when it must.
func TestFrameBytes(t *testing.T) {
	stream := make([]byte, 0, 1<<20)
	for _, m := range []string{"short", strings.Repeat("long", readStep)} {
		stream, _ = AppendFrame(stream, executeFrame(m))
	}
	r := bufio.NewReader(bytes.NewReader(stream))
	buf := make([]byte, 0, 1000)
	first, err := ReadFrameBytes(r, MaxClientFrame, buf)
	if err != nil || &first[:1][0] != &buf[:1][0] {
		t.Errorf("the first frame is not in the buffer: %v", err)
	}
	second, err := ReadFrameBytes(r, MaxClientFrame, first)
	var m sqlpb.ClientFrame
	if err != nil || proto.Unmarshal(second, &m) != nil || len(m.GetExecute().Statements[0].Sql) != 4*readStep {
		t.Errorf("the second frame is not whole: %v", err)
	}
	if _, err := ReadFrameBytes(r, MaxClientFrame, second); err != io.EOF {
		t.Errorf("at the end: %v, want io.EOF", err)
	}
}

// TestFrameCutOff proves that a stream that ends inside a frame is an error, wherever it ends.
func TestFrameCutOff(t *testing.T) {
	frame, err := AppendFrame(nil, executeFrame(strings.Repeat("x", 300)))
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n < len(frame); n++ {
		for _, size := range []int{16, 4096} {
			err := ReadFrame(bufio.NewReaderSize(bytes.NewReader(frame[:n]), size), MaxClientFrame, new(sqlpb.ClientFrame))
			if !errors.Is(err, ErrFrameTruncated) || !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
				t.Errorf("%d of %d bytes: %v", n, len(frame), err)
			}
		}
	}
}

// TestFrameRefuses proves that lengths and messages that cannot be are refused before anything else is read.
func TestFrameRefuses(t *testing.T) {
	tests := map[string]struct {
		stream []byte
		want   error
	}{
		"too long":                {binary.AppendUvarint(nil, MaxClientFrame+1), ErrFrameTooLarge},
		"far too long":            {bytes.Repeat([]byte{0xff}, 9), ErrFrameTruncated},
		"longest length":          {append(bytes.Repeat([]byte{0xff}, 9), 1), ErrFrameTooLarge},
		"longer than 64 bits":     {append(bytes.Repeat([]byte{0xff}, 9), 2), ErrFrame},
		"endless length":          {bytes.Repeat([]byte{0x80}, 20), ErrFrame},
		"length in a longer form": {[]byte{0x80, 0x00}, ErrFrame},
		"no protobuf":             {[]byte{3, 0xff, 0xff, 0xff}, ErrFrame},
		"a cut message":           {[]byte{2, 0x12, 0x10}, ErrFrame},
	}
	for name, test := range tests {
		if err := ReadFrame(bufio.NewReader(bytes.NewReader(test.stream)), MaxClientFrame, new(sqlpb.ClientFrame)); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	broken := errors.New("the cable is broken")
	err := ReadFrame(bufio.NewReader(io.MultiReader(bytes.NewReader([]byte{5, 1}), iotest.ErrReader(broken))), 10, new(sqlpb.ClientFrame))
	if !errors.Is(err, broken) {
		t.Errorf("a broken stream: %v, want its own error", err)
	}
}

// TestFrameLimit proves that a message above its limit is not sent, and that one exactly at it is.
func TestFrameLimit(t *testing.T) {
	overhead := proto.Size(&joinpb.JoinRequest{Csr: make([]byte, MaxJoinFrame)}) - MaxJoinFrame
	fits := &joinpb.JoinRequest{Csr: make([]byte, MaxJoinFrame-overhead)}
	frame, err := AppendFrame([]byte("before"), fits)
	if err != nil || !bytes.HasPrefix(frame, []byte("before")) {
		t.Fatalf("a message at its limit: %v", err)
	}
	if err := ReadFrame(bufio.NewReader(bytes.NewReader(frame[6:])), MaxJoinFrame, new(joinpb.JoinRequest)); err != nil {
		t.Errorf("reading it: %v", err)
	}
	fits.Csr = append(fits.Csr, 0)
	frame, err = AppendFrame([]byte("before"), fits)
	if !errors.Is(err, ErrFrameTooLarge) || string(frame) != "before" {
		t.Errorf("a message above its limit: %d bytes, %v", len(frame), err)
	}
	if err := WriteFrame(new(bytes.Buffer), fits); !errors.Is(err, ErrFrameTooLarge) {
		t.Errorf("writing it: %v", err)
	}
	if Limit(new(sqlpb.ServerFrame)) != MaxClientFrame || Limit(new(peerpb.PeerMessage)) != MaxPeerFrame {
		t.Error("a kind of message has another kind's limit")
	}
}

// TestFrameLiar proves that who claims a long frame and sends nothing makes the reader set aside next to nothing.
func TestFrameLiar(t *testing.T) {
	claim := binary.AppendUvarint(nil, MaxPeerFrame)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 20 {
		if _, err := ReadFrameBytes(bufio.NewReader(bytes.NewReader(claim)), MaxPeerFrame, nil); !errors.Is(err, ErrFrameTruncated) {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / 20; each > 3*readStep {
		t.Errorf("each claim of %d bytes cost %d", MaxPeerFrame, each)
	}
}

// FuzzReadFrame proves that no stream makes the reader panic, loop or hand out more than max bytes, and that both
// readers agree.
func FuzzReadFrame(f *testing.F) {
	frame, _ := AppendFrame(nil, executeFrame("select 1"))
	f.Add(frame)
	f.Add(append(frame, frame...))
	f.Add(frame[:5])
	f.Add([]byte{0x80, 0x80, 0x04})
	f.Fuzz(func(t *testing.T, stream []byte) {
		const max = 1 << 16
		typed, raw := bufio.NewReaderSize(bytes.NewReader(stream), 64), bufio.NewReader(bytes.NewReader(stream))
		for {
			var m, again sqlpb.ClientFrame
			body, rawErr := ReadFrameBytes(raw, max, nil)
			if len(body) > max {
				t.Fatalf("a frame of %d bytes", len(body))
			}
			err := ReadFrame(typed, max, &m)
			if rawErr == nil && err != nil && !errors.Is(err, ErrFrame) || rawErr != nil && fmt.Sprint(err) != fmt.Sprint(rawErr) {
				t.Fatalf("%v and %v", err, rawErr)
			}
			if err != nil {
				return
			}
			encoded, err := AppendFrame(nil, &m)
			if err != nil {
				t.Fatal(err)
			}
			if err := ReadFrame(bufio.NewReader(bytes.NewReader(encoded)), MaxClientFrame, &again); err != nil || !proto.Equal(&m, &again) {
				t.Fatalf("a frame changed when it was sent on: %v", err)
			}
		}
	})
}
