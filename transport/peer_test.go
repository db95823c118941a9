package transport

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/identity"
)

// impatient makes nodes notice silence fast.
func impatient(c *Config) { c.Limits.PeerSilence = 300 * time.Millisecond }

// connections returns how many connections a node holds.
func (n *node) connections() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.conns)
}

// dial makes one attempt to connect with a peer, connection or not, and serves it in the background. The channel is
// closed when the attempt has failed or its connection has ended.
func (n *node) dial(other *node) <-chan struct{} {
	n.mu.Lock()
	p := n.peerOf(other.self)
	if p.address == "" {
		n.t.Fatal("dialling a node that is no peer")
	}
	n.mu.Unlock()
	over := make(chan struct{})
	n.group.Go(func() {
		n.dialPeer(n.ctx, p, 0)
		close(over)
	})
	return over
}

// agreed reports whether both nodes use one connection, and that dialler made it.
func agreed(a, b *node, dialler raft.ID) bool {
	ab, ba := a.linkTo(b.self), b.linkTo(a.self)
	return ab != nil && ba != nil && ab.dialler() == dialler && ba.dialler() == dialler &&
		a.connections() == 1 && b.connections() == 1
}

// When both sides dial, both keep the connection that the node with the lower id dialled.
func TestLowerIDWins(t *testing.T) {
	for _, first := range []raft.ID{1, 2} {
		t.Run(fmt.Sprintf("node %d dials first", first), func(t *testing.T) {
			r := newRealm(t)
			low, high := r.start(1), r.start(2)
			nodes := map[raft.ID]*node{1: low, 2: high}
			other := nodes[3-first]
			nodes[first].SetPeers(addresses([]*node{low, high}))
			low.awaitConnected(2)
			high.awaitConnected(1)
			if !agreed(low, high, first) {
				t.Fatalf("the connection is not the one that node %d dialled", first)
			}
			link := low.linkTo(2)
			other.SetPeers(addresses([]*node{low, high}))
			over := other.dial(nodes[first])
			if first == 1 {
				<-over // it was refused
			}
			await(t, "one connection, dialled by the lower id", func() bool { return agreed(low, high, 1) })
			if stayed := low.linkTo(2) == link; stayed != (first == 1) {
				t.Errorf("the first connection stayed: %v", stayed)
			}
			low.reach(high)
			high.reach(low)
		})
	}
}

// Of two connections with one peer the one with another incarnation is better, then the one that the lower id dialled, then
// the later; the peer decides the same.
func TestBetterConnection(t *testing.T) {
	for _, test := range []struct {
		oldDialler, newDialler raft.ID
		restarted, want        bool
	}{
		{1, 1, false, true}, {2, 2, false, true}, {2, 1, false, true}, {1, 2, false, false},
		{1, 1, true, true}, {2, 2, true, true}, {2, 1, true, true}, {1, 2, true, true},
	} {
		for self := range raft.ID(2) {
			e := &Endpoint{self: self + 1}
			old := &link{endpoint: e, peer: 2 - self, dialled: test.oldDialler == e.self, incarnation: 5}
			later := &link{endpoint: e, peer: 2 - self, dialled: test.newDialler == e.self, incarnation: 5}
			if test.restarted {
				later.incarnation = 6
			}
			if got := later.replaces(old); got != test.want {
				t.Errorf("at node %d, %+v: got %v", e.self, test, got)
			}
		}
	}
}

// An attempt to dial a peer ends when the peer was faster, without a complaint.
func TestPeerIsFaster(t *testing.T) {
	r := newRealm(t)
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	a, b := r.start(1), r.start(2)
	a.SetPeers(map[raft.ID]string{2: silent.LocalAddr().String()})
	if _, _, err := silent.ReadFrom(make([]byte, 2000)); err != nil {
		t.Fatal(err)
	}
	b.SetPeers(addresses([]*node{a, b}))
	a.awaitConnected(2)
	await(t, "the attempt to end", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.peers[2].abort == nil
	})
	if lines := r.logs.lines("nobody answers"); len(lines) != 0 {
		t.Errorf("logged %v", lines)
	}
}

