package db

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// relay is a session of this node at the leader, on behalf of a client of its own: same session id, same identity.
type relay struct {
	leader raft.ID
	stream *transport.Stream
	out    sync.Mutex // guards the sending half of stream
	// given is why this node gave the relay up, if it did: the first reason counts.
	given atomic.Pointer[error]
}

// Why this node gives relays up.
var (
	errReplaced = errors.New("it does not lead any more")
	errSilent   = errors.New("it did not answer that the request should end")
)

// relayGrace is how long a leader whose request was cancelled may take to answer before its relay is closed.
const relayGrace = 200 * time.Millisecond

// deposedGrace is how long a leader that was replaced may take: a heartbeat interval. If it lives it learns the fate of
// its entries from the new one in a round trip; if it is dead, everybody who waits for it waits in vain, and this is
// part of what a failover takes.
func (n *Node) deposedGrace() time.Duration { return n.config.ElectionTimeout / 3 }

func (r *relay) close() { r.stream.Close() }

// giveUp closes the relay because of why.
func (r *relay) giveUp(why error) {
	r.given.CompareAndSwap(nil, &why)
	r.close()
}

// send sends one frame at once.
func (r *relay) send(frame *sqlpb.ClientFrame) error {
	r.out.Lock()
	defer r.out.Unlock()
	if err := r.stream.Send(frame); err != nil {
		return err
	}
	return r.stream.Flush()
}

// relayTo returns the session's relay to leader, opening it if need be. An error means that nothing was sent that could
// have been executed.
func (s *session) relayTo(ctx context.Context, leader raft.ID) (*relay, error) {
	if r := s.relay.Load(); r != nil && r.leader == leader && r.stream.Context().Err() == nil {
		return r, nil
	}
	s.dropRelay()
	ctx, cancel := s.node.whileLeads(ctx, leader)
	defer cancel()
	stream, err := s.node.openRelay(ctx, leader, &sqlpb.Hello{
		Version: protocolVersion, Session: s.id[:], Level: s.level, Client: s.client,
		OnBehalf: &sqlpb.Principal{Name: s.principal.Name, Role: roleToWire(s.principal.Role)},
	})
	if err != nil {
		return nil, err
	}
	r := &relay{leader: leader, stream: stream}
	s.relay.Store(r)
	return r, nil
}

// whileLeads returns a context that ends when another node leads, or none. A node that died greets nobody, and nothing
// that matters was sent to it yet: the wait for it ends with its leadership.
func (n *Node) whileLeads(parent context.Context, leader raft.ID) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(parent)
	now, _, changed := n.replica.Leader()
	if now != leader {
		cancel()
		return ctx, cancel
	}
	n.group.Go(func() {
		select {
		case <-changed:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, cancel
}

func (s *session) dropRelay() {
	if r := s.relay.Swap(nil); r != nil {
		r.close()
	}
}

// openRelay opens a session at peer and greets it.
func (n *Node) openRelay(ctx context.Context, peer raft.ID, hello *sqlpb.Hello) (*transport.Stream, error) {
	stream, err := n.endpoint.Relay(ctx, peer)
	if err != nil {
		return nil, err
	}
	unhook := context.AfterFunc(ctx, func() { stream.Close() })
	err = greet(stream, hello)
	if !unhook() && err == nil {
		err = context.Cause(ctx) // the stream is closed, or is about to be
	}
	if err != nil {
		stream.Close()
		return nil, fmt.Errorf("opening a session at node %d: %w", peer, err)
	}
	return stream, nil
}

// greet sends hello and waits for the welcome.
func greet(stream *transport.Stream, hello *sqlpb.Hello) error {
	err := stream.Send(&sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Hello{Hello: hello}})
	if err == nil {
		err = stream.Flush()
	}
	if err != nil {
		return err
	}
	var answer sqlpb.ServerFrame
	if err := stream.Recv(&answer); err != nil {
		return err
	}
	if refused := answer.GetError(); refused != nil {
		return errors.New(refused.Message)
	}
	if answer.GetWelcome() == nil {
		return fmt.Errorf("it answers hello with a %T", answer.Frame)
	}
	return nil
}
