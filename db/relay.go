package db

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
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
}

// relayGrace is how long a leader that was replaced, or whose request was cancelled, may take to answer before its
// relays are closed. A deposed leader that lives learns the fate of its entries from the new one in a round trip.
const relayGrace = 200 * time.Millisecond

func (r *relay) close() { r.stream.Close() }

// send sends one frame at once.
func (r *relay) send(frame *sqlpb.ClientFrame) error {
	r.out.Lock()
	defer r.out.Unlock()
	if err := r.stream.Send(frame); err != nil {
		return err
	}
	return r.stream.Flush()
}

// cancel asks the leader to end a request, and closes the relay if it does not answer.
func (r *relay) cancel(request uint64) (stop func() bool) {
	frame := &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Cancel{Cancel: &sqlpb.Cancel{Id: request}}}
	if r.send(frame) != nil {
		r.close()
	}
	return time.AfterFunc(relayGrace, r.close).Stop
}

// relayTo returns the session's relay to leader, opening it if need be. An error means that nothing was sent.
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

// dropStaleRelays closes relays to any node but leader, so that requests on them do not wait for a dead node.
func (n *Node) dropStaleRelays(leader raft.ID) {
	for _, s := range n.sessions.all() {
		if r := s.relay.Load(); r != nil && r.leader != leader {
			r.close()
		}
	}
}

// watchLeader tells clients of a new leader and ends the relays to the old one. When no leader has been known for
// Config.NoLeaderWait it ends what waits for a quorum, see Node.patience.
func (n *Node) watchLeader(ctx context.Context) {
	for {
		leader, _, changed := n.replica.Leader()
		if leader != 0 {
			n.renewPatience()
			n.announceLeader(leader)
		}
		wait := relayGrace
		if leader == 0 {
			wait = n.config.NoLeaderWait - min(n.sinceQuorum(), n.config.NoLeaderWait)
		}
		if pause(ctx, wait, changed) != nil {
			return
		}
		if now, _, _ := n.replica.Leader(); now != leader {
			continue
		}
		if leader == 0 {
			n.patience.Load().end()
		}
		n.dropStaleRelays(leader)
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// announceLeader sends Moved to all sessions.
func (n *Node) announceLeader(leader raft.ID) {
	moved := &sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Moved{
		Moved: &sqlpb.Moved{Leader: uint64(leader), Members: n.wireMembers()}}}
	for _, s := range n.sessions.all() {
		s.send(moved)
	}
}

// patience is the time that proposals may wait for a quorum. It ends when none has been in reach for a while: a client
// of a minority learns soon that the outcome of its write is unknown.
type patience struct {
	context.Context
	end context.CancelFunc
}

// errNoQuorum is the cause of the end of a wait for a quorum.
var errNoQuorum = errors.New("this node lost the quorum")

// renewPatience begins a new wait if the last one has ended.
func (n *Node) renewPatience() {
	old := n.patience.Load()
	if old != nil && old.Err() == nil {
		return
	}
	ctx, cancel := context.WithCancelCause(n.ctx)
	if !n.patience.CompareAndSwap(old, &patience{ctx, func() { cancel(errNoQuorum) }}) {
		cancel(nil) // another goroutine was faster
	}
}

// openRelay opens a session at peer and greets it.
func (n *Node) openRelay(ctx context.Context, peer raft.ID, hello *sqlpb.Hello) (*transport.Stream, error) {
	stream, err := n.endpoint.Relay(ctx, peer)
	if err != nil {
		return nil, err
	}
	unhook := context.AfterFunc(ctx, func() { stream.Close() })
	defer unhook()
	err = stream.Send(&sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Hello{Hello: hello}})
	if err == nil {
		err = stream.Flush()
	}
	var answer sqlpb.ServerFrame
	if err == nil {
		err = stream.Recv(&answer)
	}
	if refused := answer.GetError(); err == nil && refused != nil {
		err = fmt.Errorf("%s", refused.Message)
	}
	if err != nil {
		stream.Close()
		return nil, err
	}
	return stream, nil
}

// relayExecute has the leader run x and passes its frames on, the last one into last. A failure before anything was
// sent may be tried again; after that the fate of a write is the leader's to tell, or unknown.
func (s *session) relayExecute(ctx context.Context, leader raft.ID, x *sqlpb.Execute, last **sqlpb.ServerFrame) *Error {
	frame := &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Execute{Execute: x}}
	return s.relayRequest(ctx, leader, x.Id, frame, last)
}

func (s *session) relayRequest(ctx context.Context, leader raft.ID, id uint64, frame *sqlpb.ClientFrame, last **sqlpb.ServerFrame) *Error {
	r, err := s.relayTo(ctx, leader)
	if err != nil {
		if ctx.Err() != nil {
			return ended(ctx)
		}
		return s.node.noQuorum()
	}
	// Once a byte was sent the leader may have the request: a broken relay leaves its outcome unknown.
	if err := r.send(frame); err != nil {
		s.dropRelay()
		return s.relayBroke(leader, err)
	}
	stopGrace := func() bool { return true }
	unhook := context.AfterFunc(ctx, func() { stopGrace = r.cancel(id) })
	defer func() {
		if !unhook() {
			stopGrace()
		}
	}()
	for {
		answer := new(sqlpb.ServerFrame)
		if err := r.stream.Recv(answer); err != nil {
			s.dropRelay()
			return s.relayBroke(leader, err)
		}
		final, failed := s.pass(ctx, answer, last)
		if failed != nil || final {
			return failed
		}
	}
}

// relayBroke says what a relay that ended without an answer means for the request that was on it.
func (s *session) relayBroke(leader raft.ID, err error) *Error {
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("node %d closed the session", leader)
	}
	return outcomeUnknown(fmt.Errorf("lost the leader, node %d, before its answer: %w", leader, err))
}

// pass hands one frame of the leader to the client. A Done of a write is held until this node has applied it too, so
// that everybody on this node sees it. The request's last frame goes into last.
func (s *session) pass(ctx context.Context, answer *sqlpb.ServerFrame, last **sqlpb.ServerFrame) (final bool, failed *Error) {
	switch f := answer.Frame.(type) {
	case *sqlpb.ServerFrame_Error:
		return true, &Error{Class: f.Error.Class, Retry: f.Error.Retry, Code: f.Error.Code, Extended: f.Error.ExtendedCode,
			Message: f.Error.Message, Offset: f.Error.Offset, SQL: f.Error.Sql, statement: f.Error.Statement}
	case *sqlpb.ServerFrame_Done:
		if f.Done.Wrote {
			// A write whose commit is known is a success, even when the deadline ends the wait.
			s.node.replica.WaitApplied(ctx, raft.Index(f.Done.Index))
		}
		if !f.Done.More {
			*last = answer
			return true, nil
		}
	case *sqlpb.ServerFrame_Moved, *sqlpb.ServerFrame_Pong, *sqlpb.ServerFrame_Welcome:
		return false, nil
	}
	return false, s.send(answer)
}

// notLeader refuses a relayed request: the relaying node holds it and tries the leader that it then knows.
func (n *Node) notLeader() *Error {
	return &Error{Class: sqlpb.Class_CLASS_NO_QUORUM, Retry: sqlpb.Retry_RETRY_SAME,
		Message: fmt.Sprintf("no quorum: node %d does not lead", n.self.Node)}
}
