package identity

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/raft"
)

// world is a cluster with two nodes and a client, and a cluster of strangers.
type world struct {
	authority, strangers *Authority
	one, two             *Identity
	client               *Credential
}

func newWorld(t testing.TB) world {
	t.Helper()
	authority := must(NewAuthority(Cluster{1, 2, 3}))(t)
	return world{
		authority: authority,
		strangers: must(NewAuthority(Cluster{9}))(t),
		one:       must(authority.NewIdentity(1))(t),
		two:       must(authority.NewIdentity(2))(t),
		client:    must(authority.NewCredential("alice", RoleWrite))(t),
	}
}

// must returns a value or ends the test.
func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// connection returns the two ends of a TCP connection. A net.Pipe has no buffer, and both ends of a resumed handshake
// write first.
func connection(t testing.TB) (a, b net.Conn) {
	t.Helper()
	listener := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer listener.Close()
	b = must(net.Dial("tcp", listener.Addr().String()))(t)
	return must(listener.Accept())(t), b
}

// handshake runs TLS over a connection and returns both ends' states and errors.
func handshake(t testing.TB, server, client *tls.Config) (serverState, clientState tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	a, b := connection(t)
	deadline := time.Now().Add(10 * time.Second)
	a.SetDeadline(deadline)
	b.SetDeadline(deadline)
	s, c := tls.Server(a, server), tls.Client(b, client)
	done := make(chan error, 1)
	go func() {
		err := s.Handshake()
		if err == nil {
			// In TLS 1.3 a client learns of the server's verdict with its first read.
			_, err = s.Write([]byte("x"))
		} else {
			a.Close()
		}
		done <- err
	}()
	if clientErr = c.Handshake(); clientErr == nil {
		_, clientErr = c.Read(make([]byte, 1))
	}
	clientState = c.ConnectionState()
	b.Close()
	serverErr = <-done
	a.Close()
	serverState = s.ConnectionState()
	return serverState, clientState, serverErr, clientErr
}

// forge signs a certificate for a new key that differs from a node's as change says.
func forge(t testing.TB, a *Authority, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := serial(&x509.Certificate{
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{nodeURI(a.Cluster, 2)},
	})
	change(template)
	der := must(x509.CreateCertificate(rand.Reader, template, a.Certificate, public, a.key))(t)
	return pair(must(x509.ParseCertificate(der))(t), a.Certificate, key)
}

// TestConnect proves that members reach each other, that a client reaches a node, and that each learns who the other is.
func TestConnect(t *testing.T) {
	w := newWorld(t)
	server, client, serverErr, clientErr := handshake(t, w.one.ServerTLS(), w.two.PeerTLS())
	if serverErr != nil || clientErr != nil {
		t.Fatalf("peers: %v, %v", serverErr, clientErr)
	}
	if id := must(NodeOf(server))(t); id != 2 {
		t.Errorf("the server sees node %d, want 2", id)
	}
	if id := must(NodeOf(client))(t); id != 1 {
		t.Errorf("the client sees node %d, want 1", id)
	}
	server, _, serverErr, clientErr = handshake(t, w.one.ServerTLS(), w.client.ClientTLS())
	if serverErr != nil || clientErr != nil {
		t.Fatalf("client: %v, %v", serverErr, clientErr)
	}
	if got, want := must(PrincipalOf(server))(t), (Principal{Name: "alice", Role: RoleWrite}); got != want {
		t.Errorf("the server sees %v, want %v", got, want)
	}
	if _, err := NodeOf(server); !errors.Is(err, ErrUntrusted) {
		t.Errorf("a client passes for a node: %v", err)
	}
}

