package transport

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/quic-go/quic-go"

	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// book is what several streams wrote, in order.
type book struct {
	mu    sync.Mutex
	lines []string
}

func (b *book) add(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, line)
}

func (b *book) take() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := strings.Join(b.lines, " ")
	b.lines = nil
	return text
}

// scribe is a stream that writes into a book. While full it has no room, and Write waits until it is opened.
type scribe struct {
	book   *book
	full   bool
	opened chan struct{}
	err    error
}

func (s *scribe) TryWriteAll(p []byte) error {
	if s.full {
		return quic.ErrWouldBlock
	}
	_, err := s.Write(p)
	return err
}

func (s *scribe) Write(p []byte) (int, error) {
	if s.opened != nil {
		<-s.opened
	}
	if s.err != nil {
		return 0, s.err
	}
	s.book.add(string(p))
	return len(p), nil
}

// Who adds while another is about to write does not write, and the one writes for all in the order in which they added.
func TestFlusherWritesForAll(t *testing.T) {
	var f flusher
	var b book
	one, two := &lane{to: &scribe{book: &b}}, &lane{to: &scribe{book: &b}}
	got := []bool{f.add(one, []byte("a")), f.add(two, []byte("b")), f.add(one, []byte("c"))}
	if !slices.Equal(got, []bool{true, false, false}) {
		t.Errorf("to write are %v, want the first alone", got)
	}
	if got := b.take(); got != "" {
		t.Errorf("%q was written by those who add", got)
	}
	f.write()
	if got := b.take(); got != "a b c" {
		t.Errorf("wrote %q, want all in order", got)
	}
	f.flush(two, []byte("d"))
	if got := b.take(); got != "d" {
		t.Errorf("a flush alone wrote %q, want its own frames", got)
	}
	if f.add(one, make([]byte, flushBytes-1)); !f.add(two, []byte("e")) {
		t.Error("nobody else is to write, however much was added")
	}
}

// A stream without room holds up no other; its own frames keep their order, and its next flush waits for them.
func TestFlusherHoldsWhatHasNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flusher
		var b book
		full := &scribe{book: &b, full: true, opened: make(chan struct{})}
		one, two := &lane{to: full}, &lane{to: &scribe{book: &b}}
		for i, text := range []string{"a", "b", "x", "c"} {
			f.add([]*lane{one, one, two, one}[i], []byte(text))
		}
		f.write()
		synctest.Wait()
		if got := b.take(); got != "x" {
			t.Errorf("wrote %q, want what the other stream flushed", got)
		}
		var waiting sync.WaitGroup
		waiting.Go(func() { f.flush(one, []byte("d")) })
		waiting.Go(func() { f.settle(one) })
		synctest.Wait()
		f.flush(two, []byte("y"))
		if got := b.take(); got != "y" {
			t.Errorf("wrote %q while one stream waits, want what the other flushed", got)
		}
		full.full = false
		close(full.opened)
		waiting.Wait()
		if got := b.take(); got != "a b c d" {
			t.Errorf("wrote %q, want the order of the flushes", got)
		}
	})
}

// A stream hears of the failure of what was written for it, whether it was held or not.
func TestFlusherTellsOfFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		for _, full := range []bool{false, true} {
			var f flusher
			failures := make(chan error, 1)
			l := &lane{to: &scribe{full: full, err: broken}, failed: func(err error) { failures <- err }}
			f.flush(l, []byte("a"))
			if got := <-failures; got != broken {
				t.Errorf("heard of %v", got)
			}
		}
	})
}

// What was flushed arrives although the stream is closed before anybody wrote it.
func TestCloseWritesWhatWasFlushed(t *testing.T) {
	heard := make(chan uint64, 1)
	n := newRealm(t)
	c := n.client(n.start(1, serving(func(_ context.Context, s *Session) {
		var frame sqlpb.ClientFrame
		if s.Recv(&frame) == nil {
			heard <- frame.GetPing().GetId()
		}
	})))
	s := c.open(t)
	if err := s.Send(ping(7)); err != nil {
		t.Fatal(err)
	}
	s.flusher.add(&s.lane, s.out)
	s.Close()
	select {
	case got := <-heard:
		if got != 7 {
			t.Errorf("got ping %d, want 7", got)
		}
	case <-timeout(t).Done():
		t.Error("what was flushed did not arrive")
	}
}
