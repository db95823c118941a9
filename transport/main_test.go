package transport

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/identity"
)

// patience bounds every wait in the tests. None of them comes near it unless something is broken.
const patience = 20 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// realm is a cluster's authority and what its nodes log.
type realm struct {
	t          testing.TB
	authority  *identity.Authority
	identities map[raft.ID]*identity.Identity
	logs       *logs
}

func newRealm(t testing.TB) *realm {
	t.Helper()
	var cluster identity.Cluster
	for i := range cluster {
		cluster[i] = byte(rand.Uint32())
	}
	authority, err := identity.NewAuthority(cluster)
	if err != nil {
		t.Fatal(err)
	}
	return &realm{t: t, authority: authority, identities: make(map[raft.ID]*identity.Identity), logs: new(logs)}
}

// node is an endpoint with the messages and losses that it heard of.
type node struct {
	*Endpoint
	t        testing.TB
	conn     *faultyConn
	messages chan raft.Message
	lost     chan raft.ID
}

// start starts a node and closes it at the end of the test. Each change may set up its configuration.
func (r *realm) start(id raft.ID, changes ...func(*Config)) *node {
	r.t.Helper()
	return r.startAt(id, "127.0.0.1:0", changes...)
}

func (r *realm) startAt(id raft.ID, address string, changes ...func(*Config)) *node {
	r.t.Helper()
	who := r.identities[id] // a node keeps its key when it is started again
	if who == nil {
		var err error
		if who, err = r.authority.NewIdentity(id); err != nil {
			r.t.Fatal(err)
		}
		r.identities[id] = who
	}
	socket, err := listenUDP(address)
	if err != nil {
		r.t.Fatal(err)
	}
	n := &node{t: r.t, conn: &faultyConn{PacketConn: socket}, messages: make(chan raft.Message, 4096), lost: make(chan raft.ID, 64)}
	config := Config{
		Conn: n.conn, Identity: who, Fingerprint: []byte("same everywhere"), Incarnation: rand.Uint64() | 1, Logger: r.logs.logger(),
		OnMessage: func(m raft.Message) {
			select {
			case n.messages <- m:
			default:
				r.t.Errorf("node %d: nobody takes the messages", id)
			}
		},
		OnUnreachable: func(id raft.ID) {
			select {
			case n.lost <- id:
			default:
			}
		},
	}
	for _, change := range changes {
		change(&config)
	}
	if n.Endpoint, err = Listen(config); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { n.close() })
	return n
}

func (n *node) close() {
	if err := n.Close(); err != nil {
		n.t.Errorf("closing node %d: %v", n.self, err)
	}
}

func (n *node) address() string { return n.Addr().String() }

// meet makes the nodes each other's peers and waits until all are connected.
func meet(t testing.TB, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		n.SetPeers(addresses(nodes))
	}
	for _, n := range nodes {
		for _, other := range nodes {
			if n != other {
				n.awaitConnected(other.self)
			}
		}
	}
	// Where both sides dialled, the second connection is still to come, and may take the place of the first.
	for _, n := range nodes {
		await(t, fmt.Sprintf("node %d to have one connection with each peer", n.self), n.settled)
	}
}

// settled reports whether every connection is one that is in use and no other is on its way.
func (n *node) settled() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.peers {
		if p.abort != nil {
			return false
		}
	}
	return len(n.conns) == len(*n.links.Load())
}

func addresses(nodes []*node) map[raft.ID]string {
	peers := make(map[raft.ID]string)
	for _, n := range nodes {
		peers[n.self] = n.address()
	}
	return peers
}

func (n *node) awaitConnected(peer raft.ID) {
	n.t.Helper()
	await(n.t, fmt.Sprintf("node %d to be connected with node %d", n.self, peer), func() bool { return n.Connected(peer) })
}

// receive returns the next message.
func (n *node) receive() raft.Message {
	n.t.Helper()
	select {
	case m := <-n.messages:
		return m
	case <-time.After(patience):
		n.t.Fatalf("node %d got no message", n.self)
		return nil
	}
}

// reach sends heartbeats to a node until one arrives: they may be lost while connections come and go.
func (n *node) reach(other *node) {
	n.t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	mark := rand.Uint64()
	for {
		n.Send(raft.Heartbeat{Envelope: raft.Envelope{From: n.self, To: other.self, Term: 1}, Round: mark})
		select {
		case m := <-other.messages:
			if beat, ok := m.(raft.Heartbeat); ok && beat.Round == mark {
				return
			}
		case <-ticker.C:
		case <-deadline:
			n.t.Fatalf("node %d does not reach node %d", n.self, other.self)
		}
	}
}

// await waits until a condition of other goroutines holds.
func await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for !holds() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func timeout(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// faultyConn is a socket whose packets can be lost.
type faultyConn struct {
	net.PacketConn
	cut atomic.Bool // nothing leaves and nothing arrives
}

func (c *faultyConn) WriteTo(p []byte, to net.Addr) (int, error) {
	if c.cut.Load() {
		return len(p), nil
	}
	return c.PacketConn.WriteTo(p, to)
}

func (c *faultyConn) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.PacketConn.ReadFrom(p)
		if err != nil || !c.cut.Load() {
			return n, from, err
		}
	}
}

// logs keeps what was logged.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// lines returns the lines that hold all of the words.
func (l *logs) lines(words ...string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
next:
	for line := range strings.Lines(l.text.String()) {
		for _, word := range words {
			if !strings.Contains(line, word) {
				continue next
			}
		}
		found = append(found, line)
	}
	return found
}

// await waits for a line that holds all of the words.
func (l *logs) await(t testing.TB, words ...string) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for len(l.lines(words...)) == 0 {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("no line with %q in the log:\n%s", words, strings.Join(l.lines(), ""))
		}
	}
}
