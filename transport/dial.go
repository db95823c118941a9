package transport

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/identity"
)

const (
	// dialJitter spreads the attempts of the nodes after a connection was lost.
	dialJitter = 50 * time.Millisecond
	// dialBackoff is the pause after the first attempt that failed; it doubles up to dialBackoffMax. A node that comes
	// back dials the others itself, and a cut that heals must be noticed fast: the maximum is small.
	dialBackoff    = 25 * time.Millisecond
	dialBackoffMax = 200 * time.Millisecond
	// refusedPause is the pause after an attempt whose failure only a person can mend.
	refusedPause = time.Second
	// dialTimeout bounds most attempts: QUIC repeats its first packet ever more slowly, a new attempt begins anew.
	// Every dialPatience-th attempt gets dialTimeoutLong, for paths on which a handshake takes longer.
	dialTimeout     = 400 * time.Millisecond
	dialTimeoutLong = 3 * time.Second
	dialPatience    = 4
)

// dialLoop keeps a member connected until ctx ends.
func (e *Endpoint) dialLoop(ctx context.Context, p *peer) {
	pause := e.headStart(p)
	for attempt := 0; ; attempt++ {
		if l := e.linkTo(p.id); l != nil {
			select {
			case <-l.done:
				attempt, pause = 0, e.headStart(p)
				p.forgetLinked()
			case <-ctx.Done():
				return
			}
		}
		if !p.pause(ctx, pause) {
			return
		}
		if e.linkTo(p.id) != nil {
			continue
		}
		up, err := e.dialPeer(ctx, p, attempt)
		var different *mismatch
		switch {
		case up:
			attempt, pause = 0, e.headStart(p)
			p.forgetLinked()
		case errors.As(err, &different), errors.Is(err, ErrRefused), errors.Is(err, identity.ErrUntrusted):
			pause = refusedPause + rand.N(dialJitter)
		default:
			pause = min(dialBackoff<<min(attempt, 10), dialBackoffMax-dialJitter) + rand.N(dialJitter)
		}
	}
}

// forgetLinked drops the news of a connection that has ended since.
func (p *peer) forgetLinked() {
	select {
	case <-p.linked:
	default:
	}
}

// headStart is how long to wait before the first attempt: the node with the lower id, whose connection counts when both
// dial, goes first, so that there is seldom a second one to throw away.
func (e *Endpoint) headStart(p *peer) time.Duration {
	const first = dialJitter / 5
	if e.self < p.id {
		return rand.N(first)
	}
	return first + rand.N(dialJitter-first)
}

// pause waits, but no longer than until the peer is connected. It reports false when ctx has ended.
func (p *peer) pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.linked:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// dialPeer makes a connection with a member and serves it until it ends.
func (e *Endpoint) dialPeer(ctx context.Context, p *peer, attempt int) (up bool, err error) {
	conn, remote, err := e.attempt(ctx, p, attempt)
	if err == nil {
		defer e.release(conn)
		up, err = e.serveLink(conn, p.id, true)
	}
	if !up && ctx.Err() == nil {
		e.complain(p.id, remote, err)
	}
	return up, err
}

// attempt tries once to make a connection with a member. It ends with errDuplicate when the peer was faster.
func (e *Endpoint) attempt(ctx context.Context, p *peer, attempt int) (*quic.Conn, net.Addr, error) {
	ctx, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	e.mu.Lock()
	address := p.address
	timeout := max(dialTimeout, 4*p.rtt)
	p.abort = abort
	e.mu.Unlock()
	if attempt%dialPatience == dialPatience-1 {
		timeout = max(timeout, dialTimeoutLong)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, remote, err := e.dialMember(ctx, p, address)
	e.mu.Lock()
	p.abort = nil
	e.mu.Unlock()
	return conn, remote, err
}

// dialMember makes a connection and checks that the node at its other end is p.
func (e *Endpoint) dialMember(ctx context.Context, p *peer, address string) (*quic.Conn, net.Addr, error) {
	candidates, err := resolve(ctx, address)
	if err != nil {
		return nil, name(address), err
	}
	remote := net.UDPAddrFromAddrPort(candidates[0])
	e.admission.know(p.id, remote.String())
	conn, id, err := e.dial(ctx, remote)
	if err != nil {
		return nil, remote, err
	}
	if id != p.id {
		err = &mismatch{fmt.Sprintf("node %d answers at the address of node %d", id, p.id)}
		e.release(conn)
		shut(conn, codeMismatch, err.Error())
		return nil, remote, err
	}
	return conn, remote, nil
}

// dial makes a connection with a node of the cluster, whichever it is, and holds it.
func (e *Endpoint) dial(ctx context.Context, remote net.Addr) (*quic.Conn, raft.ID, error) {
	conn, err := e.transport.Dial(ctx, remote, e.config.Identity.PeerTLS(), e.config.Limits.peerConfig())
	if err != nil {
		return nil, 0, dialError(ctx, err)
	}
	if !e.hold(conn) {
		return nil, 0, ErrClosed
	}
	id, err := identity.NodeOf(conn.ConnectionState().TLS)
	if err != nil {
		e.release(conn)
		shut(conn, codeMismatch, err.Error())
		return nil, 0, err
	}
	return conn, id, nil
}

// name is an address that could not be resolved, for the log.
type name string

func (name) Network() string  { return "udp" }
func (n name) String() string { return string(n) }

// dialError says why there is no connection.
func dialError(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))) {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return ErrUnreachable
		}
		return context.Cause(ctx)
	}
	if err = explain(err); errors.Is(err, ErrLost) {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return err
}
