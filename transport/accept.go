package transport

import (
	"github.com/quic-go/quic-go"

	"github.com/rsqld/rsqld/transport/identity"
)

// accept takes connections whose handshake is complete and whose certificate was verified, until the Endpoint closes.
func (e *Endpoint) accept() {
	for {
		conn, err := e.listener.Accept(e.ctx)
		if err != nil {
			if e.ctx.Err() == nil {
				e.log.Error("the socket failed: no connection can be made any more", "err", err)
			}
			return
		}
		e.admission.complete(conn)
		e.group.Go(func() { e.serve(conn) })
	}
}

// serve serves a connection until it ends.
func (e *Endpoint) serve(conn *quic.Conn) {
	if !e.hold(conn) {
		return
	}
	defer e.release(conn)
	state := conn.ConnectionState().TLS
	if state.NegotiatedProtocol == identity.ProtocolJoin {
		e.serveJoin(conn)
		return
	}
	principal, err := identity.PrincipalOf(state)
	if err != nil {
		e.refuse(conn.RemoteAddr(), err)
		shut(conn, codeMismatch, err.Error())
		return
	}
	if state.NegotiatedProtocol == identity.ProtocolPeer {
		e.servePeer(conn, principal.Node)
		return
	}
	e.serveClient(conn, principal)
}