// TestServerRefuses proves that a server turns away whoever is not of its cluster, not in time, or not of the sort that
// the protocol asks for.
func TestServerRefuses(t *testing.T) {
	w := newWorld(t)
	as := func(certificate tls.Certificate) *tls.Config {
		return clientTLS(ProtocolPeer, w.authority.Certificate, certificate)
	}
	stranger := must(w.strangers.NewIdentity(2))(t)
	impostor := forge(t, w.strangers, func(c *x509.Certificate) { c.URIs[0] = nodeURI(w.authority.Cluster, 2) })
	tests := map[string]struct {
		client *tls.Config
		want   string
	}{
		"another cluster":            {as(stranger.Certificate), "is of cluster 09000000"},
		"another cluster's CA":       {as(impostor), "certificate signed by unknown authority"},
		"expired":                    {as(forge(t, w.authority, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })), "node 2 expired at"},
		"not yet valid":              {as(forge(t, w.authority, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })), "one of the two clocks is wrong"},
		"no URI":                     {as(forge(t, w.authority, func(c *x509.Certificate) { c.URIs = nil })), "has 0 URIs"},
		"node zero":                  {as(forge(t, w.authority, func(c *x509.Certificate) { c.URIs[0].Path = "/0" })), "a node's URI ends in /ID"},
		"two spellings of an id":     {as(forge(t, w.authority, func(c *x509.Certificate) { c.URIs[0].Path = "/02" })), "a node's URI ends in /ID"},
		"wrong scheme":               {as(forge(t, w.authority, func(c *x509.Certificate) { c.URIs[0].Scheme = "https" })), "not for rsqld://CLUSTER"},
		"may not be a client":        {as(forge(t, w.authority, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] })), "incompatible key usage"},
		"a client among peers":       {as(w.client.Certificate), "may not speak rsqld-peer/1"},
		"a node as a client":         {clientTLS(ProtocolSQL, w.authority.Certificate, w.two.Certificate), "may not speak rsqld-sql/1"},
		"the authority itself":       {as(tls.Certificate{Certificate: [][]byte{w.authority.Certificate.Raw}, PrivateKey: w.authority.key}), "not an rsqld certificate"},
		"a role nobody knows":        {as(forge(t, w.authority, func(c *x509.Certificate) { c.URIs[0] = clientURI(w.authority.Cluster, "eve", 0) })), "is none of read, write and admin"},
		"no certificate for peers":   {as(tls.Certificate{}), "no certificate was shown"},
		"no certificate for clients": {clientTLS(ProtocolSQL, w.authority.Certificate, tls.Certificate{}), "no certificate was shown"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, _, serverErr, clientErr := handshake(t, w.one.ServerTLS(), test.client)
			if !errors.Is(serverErr, ErrUntrusted) || !strings.Contains(serverErr.Error(), test.want) {
				t.Errorf("the server says %v, want %q", serverErr, test.want)
			}
			if clientErr == nil {
				t.Error("the client was let in")
			}
		})
	}
}

// TestClientRefuses proves that peers and clients do not talk to a server that is no node of their cluster.
func TestClientRefuses(t *testing.T) {
	w := newWorld(t)
	stranger := must(w.strangers.NewIdentity(1))(t)
	serverAs := func(certificate tls.Certificate) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{ProtocolPeer, ProtocolSQL}, MinVersion: tls.VersionTLS13}
	}
	tests := map[string]struct {
		server *tls.Config
		want   string
	}{
		"another cluster":     {stranger.ServerTLS(), "is of cluster 09000000"},
		"expired":             {serverAs(forge(t, w.authority, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })), "expired at"},
		"a client as server":  {serverAs(w.client.Certificate), "incompatible key usage"},
		"no protocol":         {&tls.Config{Certificates: []tls.Certificate{w.one.Certificate}, MinVersion: tls.VersionTLS13}, "does not speak rsqld-"},
		"a forged node":       {serverAs(forge(t, w.strangers, func(c *x509.Certificate) { c.URIs[0] = nodeURI(w.authority.Cluster, 1) })), "unknown authority"},
		"a client with usage": {serverAs(forge(t, w.authority, func(c *x509.Certificate) { c.URIs[0] = clientURI(w.authority.Cluster, "eve", RoleAdmin) })), "may not speak"},
	}
	for name, test := range tests {
		for protocol, config := range map[string]*tls.Config{"peer": w.two.PeerTLS(), "client": w.client.ClientTLS()} {
			t.Run(name+" to "+protocol, func(t *testing.T) {
				_, _, _, clientErr := handshake(t, test.server, config)
				if !errors.Is(clientErr, ErrUntrusted) || !strings.Contains(clientErr.Error(), test.want) {
					t.Errorf("the client says %v, want %q", clientErr, test.want)
				}
			})
		}
	}
}

