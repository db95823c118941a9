package transport

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/joinpb"
)

type onJoin = func(context.Context, *joinpb.JoinRequest, []byte) *joinpb.JoinAnswer

func joining(answer onJoin) func(*Config) { return func(c *Config) { c.OnJoin = answer } }

func newJoin() *joinpb.JoinRequest {
	return &joinpb.JoinRequest{Version: 1, Csr: []byte("csr"), Address: "127.0.0.1:4002", Name: "two", Learner: true}
}

// A join brings the request, with a proof that holds on this connection only, and takes the answer back.
func TestJoin(t *testing.T) {
	r := newRealm(t)
	token := identity.NewToken(r.authority.Certificate)
	want := &joinpb.JoinAnswer{Node: 2, Cluster: r.authority.Cluster[:], Certificate: make([]byte, 100_000),
		Members: []*joinpb.Member{{Id: 1, Name: "one", Address: "127.0.0.1:4001"}}}
	var exporters [][]byte
	n := r.start(1, joining(func(_ context.Context, request *joinpb.JoinRequest, exporter []byte) *joinpb.JoinAnswer {
		id := token.ID()
		if string(request.TokenId) != string(id[:]) || request.Name != "two" || !identity.VerifyProof(token.Key(), request, exporter) {
			t.Errorf("got %v with a proof that does not hold", request)
		}
		if exporters = append(exporters, exporter); len(exporters) == 2 && identity.VerifyProof(token.Key(), request, exporters[0]) {
			t.Error("the proof holds on another connection too")
		}
		return want
	}))
	request := newJoin()
	for range 2 {
		got, err := Join(timeout(t), n.address(), token, request)
		if err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	if !proto.Equal(request, newJoin()) {
		t.Error("the request was changed")
	}
	await(t, "the joins to be counted out", func() bool { return n.Counters().Joins == 0 })
}

// A refusal by the cluster is an answer; a node without OnJoin refuses too.
func TestJoinRefused(t *testing.T) {
	r := newRealm(t)
	token := identity.NewToken(r.authority.Certificate)
	refusing := r.start(1, joining(func(context.Context, *joinpb.JoinRequest, []byte) *joinpb.JoinAnswer {
		return &joinpb.JoinAnswer{Error: "used up", Retry: true}
	}))
	for n, want := range map[*node]*joinpb.JoinAnswer{
		refusing:   {Error: "used up", Retry: true},
		r.start(2): {Error: "this node admits no others"},
	} {
		got, err := Join(timeout(t), n.address(), token, newJoin())
		if err != nil || !proto.Equal(got, want) {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
}

// A joiner whose token is another cluster's says so and sends nothing: the node serves no join.
func TestJoinOtherCluster(t *testing.T) {
	r := newRealm(t)
	n := r.start(1, joining(func(context.Context, *joinpb.JoinRequest, []byte) *joinpb.JoinAnswer {
		t.Error("the node got the request")
		return new(joinpb.JoinAnswer)
	}))
	token := identity.NewToken(newRealm(t).authority.Certificate)
	_, err := Join(timeout(t), n.address(), token, newJoin())
	want := "asking " + n.address() + " to join: the node that answered is of another cluster than the token"
	if !errors.Is(err, ErrFingerprint) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	r.logs.await(t, "refused a connection from", "the other end refused this node")
}

// A join at an address where nobody listens fails at once, and one at which nobody answers when its context ends.
func TestJoinNobody(t *testing.T) {
	token := identity.NewToken(newRealm(t).authority.Certificate)
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := closed.LocalAddr().String()
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Join(short, address, token, newJoin()); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "is rsqld running there?") {
		t.Errorf("got %v", err)
	}
	closed.Close()
	if _, err := Join(timeout(t), address, token, newJoin()); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "no process listens") {
		t.Errorf("got %v", err)
	}
}

// A join whose answer does not come in time ends with the context of the joiner, and OnJoin's context with the joiner.
func TestJoinNoAnswer(t *testing.T) {
	r := newRealm(t)
	ended := make(chan struct{})
	n := r.start(1, joining(func(ctx context.Context, _ *joinpb.JoinRequest, _ []byte) *joinpb.JoinAnswer {
		<-ctx.Done()
		close(ended)
		return new(joinpb.JoinAnswer)
	}))
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := Join(short, n.address(), identity.NewToken(r.authority.Certificate), newJoin())
	if !errors.Is(err, ErrLost) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("OnJoin's context did not end")
	}
}

// A joiner beyond the limit is told to try again.
func TestJoinLimit(t *testing.T) {
	r := newRealm(t)
	token := identity.NewToken(r.authority.Certificate)
	entered, release := make(chan struct{}), make(chan struct{})
	n := r.start(1, joining(func(context.Context, *joinpb.JoinRequest, []byte) *joinpb.JoinAnswer {
		close(entered)
		<-release
		return &joinpb.JoinAnswer{Node: 2}
	}), func(c *Config) { c.Limits.Joins = 1 })
	first := make(chan error, 1)
	go func() {
		_, err := Join(timeout(t), n.address(), token, newJoin())
		first <- err
	}()
	<-entered
	_, err := Join(timeout(t), n.address(), token, newJoin())
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "this node has 1 joins under way, which is its limit: try again") {
		t.Errorf("got %v", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

// A joiner that sends no request in time, garbage, too much, or opens a second stream is disconnected.
func TestJoinMisbehaves(t *testing.T) {
	for name, test := range map[string]struct {
		act  func(*testing.T, *ClientConn)
		want string
	}{
		"nothing": {func(*testing.T, *ClientConn) {}, "no request came in time"},
		"half a request": {func(t *testing.T, c *ClientConn) {
			if _, err := c.open(t).quic.Write([]byte{100, 1, 2}); err != nil {
				t.Error(err)
			}
		}, "the first frame of the stream did not arrive in time"},
		"garbage": {func(t *testing.T, c *ClientConn) {
			if _, err := c.open(t).quic.Write([]byte{2, 255, 255}); err != nil {
				t.Error(err)
			}
		}, "2 bytes that are no JoinRequest"},
		"too much": {func(t *testing.T, c *ClientConn) {
			if _, err := c.open(t).quic.Write([]byte{255, 255, 255, 1}); err != nil {
				t.Error(err)
			}
		}, "frame too large"},
		"two streams": {func(t *testing.T, c *ClientConn) {
			for range 2 {
				if _, err := c.open(t).quic.Write([]byte{100, 1, 2}); err != nil {
					t.Error(err)
				}
			}
		}, "a join has one stream"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRealm(t)
			n := r.start(1, func(c *Config) { c.Limits.FirstFrame = 150 * time.Millisecond })
			c, err := dialNode(timeout(t), n.address(), identity.NewToken(r.authority.Certificate).TLS(), ClientIdle)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			test.act(t, c)
			awaitEnd(t, c.Context())
			if err := c.Err(); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("the joiner hears %v, want %q", err, test.want)
			}
		})
	}
}
