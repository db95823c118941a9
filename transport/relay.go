package transport

import (
	"context"
	"errors"
	"fmt"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/peerpb"
)

// Relay opens a session at a peer. It is the peer's OnSession that serves it, with this node as the Principal. Nothing
// is sent before the first Flush. The error wraps ErrNotConnected if there is no connection at the moment.
func (e *Endpoint) Relay(ctx context.Context, to raft.ID) (*Stream, error) {
	s, err := e.openStream(ctx, to, peerpb.StreamHeader_KIND_RELAY)
	if err != nil {
		return nil, fmt.Errorf("opening a relay to node %d: %w", to, err)
	}
	return s, nil
}

// openStream opens a stream to a peer. Its header leaves with the first frame.
func (e *Endpoint) openStream(ctx context.Context, to raft.ID, kind peerpb.StreamHeader_Kind) (*Stream, error) {
	l := e.linkTo(to)
	if l == nil {
		return nil, ErrNotConnected
	}
	str, err := l.conn.OpenStreamSync(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("waiting for a free stream: %w", context.Cause(ctx))
		}
		return nil, fmt.Errorf("%w: %w", ErrNotConnected, explain(err))
	}
	s := newStream(e.ctx, l.conn, str, &l.flusher)
	if err := s.Send(e.header(to, kind)); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// OfferKey gives the authority's private key (PKCS #8, DER) to a peer and returns when that has made it durable. The
// error wraps ErrKeyRefused if the peer says that it could not.
func (e *Endpoint) OfferKey(ctx context.Context, to raft.ID, keyDER []byte) error {
	if err := e.offerKey(ctx, to, keyDER); err != nil {
		return fmt.Errorf("offering the authority's key to node %d: %w", to, err)
	}
	return nil
}

func (e *Endpoint) offerKey(ctx context.Context, to raft.ID, keyDER []byte) error {
	s, err := e.openStream(ctx, to, peerpb.StreamHeader_KIND_KEY)
	if err != nil {
		return err
	}
	defer s.Close()
	unhook := context.AfterFunc(ctx, func() { s.Close() })
	defer unhook()
	receipt := new(peerpb.KeyReceipt)
	err = s.ask(&peerpb.KeyOffer{Key: keyDER}, receipt, maxKey)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	case !receipt.Stored:
		return fmt.Errorf("%w: %s", ErrKeyRefused, receipt.Error)
	}
	return nil
}

// acceptStreams takes the peer's streams in both directions until the connection ends.
func (l *link) acceptStreams(ctx context.Context) {
	e := l.endpoint
	for {
		str, err := l.conn.AcceptStream(ctx)
		if err != nil {
			return // the connection has ended
		}
		s := newStream(e.ctx, l.conn, str, &l.flusher)
		e.group.Go(func() { l.serveStream(s) })
	}
}

// serveStream reads the header of a stream and serves it.
func (l *link) serveStream(s *Stream) {
	e := l.endpoint
	header, err := l.readHeader(s.in, s.quic, peerpb.StreamHeader_KIND_RELAY, peerpb.StreamHeader_KIND_KEY, peerpb.StreamHeader_KIND_SNAPSHOT)
	switch {
	case err != nil:
		l.endIf(err)
		s.Close()
	case header.Kind == peerpb.StreamHeader_KIND_KEY:
		l.serveKey(s)
	case header.Kind == peerpb.StreamHeader_KIND_SNAPSHOT:
		l.serveSnapshot(s)
	default:
		principal, err := identity.PrincipalOf(l.conn.ConnectionState().TLS)
		if err != nil {
			s.Close()
			return
		}
		session := &Session{Stream: s, Principal: principal, Peer: l.peer, Remote: l.conn.RemoteAddr()}
		e.serveSession(session, &e.counters.relays, e.config.Limits.Relays)
	}
}

// serveKey takes the authority's key and sends the receipt.
func (l *link) serveKey(s *Stream) {
	defer s.finish(lastWords)
	offer := new(peerpb.KeyOffer)
	if err := s.awaitFirst(l.endpoint.config.Limits.FirstFrame); err != nil {
		return // it was closed meanwhile
	}
	if err := s.recv(offer, maxKey); err != nil {
		l.endIf(err)
		return
	}
	err := errors.New("it takes no key")
	if take := l.endpoint.config.OnKey; take != nil {
		err = take(offer.Key)
	}
	receipt := &peerpb.KeyReceipt{Stored: err == nil}
	if err != nil {
		receipt.Error = err.Error()
		l.endpoint.log.Error("the authority's key was not stored", "node", l.endpoint.self, "peer", l.peer, "err", err)
	}
	_ = s.Send(receipt) // whether the peer hears it is its own affair: it offers the key again
}
