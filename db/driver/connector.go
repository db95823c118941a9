package driver

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// Limits of the driver. They are not configurable.
const (
	// DialTimeout bounds one attempt to connect to one address.
	DialTimeout = 5 * time.Second
	// ConnectTimeout bounds the search for a node that answers, over all addresses.
	ConnectTimeout = 10 * time.Second
	// GreetTimeout bounds the wait for a node that has been reached to open a session.
	GreetTimeout = 2 * time.Second
	// Stagger is how long an address has to answer before the next one is tried beside it.
	Stagger = 250 * time.Millisecond
)

// protocolVersion is the version of the session protocol that this driver speaks.
const protocolVersion = 1

// Member is a node of the cluster.
type Member struct {
	ID      uint64
	Name    string
	Address string // host:port
	Learner bool
}

// Connector opens sessions to one cluster. Sessions at the same node share a connection, and all of them share what
// level session means: none reads behind what another has seen. It is safe for concurrent use.
type Connector struct {
	config Config
	links  *links
	// local says that the only node to go to is the one in this process.
	local bool
	// index is the highest log index that a session has seen.
	index atomic.Uint64

	mu      sync.Mutex // guards what follows
	members []Member   // as told by a node; replaced, never changed
	leader  uint64     // zero: not known
	turn    int        // which address is the first for the next session
	// epoch is the newest of those that nodes were in.
	epoch identity.Epoch
}

// NewConnector returns a Connector, which connects when it is used. Errors wrap [ErrConfig].
func NewConnector(config Config) (*Connector, error) {
	config, err := config.complete()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	credential, err := config.credential()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return newConnector(config, dialWith(credential)), nil
}

func newConnector(config Config, dial dialer) *Connector {
	return &Connector{config: config, links: newLinks(dial)}
}

// Open opens a session at the first node that answers. The caller closes it.
func (c *Connector) Open(ctx context.Context) (*Conn, error) {
	conn := &Conn{connector: c}
	if err := conn.connect(ctx); err != nil {
		return nil, err
	}
	return conn, nil
}

// Connect implements [driver.Connector].
func (c *Connector) Connect(ctx context.Context) (driver.Conn, error) { return c.Open(ctx) }

// Driver implements [driver.Connector].
func (c *Connector) Driver() driver.Driver { return &Driver{} }

// Close closes all connections, and with them all sessions that are still open. [database/sql.DB.Close] calls it.
func (c *Connector) Close() error {
	c.links.close()
	return nil
}

// Index is the highest log index that a session of this Connector has seen.
func (c *Connector) Index() uint64 { return c.index.Load() }

func (c *Connector) saw(index uint64) {
	for {
		seen := c.index.Load()
		if index <= seen || c.index.CompareAndSwap(seen, index) {
			return
		}
	}
}

// learn takes what a node says about the cluster. An empty list of members says nothing.
func (c *Connector) learn(leader uint64, members []*sqlpb.Member) {
	var list []Member
	for _, m := range members {
		list = append(list, Member{ID: m.Id, Name: m.Name, Address: m.Address, Learner: m.Learner})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader = leader
	if len(list) > 0 {
		c.members = list
	}
}

// Members returns the cluster's nodes, as the last node that was asked knows them; empty before the first session.
func (c *Connector) Members() []Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.members)
}

// Leader returns the id of the leader as far as it is known; zero: it is not.
func (c *Connector) Leader() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader
}

// member returns the member of an id.
func (c *Connector) member(id uint64) (Member, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.members {
		if m.ID == id {
			return m, true
		}
	}
	return Member{}, false
}

// preferred reports whether the target asks for a node like this one.
func (c *Connector) preferred(m Member, leader uint64) bool {
	switch c.config.Target {
	case TargetLeader:
		return m.ID == leader
	case TargetLearner:
		return m.Learner
	}
	return false
}

