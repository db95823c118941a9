package driver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// Limits of a session. They are not configurable.
const (
	// CancelGrace is how long a node may take to answer a request after it was told to cancel it. Then the session
	// is cut off, and reconnects with its next request.
	CancelGrace = 2 * time.Second
	// NoQuorumPatience is how long a request that was answered "no quorum, nothing was executed" is sent again.
	NoQuorumPatience = time.Second
	// RepeatPatience is how long a write that was sent and not answered is sent again, under the same number, unless its
	// context ends before.
	RepeatPatience = 10 * time.Second
	// NoQuorumPause is the pause between two such attempts.
	NoQuorumPause = 50 * time.Millisecond
	// SessionLifetime is how long at least a cluster remembers a session's last write.
	SessionLifetime = time.Hour
)

// Conn is a session: one stream to one node, one request at a time. When its node goes away it moves to another one
// with its next request. A Conn and its Results belong to one goroutine at a time; it is also a [database/sql/driver.Conn].
type Conn struct {
	connector *Connector

	// stream is nil between a loss and the next request.
	stream  Stream
	address string // of the node, also after its loss
	node    uint64
	product string
	missed  uint64 // the leader that the session could not move to, or zero
	// session and seq name writes: (session, seq) is used for one write and its repetitions. The pair goes with the
	// Conn from node to node.
	session []byte
	seq     uint64 // of the last write, or request that may have been one
	request uint64 // id of the last request on any stream
	// proven is when the session's id was made, or its last write answered, which its cluster remembers.
	proven time.Time
	// uncertain says that a write is on its way of which it is not known whether it was executed.
	uncertain bool

	// level is that of requests that name none; empty: the Connector's.
	level Level
	// tx is the transaction, if one is open.
	tx transaction
	// open are the results of the last request while they have not ended: their frames come first on the stream.
	open   *Results
	closed bool

	sending sync.Mutex // guards the sending half of stream: a Cancel is sent beside everything else
}

// connect opens the session at a node, or opens it again. A node that was just lost is the last to be tried.
func (c *Conn) connect(ctx context.Context) error {
	if c.session != nil && c.forgotten() {
		c.session, c.seq = nil, 0
	}
	g, err := c.connector.greet(ctx, c.session, c.address)
	if err != nil {
		return err
	}
	c.adopt(g)
	return nil
}

// forgotten reports whether the cluster may soon have forgotten what this session wrote last: then only a new id cannot be
// mistaken for an old one. A write whose fate is open keeps its id.
func (c *Conn) forgotten() bool { return !c.uncertain && time.Since(c.proven) > SessionLifetime/2 }

func (c *Conn) adopt(g *greeting) {
	c.lose()
	c.stream, c.address = g.stream, g.address
	if !bytes.Equal(c.session, g.welcome.Session) {
		c.session, c.proven = g.welcome.Session, time.Now()
	}
	c.node, c.product = g.welcome.Node, g.welcome.Product
}

// ready makes the session ready to send a request. Whatever happens here, nothing of the request was sent.
func (c *Conn) ready(ctx context.Context) error {
	if c.closed {
		return ErrClosed
	}
	c.open.drain()
	if c.tx.state != TxNone {
		_, err := c.inTransaction()
		return err
	}
	if c.stream != nil && (c.stream.Context().Err() != nil || c.forgotten()) {
		c.lose()
	}
	if c.stream == nil {
		return c.connect(ctx)
	}
	if !c.uncertain { // a commit is sent to where its transaction is
		c.follow(ctx)
	}
	return nil
}

// follow moves the session to the leader when the target asks for it and another node leads now. If that does not work
// the session stays until it hears of another leader.
func (c *Conn) follow(ctx context.Context) {
	leader := c.connector.Leader()
	if leader != c.missed {
		c.missed = 0
	}
	if c.connector.config.Target != TargetLeader || leader == 0 || leader == c.node || leader == c.missed {
		return
	}
	m, known := c.connector.member(leader)
	if !known || m.Address == "" {
		return
	}
	g, err := c.connector.greetAt(ctx, m.Address, c.session)
	if err != nil {
		c.missed = leader
		return
	}
	c.adopt(g)
}

// lose gives the stream up. What was sent on it and not answered is not known.
func (c *Conn) lose() {
	if c.stream != nil {
		c.stream.Close()
		c.stream = nil
	}
}