// A peer that was dialled, started again and dials nobody is found at once: it answers the next packet with a reset.
func TestRestartIsNoticed(t *testing.T) {
	r := newRealm(t)
	stays, dies := r.start(1), r.start(2)
	stays.SetPeers(addresses([]*node{dies}))
	stays.awaitConnected(2)
	stays.reach(dies)
	dies.conn.cut.Store(true)
	dies.close()
	stays.reach(r.startAt(2, dies.address()))
	r.logs.await(t, "lost the connection with a peer", "node=1 peer=2", "the other end was restarted")
}

// Nodes that all dial at once end with one connection per pair, on which both sides agree.
func TestAllDialAtOnce(t *testing.T) {
	r := newRealm(t)
	nodes := []*node{r.start(1), r.start(2), r.start(3)}
	for _, n := range nodes {
		n.SetPeers(addresses(nodes))
	}
	for _, n := range nodes {
		for _, other := range nodes {
			if n != other {
				n.dial(other)
			}
		}
	}
	await(t, "one connection per pair", func() bool {
		for _, n := range nodes {
			for _, other := range nodes {
				if n == other {
					continue
				}
				there, back := n.linkTo(other.self), other.linkTo(n.self)
				if there == nil || back == nil || there.dialler() != back.dialler() || n.connections() != 2 {
					return false
				}
			}
		}
		return true
	})
	for _, n := range nodes {
		n.reach(nodes[n.self%3])
	}
}

// A peer that was killed and started again is connected again, and the one that stayed hears that messages were lost.
func TestPeerRestarts(t *testing.T) {
	for _, restarted := range []raft.ID{1, 2} {
		t.Run(fmt.Sprint("node ", restarted), func(t *testing.T) {
			r := newRealm(t)
			stays, dies := r.start(3-restarted), r.start(restarted)
			meet(t, stays, dies)
			before := stays.linkTo(restarted)
			dies.conn.cut.Store(true) // it says no goodbye
			dies.close()
			again := r.startAt(restarted, dies.address())
			again.SetPeers(map[raft.ID]string{stays.self: stays.address()})
			stays.reach(again)
			again.reach(stays)
			if now := stays.linkTo(restarted); now == nil || now.incarnation != again.config.Incarnation || now == before {
				t.Error("the connection is not with the new incarnation")
			}
			select {
			case lost := <-stays.lost:
				if lost != restarted {
					t.Errorf("messages to node %d were lost, says OnUnreachable", lost)
				}
			case <-time.After(patience):
				t.Error("OnUnreachable was not called")
			}
		})
	}
}

// A silent peer counts as disconnected on both sides; when the network heals they find each other again.
func TestCutAndHeal(t *testing.T) {
	r := newRealm(t)
	a, b := r.start(1, impatient), r.start(2, impatient)
	meet(t, a, b)
	accepted := "node=1 peer=2" // QUIC alone would take 5 s there
	if a.linkTo(2).dialled {
		accepted = "node=2 peer=1"
	}
	b.conn.cut.Store(true)
	await(t, "both to notice the cut", func() bool { return !a.Connected(2) && !b.Connected(1) })
	r.logs.await(t, "lost the connection with a peer", accepted, "nothing was heard for 300ms")
	r.logs.await(t, "no connection with a peer", "node=1 peer=2", "nobody answers")
	b.conn.cut.Store(false)
	a.reach(b)
	b.reach(a)
}

// Idle peers stay connected: they hear enough of each other.
func TestIdlePeersStayConnected(t *testing.T) {
	r := newRealm(t)
	a, b := r.start(1, impatient), r.start(2, impatient)
	meet(t, a, b)
	link := a.linkTo(2)
	packets := link.conn.ConnectionStats().PacketsReceived
	// Eight keep-alives take twice the time after which silence would have ended the connection.
	await(t, "keep-alives", func() bool { return link.conn.ConnectionStats().PacketsReceived >= packets+8 })
	if a.linkTo(2) != link || b.linkTo(1) == nil {
		t.Error("the connection did not stay")
	}
}

