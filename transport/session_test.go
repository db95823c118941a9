package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

func ping(id uint64) *sqlpb.ClientFrame {
	return &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Ping{Ping: &sqlpb.Ping{Id: id}}}
}

func pong(id uint64) *sqlpb.ServerFrame {
	return &sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Pong{Pong: &sqlpb.Pong{Id: id}}}
}

// echo is an OnSession that answers pings until the client has sent its last.
func echo(_ context.Context, s *Session) {
	var frame sqlpb.ClientFrame
	for s.Recv(&frame) == nil {
		if s.Send(pong(frame.GetPing().GetId())) != nil || s.Flush() != nil {
			return
		}
	}
}

func serving(serve func(context.Context, *Session)) func(*Config) {
	return func(c *Config) { c.OnSession = serve }
}

func (s *Stream) say(t testing.TB, m proto.Message) {
	t.Helper()
	if err := s.Send(m); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
}

func (s *Stream) hear(t testing.TB) *sqlpb.ServerFrame {
	t.Helper()
	frame := new(sqlpb.ServerFrame)
	if err := s.Recv(frame); err != nil {
		t.Fatal(err)
	}
	return frame
}

func awaitEnd(t testing.TB, ctx context.Context) error {
	t.Helper()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(patience):
		t.Fatal("the context does not end")
		return nil
	}
}

// A session gets the client's frames, its name and address, and the client gets the answers.
func TestSession(t *testing.T) {
	r := newRealm(t)
	served := make(chan *Session, 1)
	n := r.start(1, serving(func(ctx context.Context, s *Session) { served <- s; echo(ctx, s) }))
	c := r.client(n)
	s := c.open(t)
	for id := range uint64(3) {
		s.say(t, ping(id))
		if got := s.hear(t).GetPong().GetId(); got != id {
			t.Errorf("got pong %d, want %d", got, id)
		}
	}
	session := <-served
	if want := (identity.Principal{Name: "ann", Role: identity.RoleWrite}); session.Principal != want || session.Peer != 0 {
		t.Errorf("the session is of %+v, relayed by %d", session.Principal, session.Peer)
	}
	if session.Remote.String() != c.socket.LocalAddr().String() {
		t.Errorf("the session comes from %v, want %v", session.Remote, c.socket.LocalAddr())
	}
	if id, err := c.Node(); err != nil || id != 1 {
		t.Errorf("the client is connected with node %d, %v", id, err)
	}
	if counted := n.Counters(); counted.Sessions != 1 || counted.Connections != 1 {
		t.Errorf("counted %+v", counted)
	}
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := s.Recv(new(sqlpb.ServerFrame)); err != io.EOF {
		t.Errorf("after the last answer: %v, want EOF", err)
	}
	await(t, "the session to be counted out", func() bool { return n.Counters().Sessions == 0 })
}

// What a session says last reaches the client although the session ends at once, however much it is.
func TestLastWordsArrive(t *testing.T) {
	r := newRealm(t)
	text := strings.Repeat("why ", 60_000)
	n := r.start(1, serving(func(_ context.Context, s *Session) {
		s.Recv(new(sqlpb.ClientFrame))
		s.Send(failure(sqlpb.Class_CLASS_DENIED, sqlpb.Retry_RETRY_NEVER, text))
	}))
	s := r.client(n).open(t)
	s.say(t, ping(1))
	if got := s.hear(t).GetError().GetMessage(); got != text {
		t.Errorf("got %d bytes of last words, want %d", len(got), len(text))
	}
	if err := s.Recv(new(sqlpb.ServerFrame)); err != io.EOF {
		t.Errorf("after them: %v, want EOF", err)
	}
}

