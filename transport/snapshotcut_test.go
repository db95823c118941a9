package transport

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
	"github.com/rsqld/rsqld/snapshot"
	"github.com/rsqld/rsqld/transport/wire"
	"github.com/rsqld/rsqld/transport/wire/peerpb"
)

var errCut = errors.New("the stream is cut")

// wireOf is the two directions of a stream, one of which is cut after some bytes, and the other with it.
type wireOf struct {
	mu      sync.Mutex
	moved   sync.Cond
	ends    [2]bytes.Buffer // what is on its way, by who reads it
	through [2]int          // bytes that went into each
	limit   [2]int          // at which it is cut, negative never
	frames  [2][]int        // where the frames ended
	ctx     context.Context
	cut     context.CancelCauseFunc
}

func newWire(t *testing.T, direction, limit int) *wireOf {
	w := &wireOf{limit: [2]int{-1, -1}}
	w.moved.L = &w.mu
	w.limit[direction] = limit
	w.ctx, w.cut = context.WithCancelCause(t.Context())
	context.AfterFunc(w.ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.moved.Broadcast()
	})
	return w
}

// cutStream is one end: it reads ends[end] and writes the other.
type cutStream struct {
	*wireOf
	end int
	in  *bufio.Reader
}

func (w *wireOf) stream(end int) *cutStream {
	s := &cutStream{wireOf: w, end: end}
	s.in = bufio.NewReader(s)
	return s
}

func (s *cutStream) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.ends[s.end].Len() == 0 && s.ctx.Err() == nil {
		s.moved.Wait()
	}
	if s.ends[s.end].Len() == 0 {
		return 0, context.Cause(s.ctx)
	}
	return s.ends[s.end].Read(b)
}

func (s *cutStream) Send(m proto.Message) error {
	frame, err := wire.AppendFrame(nil, m)
	if err != nil {
		return err
	}
	to := 1 - s.end
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	if limit := s.limit[to]; limit >= 0 && s.through[to]+len(frame) > limit {
		s.ends[to].Write(frame[:limit-s.through[to]])
		s.cut(errCut)
		return errCut
	}
	s.ends[to].Write(frame)
	s.through[to] += len(frame)
	s.frames[to] = append(s.frames[to], s.through[to])
	s.moved.Broadcast()
	return nil
}

func (s *cutStream) recv(m proto.Message, limit int) error {
	frame, err := wire.ReadFrameBytes(s.in, limit, nil)
	if err != nil {
		return err
	}
	return proto.Unmarshal(frame, m)
}

func (s *cutStream) Context() context.Context       { return s.ctx }
func (s *cutStream) Flush() error                   { return nil }
func (s *cutStream) CloseWrite() error              { return nil }
func (s *cutStream) awaitFirst(time.Duration) error { return nil }

// arriving is the sink of a snapshot that is installed by a rename.
type arriving struct {
	*snapshot.Incoming
	place string
}

func (a arriving) Prepare(ctx context.Context) error { return a.Recall(ctx) }
func (a arriving) Install() error                    { return errors.Join(a.Finish(), a.MoveTo(a.place)) }

// bringOver sends an image to arrivals over a wire, and returns what travelled and both ends' errors.
func bringOver(t *testing.T, w *wireOf, image *snapshot.Image, arrivals *snapshot.Arrivals, place string) (SnapshotTally, error, error) {
	t.Helper()
	sender := snapshotSender{limits: Limits{}.withDefaults(), timer: time.AfterFunc(patience, func() { w.cut(errStalled) }), source: image.Source(), sum: new(tallies)}
	defer sender.timer.Stop()
	var received error
	var group sync.WaitGroup
	group.Go(func() {
		s := w.stream(1)
		if received = s.recv(new(peerpb.SnapshotManifest), maxManifest); received != nil {
			return
		}
		in, err := arrivals.Receive(*image.Manifest())
		if err != nil {
			received = err
			return
		}
		receiver := snapshotReceiver{stall: patience, stream: s, sink: arriving{in, place}}
		received = errors.Join(receiver.receive(), in.Close())
		if received != nil {
			w.cut(errCut)
			return
		}
		if err := s.Send(&peerpb.SnapshotReceipt{Installed: true}); err != nil && !errors.Is(err, errCut) {
			received = err
		}
	})
	err := sender.send(w.stream(0), &peerpb.SnapshotManifest{Size: 1, Hashes: make([]byte, 96)})
	if err != nil {
		w.cut(errCut)
	}
	group.Wait()
	w.cut(errCut)
	return sender.tally, err, received
}