// A peer that left the set is disconnected and not dialled; it may dial itself, and is answered.
func TestFormerPeerIsGuest(t *testing.T) {
	r := newRealm(t)
	a, b := r.start(1), r.start(2)
	meet(t, a, b)
	a.SetPeers(nil)
	r.logs.await(t, "lost the connection with a peer", "node=2 peer=1", "node 2 is no member any more")
	b.reach(a)
	a.reach(b)
	await(t, "the guest's connection", func() bool { return agreed(a, b, 2) })
}

// A peer with a new address is dialled there when its connection has ended.
func TestPeerMoves(t *testing.T) {
	r := newRealm(t)
	a, b := r.start(1), r.start(2)
	meet(t, a, b)
	b.close()
	moved := r.start(2)
	a.SetPeers(map[raft.ID]string{2: moved.address()})
	a.reach(moved)
}

// Whoever knows the address of one member, and not whose it is, connects with it; itself, a node that is connected and
// nobody are told apart.
func TestSeek(t *testing.T) {
	r := newRealm(t)
	a, b := r.start(1), r.start(2)
	a.SetPeers(map[raft.ID]string{2: freeAddress(t)}) // where node 2 was
	if id, err := a.Seek(t.Context(), b.address()); err != nil || id != 2 {
		t.Fatalf("sought node %d, %v", id, err)
	}
	await(t, "the connection", func() bool { return a.Connected(2) && b.Connected(1) })
	link := a.linkTo(2)
	if id, err := a.Seek(t.Context(), b.address()); err != nil || id != 2 || a.linkTo(2) != link {
		t.Errorf("sought again: node %d, %v, another connection: %v", id, err, a.linkTo(2) != link)
	}
	if _, err := a.Seek(t.Context(), a.address()); err == nil || !strings.Contains(err.Error(), "this node itself") {
		t.Errorf("sought itself: %v", err)
	}
	if _, err := a.Seek(t.Context(), freeAddress(t)); !errors.Is(err, ErrUnreachable) {
		t.Errorf("sought nobody: %v", err)
	}
	a.close()
	if _, err := a.Seek(t.Context(), b.address()); err == nil {
		t.Error("a closed endpoint seeks")
	}
}

// freeAddress is an address that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	socket, err := listenUDP("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := socket.Close(); err != nil {
		t.Fatal(err)
	}
	return socket.LocalAddr().String()
}

// A peer that computes otherwise is refused, and each side logs it once, in a line that names both fingerprints.
func TestFingerprintMismatch(t *testing.T) {
	r := newRealm(t)
	a, b := r.start(1), r.start(2, func(c *Config) { c.Fingerprint = []byte("another version") })
	a.SetPeers(addresses([]*node{a, b}))
	await(t, "a second refusal", func() bool { return a.Counters().Refused >= 2 && b.Counters().Refused >= 2 })
	for _, line := range []string{"node=1 peer=2", "node=2 peer=1"} {
		lines := r.logs.lines("no connection with a peer", line, "computes with another version of rsqld or SQLite", "616e6f7468657220", "73616d6520657665")
		if len(lines) != 1 || len(r.logs.lines()) != 2 {
			t.Errorf("logged %d lines for %s:\n%v", len(lines), line, r.logs.lines())
		}
	}
	if a.Connected(2) || b.Connected(1) {
		t.Error("they are connected")
	}
}

