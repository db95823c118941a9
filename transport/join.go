package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/quic-go/quic-go"
	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire"
	"github.com/rsqld/rsqld/transport/wire/joinpb"
)

// serveJoin serves the connection of a joiner, of whom nothing is known: one stream, one request, one answer.
func (e *Endpoint) serveJoin(conn *quic.Conn) {
	limit := e.config.Limits.Joins
	if !e.counters.joins.take(limit) {
		e.counters.turnedAway.Add(1)
		shut(conn, codeBusy, fmt.Sprintf("this node has %d joins under way, which is its limit: try again", limit))
		return
	}
	defer e.counters.joins.release()
	if err := e.answerJoin(conn); err != nil {
		e.refuse(conn.RemoteAddr(), fmt.Errorf("joining: %w", err))
		shut(conn, codeProtocol, err.Error())
		return
	}
	// The joiner closes when it has the answer.
	select {
	case <-conn.Context().Done():
	case <-time.After(e.config.Limits.FirstFrame):
	case <-e.ctx.Done():
	}
	shut(conn, codeClosing, "the join was answered")
}

func (e *Endpoint) answerJoin(conn *quic.Conn) error {
	limits := e.config.Limits
	ctx, cancel := context.WithTimeout(e.ctx, limits.FirstFrame+limits.JoinAnswer)
	defer cancel()
	unhook := context.AfterFunc(conn.Context(), cancel)
	defer unhook()
	first, stop := context.WithTimeout(ctx, limits.FirstFrame)
	defer stop()
	str, err := conn.AcceptStream(first)
	if err != nil {
		return errors.New("no request came in time")
	}
	s := newStream(e.ctx, conn, str, new(flusher))
	defer s.Close()
	e.group.Go(func() { forbidStreams(ctx, conn) })
	if err := s.awaitFirst(limits.FirstFrame); err != nil {
		return err
	}
	request := new(joinpb.JoinRequest)
	if err := s.Recv(request); err != nil {
		return err
	}
	exporter, err := identity.Exporter(conn.ConnectionState().TLS)
	if err != nil {
		return err
	}
	answer := &joinpb.JoinAnswer{Error: "this node admits no others"}
	if e.config.OnJoin != nil {
		answer = e.config.OnJoin(ctx, request, exporter)
	}
	if err := s.Send(answer); err != nil {
		return err
	}
	return s.CloseWrite()
}

// forbidStreams closes the connection of a joiner that opens a second stream: it could open thousands.
func forbidStreams(ctx context.Context, conn *quic.Conn) {
	if _, err := conn.AcceptStream(ctx); err == nil {
		shut(conn, codeProtocol, "a join has one stream")
	}
}

// Join asks the node at address (host:port) to admit the sender of request to the cluster of the token. The request is
// completed with the token's proof, bound to the connection; it may be used again. The cluster's refusal is an answer
// with Error set, not an error: errors wrap ErrFingerprint (another cluster answered; nothing was sent), ErrUnreachable
// (nobody answered), ErrRefused (the node is busy) or ErrLost (the connection ended before the answer came, and the join
// may have happened: it may be asked again with the same key).
func Join(ctx context.Context, address string, token identity.Token, request *joinpb.JoinRequest) (*joinpb.JoinAnswer, error) {
	answer, err := join(ctx, address, token, proto.CloneOf(request))
	if err != nil {
		return nil, fmt.Errorf("asking %s to join: %w", address, err)
	}
	return answer, nil
}

func join(ctx context.Context, address string, token identity.Token, request *joinpb.JoinRequest) (*joinpb.JoinAnswer, error) {
	c, err := dialNode(ctx, address, joinTLS(token), ClientIdle)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	exporter, err := identity.Exporter(c.quic.ConnectionState().TLS)
	if err != nil {
		return nil, err
	}
	token.Prove(request, exporter)
	s, err := c.OpenStream(ctx)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	unhook := context.AfterFunc(ctx, func() { s.Close() })
	defer unhook()
	answer := new(joinpb.JoinAnswer)
	err = s.ask(request, answer, wire.MaxJoinFrame)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%w: no answer came: %w", ErrLost, context.Cause(ctx))
	}
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// joinTLS is the token's configuration with an error of its own for a node of another cluster.
func joinTLS(token identity.Token) *tls.Config {
	config := token.TLS()
	verify := config.VerifyConnection
	config.VerifyConnection = func(state tls.ConnectionState) error {
		err := verify(state)
		if err != nil && !slices.ContainsFunc(state.PeerCertificates, func(c *x509.Certificate) bool { return token.Matches(c.Raw) }) {
			return ErrFingerprint
		}
		return err
	}
	return config
}
