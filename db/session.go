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

	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport"
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

const (
	// protocolVersion is the version of the SQL session protocol that this node speaks.
	protocolVersion = 1
	// maxClientName bounds what a client may call itself, in bytes: a session keeps it.
	maxClientName = 256
	// supersededCode is what the stream of a session is cancelled with that was opened again elsewhere.
	supersededCode = 3
)

// errSuperseded ends a session whose client has opened it again.
var errSuperseded = errors.New("the session was opened again")

// stream is a session's way to its client: *transport.Stream, or the node's end of a pipe to a client in this process. What
// each method promises is said there.
type stream interface {
	Send(proto.Message) error
	Flush() error
	Recv(proto.Message) error
	Cancel(code uint32)
	Context() context.Context
}

// session serves one SQL session, which is one stream. It runs one request at a time; Cancel and Ping are taken while
// a request runs.
//
// Two goroutines take turns: the one that read a request runs it, the other reads on. So no request is handed from
// one goroutine to another between its arrival and its execution. A request that is over in a moment is run before the turn
// is given away: to wake the other goroutine for it would cost more than the request. The one that has nothing to do tells
// the client of a new leader: whoever finds one must not wait for clients.
type session struct {
	node      *Node
	stream    stream
	principal identity.Principal
	relayed   bool // a peer sends this session's requests: they are not sent on again
	peer      raft.ID
	id        [16]byte
	level     sqlpb.Level
	client    string
	remote    string // where the client, or the peer that relays it, calls from
	begun     time.Time
	stop      context.CancelCauseFunc
	// opened is the session's transaction, or nil. It belongs to the goroutine that runs the request.
	opened *opened

	// turn holds one token while nobody reads the stream. Only who has taken the token puts it back, or closes turn
	// instead: exactly one goroutine does, when it has read the end of the stream or a frame that ends the session.
	turn  chan struct{}
	moved chan struct{} // holds a token while the client has not been told of a new leader
	out   sync.Mutex    // guards the sending half of stream

	mu      sync.Mutex // guards the fields below
	running uint64     // id of the request that runs, or zero
	cancel  context.CancelFunc
	// statement is the newest one, and transacting says that a transaction is open: for lists of sessions.
	statement   string
	transacting bool

	relay atomic.Pointer[relay] // to the leader, or nil; replaced by the goroutine that runs the request
}

// serveSession is the transport's OnSession.
func (n *Node) serveSession(ctx context.Context, in *transport.Session) {
	n.serve(ctx, &session{stream: in.Stream, principal: in.Principal, relayed: in.Peer != 0, peer: in.Peer, remote: in.Remote.String()})
}

// serve serves a session to its end.
func (n *Node) serve(ctx context.Context, s *session) {
	select {
	case <-n.opened:
	case <-ctx.Done():
		return
	}
	s.node, s.begun = n, time.Now()
	s.turn, s.moved = make(chan struct{}, 1), make(chan struct{}, 1)
	ctx, stop, leave, ok := n.enter(ctx)
	if !ok {
		s.send(failure(0, shuttingDown()))
		return
	}
	defer leave()
	hello, err := s.readHello()
	if err == nil {
		err = s.adopt(hello)
	}
	if err != nil {
		s.send(failure(0, err))
		return
	}
	ctx, s.stop = context.WithCancelCause(ctx)
	defer s.stop(nil)
	// In this order no change of the leader is missed between the welcome and the first Moved.
	n.sessions.add(s)
	defer n.sessions.remove(s)
	if own, is := s.stream.(*nodeEnd); is {
		own.session.Store(s) // the client asks for nothing before the welcome
	}
	s.send(&sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Welcome{Welcome: n.welcome(s.id)}})
	s.turn <- struct{}{}
	var workers sync.WaitGroup
	workers.Go(func() { s.work(ctx, stop) })
	s.work(ctx, stop)
	workers.Wait()
	s.endTransaction(errHungUp)
	s.dropRelay()
	if n.ctx.Err() != nil {
		// Every request that was read has been answered before this: what the client sent after it was not executed.
		s.send(failure(0, shuttingDown()))
	}
}