// Nodes of two epochs of one cluster do not connect, whichever dials, and both logs say who is to be joined anew.
func TestEpochMismatch(t *testing.T) {
	old, first := identity.Epoch{}, identity.Epoch{Number: 1, Mark: [8]byte{1}}
	other, second := identity.Epoch{Number: 1, Mark: [8]byte{2}}, identity.Epoch{Number: 2, Mark: [8]byte{1}}
	behind := "node 2 was left behind when the cluster was recovered without it (epoch %v): to bring it back, stop it, delete its data directory"
	for _, test := range []struct {
		one, two identity.Epoch
		says     string
	}{
		{first, old, fmt.Sprintf(behind, first)},
		{second, other, fmt.Sprintf(behind, second)},
		{first, other, "the cluster was recovered twice, apart"},
	} {
		r := newRealm(t)
		a := r.start(1, func(c *Config) { c.Epoch = test.one })
		b := r.start(2, func(c *Config) { c.Epoch = test.two })
		a.SetPeers(addresses([]*node{a, b}))
		b.SetPeers(addresses([]*node{a, b}))
		r.logs.await(t, "no connection with a peer", "node=1 peer=2", test.says)
		r.logs.await(t, "no connection with a peer", "node=2 peer=1", test.says)
		if a.Connected(2) || b.Connected(1) {
			t.Error("they are connected")
		}
		b.Send(raft.Vote{Envelope: raft.Envelope{From: 2, To: 1, Term: 9}})
		a.close()
		b.close()
		if len(a.messages) > 0 {
			t.Error("a message came through")
		}
	}
}

// Another node at the address of a peer is not taken for it.
func TestWrongNodeAnswers(t *testing.T) {
	r := newRealm(t)
	a, b := r.start(1), r.start(2)
	a.SetPeers(map[raft.ID]string{3: b.address()})
	r.logs.await(t, "no connection with a peer", "node=1 peer=3", "node 2 answers at the address of node 3")
	if a.Connected(3) || a.Connected(2) {
		t.Error("they are connected")
	}
}

// Two nodes on copies of one data directory do not connect, and both logs say what is wrong.
func TestSameNodeTwice(t *testing.T) {
	r := newRealm(t)
	a, copied := r.start(1), r.start(1)
	a.SetPeers(map[raft.ID]string{2: copied.address()})
	r.logs.await(t, "refused a connection from "+a.address(), "it calls itself node 1, as this node does")
	r.logs.await(t, "no connection with a peer", "node=1 peer=2", "node 1 answers at the address of node 2")
}

// A node of another cluster, an expired one, one without a certificate and one that speaks something else are refused
// with a line each that says why, and real peers stay connected.
func TestStrangersAreRefused(t *testing.T) {
	r := newRealm(t)
	a, b := r.start(1), r.start(2)
	meet(t, a, b)
	link := a.linkTo(2)
	stranger := newRealm(t)
	who, err := stranger.authority.NewIdentity(2)
	if err != nil {
		t.Fatal(err)
	}
	client, err := r.authority.NewCredential("ann", identity.RoleAdmin)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		protocol    string
		certificate []tls.Certificate
		want        string
	}{
		{identity.ProtocolPeer, []tls.Certificate{who.Certificate}, fmt.Sprintf("node 2 is of cluster %x, and this is cluster %x", stranger.authority.Cluster, r.authority.Cluster)},
		{identity.ProtocolSQL, []tls.Certificate{who.Certificate}, fmt.Sprintf("node 2 is of cluster %x, and this is cluster %x", stranger.authority.Cluster, r.authority.Cluster)},
		{identity.ProtocolPeer, []tls.Certificate{expired(t, r.authority)}, "the certificate of node 2 expired at 2020-01-02T00:00:00Z"},
		{identity.ProtocolPeer, nil, "no certificate was shown; rsqld-peer/1 needs one"},
		{identity.ProtocolSQL, nil, "no certificate was shown; rsqld-sql/1 needs one"},
		{identity.ProtocolPeer, []tls.Certificate{client.Certificate}, `client "ann" (admin) may not speak rsqld-peer/1`},
		{"h3", []tls.Certificate{client.Certificate}, `it speaks ["h3"], and this node speaks ["rsqld-peer/1" "rsqld-sql/1" "rsqld-join/1"]`},
	}
	for _, test := range tests {
		a.refusals.forgive() // this test is not about how often is logged
		from := shake(t, a.address(), test.protocol, test.certificate)
		r.logs.await(t, "refused a connection from "+from, quoted(test.want))
	}
	if got := a.Counters().Refused; got != uint64(len(tests)) {
		t.Errorf("counted %d refusals, want %d", got, len(tests))
	}
	a.reach(b)
	if a.linkTo(2) != link {
		t.Error("the peers did not stay connected")
	}
	await(t, "the handshakes to be counted out", func() bool {
		a.admission.mu.Lock()
		defer a.admission.mu.Unlock()
		return a.admission.open == 0 && a.admission.unvalidated == 0 && a.admission.pretended == 0
	})
}