// candidates returns the addresses to try, best first: those that the target prefers, those of the configuration, those
// of other members. avoid comes last: its node was just lost.
func (c *Connector) candidates(avoid string) []string {
	if c.local {
		return c.config.Addresses
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []string
	add := func(address string) {
		if address != "" && address != avoid && !slices.Contains(list, address) {
			list = append(list, address)
		}
	}
	for _, m := range c.members {
		if c.preferred(m, c.leader) {
			add(m.Address)
		}
	}
	for i := range c.config.Addresses {
		add(c.config.Addresses[(c.turn+i)%len(c.config.Addresses)])
	}
	if c.config.Spread {
		c.turn++
	}
	for _, m := range c.members {
		add(m.Address)
	}
	if avoid != "" {
		list = append(list, avoid)
	}
	return list
}

// greeting is a session as a node opened it.
type greeting struct {
	stream  Stream
	address string
	welcome *sqlpb.Welcome
}

// greet finds a node and opens a session there: a new one if session is empty, else the one of that id.
//
// Connecting to the addresses runs side by side (see race). Of the nodes reached, one after the other is greeted, so
// that no two of them are ever asked to open the same session.
func (c *Connector) greet(ctx context.Context, session []byte, avoid string) (*greeting, error) {
	ctx, cancel := context.WithTimeout(ctx, ConnectTimeout)
	defer cancel()
	var failures []error
	for address, err := range c.race(ctx, c.candidates(avoid)) {
		var g *greeting
		if err == nil {
			g, err = c.greetAt(ctx, address, session)
		}
		if err == nil {
			return c.improve(ctx, g), nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", address, err))
	}
	return nil, unreachable(failures)
}

// race connects to addresses, each one Stagger after the one before or as soon as all before have failed, and yields
// them as they are reached or fail: a node that is gone does not refuse a QUIC connection, it says nothing. The end of
// ctx is a failure of all that are left.
func (c *Connector) race(ctx context.Context, addresses []string) iter.Seq2[string, error] {
	type arrival struct {
		address string
		err     error
	}
	return func(yield func(string, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var racing sync.WaitGroup
		defer racing.Wait()
		defer cancel() // before the wait: who is still trying gives up
		arrivals := make(chan arrival, len(addresses))
		start := func(address string) {
			racing.Go(func() {
				_, _, err := c.links.get(ctx, address)
				arrivals <- arrival{address, err}
			})
		}
		ticker := time.NewTicker(Stagger)
		defer ticker.Stop()
		for started, arrived := 0, 0; arrived < len(addresses); {
			if started == arrived { // nobody is on the way
				start(addresses[started])
				started++
			}
			select {
			case a := <-arrivals:
				arrived++
				if !yield(a.address, a.err) {
					return
				}
			case <-ticker.C:
				if started < len(addresses) {
					start(addresses[started])
					started++
				}
			}
		}
	}
}

// unreachable tells why no node could be used. A refusal that any node would repeat stands for itself.
func unreachable(failures []error) error {
	var texts []string
	for _, failure := range failures {
		texts = append(texts, failure.Error())
	}
	return &unreachableError{strings.Join(texts, "; "), errors.Join(failures...)}
}

// unreachableError puts several failures on one line.
type unreachableError struct {
	text  string
	cause error
}

func (e *unreachableError) Error() string   { return ErrUnreachable.Error() + ": " + e.text }
func (e *unreachableError) Unwrap() []error { return []error{ErrUnreachable, e.cause} }

// improve moves a session that was just opened to a node that the target prefers, if the node reached knows one.
func (c *Connector) improve(ctx context.Context, g *greeting) *greeting {
	here, _ := c.member(g.welcome.Node)
	leader := c.Leader()
	if c.config.Target == TargetAny || c.preferred(here, leader) {
		return g
	}
	for _, m := range c.Members() {
		if !c.preferred(m, leader) || m.Address == "" {
			continue
		}
		if better, err := c.greetAt(ctx, m.Address, g.welcome.Session); err == nil {
			g.stream.Close()
			return better
		}
	}
	return g
}

// greetAt opens a session at one address.
func (c *Connector) greetAt(ctx context.Context, address string, session []byte) (*greeting, error) {
	ctx, cancel := context.WithTimeout(ctx, GreetTimeout)
	defer cancel()
	s, over, err := c.links.openStream(ctx, address)
	if err != nil {
		return nil, err
	}
	welcome, err := c.hello(ctx, s, session)
	if err != nil {
		s.Close()
		if ctx.Err() != nil {
			// Reached, and silent: the connection may be dead without knowing it yet.
			c.links.retire(address, over)
		}
		return nil, err
	}
	if err := c.enter(welcome); err != nil {
		s.Close()
		return nil, err
	}
	c.learn(welcome.Leader, welcome.Members)
	return &greeting{stream: s, address: address, welcome: welcome}, nil
}

// hello exchanges the first frames of a session.
func (c *Connector) hello(ctx context.Context, s Stream, session []byte) (*sqlpb.Welcome, error) {
	unhook := context.AfterFunc(ctx, func() { s.Close() })
	defer unhook()
	err := s.Send(&sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Hello{Hello: &sqlpb.Hello{
		Version: protocolVersion, Session: session, Level: levels[c.config.Level], Client: c.config.Client}}})
	if err == nil {
		err = s.Flush()
	}
	var frame sqlpb.ServerFrame
	for err == nil {
		if err = s.Recv(&frame); err != nil {
			break
		}
		switch f := frame.Frame.(type) {
		case *sqlpb.ServerFrame_Welcome:
			if f.Welcome.Version > protocolVersion {
				return nil, protocolError("the node speaks version %d of the session protocol and this driver version %d: use a newer driver", f.Welcome.Version, protocolVersion)
			}
			if len(f.Welcome.Session) == 0 {
				return nil, protocolError("the node opened a session without an id")
			}
			return f.Welcome, nil
		case *sqlpb.ServerFrame_Error:
			return nil, wireError(f.Error)
		case *sqlpb.ServerFrame_Moved:
			c.learn(f.Moved.Leader, f.Moved.Members)
		default:
			return nil, protocolError("the node's first frame is no welcome")
		}
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("reached, but no session was opened: %w", context.Cause(ctx))
	}
	return nil, fmt.Errorf("opening a session: %w", err)
}
