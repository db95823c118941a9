package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// A relay is a session at the peer, which sees whose it is; frames pass both ways, and its end is seen.
func TestRelay(t *testing.T) {
	r := newRealm(t)
	served := make(chan *Session, 1)
	a, b := r.start(1), r.start(2, serving(func(ctx context.Context, s *Session) { served <- s; echo(ctx, s) }))
	meet(t, a, b)
	s, err := a.Relay(timeout(t), 2)
	if err != nil {
		t.Fatal(err)
	}
	for id := range uint64(3) {
		s.say(t, ping(id))
		if got := s.hear(t).GetPong().GetId(); got != id {
			t.Errorf("got pong %d, want %d", got, id)
		}
	}
	session := <-served
	if want := (identity.Principal{Name: "node 1", Role: identity.RoleAdmin, Node: 1}); session.Peer != 1 || session.Principal != want {
		t.Errorf("the session is of %+v, relayed by %d", session.Principal, session.Peer)
	}
	if counted := b.Counters(); counted.Relays != 1 || counted.Sessions != 0 {
		t.Errorf("counted %+v", counted)
	}
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := s.Recv(new(sqlpb.ServerFrame)); err != io.EOF {
		t.Errorf("after the end: %v, want EOF", err)
	}
}

// A relay ends with the connection, and one to a node without a connection is refused before anything is sent.
func TestRelayLosesConnection(t *testing.T) {
	r := newRealm(t)
	a, b := r.start(1), r.start(2, serving(echo))
	meet(t, a, b)
	s, err := a.Relay(timeout(t), 2)
	if err != nil {
		t.Fatal(err)
	}
	s.say(t, ping(1))
	s.hear(t)
	b.close()
	if cause := awaitEnd(t, s.Context()); !errors.Is(cause, ErrLost) && !errors.Is(cause, ErrCancelled) {
		t.Errorf("the cause is %v", cause)
	}
	await(t, "the connection to end", func() bool { return !a.Connected(2) })
	_, err = a.Relay(timeout(t), 2)
	if want := "opening a relay to node 2: not connected"; !errors.Is(err, ErrNotConnected) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// Relays have a limit of their own.
func TestRelayLimit(t *testing.T) {
	r := newRealm(t)
	a, b := r.start(1), r.start(2, serving(echo), func(c *Config) { c.Limits.Relays = 1 })
	meet(t, a, b)
	for i, want := range []string{"", "this node serves 1 sessions, which is its limit: close some, or use another node"} {
		s, err := a.Relay(timeout(t), 2)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		s.say(t, ping(1))
		if got := s.hear(t).GetError().GetMessage(); got != want {
			t.Errorf("relay %d: got %q, want %q", i, got, want)
		}
	}
}

// OfferKey returns when the peer has taken the key, says what the peer says if it has not, and ends with its context.
func TestOfferKey(t *testing.T) {
	r := newRealm(t)
	taken := make(chan []byte, 1)
	answers := make(chan error, 1)
	a := r.start(1)
	b := r.start(2, func(c *Config) {
		c.OnKey = func(key []byte) error {
			taken <- key
			return <-answers
		}
	})
	c := r.start(3)
	meet(t, a, b, c)
	key := r.authority.KeyDER()
	answers <- nil
	if err := a.OfferKey(timeout(t), 2, key); err != nil {
		t.Fatal(err)
	}
	if got := <-taken; !bytes.Equal(got, key) {
		t.Errorf("got key %x", got)
	}
	answers <- errors.New("the disk is full")
	err := a.OfferKey(timeout(t), 2, key)
	if want := "offering the authority's key to node 2: the peer did not store the authority's key: the disk is full"; !errors.Is(err, ErrKeyRefused) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	<-taken
	if err := a.OfferKey(timeout(t), 3, key); !errors.Is(err, ErrKeyRefused) {
		t.Errorf("offering to a node that takes none: %v", err)
	}
	if err := a.OfferKey(timeout(t), 4, key); !errors.Is(err, ErrNotConnected) {
		t.Errorf("offering to a node that is not there: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("no more patience")
	ended := make(chan error, 1)
	go func() { ended <- a.OfferKey(ctx, 2, key) }()
	<-taken
	cancel(gone)
	if err := <-ended; !errors.Is(err, gone) {
		t.Errorf("the context ended while the peer was writing: %v", err)
	}
	answers <- nil
}

// The header of a stream that does not fit its connection is refused with a sentence that says what differs.
func TestHeaderChecks(t *testing.T) {
	r := newRealm(t)
	a, b := r.start(1), r.start(2)
	fits := b.header(1, 0)
	if err := a.checkHeader(fits, 2, b.config.Incarnation); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(){
		"node 2 speaks version 2 of the peer protocol and node 1 version 1: upgrade node 1": func() { fits.Version = 2 },
		"node 2 names no version of the peer protocol":                                      func() { fits.Version = 0 },
		fmt.Sprintf("node 2 is of cluster 00ff, and this is cluster %x", a.cluster):         func() { fits.Cluster = []byte{0, 255} },
		"node 2 calls itself node 3":                                                        func() { fits.From = 3 },
		"node 2 wants node 3 and reached node 1: its address is wrong":                      func() { fits.To = 3 },
		"node 2 changed its incarnation on one connection":                                  func() { fits.Incarnation ^= 2 },
	} {
		fits = b.header(1, 0)
		change()
		if err := a.checkHeader(fits, 2, b.config.Incarnation); fmt.Sprint(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// A peer that opens a stream of no known kind loses its connection, and its log and the other's say why.
func TestStreamOfUnknownKind(t *testing.T) {
	r := newRealm(t)
	a, b := r.start(1), r.start(2)
	meet(t, a, b)
	s, err := a.openStream(timeout(t), 2, 99)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	r.logs.await(t, "a peer does not keep to the protocol", "node=2 peer=1", "node 1 opened a stream of kind 99")
	r.logs.await(t, "lost the connection with a peer", "node=1 peer=2", "node 1 opened a stream of kind 99")
	if got := b.Counters().Disconnected; got != 1 {
		t.Errorf("counted %d, want 1", got)
	}
}