// The context of a session ends when the client closes its stream, when it cancels it, when it closes its connection,
// and when the node closes; a client that has only sent its last does not end it.
func TestSessionContextEnds(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(*node, *ClientConn, *Stream)
		want error
	}{
		"the client closes the stream":     {func(_ *node, _ *ClientConn, s *Stream) { s.Close() }, ErrCancelled},
		"the client cancels the stream":    {func(_ *node, _ *ClientConn, s *Stream) { s.Cancel(77) }, ErrCancelled},
		"the client closes the connection": {func(_ *node, c *ClientConn, _ *Stream) { c.Close() }, ErrLost},
		"the node closes":                  {func(n *node, _ *ClientConn, _ *Stream) { n.close() }, ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRealm(t)
			causes := make(chan error, 1)
			n := r.start(1, serving(func(ctx context.Context, s *Session) {
				s.Recv(new(sqlpb.ClientFrame))
				s.say(t, pong(1))
				<-ctx.Done()
				causes <- context.Cause(ctx)
			}))
			c := r.client(n)
			s := c.open(t)
			s.say(t, ping(1))
			s.hear(t)
			test.end(n, c, s)
			select {
			case cause := <-causes:
				if !errors.Is(cause, test.want) {
					t.Errorf("the cause is %v, want %v", cause, test.want)
				}
			case <-time.After(patience):
				t.Fatal("the context does not end")
			}
		})
	}
}

// CloseWrite by the client leaves the session's context alone; the session can still answer.
func TestHalfClose(t *testing.T) {
	r := newRealm(t)
	n := r.start(1, serving(func(ctx context.Context, s *Session) {
		frame := new(sqlpb.ClientFrame)
		for s.Recv(frame) == nil {
		}
		if ctx.Err() != nil {
			t.Errorf("the context has ended: %v", context.Cause(ctx))
		}
		s.Send(pong(frame.GetPing().GetId()))
	}))
	s := r.client(n).open(t)
	if err := s.Send(ping(9)); err != nil {
		t.Fatal(err)
	}
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := s.hear(t).GetPong().GetId(); got != 9 {
		t.Errorf("got pong %d, want 9", got)
	}
	if err := s.Context().Err(); err != nil {
		t.Errorf("the client's context has ended: %v", err)
	}
}

// A client that is answered before it has closed its half, or read only in part, still gets the answer.
func TestAnswerBeforeEnd(t *testing.T) {
	r := newRealm(t)
	n := r.start(1, serving(func(_ context.Context, s *Session) {
		if s.Recv(new(sqlpb.ClientFrame)) == nil {
			s.Send(pong(1))
		}
	}))
	s := r.client(n).open(t)
	s.say(t, ping(1))
	awaitEnd(t, s.Context()) // the session is over, and has closed both halves
	if err := s.CloseWrite(); err != nil {
		t.Errorf("CloseWrite: %v", err)
	}
	if got := s.hear(t).GetPong().GetId(); got != 1 {
		t.Errorf("got pong %d, want 1", got)
	}
}

// A session that is blocked in Recv when the node closes can still say why it ends, and the client hears it.
func TestNodeClosesWithLastWords(t *testing.T) {
	r := newRealm(t)
	n := r.start(1, serving(func(ctx context.Context, s *Session) {
		s.Recv(new(sqlpb.ClientFrame))
		s.say(t, pong(1))
		if err := s.Recv(new(sqlpb.ClientFrame)); !errors.Is(err, ErrClosed) || ctx.Err() == nil {
			t.Errorf("Recv returned %v with the context at %v", err, ctx.Err())
		}
		s.Send(failure(sqlpb.Class_CLASS_SHUTTING_DOWN, sqlpb.Retry_RETRY_SAME, "bye"))
	}))
	s := r.client(n).open(t)
	s.say(t, ping(1))
	s.hear(t)
	closed := make(chan struct{})
	go func() { n.close(); close(closed) }()
	if got := s.hear(t).GetError().GetMessage(); got != "bye" {
		t.Errorf("the last word is %q", got)
	}
	<-closed
	if err := s.Recv(new(sqlpb.ServerFrame)); err == nil {
		t.Error("the stream goes on")
	}
	awaitEnd(t, s.Context())
}

