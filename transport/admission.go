package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/identity"
)

// admission decides who may begin a handshake. Nothing is known of the other end then but an address that may be
// forged, so the decision costs nothing and remembers nothing of those it refuses.
type admission struct {
	limits Limits
	refuse func(net.Addr, error)

	mu          sync.Mutex // guards what follows
	open        int        // handshakes in progress of others than peers
	unvalidated int        // of these, from addresses that are not validated
	pretended   int        // from addresses of peers that are not validated
	credit      bucket     // of handshakes a second
	peers       map[raft.ID]string
}

// handshake is one that was let in and has not ended. It travels in the connection's context.
type handshake struct {
	remote      net.Addr
	unvalidated bool
	peer        bool // from a peer's address: not counted as open
	// over stops the watch for its failure.
	over func() bool
	// told says that its failure has been logged. It is set in the handshake, before the connection's context ends.
	told bool
}

type handshakeKey struct{}

var (
	errManyHandshakes = errors.New("too many connections are being made at once (limit handshakes)")
	errFastHandshakes = errors.New("too many connections are being made a second (limit handshakes per second)")
)

func newAdmission(limits Limits, refuse func(net.Addr, error)) *admission {
	rate := float64(limits.HandshakesPerSecond)
	return &admission{limits: limits, refuse: refuse, credit: bucket{rate: rate, burst: rate}, peers: make(map[raft.ID]string)}
}

// know remembers where a peer was last found: it dials from the socket it listens on.
func (a *admission) know(id raft.ID, address string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.peers[id] = address
}

func (a *admission) forget(id raft.ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.peers, id)
}

// isPeer needs a.mu. There are few peers.
func (a *admission) isPeer(remote net.Addr) bool {
	text := remote.String()
	for _, address := range a.peers {
		if address == text {
			return true
		}
	}
	return false
}

// mustEcho reports whether a newcomer must show that it receives at its address. It is quic.Transport's
// VerifySourceAddress. Peers have places of their own, so that a flood from elsewhere does not keep them out.
func (a *admission) mustEcho(remote net.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.isPeer(remote) {
		return a.pretended >= a.limits.Unvalidated
	}
	return a.unvalidated >= a.limits.Unvalidated
}

// begin lets a handshake in, or not. It is quic.Transport's ConnContext.
func (a *admission) begin(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	a.mu.Lock()
	h := &handshake{remote: info.RemoteAddr, unvalidated: !info.AddrVerified, peer: a.isPeer(info.RemoteAddr)}
	err := a.admit(h)
	a.mu.Unlock()
	if err != nil {
		a.refuse(info.RemoteAddr, err)
		return nil, err
	}
	h.over = context.AfterFunc(ctx, func() {
		a.end(h)
		if !h.told {
			a.refuse(h.remote, fmt.Errorf("the handshake was not completed: %w", handshakeError(context.Cause(ctx))))
		}
	})
	return context.WithValue(ctx, handshakeKey{}, h), nil
}

// admit needs a.mu.
func (a *admission) admit(h *handshake) error {
	if !h.peer {
		if a.open >= a.limits.Handshakes {
			return errManyHandshakes
		}
		if !a.credit.take(time.Now()) {
			return errFastHandshakes
		}
	}
	a.count(h, +1)
	return nil
}

// count counts h in or out. It needs a.mu.
func (a *admission) count(h *handshake, n int) {
	if !h.peer {
		a.open += n
	}
	switch {
	case h.unvalidated && h.peer:
		a.pretended += n
	case h.unvalidated:
		a.unvalidated += n
	}
}

func (a *admission) end(h *handshake) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count(h, -1)
}

// complete ends the handshake of a connection that was accepted.
func (a *admission) complete(conn *quic.Conn) {
	if h, ok := conn.Context().Value(handshakeKey{}).(*handshake); ok && h.over() {
		a.end(h)
	}
}

// handshakeError puts the end of a handshake in words.
func handshakeError(err error) error {
	var transport *quic.TransportError
	if errors.As(err, &transport) && transport.Remote {
		if alert, ok := alertOf(transport); ok {
			return fmt.Errorf("the other end refused this node (%w): it is of another cluster, or its clock or version differs", alert)
		}
	}
	return explain(err)
}

// serverTLS tells the protocols of the socket apart, each with its own demands, and logs who does not meet them.
func (e *Endpoint) serverTLS() *tls.Config {
	protocols := []string{identity.ProtocolPeer, identity.ProtocolSQL, identity.ProtocolJoin}
	configs := make(map[string]*tls.Config, len(protocols))
	for _, protocol := range protocols {
		config := e.config.Identity.ServerTLS(protocol)
		config.SessionTicketsDisabled = true // connections are long, and tickets are state to keep secret
		if protocol == identity.ProtocolJoin {
			config.ClientAuth = tls.NoClientCert
		}
		configs[protocol] = config
	}
	base := e.config.Identity.ServerTLS(protocols...)
	base.SessionTicketsDisabled = true
	base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		for _, protocol := range hello.SupportedProtos {
			if config, known := configs[protocol]; known {
				return e.watched(hello.Context(), config), nil
			}
		}
		err := fmt.Errorf("it speaks %.200q, and this node speaks %q", hello.SupportedProtos, protocols)
		e.tell(hello.Context(), err)
		return nil, err
	}
	return base
}

// watched is config with a log line for what it refuses.
func (e *Endpoint) watched(ctx context.Context, config *tls.Config) *tls.Config {
	verify := config.VerifyConnection
	config = config.Clone()
	config.VerifyConnection = func(state tls.ConnectionState) error {
		err := verify(state)
		if err != nil {
			e.tell(ctx, err)
		}
		return err
	}
	return config
}

// tell logs why a handshake is refused.
func (e *Endpoint) tell(ctx context.Context, err error) {
	if h, ok := ctx.Value(handshakeKey{}).(*handshake); ok && !h.told {
		h.told = true
		e.refuse(h.remote, err)
	}
}