// readHello reads the first frame.
func (s *session) readHello() (*sqlpb.Hello, *Error) {
	var frame sqlpb.ClientFrame
	if err := s.stream.Recv(&frame); err != nil {
		if s.node.ctx.Err() != nil {
			return nil, shuttingDown()
		}
		return nil, protocolError("reading the first frame: %v", err)
	}
	hello := frame.GetHello()
	switch {
	case hello == nil:
		return nil, protocolError("the first frame of a session must be hello")
	case hello.Version == 0:
		return nil, protocolError("hello names no version of the session protocol; this node speaks version %d", protocolVersion)
	case hello.Version > protocolVersion:
		return nil, protocolError("the client speaks version %d of the session protocol and this node version %d: use an older client or a newer node",
			hello.Version, protocolVersion)
	case len(hello.Client) > maxClientName:
		return nil, protocolError("the client's name has %d bytes and may have %d", len(hello.Client), maxClientName)
	case hello.OnBehalf != nil && !s.relayed:
		return nil, denied("only a member of the cluster may speak on behalf of a client")
	}
	return hello, checkLevel(hello.Level)
}

// adopt makes the session what hello asks for.
func (s *session) adopt(hello *sqlpb.Hello) *Error {
	if behalf := hello.OnBehalf; behalf != nil {
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
	return nil
}

// checkLevel refuses a level that this version does not know: it may promise more than any that it knows.
func checkLevel(level sqlpb.Level) *Error {
	if _, known := sqlpb.Level_name[int32(level)]; !known {
		return protocolError("this node does not know level %d", level)
	}
	return nil
}

func (n *Node) welcome(session [16]byte) *sqlpb.Welcome {
	leader, _, _ := n.replica.Leader()
	return &sqlpb.Welcome{
		Version: protocolVersion, Node: uint64(n.self.Node), Cluster: n.cluster[:], Session: session[:],
		Leader: uint64(leader), Members: n.wireMembers(), ClusterTime: n.engine.LastTime(),
		Index: uint64(n.replica.Applied()), Product: "rsqld " + Version,
		Epoch: n.self.Epoch.String(),
	}
}

// newSessionID draws an id that carries the time in its first half, so that a session can be told old from new by its id
// alone. The cluster's time stands still while nobody writes; a clock that was found wrong is not asked.
func (n *Node) newSessionID() (id [16]byte) {
	made := n.engine.LastTime()
	if wrong, _ := n.clocks.state(); !wrong {
		made = max(made, n.clocks.now().UnixNano())
	}
	binary.BigEndian.PutUint64(id[:8], uint64(max(made, 0)))
	binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	return id
}

// shift is a goroutine's turn at the stream. Whoever runs a request in it ends it before the request waits for anything, and
// when it takes long: until then nobody sees that the client cancels or has left.
type shift struct {
	turn chan<- struct{}
	over bool
}

// end lets the other goroutine read on. It may be called again, and for nil, which is a turn that was given away.
func (t *shift) end() {
	if t != nil && !t.over {
		t.over = true
		t.turn <- struct{}{}
	}
}

// work takes turns with another goroutine at reading the stream until its end. stop ends the whole session.
func (s *session) work(ctx context.Context, stop func()) {
	for {
		select {
		case _, open := <-s.turn:
			if !open {
				return
			}
			for turn := (&shift{turn: s.turn}); !turn.over; {
				s.take(ctx, turn, stop)
			}
		case <-s.moved:
			s.tellLeader()
		}
	}
}

// take reads a frame and runs the request that it is. The shift is over at the stream's end.
func (s *session) take(ctx context.Context, turn *shift, stop func()) {
	frame := new(sqlpb.ClientFrame)
	err := s.stream.Recv(frame)
	var run func(*shift)
	var failed *Error
	if err == nil {
		run, failed = s.accept(ctx, frame)
	} else if !errors.Is(err, io.EOF) && ctx.Err() == nil && s.stream.Context().Err() == nil {
		failed = protocolError("reading a frame: %v", err)
	}
	if failed != nil {
		s.send(failure(0, failed))
	}
	if err != nil || failed != nil {
		stop()
		turn.over = true
		close(s.turn)
		return
	}
	if run != nil {
		run(turn)
	}
}

// tellLeader tells the client of the leader that is known now.
func (s *session) tellLeader() {
	if leader, _, _ := s.node.replica.Leader(); leader != 0 {
		s.send(&sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Moved{
			Moved: &sqlpb.Moved{Leader: uint64(leader), Members: s.node.wireMembers()}}})
	}
}

