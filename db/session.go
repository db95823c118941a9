package db

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rsqld/rsqld/transport"
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// protocolVersion is the version of the SQL session protocol that this node speaks.
const protocolVersion = 1

// session serves one SQL session, which is one stream. It runs one request at a time; Cancel and Ping are taken while
// a request runs.
//
// Two goroutines take turns: the one that read a request runs it, the other reads on. So no request is handed from
// one goroutine to another between its arrival and its execution.
type session struct {
	node      *Node
	stream    *transport.Stream
	principal identity.Principal
	relayed   bool // a peer sends this session's requests: they are not sent on again
	remote    string
	id        [16]byte
	level     sqlpb.Level
	client    string

	turn chan struct{} // holds one token while nobody reads the stream; closed by whoever read its end
	out  sync.Mutex    // guards the sending half of stream

	mu      sync.Mutex // guards the two fields below
	running uint64     // id of the request that runs, or zero
	cancel  context.CancelCauseFunc

	relay atomic.Pointer[relay] // to the leader, or nil; replaced by the goroutine that runs the request
}

// errCancelled is the cause of a request's end when its client asked for it.
var errCancelled = errors.New("cancelled by the client")

// serveSession is the transport's OnSession.
func (n *Node) serveSession(ctx context.Context, in *transport.Session) {
	select {
	case <-n.opened:
	case <-ctx.Done():
		return
	}
	s := &session{
		node: n, stream: in.Stream, principal: in.Principal, relayed: in.Peer != 0, remote: fmt.Sprint(in.Remote),
		turn: make(chan struct{}, 1),
	}
	ctx, stop, leave, ok := n.enter(ctx)
	if !ok {
		s.send(failure(0, shuttingDown()))
		return
	}
	defer leave()
	if err := s.hello(); err != nil {
		s.send(failure(0, err))
		return
	}
	n.sessions.add(s)
	defer n.sessions.remove(s)
	s.turn <- struct{}{}
	var workers sync.WaitGroup
	workers.Go(func() { s.work(ctx, stop) })
	s.work(ctx, stop)
	workers.Wait()
	s.dropRelay()
}

// hello reads the first frame and answers it.
func (s *session) hello() *Error {
	var frame sqlpb.ClientFrame
	if err := s.stream.Recv(&frame); err != nil {
		return protocolError("reading the first frame: %v", err)
	}
	hello := frame.GetHello()
	if hello == nil {
		return protocolError("the first frame of a session must be hello")
	}
	if hello.Version > protocolVersion {
		return protocolError("the client speaks version %d of the session protocol and this node version %d: use an older client or a newer node",
			hello.Version, protocolVersion)
	}
	if behalf := hello.OnBehalf; behalf != nil {
		if !s.relayed {
			return &Error{Class: sqlpb.Class_CLASS_DENIED, Message: "only a member of the cluster may speak on behalf of a client"}
		}
		s.principal = identity.Principal{Name: behalf.Name, Role: roleFromWire(behalf.Role)}
	}
	switch len(hello.Session) {
	case 0:
		s.id = s.node.newSessionID()
	case len(s.id):
		s.id = [16]byte(hello.Session)
	default:
		return protocolError("a session id has 16 bytes, not %d", len(hello.Session))
	}
	if s.level = hello.Level; s.level == sqlpb.Level_LEVEL_UNSPECIFIED {
		s.level = sqlpb.Level_LEVEL_SESSION
	}
	s.client = hello.Client
	return s.send(&sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Welcome{Welcome: s.node.welcome(s.id)}})
}

func (n *Node) welcome(session [16]byte) *sqlpb.Welcome {
	leader, _, _ := n.replica.Leader()
	return &sqlpb.Welcome{
		Version: protocolVersion, Node: uint64(n.self.Node), Cluster: n.cluster[:], Session: session[:],
		Leader: uint64(leader), Members: n.wireMembers(), ClusterTime: n.engine.LastTime(),
		Index: uint64(n.replica.Applied()), Product: "rsqld " + Version,
	}
}

// newSessionID draws an id that carries the cluster's time in its first half, so that a session can be told old from new
// by its id alone.
func (n *Node) newSessionID() (id [16]byte) {
	binary.BigEndian.PutUint64(id[:8], uint64(max(n.engine.LastTime(), 0)))
	binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	return id
}