// A session beyond the limit is told so, and the others go on.
func TestSessionLimit(t *testing.T) {
	r := newRealm(t)
	n := r.start(1, serving(echo), func(c *Config) { c.Limits.Sessions = 2 })
	c := r.client(n)
	first, second := c.open(t), c.open(t)
	for _, s := range []*Stream{first, second} {
		s.say(t, ping(1))
		s.hear(t)
	}
	third := c.open(t)
	third.say(t, ping(1))
	refused := third.hear(t).GetError()
	if want := "this node serves 2 sessions, which is its limit: close some, or use another node"; refused.GetMessage() != want ||
		refused.Class != sqlpb.Class_CLASS_BUSY || refused.Retry != sqlpb.Retry_RETRY_SAME {
		t.Errorf("got %v", refused)
	}
	first.say(t, ping(2))
	first.hear(t)
	second.Close()
	await(t, "a place", func() bool { return n.Counters().Sessions == 1 })
	fourth := c.open(t)
	fourth.say(t, ping(4))
	if got := fourth.hear(t).GetPong().GetId(); got != 4 {
		t.Errorf("got pong %d, want 4", got)
	}
	if got := n.Counters().TurnedAway; got != 1 {
		t.Errorf("%d were turned away, want 1", got)
	}
}

// A client beyond the limit of connections is told so.
func TestConnectionLimit(t *testing.T) {
	r := newRealm(t)
	n := r.start(1, serving(echo), func(c *Config) { c.Limits.Connections = 1 })
	s := r.client(n).open(t)
	s.say(t, ping(1))
	s.hear(t)
	refused := r.client(n)
	awaitEnd(t, refused.Context())
	if err := refused.Err(); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "1 connections of clients, which is its limit") {
		t.Errorf("the client hears %v", err)
	}
}

// A client that opens a stream and stops before its first frame is whole loses it; later frames may take their time.
func TestFirstFrameTimeout(t *testing.T) {
	r := newRealm(t)
	errs := make(chan error, 1)
	n := r.start(1, serving(func(_ context.Context, s *Session) { errs <- s.Recv(new(sqlpb.ClientFrame)) }),
		func(c *Config) { c.Limits.FirstFrame = 100 * time.Millisecond })
	s := r.client(n).open(t)
	if _, err := s.quic.Write([]byte{200}); err != nil {
		t.Fatal(err)
	}
	if err := <-errs; !errors.Is(err, ErrFirstFrame) {
		t.Errorf("the session's first Recv: %v", err)
	}
	if err := s.Recv(new(sqlpb.ServerFrame)); err != io.EOF {
		t.Errorf("the client's Recv: %v", err)
	}
}

// After its first frame a client may take its time.
func TestLaterFramesHaveNoDeadline(t *testing.T) {
	const within = 50 * time.Millisecond
	r := newRealm(t)
	n := r.start(1, serving(echo), func(c *Config) { c.Limits.FirstFrame = within })
	s := r.client(n).open(t)
	s.say(t, ping(1))
	s.hear(t)
	<-time.After(2 * within)
	s.say(t, ping(2))
	if got := s.hear(t).GetPong().GetId(); got != 2 {
		t.Errorf("got pong %d, want 2", got)
	}
}

// A stream that has sent its last still notices that its connection is lost, although nobody receives.
func TestHalfClosedStreamIsLost(t *testing.T) {
	r := newRealm(t)
	n := r.start(1, serving(func(ctx context.Context, _ *Session) { <-ctx.Done() }))
	c := r.client(n)
	s := c.open(t)
	s.say(t, ping(1))
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	await(t, "the session", func() bool { return n.Counters().Sessions == 1 })
	if err := s.Context().Err(); err != nil {
		t.Fatalf("the context has ended: %v", context.Cause(s.Context()))
	}
	n.close()
	if cause := awaitEnd(t, s.Context()); !errors.Is(cause, ErrLost) {
		t.Errorf("the cause is %v", cause)
	}
}

