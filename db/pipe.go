package db

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/transport"
	"github.com/rsqld/rsqld/transport/wire"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// pipe is a session's stream between a client in this process and the node. Frames go through it as they are, without being
// encoded. So that nobody has what another one changes, the client's end copies what its caller owns, and the node's end
// copies rows, whose memory is used again; all other frames are made for one Send.
type pipe struct {
	// ctx ends with either end; its cause says why.
	ctx context.Context
	end context.CancelCauseFunc
	// requests carries what the client sends: one request, and a Cancel or Ping beside it.
	requests chan *sqlpb.ClientFrame
	// answers carries what the node flushes at once. A node that is so many flushes ahead of its client waits for it.
	answers chan []*sqlpb.ServerFrame
	// closing ends the node's receiving: it still says its last word.
	closing <-chan struct{}
	// session is the one that the node has at its end, once it serves it. Reads that are over in a moment run on the client's
	// goroutine: to hand them to another one and their answers back would take longer than they do.
	session atomic.Pointer[session]
}

const (
	pipeRequests = 2
	pipeAnswers  = 4
	// pipeBytes is how many bytes of rows a node gathers before it flushes by itself.
	pipeBytes = rowsFrameBytes
)

// newPipe returns both ends of a session.
func newPipe(closing <-chan struct{}) (*clientEnd, *nodeEnd) {
	p := &pipe{requests: make(chan *sqlpb.ClientFrame, pipeRequests), answers: make(chan []*sqlpb.ServerFrame, pipeAnswers), closing: closing}
	p.ctx, p.end = context.WithCancelCause(context.Background())
	return &clientEnd{pipe: p}, &nodeEnd{pipe: p}
}

// Context implements stream and driver.Stream.
func (p *pipe) Context() context.Context { return p.ctx }

// clientEnd is a driver.Stream.
type clientEnd struct {
	*pipe
	out []*sqlpb.ClientFrame // guarded by the caller: one sends at a time
	in  []*sqlpb.ServerFrame // taken from answers, the receiver's
}

// Send implements driver.Stream.
func (c *clientEnd) Send(m proto.Message) error {
	if err := c.ctx.Err(); err != nil {
		return context.Cause(c.ctx)
	}
	frame, is := m.(*sqlpb.ClientFrame)
	if !is {
		return fmt.Errorf("a client sends a %T", m)
	}
	if x := frame.GetExecute(); x != nil {
		if s := c.session.Load(); s != nil {
			if answer := s.quick(x); answer != nil {
				c.in = append(c.in, answer...)
				return nil
			}
		}
	}
	if size := proto.Size(m); size > wire.Limit(m) {
		return fmt.Errorf("%w: %d bytes, of which a frame may have %d", wire.ErrFrameTooLarge, size, wire.Limit(m))
	}
	c.out = append(c.out, ownFrame(frame))
	return nil
}

// ownFrame returns a frame that shares nothing with f that its sender may change.
func ownFrame(f *sqlpb.ClientFrame) *sqlpb.ClientFrame {
	x := f.GetExecute()
	if x == nil {
		return proto.CloneOf(f)
	}
	own := &sqlpb.Execute{Id: x.Id, Statements: make([]*sqlpb.Statement, len(x.Statements)), Atomic: x.Atomic, Level: x.Level,
		MinIndex: x.MinIndex, Seq: x.Seq, TimeoutMs: x.TimeoutMs, MaxStalenessMs: x.MaxStalenessMs, ReadOnly: x.ReadOnly,
		InTransaction: x.InTransaction}
	for i, statement := range x.Statements {
		own.Statements[i] = &sqlpb.Statement{Sql: statement.Sql, Args: make([]*sqlpb.Argument, len(statement.Args))}
		for j, argument := range statement.Args {
			own.Statements[i].Args[j] = ownArgument(argument)
		}
	}
	return &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Execute{Execute: own}}
}

