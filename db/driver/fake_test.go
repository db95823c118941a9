package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/transport/wire"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeCluster is a cluster of nodes that answer as a test says, reached through memory.
type fakeCluster struct {
	mu     sync.Mutex
	nodes  []*fakeNode
	leader uint64
	tasks  sync.WaitGroup
}

// fakeNode is a node. Its address is its name.
type fakeNode struct {
	cluster *fakeCluster
	id      uint64
	name    string
	learner bool

	// What follows is guarded by the cluster's mutex once a session is open.

	// serve answers a request; nil: answer does.
	serve    func(*fakeSession, *sqlpb.ClientFrame)
	down     bool               // dialling fails
	silent   bool               // dialling works, and sessions are not opened
	hanging  bool               // dialling neither works nor fails
	epoch    string             // of its cluster
	refusal  *sqlpb.ServerFrame // answers a hello
	dials    int
	sessions []*fakeSession
	requests []*sqlpb.ClientFrame // in order; no hellos
	hellos   []*sqlpb.Hello
}

// newFake returns a cluster of n nodes, n1 to nN; n1 leads.
func newFake(n int) *fakeCluster {
	f := &fakeCluster{leader: 1}
	for i := range n {
		f.nodes = append(f.nodes, &fakeNode{cluster: f, id: uint64(i + 1), name: fmt.Sprintf("n%d:1", i+1)})
	}
	return f
}

// connector returns a Connector for the cluster that knows the addresses given, by default the first one.
func (f *fakeCluster) connector(t testing.TB, config Config) *Connector {
	t.Helper()
	if len(config.Addresses) == 0 {
		config.Addresses = []string{"n1:1"}
	}
	config, err := config.complete()
	if err != nil {
		t.Fatal(err)
	}
	c := newConnector(config, f.dial)
	t.Cleanup(func() {
		c.Close()
		f.each(func(s *fakeSession) { s.cut() })
		f.tasks.Wait()
	})
	return c
}