// send sends one frame at once.
func (c *Conn) send(s Stream, frame *sqlpb.ClientFrame) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	if err := s.Send(frame); err != nil {
		return err
	}
	return s.Flush()
}

// receive returns the next frame that belongs to a request. Moved is taken note of. An [*Error] means that the node
// ended the session; any other error, that the stream broke. After both the stream is lost.
func (c *Conn) receive() (*sqlpb.ServerFrame, error) {
	for {
		if c.stream == nil {
			return nil, errors.New("the session was cut off")
		}
		frame := new(sqlpb.ServerFrame)
		if err := c.stream.Recv(frame); err != nil {
			c.lose()
			if err == io.EOF {
				err = errors.New("the node closed the session")
			}
			return nil, err
		}
		switch f := frame.Frame.(type) {
		case *sqlpb.ServerFrame_Moved:
			c.connector.learn(f.Moved.Leader, f.Moved.Members)
		case *sqlpb.ServerFrame_Error:
			if f.Error.Id == 0 {
				c.lose()
				return nil, wireError(f.Error)
			}
			return frame, nil
		case nil:
			// A frame of a kind that this version does not know; a newer node may send it to those who do.
		default:
			return frame, nil
		}
	}
}

// Ping asks the node whether it is there, and moves to another one if it is not.
func (c *Conn) Ping(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		if err := c.ready(ctx); err != nil {
			return err
		}
		err := c.ping(ctx)
		if err == nil || ctx.Err() != nil || attempt > 0 {
			return err
		}
	}
}

func (c *Conn) ping(ctx context.Context) error {
	c.request++
	id, s, lost := c.request, c.stream, c.address
	if err := ctx.Err(); err != nil {
		return err
	}
	unhook := context.AfterFunc(ctx, func() { s.Close() })
	defer unhook()
	err := c.send(s, &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Ping{Ping: &sqlpb.Ping{Id: id}}})
	for err == nil {
		var frame *sqlpb.ServerFrame
		if frame, err = c.receive(); err == nil && frame.GetPong().GetId() == id {
			return nil
		}
	}
	c.lose()
	if ctx.Err() != nil {
		return fmt.Errorf("no answer from %s: %w", lost, context.Cause(ctx))
	}
	return fmt.Errorf("no answer from %s: %w", lost, err)
}

// timeoutMs is how long the node may take for a request, as it is sent.
func (c *Conn) timeoutMs(ctx context.Context) uint32 {
	if deadline, has := ctx.Deadline(); has {
		return milliseconds(max(time.Until(deadline), time.Millisecond))
	}
	return milliseconds(c.connector.config.Timeout)
}

// milliseconds is d as it is sent, rounded up: zero is no bound, and a node does not give up before its client.
func milliseconds(d time.Duration) uint32 {
	return uint32(min((d+time.Millisecond-1)/time.Millisecond, math.MaxUint32))
}

// SetLevel sets the level of requests that name none; empty is the Connector's again. A Conn of database/sql, which
// [database/sql.Conn.Raw] gives, has it until it goes back to its pool.
func (c *Conn) SetLevel(level Level) error {
	if err := checkLevel(level); err != nil {
		return protocolError("%v", err)
	}
	c.level = level
	return nil
}

// Node is the id of the node that the session is at, or was at before it lost it. A change from one request to the next
// tells that the session moved.
func (c *Conn) Node() uint64 { return c.node }

// NodeName is the node's name.
func (c *Conn) NodeName() string {
	m, _ := c.connector.member(c.node)
	return m.Name
}

// Address is the host:port that the node was reached at.
func (c *Conn) Address() string { return c.address }

// Product is program and version of the node.
func (c *Conn) Product() string { return c.product }

// Leader is the id of the leader as far as it is known; zero: it is not.
func (c *Conn) Leader() uint64 { return c.connector.Leader() }

// Leads reports whether the session's node leads, as far as it is known.
func (c *Conn) Leads() bool { return c.node != 0 && c.node == c.Leader() }

// Connected reports whether the session stands. One that does not is opened again by the next request.
func (c *Conn) Connected() bool {
	return !c.closed && c.stream != nil && c.stream.Context().Err() == nil
}

// Close ends the session. A request that runs is cancelled by the node.
func (c *Conn) Close() error {
	if c.closed {
		return nil
	}
	c.closed = true
	c.open.abandon()
	c.lose()
	return nil
}
