package transport

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// Session is a stream on which a client, or a peer on behalf of one, speaks the protocol of sql.proto. Its first frame
// has a deadline (Limits.FirstFrame), after which Recv fails with ErrFirstFrame.
type Session struct {
	*Stream
	// Principal is the client, or the peer.
	Principal identity.Principal
	// Peer is the node that relays the session, or zero.
	Peer   raft.ID
	Remote net.Addr
}

// serveClient serves a client's connection: each stream is a session.
func (e *Endpoint) serveClient(conn *quic.Conn, who identity.Principal) {
	limit := e.config.Limits.Connections
	if !e.counters.clients.take(limit) {
		e.counters.turnedAway.Add(1)
		err := fmt.Errorf("this node has %d connections of clients, which is its limit: use another node", limit)
		e.refuse(conn.RemoteAddr(), err)
		shut(conn, codeBusy, err.Error())
		return
	}
	defer e.counters.clients.release()
	shared := new(flusher)
	for {
		str, err := conn.AcceptStream(e.ctx)
		if err != nil {
			break // the connection has ended, or will with the Endpoint
		}
		session := &Session{Stream: newStream(e.ctx, conn, str, shared), Principal: who, Remote: conn.RemoteAddr()}
		e.group.Go(func() { e.serveSession(session, &e.counters.sessions, e.config.Limits.Sessions) })
	}
	<-conn.Context().Done()
}

// serveSession serves a session until OnSession returns.
func (e *Endpoint) serveSession(s *Session, taken *places, limit int) {
	// When the Endpoint closes, the session's Recv returns and it can say its last word.
	unhook := context.AfterFunc(e.ctx, func() { s.quic.CancelRead(streamClosing) })
	defer unhook()
	if !taken.take(limit) {
		defer s.finish(lastWords)
		e.counters.turnedAway.Add(1)
		// Whether the client hears it is its own affair.
		_ = s.Send(failure(sqlpb.Class_CLASS_BUSY, sqlpb.Retry_RETRY_SAME,
			fmt.Sprintf("this node serves %d sessions, which is its limit: close some, or use another node", limit)))
		return
	}
	defer taken.release()
	defer s.finish(lastWords)
	if e.config.OnSession == nil {
		_ = s.Send(failure(sqlpb.Class_CLASS_DENIED, sqlpb.Retry_RETRY_NEVER, "this node serves no sessions"))
		return
	}
	if err := s.awaitFirst(e.config.Limits.FirstFrame); err != nil {
		return // it was closed meanwhile
	}
	e.config.OnSession(s.Context(), s)
}

// lastWords is how long a session that ended waits for its client to take what was said last.
const lastWords = 250 * time.Millisecond

// failure is an error of a session as a whole.
func failure(class sqlpb.Class, retry sqlpb.Retry, message string) *sqlpb.ServerFrame {
	return &sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Error{Error: &sqlpb.Error{
		Class: class, Retry: retry, Message: message, Offset: -1}}}
}