// open returns a session at the first node.
func (f *fakeCluster) open(t testing.TB, config Config) *Conn {
	t.Helper()
	conn, err := f.connector(t, config).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func (f *fakeCluster) each(do func(*fakeSession)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range f.nodes {
		for _, s := range n.sessions {
			do(s)
		}
	}
}

// set changes what is guarded by the mutex.
func (f *fakeCluster) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// kill cuts all sessions of a node and refuses new ones.
func (n *fakeNode) kill() {
	n.cluster.mu.Lock()
	defer n.cluster.mu.Unlock()
	n.down = true
	for _, s := range n.sessions {
		s.cut()
	}
}

func (f *fakeCluster) members() (list []*sqlpb.Member) {
	for _, n := range f.nodes {
		list = append(list, &sqlpb.Member{Id: n.id, Name: n.name[:2], Address: n.name, Learner: n.learner})
	}
	return list
}

var errDown = errors.New("no route to host")

func (f *fakeCluster) dial(ctx context.Context, address string) (connection, error) {
	f.mu.Lock()
	i := slices.IndexFunc(f.nodes, func(n *fakeNode) bool { return n.name == address })
	if i < 0 {
		f.mu.Unlock()
		return nil, fmt.Errorf("no such host %s", address)
	}
	n := f.nodes[i]
	n.dials++
	down, hanging := n.down, n.hanging
	f.mu.Unlock()
	if hanging {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if down {
		return nil, errDown
	}
	return &fakeConnection{node: n}, nil
}

type fakeConnection struct{ node *fakeNode }

func (c *fakeConnection) OpenStream(context.Context) (Stream, error) {
	f := c.node.cluster
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.node.down {
		return nil, errDown
	}
	s := &fakeSession{node: c.node, in: make(chan []byte, 4), out: make(chan []byte, 4)}
	s.ctx, s.cut = context.WithCancel(context.Background())
	c.node.sessions = append(c.node.sessions, s)
	f.tasks.Go(s.run)
	return &fakeStream{session: s}, nil
}

func (c *fakeConnection) Close() error {
	c.node.cluster.mu.Lock()
	defer c.node.cluster.mu.Unlock()
	for _, s := range c.node.sessions {
		s.cut()
	}
	return nil
}

// fakeStream is a client's end of a session. Frames cross as bytes, as they do in life.
type fakeStream struct {
	session *fakeSession
	buffer  [][]byte
}

func (s *fakeStream) Send(m proto.Message) error {
	if err := s.session.ctx.Err(); err != nil {
		return err
	}
	if size := proto.Size(m); size > wire.Limit(m) {
		return fmt.Errorf("%w: %d bytes", wire.ErrFrameTooLarge, size)
	}
	frame, err := proto.Marshal(m)
	s.buffer = append(s.buffer, frame)
	return err
}

func (s *fakeStream) Flush() error {
	for _, frame := range s.buffer {
		select {
		case s.session.in <- frame:
		case <-s.session.ctx.Done():
			return s.session.ctx.Err()
		}
	}
	s.buffer = nil
	return nil
}

func (s *fakeStream) Recv(m proto.Message) error {
	select { // what was sent before a cut arrives
	case frame := <-s.session.out:
		return proto.Unmarshal(frame, m)
	default:
	}
	select {
	case frame := <-s.session.out:
		return proto.Unmarshal(frame, m)
	case <-s.session.ctx.Done():
		return io.ErrUnexpectedEOF
	}
}

func (s *fakeStream) Close() error { s.session.cut(); return nil }

func (s *fakeStream) Context() context.Context { return s.session.ctx }

// fakeSession is a node's end of a session.
type fakeSession struct {
	node    *fakeNode
	in, out chan []byte
	ctx     context.Context
	cut     context.CancelFunc
	id      []byte
	tx      sqlpb.Transaction // belongs to the goroutine of run
}

func (s *fakeSession) run() {
	for {
		frame := s.recv()
		if frame == nil {
			return
		}
		if hello := frame.GetHello(); hello != nil {
			s.hello(hello)
			continue
		}
		f := s.node.cluster
		var serve func(*fakeSession, *sqlpb.ClientFrame)
		f.set(func() {
			s.node.requests = append(s.node.requests, frame)
			serve = s.node.serve
		})
		if serve != nil {
			serve(s, frame)
		} else {
			s.answer(frame)
		}
	}
}

// recv returns the next frame, or nil at the end of the session.
func (s *fakeSession) recv() *sqlpb.ClientFrame {
	select {
	case b := <-s.in:
		frame := new(sqlpb.ClientFrame)
		if err := proto.Unmarshal(b, frame); err != nil {
			panic(err)
		}
		return frame
	case <-s.ctx.Done():
		return nil
	}
}

func (s *fakeSession) hello(h *sqlpb.Hello) {
	f, n := s.node.cluster, s.node
	f.mu.Lock()
	n.hellos = append(n.hellos, h)
	silent, leader, refusal, epoch := n.silent, f.leader, n.refusal, n.epoch
	f.mu.Unlock()
	if silent {
		return
	}
	if refusal != nil {
		s.send(refusal)
		return
	}
	if s.id = h.Session; len(s.id) == 0 {
		s.id = fmt.Appendf(nil, "%-16s", fmt.Sprintf("session %s/%d", n.name, len(n.hellos)))
	}
	s.send(&sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Welcome{Welcome: &sqlpb.Welcome{
		Version: 1, Node: n.id, Session: s.id, Leader: leader, Members: f.members(), Product: "rsqld test", Epoch: epoch}}})
}

// send sends frames, and reports whether the session still stands.
func (s *fakeSession) send(frames ...*sqlpb.ServerFrame) bool {
	for _, frame := range frames {
		b, err := proto.Marshal(frame)
		if err != nil {
			panic(err)
		}
		select {
		case s.out <- b:
		case <-s.ctx.Done():
			return false
		}
	}
	return true
}

// answer is a node without surprises: a select has one row, its text, and everything else is a write at index 7.
func (s *fakeSession) answer(frame *sqlpb.ClientFrame) {
	switch f := frame.Frame.(type) {
	case *sqlpb.ClientFrame_Ping:
		s.send(&sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Pong{Pong: &sqlpb.Pong{Id: f.Ping.Id}}})
	case *sqlpb.ClientFrame_Execute:
		sql := f.Execute.Statements[0].Sql
		if isSelect(sql) {
			s.send(columns(f.Execute.Id, "sql"), rowsFrame(f.Execute.Id, []any{sql}), done(f.Execute.Id, &sqlpb.Done{Index: 5, Transaction: s.tx}))
		} else {
			s.send(done(f.Execute.Id, &sqlpb.Done{Index: 7, Wrote: true, RowsAffected: 1, LastInsertId: 3, Transaction: s.tx}))
		}
	case *sqlpb.ClientFrame_Begin:
		s.tx = sqlpb.Transaction_TRANSACTION_OPEN
		s.send(done(f.Begin.Id, &sqlpb.Done{Index: 6, Transaction: s.tx}))
	case *sqlpb.ClientFrame_Commit:
		s.tx = sqlpb.Transaction_TRANSACTION_NONE
		s.send(done(f.Commit.Id, &sqlpb.Done{Index: 9}))
	case *sqlpb.ClientFrame_Rollback:
		s.tx = sqlpb.Transaction_TRANSACTION_NONE
		s.send(done(f.Rollback.Id, &sqlpb.Done{Index: 6}))
	case *sqlpb.ClientFrame_Control:
		s.send(columns(f.Control.Id, "verb"), rowsFrame(f.Control.Id, []any{f.Control.Verb}), done(f.Control.Id, &sqlpb.Done{}))
	}
}