// ownArgument copies what is bytes; the rest of an argument nobody changes.
func ownArgument(a *sqlpb.Argument) *sqlpb.Argument {
	switch kind := a.GetValue().GetKind().(type) {
	case *sqlpb.Value_Blob:
		return &sqlpb.Argument{Name: a.Name, Value: &sqlpb.Value{Kind: &sqlpb.Value_Blob{Blob: bytes.Clone(kind.Blob)}}}
	case *sqlpb.Value_Text:
		return &sqlpb.Argument{Name: a.Name, Value: &sqlpb.Value{Kind: &sqlpb.Value_Text{Text: bytes.Clone(kind.Text)}}}
	}
	return a
}

// Flush implements driver.Stream.
func (c *clientEnd) Flush() error {
	for _, frame := range c.out {
		select {
		case c.requests <- frame:
		case <-c.ctx.Done():
			return context.Cause(c.ctx)
		}
	}
	clear(c.out)
	c.out = c.out[:0]
	return nil
}

// Recv implements driver.Stream. What was sent before the end arrives.
func (c *clientEnd) Recv(m proto.Message) error {
	frame, is := m.(*sqlpb.ServerFrame)
	if !is {
		return fmt.Errorf("a client receives a %T", m)
	}
	for len(c.in) == 0 {
		select {
		case c.in = <-c.answers:
			continue
		default:
		}
		select {
		case c.in = <-c.answers:
		case <-c.ctx.Done():
			select {
			case c.in = <-c.answers:
			default:
				return context.Cause(c.ctx)
			}
		}
	}
	frame.Frame = c.in[0].Frame
	c.in = c.in[1:]
	return nil
}

// Close implements driver.Stream.
func (c *clientEnd) Close() error {
	c.end(transport.ErrClosed)
	return nil
}

// nodeEnd is a stream of a session.
type nodeEnd struct {
	*pipe
	sending  sync.Mutex // guards what follows
	gathered []*sqlpb.ServerFrame
	bytes    int // of rows in it
}

// Send implements stream.
func (n *nodeEnd) Send(m proto.Message) error {
	frame, is := m.(*sqlpb.ServerFrame)
	if !is {
		return fmt.Errorf("a node sends a %T", m)
	}
	n.sending.Lock()
	defer n.sending.Unlock()
	if rows := frame.GetRows(); rows != nil {
		own := &sqlpb.Rows{Id: rows.Id, Count: rows.Count, Packed: bytes.Clone(rows.Packed)}
		frame = &sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Rows{Rows: own}}
		n.bytes += len(own.Packed)
	}
	if n.gathered = append(n.gathered, frame); n.bytes < pipeBytes {
		return nil
	}
	return n.flush()
}

// Flush implements stream.
func (n *nodeEnd) Flush() error {
	n.sending.Lock()
	defer n.sending.Unlock()
	return n.flush()
}

// flush hands what was gathered to the client, and waits until it is in its reach.
func (n *nodeEnd) flush() error {
	if len(n.gathered) == 0 {
		return nil
	}
	batch := n.gathered
	n.gathered, n.bytes = nil, 0
	select {
	case n.answers <- batch:
		return nil
	case <-n.ctx.Done():
		return context.Cause(n.ctx)
	}
}

// Recv implements stream. The client's Close is io.EOF.
func (n *nodeEnd) Recv(m proto.Message) error {
	frame, is := m.(*sqlpb.ClientFrame)
	if !is {
		return fmt.Errorf("a node receives a %T", m)
	}
	select {
	case received := <-n.requests:
		frame.Frame = received.Frame
		return nil
	case <-n.closing:
		return errClosing
	case <-n.ctx.Done():
		if cause := context.Cause(n.ctx); !errors.Is(cause, transport.ErrClosed) {
			return cause
		}
		return io.EOF
	}
}

// Cancel implements stream.
func (n *nodeEnd) Cancel(code uint32) {
	n.end(fmt.Errorf("the node ended the session with code %d", code))
}

// finish ends the session after its last word.
func (n *nodeEnd) finish() { n.end(io.EOF) }