// TestResumption proves that a resumed connection is verified like a first one: trust that ended meanwhile counts.
func TestResumption(t *testing.T) {
	w := newWorld(t)
	config := w.client.ClientTLS()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	config.ServerName = "node" // the key of the cache; nobody verifies it
	server := w.one.ServerTLS()
	verifications := 0
	verifyServer := config.VerifyConnection
	config.VerifyConnection = func(state tls.ConnectionState) error {
		verifications++
		return verifyServer(state)
	}
	if _, _, serverErr, clientErr := handshake(t, server, config); serverErr != nil || clientErr != nil {
		t.Fatalf("first: %v, %v", serverErr, clientErr)
	}
	_, state, serverErr, clientErr := handshake(t, server, config)
	if serverErr != nil || clientErr != nil || !state.DidResume || verifications != 2 {
		t.Fatalf("second: %v, %v, resumed %v, %d verifications", serverErr, clientErr, state.DidResume, verifications)
	}
	// A server that has moved to another cluster keeps its ticket key here, and still must not take the old client.
	other := must(w.strangers.NewIdentity(1))(t).ServerTLS()
	moved := server.Clone()
	moved.VerifyConnection = other.VerifyConnection
	if _, _, serverErr, _ := handshake(t, moved, config); !errors.Is(serverErr, ErrUntrusted) {
		t.Errorf("a resumed client of another cluster: %v", serverErr)
	}
}

// TestJoinTLS proves that a joiner talks only to a node of the token's cluster, needs no certificate for it, and that
// only this protocol lets it in.
func TestJoinTLS(t *testing.T) {
	w := newWorld(t)
	token := NewToken(w.authority.Certificate)
	server, client, serverErr, clientErr := handshake(t, w.one.ServerTLS(), token.TLS())
	if serverErr != nil || clientErr != nil {
		t.Fatalf("join: %v, %v", serverErr, clientErr)
	}
	if a, b := must(Exporter(server))(t), must(Exporter(client))(t); string(a) != string(b) || len(a) != exporterLength {
		t.Errorf("the two ends export %x and %x", a, b)
	}
	if _, err := PrincipalOf(server); !errors.Is(err, ErrUntrusted) {
		t.Errorf("a joiner has a principal: %v", err)
	}
	stranger := must(w.strangers.NewIdentity(1))(t)
	if _, _, _, clientErr := handshake(t, stranger.ServerTLS(), token.TLS()); clientErr == nil ||
		!strings.Contains(clientErr.Error(), "of another cluster than the token") {
		t.Errorf("joining strangers: %v", clientErr)
	}
	// Strangers who copied the real authority's certificate have no certificate signed by it.
	copied := stranger.Certificate
	copied.Certificate = [][]byte{copied.Certificate[0], w.authority.Certificate.Raw}
	if _, _, _, clientErr := handshake(t, &tls.Config{Certificates: []tls.Certificate{copied}, NextProtos: []string{ProtocolJoin}}, token.TLS()); !errors.Is(clientErr, ErrUntrusted) {
		t.Errorf("joining strangers with a copied authority: %v", clientErr)
	}
	asClient := token.TLS()
	asClient.NextProtos, asClient.VerifyConnection = []string{ProtocolSQL}, nil
	if _, _, serverErr, _ := handshake(t, w.one.ServerTLS(), asClient); !errors.Is(serverErr, ErrUntrusted) {
		t.Errorf("a joiner speaks sql: %v", serverErr)
	}
}

// TestOldTLS proves that nothing older than TLS 1.3 is spoken.
func TestOldTLS(t *testing.T) {
	w := newWorld(t)
	old := w.two.PeerTLS()
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if _, _, serverErr, _ := handshake(t, w.one.ServerTLS(), old); serverErr == nil {
		t.Error("the server speaks TLS 1.2")
	}
	if _, err := verify(tls.ConnectionState{Version: tls.VersionTLS12}, w.authority.Certificate, nodes, x509.ExtKeyUsageAny); !errors.Is(err, ErrUntrusted) {
		t.Errorf("verifying a TLS 1.2 connection: %v", err)
	}
}

// TestNodeCertificate proves the form and the times of a node's certificate.
func TestNodeCertificate(t *testing.T) {
	w := newWorld(t)
	leaf := w.two.Certificate.Leaf
	if got, want := leaf.URIs[0].String(), "rsqld://01020300000000000000000000000000/2"; got != want {
		t.Errorf("URI %q, want %q", got, want)
	}
	if life := leaf.NotAfter.Sub(leaf.NotBefore); life != NodeValidity+Backdate {
		t.Errorf("lasts %v, want %v", life, NodeValidity+Backdate)
	}
	if _, err := w.authority.NewIdentity(raft.ID(0)); err == nil {
		t.Error("node zero got a certificate")
	}
	if _, err := w.authority.NewCredential("a b", RoleRead); err == nil {
		t.Error("a name with a blank was accepted")
	}
	if _, err := w.authority.NewCredential("a", 0); err == nil {
		t.Error("role zero was accepted")
	}
}