// columns is a frame; a name may have a declared type behind a blank.
func columns(id uint64, names ...string) *sqlpb.ServerFrame {
	c := &sqlpb.Columns{Id: id}
	for _, name := range names {
		var column sqlpb.Column
		fmt.Sscan(name, &column.Name, &column.DeclaredType)
		c.Columns = append(c.Columns, &column)
	}
	return &sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Columns{Columns: c}}
}

func rowsFrame(id uint64, rows ...[]any) *sqlpb.ServerFrame {
	var packed []byte
	for _, row := range rows {
		packed = wire.AppendRow(packed, row)
	}
	return &sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Rows{Rows: &sqlpb.Rows{Id: id, Count: uint32(len(rows)), Packed: packed}}}
}

func done(id uint64, d *sqlpb.Done) *sqlpb.ServerFrame {
	d.Id = id
	return &sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Done{Done: d}}
}

func failed(id uint64, class sqlpb.Class, retry sqlpb.Retry, message string) *sqlpb.ServerFrame {
	return &sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Error{Error: &sqlpb.Error{
		Id: id, Class: class, Retry: retry, Message: message, Offset: -1}}}
}

// executed returns the Executes that a node got.
func (n *fakeNode) executed() (list []*sqlpb.Execute) {
	n.cluster.mu.Lock()
	defer n.cluster.mu.Unlock()
	for _, frame := range n.requests {
		if x := frame.GetExecute(); x != nil {
			list = append(list, x)
		}
	}
	return list
}

// cancels returns how many Cancels a node got.
func (n *fakeNode) cancels() (count int) {
	n.cluster.mu.Lock()
	defer n.cluster.mu.Unlock()
	for _, frame := range n.requests {
		if frame.GetCancel() != nil {
			count++
		}
	}
	return count
}

// all reads a request's results to their end.
func all(ctx context.Context, c *Conn, r Request) (rows [][]any, err error) {
	results, err := c.Execute(ctx, r)
	if err != nil {
		return nil, err
	}
	for results.NextResult() {
		for results.Next() {
			rows = append(rows, slices.Clone(results.Row()))
		}
	}
	return rows, errors.Join(results.Err(), results.Close())
}

// run executes text that must succeed.
func run(t testing.TB, c *Conn, sql string) {
	t.Helper()
	if _, err := all(t.Context(), c, Request{SQL: sql}); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// shift takes the first of a list that several sessions share; false if there is none.
func (f *fakeCluster) shift(list *[]sqlpb.Class) (first sqlpb.Class, any bool) {
	f.set(func() {
		if any = len(*list) > 0; any {
			first, *list = (*list)[0], (*list)[1:]
		}
	})
	return first, any
}