// accept takes a frame: at once what may come while a request runs, else it returns what runs the request. An error ends
// the session.
func (s *session) accept(ctx context.Context, frame *sqlpb.ClientFrame) (run func(*shift), err *Error) {
	switch f := frame.Frame.(type) {
	case *sqlpb.ClientFrame_Ping:
		return nil, s.send(&sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Pong{Pong: &sqlpb.Pong{Id: f.Ping.Id}}})
	case *sqlpb.ClientFrame_Cancel:
		s.cancelRequest(f.Cancel.Id)
		return nil, nil
	case *sqlpb.ClientFrame_Execute:
		if frames := s.quick(f.Execute); frames != nil {
			return nil, s.send(frames...)
		}
		return s.begin(ctx, f.Execute.Id, f.Execute.TimeoutMs, func(ctx context.Context, turn *shift) *sqlpb.ServerFrame {
			return s.execute(ctx, turn, f.Execute)
		})
	case *sqlpb.ClientFrame_Control:
		return s.begin(ctx, f.Control.Id, f.Control.TimeoutMs, func(ctx context.Context, turn *shift) *sqlpb.ServerFrame {
			turn.end()
			return s.control(ctx, f.Control)
		})
	case *sqlpb.ClientFrame_Begin:
		return s.begin(ctx, f.Begin.Id, f.Begin.TimeoutMs, func(ctx context.Context, turn *shift) *sqlpb.ServerFrame {
			turn.end()
			return s.beginTransaction(ctx, f.Begin)
		})
	case *sqlpb.ClientFrame_Commit:
		return s.begin(ctx, f.Commit.Id, f.Commit.TimeoutMs, func(ctx context.Context, turn *shift) *sqlpb.ServerFrame {
			turn.end()
			return s.commitTransaction(ctx, f.Commit)
		})
	case *sqlpb.ClientFrame_Rollback:
		return s.begin(ctx, f.Rollback.Id, f.Rollback.TimeoutMs, func(ctx context.Context, turn *shift) *sqlpb.ServerFrame {
			turn.end()
			return s.rollbackTransaction(ctx, f.Rollback)
		})
	case *sqlpb.ClientFrame_Hello:
		return nil, protocolError("a session has one hello")
	}
	return nil, protocolError("a frame of a kind that this version does not know")
}

// begin makes a request the running one and returns what runs it and sends its last frame.
func (s *session) begin(ctx context.Context, id uint64, timeoutMs uint32, serve func(context.Context, *shift) *sqlpb.ServerFrame) (func(*shift), *Error) {
	if id == 0 {
		return nil, protocolError("a request needs an id above zero")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != 0 {
		return nil, protocolError("request %d arrived while request %d runs: a session runs one at a time", id, s.running)
	}
	// A request is cancelled without a cause when its client asks for it: every other end of its context has one.
	var cancel context.CancelFunc
	if timeoutMs > 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(timeoutMs)*time.Millisecond)
	} else {
		ctx, cancel = context.WithCancel(ctx)
	}
	s.running, s.cancel = id, cancel
	return func(turn *shift) {
		last := serve(ctx, turn)
		cancel()
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
		s.cancel()
	}
}

// send sends frames and flushes them. A failure is the stream's: its reader sees it too, so callers may ignore it.
func (s *session) send(frames ...*sqlpb.ServerFrame) *Error {
	s.out.Lock()
	defer s.out.Unlock()
	var err error
	for _, frame := range frames {
		if err == nil {
			err = s.stream.Send(frame)
		}
	}
	if err == nil {
		err = s.stream.Flush()
	}
	if err != nil {
		return protocolError("sending: %v", err)
	}
	return nil
}

// caller names who the session is for.
func (s *session) caller() string {
	if s.relayed {
		return fmt.Sprintf("%s, through node %d", s.principal.Name, s.peer)
	}
	return s.principal.Name + " at " + s.remote
}

// sessions is the set of open sessions of a node.
type sessions struct {
	mu  sync.Mutex
	set map[*session]struct{}
	// byID holds the newest session of each id.
	byID map[[16]byte]*session
}

func (o *sessions) add(s *session) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.set == nil {
		o.set, o.byID = make(map[*session]struct{}), make(map[[16]byte]*session)
	}
	// A client that has moved here, or has come back, has left its stream of before, whatever the network says of it.
	if before := o.byID[s.id]; before != nil {
		before.stop(errSuperseded)
		before.stream.Cancel(supersededCode)
	}
	o.set[s], o.byID[s.id] = struct{}{}, s
}

func (o *sessions) remove(s *session) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.set, s)
	if o.byID[s.id] == s {
		delete(o.byID, s.id)
	}
}

// all returns the open sessions in no order.
func (o *sessions) all() []*session {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Collect(maps.Keys(o.set))
}
