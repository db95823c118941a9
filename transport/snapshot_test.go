package transport

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire/peerpb"
)

// chunks is the source of a snapshot: its number times a thousand bytes each. fail is what the chunk of that number gives.
type chunks struct {
	count int
	fail  map[int]error
	// gate, if not nil, is what the second chunk waits for.
	gate chan struct{}
}

func (c chunks) Chunk(number int, _ []byte) (blocks, content []byte, err error) {
	if number == 1 && c.gate != nil {
		<-c.gate
	}
	return nil, bytes.Repeat([]byte{byte(number)}, 1000), c.fail[number]
}

// sink notes what comes.
type sink struct {
	mu      sync.Mutex
	lacks   []int
	got     []int
	refuse  map[int]error
	install func() error
	// ended is closed by Close.
	ended chan struct{}
}

func newSink(lacks ...int) *sink {
	return &sink{lacks: lacks, install: func() error { return nil }, ended: make(chan struct{})}
}

func (s *sink) Lacks() []int { return s.lacks }

func (s *sink) Prepare(context.Context) error { return nil }

func (s *sink) Outline(_ int, outline []byte) ([]byte, error) { return outline, nil }

func (s *sink) Put(_ context.Context, number int, _, content []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(content) != 1000 || content[999] != byte(number) {
		return errors.New("wrong content")
	}
	s.got = append(s.got, number)
	return s.refuse[number]
}

func (s *sink) Install() error { return s.install() }

func (s *sink) Close() error {
	close(s.ended)
	return nil
}

func (s *sink) wait(t testing.TB) {
	t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		t.Fatal("the sink was not closed")
	}
}

// pair is two nodes, of which the second gives its snapshots to what open returns.
func pair(t testing.TB, open func(*peerpb.SnapshotManifest) (SnapshotSink, error), changes ...func(*Config)) (from, to *node) {
	t.Helper()
	r := newRealm(t)
	from = r.start(1, changes...)
	to = r.start(2, append(changes, func(c *Config) {
		c.OnSnapshot = func(peer raft.ID, manifest *peerpb.SnapshotManifest) (SnapshotSink, error) {
			if peer != 1 {
				t.Errorf("a snapshot from node %d", peer)
			}
			return open(manifest)
		}
	})...)
	meet(t, from, to)
	return from, to
}

// A peer gets the chunks that it lacks and no others, and the sender hears when they are installed.
func TestSnapshotTravels(t *testing.T) {
	s := newSink(0, 2, 5, 6)
	installed := false
	s.install = func() error { installed = true; return nil }
	from, _ := pair(t, func(m *peerpb.SnapshotManifest) (SnapshotSink, error) {
		if m.Applied.GetIndex() != 70 || m.Size != 7000 {
			t.Errorf("manifest %v", m)
		}
		return s, nil
	})
	manifest := &peerpb.SnapshotManifest{Applied: &peerpb.EntryID{Term: 3, Index: 70}, Size: 7000}
	tally, err := from.SendSnapshot(t.Context(), 2, manifest, chunks{count: 7})
	if err != nil || tally.Chunks != 4 || tally.Content != 4000 || tally.Wire == 0 || tally.Wire > 400 {
		t.Fatalf("%v, sent %+v", err, tally)
	}
	if c := from.Counters(); c.Snapshots != tally {
		t.Errorf("counters %+v", c)
	}
	s.wait(t)
	if !installed || len(s.got) != 4 || s.got[3] != 6 {
		t.Errorf("installed: %v, got %v", installed, s.got)
	}
}

// Whatever the receiver has against a snapshot, the sender is told; that it needs none is no failure.
func TestSnapshotRefused(t *testing.T) {
	why := errors.New("not today")
	failing := newSink(0, 1, 2)
	failing.refuse = map[int]error{1: why}
	broken := newSink(0)
	broken.install = func() error { return why }
	answers := []struct {
		sink SnapshotSink
		err  error
	}{{nil, why}, {nil, nil}, {failing, nil}, {broken, nil}}
	from, to := pair(t, func(*peerpb.SnapshotManifest) (SnapshotSink, error) {
		answer := answers[0]
		answers = answers[1:]
		return answer.sink, answer.err
	})
	for i, name := range []string{"refused", "not needed", "a wrong chunk", "not installed"} {
		_, err := from.SendSnapshot(t.Context(), 2, &peerpb.SnapshotManifest{}, chunks{count: 3})
		if name == "not needed" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		} else if !errors.Is(err, ErrSnapshotRefused) || !strings.Contains(err.Error(), "not today") {
			t.Errorf("%d, %s: %v", i, name, err)
		}
	}
	if _, err := to.SendSnapshot(t.Context(), 1, &peerpb.SnapshotManifest{}, chunks{}); !errors.Is(err, ErrSnapshotRefused) {
		t.Errorf("to a node that takes none: %v", err)
	}
	if _, err := to.SendSnapshot(t.Context(), 9, &peerpb.SnapshotManifest{}, chunks{}); !errors.Is(err, ErrNotConnected) {
		t.Errorf("to nobody: %v", err)
	}
}

// A way on which nothing moves is given up at both ends, and so is one whose sender cannot read, or whose caller has
// enough: the receiver's sink is always closed.
func TestSnapshotBreaksOff(t *testing.T) {
	sinks := make(chan *sink, 8)
	from, to := pair(t, func(*peerpb.SnapshotManifest) (SnapshotSink, error) {
		s := newSink(0, 1, 2)
		sinks <- s
		return s, nil
	}, func(c *Config) { c.Limits.SnapshotStall = 200 * time.Millisecond })
	gate := make(chan struct{})
	defer close(gate)
	unreadable := errors.New("cannot be read")
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	for name, send := range map[string]func() (SnapshotTally, error){
		"unreadable": func() (SnapshotTally, error) {
			return from.SendSnapshot(t.Context(), 2, &peerpb.SnapshotManifest{}, chunks{count: 3, fail: map[int]error{2: unreadable}})
		},
		"cancelled": func() (SnapshotTally, error) {
			slow := newSlowChunks(func() { cancel(enough) })
			return from.SendSnapshot(ctx, 2, &peerpb.SnapshotManifest{}, slow)
		},
	} {
		_, err := send()
		if !errors.Is(err, unreadable) && !errors.Is(err, enough) {
			t.Errorf("%s: %v", name, err)
		}
		(<-sinks).wait(t)
	}
	stalled := make(chan error, 1)
	go func() {
		_, err := from.SendSnapshot(t.Context(), 2, &peerpb.SnapshotManifest{}, chunks{count: 3, gate: gate})
		stalled <- err
	}()
	(<-sinks).wait(t) // the receiver gives up while the sender still reads
	gate <- struct{}{}
	if err := <-stalled; err == nil {
		t.Error("a snapshot that stalled counts as installed")
	}
	if n := to.Counters().Disconnected; n != 0 {
		t.Errorf("%d connections were closed, with all that else goes over them", n)
	}
}

// slowChunks calls a function before its second chunk.
type slowChunks struct {
	chunks
	before func()
}

func newSlowChunks(before func()) slowChunks { return slowChunks{chunks{count: 3}, before} }

func (s slowChunks) Chunk(number int, outline []byte) (blocks, content []byte, err error) {
	if number == 1 {
		s.before()
	}
	return s.chunks.Chunk(number, outline)
}