// quoted is text as it stands inside a quoted log line.
func quoted(text string) string {
	q := fmt.Sprintf("%q", text)
	return q[1 : len(q)-1]
}

// shake tries a handshake that the node at address shall refuse, and returns the address it came from.
func shake(t *testing.T, address, protocol string, certificate []tls.Certificate) string {
	t.Helper()
	socket, err := listenUDP("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	transport := &quic.Transport{Conn: socket}
	defer func() { transport.Close(); socket.Close() }()
	remote, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := transport.Dial(timeout(t), remote, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}, Certificates: certificate}, nil)
	if err == nil { // the client's part of the handshake ends first
		_, err = conn.AcceptStream(timeout(t))
	}
	var refused *quic.TransportError
	if !errors.As(err, &refused) || !refused.Remote {
		t.Errorf("%s: got %v, want a refusal by the node", protocol, err)
	}
	if protocol != "h3" && !errors.Is(explain(err), ErrRefused) {
		t.Errorf("%v is explained as %v", err, explain(err))
	}
	return socket.LocalAddr().String()
}

// expired is a certificate of node 2 that ended long ago.
func expired(t *testing.T, authority *identity.Authority) tls.Certificate {
	t.Helper()
	signer, err := x509.ParsePKCS8PrivateKey(authority.KeyDER())
	if err != nil {
		t.Fatal(err)
	}
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2020, 1, 2, 0, 0, 0, 0, time.UTC),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs: []*url.URL{{Scheme: "rsqld", Host: fmt.Sprintf("%x", authority.Cluster), Path: "/2"}},
	}, authority.Certificate, public, signer)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der, authority.Certificate.Raw}, PrivateKey: key}
}

// SetPeers stops dialling at once when a peer that never answered leaves the set.
func TestDeadPeerLeaves(t *testing.T) {
	r := newRealm(t)
	a := r.start(1)
	dead := r.start(2)
	dead.close()
	a.SetPeers(map[raft.ID]string{1: a.address(), 2: dead.address(), 3: "no such address"})
	r.logs.await(t, "no connection with a peer", "node=1 peer=2", "nobody answers")
	r.logs.await(t, "no connection with a peer", "node=1 peer=3", "is not host:port")
	a.SetPeers(nil)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.peers) != 0 {
		t.Errorf("%d peers are left", len(a.peers))
	}
}

// Nodes that have nothing to tell each other know each other's wall clock all the same, and no core hears of it.
func TestIdlePeersTellTheirClocks(t *testing.T) {
	r := newRealm(t)
	type told struct {
		peer  raft.ID
		clock int64
	}
	heard := make(chan told, 1)
	wrong := time.Unix(1_000_000_000, 0)
	a := r.start(1, impatient, func(c *Config) {
		c.OnClock = func(peer raft.ID, clock int64) {
			select {
			case heard <- told{peer, clock}:
			default:
			}
		}
	})
	b := r.start(2, impatient, func(c *Config) { c.Now = func() time.Time { return wrong } })
	meet(t, a, b)
	for range 3 {
		select {
		case got := <-heard:
			if want := (told{2, wrong.UnixNano()}); got != want {
				t.Errorf("node 1 heard %v, want %v", got, want)
			}
		case <-time.After(patience):
			t.Fatal("node 1 heard no clock")
		}
	}
	select {
	case m := <-a.messages:
		t.Errorf("the core of node 1 got %v", m)
	case m := <-b.messages:
		t.Errorf("the core of node 2 got %v", m)
	default:
	}
}
