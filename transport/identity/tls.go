package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/rsqld/rsqld/raft"
)

// Protocols (ALPN) of a node's address. They decide what certificate the other end must show.
const (
	ProtocolPeer = "rsqld-peer/1"
	ProtocolSQL  = "rsqld-sql/1"
	ProtocolJoin = "rsqld-join/1"
)

// ErrUntrusted is the cause of the error for a connection whose other end is not who it must be.
var ErrUntrusted = errors.New("not trusted")

// audience is what one end of a connection demands of the other.
type audience uint8

const (
	nobody audience = iota
	nodes
	clients
)

// callers says whom a server lets in by which protocol.
var callers = map[string]audience{ProtocolPeer: nodes, ProtocolSQL: clients, ProtocolJoin: nobody}

// ServerTLS returns the configuration of a node's listener for the given protocols; none means all of them.
func (i *Identity) ServerTLS(protocols ...string) *tls.Config {
	if len(protocols) == 0 {
		protocols = []string{ProtocolPeer, ProtocolSQL, ProtocolJoin}
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{i.Certificate},
		NextProtos:   protocols,
		// Asked for, not required: a joiner has none. verify refuses its absence where one is needed.
		ClientAuth: tls.RequestClientCert,
		VerifyConnection: func(state tls.ConnectionState) error {
			wanted, known := callers[state.NegotiatedProtocol]
			if !known {
				return fmt.Errorf("%w: the client speaks none of %v", ErrUntrusted, protocols)
			}
			if wanted == nobody {
				return nil
			}
			_, err := verify(state, i.CA, wanted, x509.ExtKeyUsageClientAuth)
			return err
		},
	}
}

// PeerTLS returns the configuration for dialling another node of the cluster. Which node answered is for the caller to
// see ([PrincipalOf]).
func (i *Identity) PeerTLS() *tls.Config { return clientTLS(ProtocolPeer, i.CA, i.Certificate) }

// ClientTLS returns the configuration for dialling a node of the credential's cluster.
func (c *Credential) ClientTLS() *tls.Config { return clientTLS(ProtocolSQL, c.CA, c.Certificate) }

func clientTLS(protocol string, ca *x509.Certificate, certificate tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{protocol},
		// Shown only after VerifyConnection accepted the server (RFC 8446 §4.4.2: the client's flight comes last).
		Certificates:       []tls.Certificate{certificate},
		InsecureSkipVerify: true, // VerifyConnection verifies all but the host name
		VerifyConnection: func(state tls.ConnectionState) error {
			if state.NegotiatedProtocol != protocol {
				return fmt.Errorf("%w: the server does not speak %s", ErrUntrusted, protocol)
			}
			_, err := verify(state, ca, nodes, x509.ExtKeyUsageServerAuth)
			return err
		},
	}
}

// verify checks the certificate of the other end of a connection and returns who that is.
func verify(state tls.ConnectionState, ca *x509.Certificate, wanted audience, usage x509.ExtKeyUsage) (Principal, error) {
	fail := func(format string, args ...any) (Principal, error) {
		return Principal{}, fmt.Errorf("%w: "+format, append([]any{ErrUntrusted}, args...)...)
	}
	if state.Version < tls.VersionTLS13 {
		return fail("the connection is older than TLS 1.3")
	}
	if len(state.PeerCertificates) == 0 {
		return fail("no certificate was shown; %s needs one", state.NegotiatedProtocol)
	}
	leaf := state.PeerCertificates[0]
	expected, err := clusterOf(ca)
	if err != nil {
		return fail("%w", err)
	}
	cluster, principal, err := holder(leaf)
	if err != nil {
		return fail("%w", err)
	}
	if cluster != expected {
		return fail("%v is of cluster %x, and this is cluster %x", principal, cluster, expected)
	}
	if now := time.Now(); now.After(leaf.NotAfter) {
		return fail("the certificate of %v expired at %s, and it is now %s here", principal, stamp(leaf.NotAfter), stamp(now))
	} else if now.Before(leaf.NotBefore) {
		return fail("the certificate of %v begins at %s, and it is now %s here: one of the two clocks is wrong", principal, stamp(leaf.NotBefore), stamp(now))
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
		return fail("the certificate of %v: %w", principal, err)
	}
	if isNode := principal.Node != 0; isNode != (wanted == nodes) {
		return fail("%v may not speak %s", principal, state.NegotiatedProtocol)
	}
	return principal, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// PrincipalOf returns who is at the other end of a connection that one of this package's configurations has verified.
// A joiner is nobody: then it returns an error.
func PrincipalOf(state tls.ConnectionState) (Principal, error) {
	if len(state.PeerCertificates) == 0 {
		return Principal{}, fmt.Errorf("%w: no certificate was shown", ErrUntrusted)
	}
	_, principal, err := holder(state.PeerCertificates[0])
	return principal, err
}

// NodeOf returns the id of the node at the other end of a connection.
func NodeOf(state tls.ConnectionState) (raft.ID, error) {
	principal, err := PrincipalOf(state)
	if err == nil && principal.Node == 0 {
		err = fmt.Errorf("%w: %v is no node", ErrUntrusted, principal)
	}
	return principal.Node, err
}
