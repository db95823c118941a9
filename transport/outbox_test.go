package transport

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/quic-go/quic-go"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire"
)

// gate is a stream whose flow control the test is.
type gate struct {
	mu      sync.Mutex
	open    *sync.Cond
	room    bool
	written bytes.Buffer
	direct  int // calls of TryWriteAll that succeeded
	blocked int // goroutines in Write
}

func newGate() *gate {
	g := new(gate)
	g.open = sync.NewCond(&g.mu)
	return g
}

func (g *gate) set(room bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.room = room
	g.open.Broadcast()
}

func (g *gate) TryWriteAll(p []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.room {
		return quic.ErrWouldBlock
	}
	g.direct++
	g.written.Write(p)
	return nil
}

func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.blocked++
	for !g.room {
		g.open.Wait()
	}
	g.blocked--
	return g.written.Write(p)
}

func (g *gate) isBlocked() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.blocked > 0
}

// openOutbox runs an outbox on g until the end of the test.
func openOutbox(t *testing.T, g *gate, limits Limits) *outbox {
	t.Helper()
	o := newOutbox(limits.withDefaults(), g)
	o.encode = func(dst []byte, m raft.Message) ([]byte, error) {
		return wire.AppendPeerFrame(dst, [16]byte{1}, 1, 1, m)
	}
	o.sent = func(int) {}
	o.dropped = func(err error) { t.Errorf("dropped: %v", err) }
	var group sync.WaitGroup
	group.Go(func() {
		if err := o.run(); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(func() { g.set(true); o.close(); group.Wait() })
	return o
}

func numbered(i raft.Index, size int) raft.Append {
	return raft.Append{Envelope: raft.Envelope{From: 1, To: 2, Term: 1}, Prev: raft.EntryID{Term: 1, Index: i},
		Entries: []raft.Entry{{ID: raft.EntryID{Term: 1, Index: i + 1}, Data: make([]byte, size)}}}
}

// contents decodes what was written.
func (g *gate) contents(t *testing.T) (indexes []raft.Index) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	in := bufio.NewReader(bytes.NewReader(g.written.Bytes()))
	for {
		frame, err := wire.ReadFrameBytes(in, wire.MaxPeerFrame, nil)
		if err == io.EOF {
			return indexes
		}
		if err != nil {
			t.Fatal(err)
		}
		envelope, err := wire.DecodePeer(frame)
		if err != nil {
			t.Fatal(err)
		}
		indexes = append(indexes, envelope.Message.(raft.Append).Prev.Index)
	}
}

// A small message goes to the stream without another goroutine; a large one does not, and what follows it waits for it.
func TestOutboxDirect(t *testing.T) {
	g := newGate()
	g.set(true)
	o := openOutbox(t, g, Limits{})
	if _, err := o.post(numbered(1, 10)); err != nil {
		t.Fatal(err)
	}
	if g.direct != 1 || len(g.contents(t)) != 1 {
		t.Errorf("%d messages went directly", g.direct)
	}
	g.set(false)
	if _, err := o.post(numbered(2, 2*directBytes)); err != nil {
		t.Fatal(err)
	}
	await(t, "the large message to block", g.isBlocked)
	g.mu.Lock()
	g.room = true // a small message would fit now, and must not overtake
	g.mu.Unlock()
	if _, err := o.post(numbered(3, 10)); err != nil {
		t.Fatal(err)
	}
	g.set(true)
	await(t, "all messages", func() bool { return len(g.contents(t)) == 3 })
	for i, index := range g.contents(t) {
		if index != raft.Index(i+1) {
			t.Errorf("message %d is at place %d", index, i+1)
		}
	}
	if g.direct != 1 {
		t.Errorf("%d messages went directly", g.direct)
	}
}

// A full queue drops, says so once, keeps its order, and takes messages again when it has drained. An empty queue takes a
// message of any size.
func TestOutboxFull(t *testing.T) {
	for name, limits := range map[string]Limits{
		"messages": {QueueMessages: 4},
		"bytes":    {QueueBytes: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate()
			o := openOutbox(t, g, limits)
			if first, err := o.post(numbered(1, 5000)); first || err != nil {
				t.Fatalf("the first message: %v, %v", first, err)
			}
			await(t, "the first message to block", g.isBlocked)
			firsts, accepted := 0, 1
			for i := range raft.Index(20) {
				switch first, err := o.post(numbered(i+2, 100)); {
				case err == nil && firsts == 0:
					accepted++
				case !errors.Is(err, errQueueFull):
					t.Fatalf("message %d: %v after a drop", i+2, err)
				case first:
					firsts++
				}
			}
			if firsts != 1 {
				t.Errorf("it said %d times that it is full", firsts)
			}
			g.set(true)
			await(t, "the queue to drain", func() bool { return len(g.contents(t)) == accepted })
			await(t, "room", func() bool { o.mu.Lock(); defer o.mu.Unlock(); return o.bytes == 0 && !o.busy })
			if _, err := o.post(numbered(99, 5000)); err != nil {
				t.Errorf("after the queue drained: %v", err)
			}
			await(t, "the last message", func() bool { return len(g.contents(t)) == accepted+1 })
			got := g.contents(t)
			for i, index := range got[:accepted] {
				if index != raft.Index(i+1) {
					t.Errorf("message %d is at place %d", index, i+1)
				}
			}
		})
	}
}

// After close everything is dropped.
func TestOutboxClosed(t *testing.T) {
	o := openOutbox(t, newGate(), Limits{})
	o.close()
	if _, err := o.post(numbered(1, 1)); !errors.Is(err, ErrNotConnected) {
		t.Errorf("got %v", err)
	}
}