// twoImages takes images of a database of somewhat more than two chunks, the second after one row was changed.
func twoImages(t *testing.T) (images [2]*snapshot.Image) {
	t.Helper()
	conn, err := sqlite.Open(filepath.Join(t.TempDir(), "main.sqlite"), sqlite.WriterOptions(sqlite.NewClock()))
	if err != nil {
		t.Fatal(err)
	}
	for i, sql := range []string{
		"create table t(id integer primary key, b); insert into t with recursive n(i) as (select 1 union all select i + 1 from n where i < 800) select i, iif(i < 600, randomblob(3000), zeroblob(3000)) from n",
		"update t set b = randomblob(3000) where id = 500",
	} {
		if err := conn.Exec(sql); err != nil {
			t.Fatal(err)
		}
		images[i], err = snapshot.Take(t.Context(), conn, t.TempDir(), [16]byte{}, func() (raft.Base, error) {
			return raft.Base{Applied: raft.EntryID{Term: 1, Index: raft.Index(10 + i)}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := errors.Join(images[0].Close(), images[1].Close(), conn.Close()); err != nil {
			t.Error(err)
		}
	})
	return images
}

// Wherever a stream is cut, in either direction, the next way brings what is missing and no more: by the same sender or by
// another one that is further, to the same process or to one that was started since. What is installed is exact.
func TestSnapshotIsCutAnywhere(t *testing.T) {
	images := twoImages(t)
	whole := newWire(t, 0, -1)
	dir := t.TempDir()
	arrivals := openArrivals(t, dir)
	if _, err, received := bringOver(t, whole, images[0], arrivals, filepath.Join(dir, "installed")); err != nil || received != nil {
		t.Fatalf("without a cut: %v, %v", err, received)
	}
	if len(whole.frames[1]) != 5 || len(whole.frames[0]) != 2 {
		t.Fatalf("frames end at %v", whole.frames)
	}
	chance := rand.New(rand.NewPCG(1, 2))
	for direction, frames := range whole.frames {
		var cuts []int
		begin := 0
		for _, end := range frames {
			cuts = append(cuts, begin, begin+1, (begin+end)/2, end-1)
			begin = end
		}
		for range 6 {
			cuts = append(cuts, chance.IntN(begin))
		}
		for i, cut := range cuts {
			cutOnce(t, images, direction, cut, i%2 == 0, i/2%2 == 0)
		}
	}
}

func openArrivals(t *testing.T, dir string) *snapshot.Arrivals {
	t.Helper()
	arrivals, err := snapshot.OpenArrivals(wal.OS(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return arrivals
}

func cutOnce(t *testing.T, images [2]*snapshot.Image, direction, cut int, restart, another bool) {
	t.Helper()
	dir := t.TempDir()
	arrivals, place := openArrivals(t, dir), filepath.Join(dir, "installed")
	w := newWire(t, direction, cut)
	first, err, _ := bringOver(t, w, images[0], arrivals, place)
	if err == nil {
		t.Fatalf("direction %d, cut at %d: the sender did not notice", direction, cut)
	}
	image := images[0]
	if _, err := os.Stat(place); err == nil { // only the receipt was lost
		checkInstalled(t, image, place)
		return
	}
	if restart {
		arrivals = openArrivals(t, dir)
	}
	changed := int64(0)
	if another {
		image, changed = images[1], 3*4096
	}
	second, err, received := bringOver(t, newWire(t, 0, -1), image, arrivals, place)
	if err != nil || received != nil {
		t.Fatalf("direction %d, cut at %d: %v, %v", direction, cut, err, received)
	}
	if sent := first.Content + second.Content; sent > image.Meta().Size+changed {
		t.Errorf("direction %d, cut at %d: %d and %d bytes were sent of %d", direction, cut, first.Content, second.Content, image.Meta().Size)
	}
	checkInstalled(t, image, place)
}

func checkInstalled(t *testing.T, image *snapshot.Image, place string) {
	t.Helper()
	got, err := os.ReadFile(place)
	if err != nil {
		t.Fatal(err)
	}
	want, err := io.ReadAll(io.NewSectionReader(image, 0, image.Meta().Size))
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%v: what is installed has %d bytes, the image %d", err, len(got), len(want))
	}
	if names, err := filepath.Glob(filepath.Join(filepath.Dir(place), "incoming-*")); err != nil || len(names) != 0 {
		t.Errorf("%v: left behind %v", err, names)
	}
}

// What shrinks is compressed, what does not goes as it is, and both arrive. Nothing that a peer sends makes the receiver
// use more memory than a chunk has.
func TestSnapshotPack(t *testing.T) {
	p, err := newPacker()
	if err != nil {
		t.Fatal(err)
	}
	u, err := newUnpacker()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		u.close()
		if err := p.close(); err != nil {
			t.Error(err)
		}
	}()
	noise := make([]byte, maxContent)
	for i, source := 0, rand.NewPCG(1, 1); i < len(noise); i++ {
		noise[i] = byte(source.Uint64())
	}
	for name, content := range map[string][]byte{"noise": noise, "text": bytes.Repeat([]byte("text "), maxContent/5), "nothing": nil, "a byte": {7}} {
		chunk := &peerpb.SnapshotChunk{Content: content}
		p.pack(chunk)
		if packed := chunk.Unpacked != 0; packed != (name == "text") || packed && len(chunk.Content) > 1000 {
			t.Errorf("%s: %d bytes of %d", name, len(chunk.Content), len(content))
		}
		if got, err := u.unpack(chunk); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	bomb := &peerpb.SnapshotChunk{Content: p.encoder.EncodeAll(make([]byte, 64<<20), nil)}
	for _, unpacked := range []uint32{1, maxContent, maxContent + 1, 64 << 20, 1<<32 - 1} {
		bomb.Unpacked = unpacked
		if got, err := u.unpack(bomb); !errors.Is(err, errPacked) {
			t.Errorf("a bomb that claims %d bytes: %d bytes, %v", unpacked, len(got), err)
		}
	}
}

// FuzzSnapshotUnpack proves: no content of a chunk makes more than an error or the bytes that it claims.
func FuzzSnapshotUnpack(f *testing.F) {
	p, err := newPacker()
	if err != nil {
		f.Fatal(err)
	}
	packed := p.encoder.EncodeAll(bytes.Repeat([]byte("seed"), 100), nil)
	if err := p.close(); err != nil {
		f.Fatal(err)
	}
	f.Add(packed, uint32(400))
	f.Add(packed, uint32(399))
	f.Add(packed[:len(packed)-1], uint32(400))
	f.Add(slices.Concat(packed, packed), uint32(800))
	f.Add([]byte{}, uint32(1<<31))
	f.Fuzz(func(t *testing.T, content []byte, unpacked uint32) {
		u, err := newUnpacker()
		if err != nil {
			t.Fatal(err)
		}
		defer u.close()
		got, err := u.unpack(&peerpb.SnapshotChunk{Content: content, Unpacked: unpacked})
		if err == nil && unpacked != 0 && len(got) != int(unpacked) {
			t.Errorf("%d bytes instead of %d", len(got), unpacked)
		}
		if err != nil && !errors.Is(err, errPacked) {
			t.Error(err)
		}
	})
}
