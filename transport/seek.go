package transport

import (
	"context"
	"fmt"
	"net"

	"github.com/rsqld/rsqld/raft"
)

// Seek begins a connection with whichever node of the cluster listens at address (host:port), and returns its id; the
// connection is in use a moment later, if both sides want it. It is for a node that knows the members and does not know where
// they are. A node that is connected already stays so by the connection that it has.
func (e *Endpoint) Seek(ctx context.Context, address string) (raft.ID, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeoutLong)
	defer cancel()
	id, err := e.seek(ctx, address)
	if err != nil {
		return 0, fmt.Errorf("seeking a member at %s: %w", address, err)
	}
	return id, nil
}

func (e *Endpoint) seek(ctx context.Context, address string) (raft.ID, error) {
	candidates, err := resolve(ctx, address)
	if err != nil {
		return 0, err
	}
	remote := net.UDPAddrFromAddrPort(candidates[0])
	conn, id, err := e.dial(ctx, remote)
	if err != nil {
		return 0, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch p := e.peers[id]; {
	case e.closed:
		err = ErrClosed
	case id == e.self:
		err = fmt.Errorf("this node itself answers there")
	case p != nil && p.link != nil:
		delete(e.conns, conn)
		shut(conn, codeDuplicate, "the two nodes have a connection already")
		return id, nil
	}
	if err != nil {
		delete(e.conns, conn)
		shut(conn, codeClosing, err.Error())
		return 0, err
	}
	e.group.Go(func() { // while e.closed is false, and so before Close waits for the group
		defer e.release(conn)
		if up, err := e.serveLink(conn, id, true); !up {
			e.complain(id, remote, err)
		}
	})
	return id, nil
}
