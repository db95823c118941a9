package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// client connects a client with a node.
func (r *realm) client(n *node) *ClientConn {
	r.t.Helper()
	credential, err := r.authority.NewCredential("ann", identity.RoleWrite)
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := DialSQL(timeout(r.t), n.address(), credential, DialOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			r.t.Errorf("closing a client: %v", err)
		}
	})
	return c
}

func (c *ClientConn) open(t testing.TB) *Stream {
	t.Helper()
	s, err := c.OpenStream(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// DialSQL says clearly that nobody listens, that nobody answers, and that an address is none.
func TestDialErrors(t *testing.T) {
	r := newRealm(t)
	credential, err := r.authority.NewCredential("ann", identity.RoleRead)
	if err != nil {
		t.Fatal(err)
	}
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for _, test := range []struct {
		ctx           context.Context
		address, want string
	}{
		{timeout(t), closed.LocalAddr().String(), "nobody answers: no process listens at " + closed.LocalAddr().String()},
		{short, silent.LocalAddr().String(), fmt.Sprintf("nobody answers at %s: is rsqld running there?", silent.LocalAddr())},
		{timeout(t), "localhost", `address "localhost" is not host:port`},
	} {
		_, err := DialSQL(test.ctx, test.address, credential, DialOptions{})
		if err == nil || !strings.Contains(err.Error(), "connecting with "+test.address+": "+test.want) {
			t.Errorf("got %v, want %s", err, test.want)
		}
		if unreachable := test.address != "localhost"; errors.Is(err, ErrUnreachable) != unreachable {
			t.Errorf("%v is ErrUnreachable: %v", err, !unreachable)
		}
	}
}

// A client refuses a node of another cluster and says why; a node that refuses a client's credential is explained.
func TestCredentialOfAnotherCluster(t *testing.T) {
	r, other := newRealm(t), newRealm(t)
	n := r.start(1, serving(echo))
	credential, err := other.authority.NewCredential("eve", identity.RoleAdmin)
	if err != nil {
		t.Fatal(err)
	}
	_, err = DialSQL(timeout(t), n.address(), credential, DialOptions{})
	if want := fmt.Sprintf("node 1 is of cluster %x, and this is cluster %x", r.authority.Cluster, other.authority.Cluster); !errors.Is(err, identity.ErrUntrusted) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	r.logs.await(t, "refused a connection from", "the other end refused this node")
	credential.CA = r.authority.Certificate // now it believes the node, and the node does not believe it
	c, err := DialSQL(timeout(t), n.address(), credential, DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	awaitEnd(t, c.Context())
	if _, err := c.OpenStream(timeout(t)); !errors.Is(err, ErrRefused) {
		t.Errorf("opening a stream: %v", err)
	}
}

// A client notices at once that its node's process is gone, although it said no goodbye.
func TestNodeDies(t *testing.T) {
	r := newRealm(t)
	n := r.start(1, serving(echo))
	c := r.client(n)
	s := c.open(t)
	s.say(t, ping(1))
	s.hear(t)
	n.conn.cut.Store(true)
	n.close()
	s.Send(ping(2))
	s.Flush() // if the client knows already, it fails
	if err := s.Recv(new(sqlpb.ServerFrame)); !errors.Is(err, ErrLost) {
		t.Errorf("Recv: %v, want ErrLost", err)
	}
}