// A frame above the limit is refused by the sender, and by the receiver of one that claims it before it is read.
func TestOversizedFrames(t *testing.T) {
	r := newRealm(t)
	errs := make(chan error, 1)
	n := r.start(1, serving(func(_ context.Context, s *Session) { errs <- s.Recv(new(sqlpb.ClientFrame)) }))
	s := r.client(n).open(t)
	huge := &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Execute{Execute: &sqlpb.Execute{
		Statements: []*sqlpb.Statement{{Sql: strings.Repeat("x", wire.MaxClientFrame)}}}}}
	if err := s.Send(huge); !errors.Is(err, wire.ErrFrameTooLarge) {
		t.Errorf("sending: %v", err)
	}
	if _, err := s.quic.Write([]byte{0xff, 0xff, 0xff, 0xff, 0x7f}); err != nil {
		t.Fatal(err)
	}
	if err := <-errs; !errors.Is(err, wire.ErrFrameTooLarge) {
		t.Errorf("receiving: %v", err)
	}
}

// A frame that is no message is an error that names both.
func TestGarbageFrame(t *testing.T) {
	r := newRealm(t)
	errs := make(chan error, 1)
	n := r.start(1, serving(func(_ context.Context, s *Session) { errs <- s.Recv(new(sqlpb.ClientFrame)) }))
	s := r.client(n).open(t)
	if _, err := s.quic.Write([]byte{3, 0xff, 0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	if err := <-errs; !errors.Is(err, wire.ErrFrame) || !strings.Contains(err.Error(), "3 bytes that are no ClientFrame") {
		t.Errorf("receiving: %v", err)
	}
}

// A client that does not read holds up its own session only, on the same connection too.
func TestSlowReaderBlocksOnlyItself(t *testing.T) {
	r := newRealm(t)
	blocked := make(chan struct{})
	const window = 512 << 10 // what QUIC takes without anybody reading
	rows := &sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Rows{Rows: &sqlpb.Rows{Packed: bytes.Repeat([]byte("r"), 64<<10)}}}
	n := r.start(1, serving(func(ctx context.Context, s *Session) {
		var frame sqlpb.ClientFrame
		if s.Recv(&frame) != nil || frame.GetPing().GetId() != 0 {
			s.say(t, pong(1))
			echo(ctx, s)
			return
		}
		for sent := 0; s.Send(rows) == nil; sent++ {
			if sent == window/(64<<10)-2 { // the next but one cannot leave before the client reads
				close(blocked)
			}
		}
	}))
	c := r.client(n)
	slow := c.open(t)
	slow.say(t, ping(0))
	<-blocked
	for _, conn := range []*ClientConn{c, r.client(n)} {
		s := conn.open(t)
		s.say(t, ping(1))
		s.hear(t)
	}
	slow.Close()
	await(t, "the blocked session to end", func() bool { return n.Counters().Sessions == 2 })
}

// Close breaks off a Send that is blocked, and a Recv, from another goroutine.
func TestCloseBreaksOff(t *testing.T) {
	r := newRealm(t)
	n := r.start(1, serving(func(ctx context.Context, s *Session) { <-ctx.Done() }))
	s := r.client(n).open(t)
	frame := &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Execute{Execute: &sqlpb.Execute{
		Statements: []*sqlpb.Statement{{Sql: strings.Repeat("x", 16<<20)}}}}}
	var group sync.WaitGroup
	group.Go(func() {
		if err := s.Send(frame); !errors.Is(err, ErrClosed) {
			t.Errorf("Send: %v", err)
		}
	})
	group.Go(func() {
		if err := s.Recv(new(sqlpb.ServerFrame)); !errors.Is(err, ErrClosed) {
			t.Errorf("Recv: %v", err)
		}
	})
	await(t, "Send to block", func() bool {
		if s.sending.TryLock() {
			s.sending.Unlock()
			return false
		}
		return true
	})
	s.Close()
	group.Wait()
	if cause := awaitEnd(t, s.Context()); !errors.Is(cause, ErrClosed) {
		t.Errorf("the cause is %v", cause)
	}
}