// work reads frames when it is its turn and runs the requests it read. stop ends the whole session.
func (s *session) work(ctx context.Context, stop func()) {
	for range s.turn {
		frame := new(sqlpb.ClientFrame)
		if err := s.stream.Recv(frame); err != nil {
			if !errors.Is(err, io.EOF) && ctx.Err() == nil && s.stream.Context().Err() == nil {
				s.send(failure(0, protocolError("reading a frame: %v", err)))
			}
			stop()
			close(s.turn)
			return
		}
		run, err := s.accept(ctx, frame)
		if err != nil {
			s.send(failure(0, err))
			stop()
			close(s.turn)
			return
		}
		s.turn <- struct{}{}
		if run != nil {
			run()
		}
	}
}

// accept takes a frame: at once what may come while a request runs, else it returns what runs the request.
func (s *session) accept(ctx context.Context, frame *sqlpb.ClientFrame) (run func(), err *Error) {
	switch f := frame.Frame.(type) {
	case *sqlpb.ClientFrame_Ping:
		return nil, s.send(&sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Pong{Pong: &sqlpb.Pong{Id: f.Ping.Id}}})
	case *sqlpb.ClientFrame_Cancel:
		s.cancelRequest(f.Cancel.Id)
		return nil, nil
	case *sqlpb.ClientFrame_Execute:
		return s.begin(ctx, f.Execute.Id, f.Execute.TimeoutMs, func(ctx context.Context) *sqlpb.ServerFrame {
			return s.execute(ctx, f.Execute)
		})
	case *sqlpb.ClientFrame_Control:
		return s.begin(ctx, f.Control.Id, f.Control.TimeoutMs, func(ctx context.Context) *sqlpb.ServerFrame {
			return s.control(ctx, f.Control)
		})
	case *sqlpb.ClientFrame_Hello:
		return nil, protocolError("a session has one hello")
	}
	return nil, protocolError("a frame of a kind that this version does not know")
}

// begin makes a request the running one and returns what runs it and sends its last frame.
func (s *session) begin(ctx context.Context, id uint64, timeoutMs uint32, serve func(context.Context) *sqlpb.ServerFrame) (func(), *Error) {
	if id == 0 {
		return nil, protocolError("a request needs an id above zero")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != 0 {
		return nil, protocolError("request %d arrived while request %d runs: a session runs one at a time", id, s.running)
	}
	release := context.CancelFunc(func() {})
	if timeoutMs > 0 {
		ctx, release = context.WithTimeout(ctx, time.Duration(timeoutMs)*time.Millisecond)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	s.running, s.cancel = id, cancel
	return func() {
		last := serve(ctx)
		cancel(nil)
		release()
		s.mu.Lock()
		s.running, s.cancel = 0, nil // before the answer: the client may send its next request at once
		s.mu.Unlock()
		s.send(last)
	}, nil
}

func (s *session) cancelRequest(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == id && s.cancel != nil {
		s.cancel(errCancelled)
	}
}

// send sends one frame and flushes it. A failure is the stream's: its reader sees it too, so callers may ignore it.
func (s *session) send(frame *sqlpb.ServerFrame) *Error {
	s.out.Lock()
	defer s.out.Unlock()
	err := s.stream.Send(frame)
	if err == nil {
		err = s.stream.Flush()
	}
	if err != nil {
		return protocolError("sending: %v", err)
	}
	return nil
}

// sessions is the set of open sessions of a node.
type sessions struct {
	mu  sync.Mutex
	set map[*session]struct{}
}

func (o *sessions) add(s *session) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.set == nil {
		o.set = make(map[*session]struct{})
	}
	o.set[s] = struct{}{}
}

func (o *sessions) remove(s *session) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.set, s)
}

// all returns the open sessions in no order.
func (o *sessions) all() []*session {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Collect(maps.Keys(o.set))
}

func roleFromWire(role sqlpb.Role) identity.Role {
	switch role {
	case sqlpb.Role_ROLE_ADMIN:
		return identity.RoleAdmin
	case sqlpb.Role_ROLE_WRITE:
		return identity.RoleWrite
	}
	return identity.RoleRead
}

func roleToWire(role identity.Role) sqlpb.Role {
	switch role {
	case identity.RoleAdmin:
		return sqlpb.Role_ROLE_ADMIN
	case identity.RoleWrite:
		return sqlpb.Role_ROLE_WRITE
	}
	return sqlpb.Role_ROLE_READ
}
