package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/identity"
)

// DialTimeout bounds DialSQL when its context has no deadline.
const DialTimeout = 5 * time.Second

// DialOptions are what a client may choose. The zero value is good.
type DialOptions struct {
	// Idle is when the connection counts as lost if the node says nothing, not even to pings. Zero: ClientIdle.
	Idle time.Duration
}

// ClientConn is a client's connection with a node, on a socket of its own.
type ClientConn struct {
	quic      *quic.Conn
	flusher   flusher // of all sessions
	transport *quic.Transport
	socket    *dialledSocket
	close     sync.Once
	closed    error
}

// DialSQL connects a client with the node at address (host:port). The error wraps ErrUnreachable if nobody answers. A
// node that refuses the credential says so a moment later: then the first use of a stream fails with ErrRefused.
func DialSQL(ctx context.Context, address string, credential *identity.Credential, options DialOptions) (*ClientConn, error) {
	idle := options.Idle
	if idle == 0 {
		idle = ClientIdle
	}
	c, err := dialNode(ctx, address, credential.ClientTLS(), idle)
	if err != nil {
		return nil, fmt.Errorf("connecting with %s: %w", address, err)
	}
	return c, nil
}

// dialNode tries the addresses that a name has, one after the other. Each but the last gets half of the time left.
func dialNode(ctx context.Context, address string, config *tls.Config, idle time.Duration) (*ClientConn, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DialTimeout)
		defer cancel()
	}
	candidates, err := resolve(ctx, address)
	if err != nil {
		return nil, err
	}
	var failures []error
	for i, candidate := range candidates {
		attempt, cancel := ctx, context.CancelFunc(func() {})
		if deadline, _ := ctx.Deadline(); i < len(candidates)-1 {
			attempt, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		}
		c, err := dialOne(attempt, candidate, config, idle)
		cancel()
		if err == nil {
			return c, nil
		}
		failures = append(failures, err)
	}
	return nil, errors.Join(failures...)
}

func dialOne(ctx context.Context, address netip.AddrPort, config *tls.Config, idle time.Duration) (*ClientConn, error) {
	socket, err := dialSocket(address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	c := &ClientConn{socket: socket, transport: &quic.Transport{Conn: socket}}
	c.quic, err = c.transport.Dial(ctx, net.UDPAddrFromAddrPort(address), config, clientConfig(idle))
	if err == nil {
		return c, nil
	}
	switch failed := dialError(ctx, err); {
	case c.nobodyListens(err):
		err = fmt.Errorf("%w: no process listens at %s", ErrUnreachable, address)
	case failed == ErrUnreachable:
		err = fmt.Errorf("%w at %s: is rsqld running there?", ErrUnreachable, address)
	default:
		err = failed
	}
	return nil, errors.Join(err, c.transport.Close(), socket.Close())
}

// nobodyListens reports whether the kernel has said that no process has the node's port.
func (c *ClientConn) nobodyListens(err error) bool { return c.socket.refused.Load() || isRefused(err) }

// OpenStream opens a session. It waits while the node has more sessions of this connection than it allows.
func (c *ClientConn) OpenStream(ctx context.Context) (*Stream, error) {
	str, err := c.quic.OpenStreamSync(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("opening a session: %w", context.Cause(ctx))
		}
		return nil, fmt.Errorf("opening a session: %w", explain(err))
	}
	return newStream(context.Background(), c.quic, str, &c.flusher), nil
}

// Context ends with the connection.
func (c *ClientConn) Context() context.Context { return c.quic.Context() }

// Err returns why the connection ended, or nil while it stands.
func (c *ClientConn) Err() error { return explain(context.Cause(c.quic.Context())) }

// Node returns the id of the node at the other end.
func (c *ClientConn) Node() (raft.ID, error) { return identity.NodeOf(c.quic.ConnectionState().TLS) }

// RemoteAddr returns the address of the node.
func (c *ClientConn) RemoteAddr() net.Addr { return c.quic.RemoteAddr() }

// Close ends all sessions of the connection and closes its socket. It may be called by any goroutine, more than once.
func (c *ClientConn) Close() error {
	c.close.Do(func() {
		shut(c.quic, codeClosing, "the client is closing")
		c.closed = errors.Join(c.transport.Close(), c.socket.Close())
	})
	return c.closed
}
