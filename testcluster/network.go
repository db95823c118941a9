package testcluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Network is a faulty packet network between nodes, made of real UDP sockets on loopback. Each ordered pair of nodes has
// a rule: whether packets from the one to the other are cut, lost or doubled by chance, or delayed. Rules change at any
// moment and count for the packets sent from then on.
//
// A rule knows nodes by their addresses. Packets from and to others, which are clients, are left alone unless the node is
// silenced. All methods may be called from any goroutine.
type Network struct {
	mu       sync.Mutex // guards what follows; nothing blocks while it is held
	random   *rand.Rand
	nodes    map[int]*attachment
	byPort   map[uint16]int // node at each port
	rules    map[direction]rule
	silenced map[int]bool
	closed   bool

	delayed sync.WaitGroup // timers of packets on their way
	timers  map[*time.Timer]struct{}
}

// attachment is where a node listens. The port stays its own while the node is down.
type attachment struct {
	port uint16
	conn *packetConn // nil while the node is down
}

// direction is an ordered pair of nodes.
type direction struct{ from, to int }

// rule says what happens to the packets of one direction. The zero rule passes all.
type rule struct {
	cut             bool
	drop, duplicate float64 // probabilities
	delay, jitter   time.Duration
}

// NewNetwork makes a network without faults. All chances come from seed.
func NewNetwork(seed uint64) *Network {
	return &Network{
		random: rand.New(rand.NewPCG(seed, 0)), nodes: make(map[int]*attachment), byPort: make(map[uint16]int),
		rules: make(map[direction]rule), silenced: make(map[int]bool), timers: make(map[*time.Timer]struct{}),
	}
}

// Ports are taken from outside the ranges that systems give out by themselves (32768 and up on Linux, 49152 and up
// elsewhere), so that nobody is given a node's port while the node is down.
const (
	firstPort    = 12_000
	ports        = 20_000
	portAttempts = 100
)

// PacketConn opens the socket of a node, which owns it. A node that was closed gets its old address again.
func (n *Network) PacketConn(node int) (net.PacketConn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := n.nodes[node]
	switch {
	case n.closed:
		return nil, fmt.Errorf("opening the socket of node %d: the network is closed", node)
	case a != nil && a.conn != nil:
		return nil, fmt.Errorf("opening the socket of node %d: it is open", node)
	}
	var conn *net.UDPConn
	var err error
	if a != nil {
		conn, err = listenLoopback(a.port)
	} else {
		conn, err = listenSomewhere()
	}
	if err != nil {
		return nil, fmt.Errorf("opening the socket of node %d: %w", node, err)
	}
	if a == nil {
		a = &attachment{port: conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()}
		n.nodes[node], n.byPort[a.port] = a, node
	}
	a.conn = &packetConn{socket: conn, network: n, node: node}
	return a.conn, nil
}

func listenLoopback(port uint16) (*net.UDPConn, error) {
	return net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)))
}

// listenSomewhere draws ports until one is free. The draw is not the seed's: networks with one seed run side by side.
func listenSomewhere() (conn *net.UDPConn, err error) {
	for range portAttempts {
		if conn, err = listenLoopback(firstPort + rand.N[uint16](ports)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// Address returns host:port of a node, or "" before its socket was opened for the first time.
func (n *Network) Address(node int) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if a := n.nodes[node]; a != nil {
		return fmt.Sprintf("127.0.0.1:%d", a.port)
	}
	return ""
}

// set changes one rule.
func (n *Network) set(from, to int, change func(*rule)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.rules[direction{from, to}]
	change(&r)
	n.rules[direction{from, to}] = r
}

// Cut makes everything that from sends to to vanish, or, with false, ends that. The other direction has a rule of its own.
func (n *Network) Cut(from, to int, cut bool) {
	n.set(from, to, func(r *rule) { r.cut = cut })
}

// Partition cuts all pairs of nodes that are not in one group, both ways, and joins those that are. Nodes that no group
// names are alone.
func (n *Network) Partition(groups ...[]int) {
	group := make(map[int]int)
	for g, members := range groups {
		for _, node := range members {
			group[node] = g + 1
		}
	}
	n.each(func(from, to int, r *rule) { r.cut = group[from] == 0 || group[from] != group[to] })
}

// each changes the rules of all ordered pairs of nodes that have an address.
func (n *Network) each(change func(from, to int, r *rule)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for from := range n.nodes {
		for to := range n.nodes {
			if from != to {
				r := n.rules[direction{from, to}]
				change(from, to, &r)
				n.rules[direction{from, to}] = r
			}
		}
	}
}

// Drop loses packets of one direction with a probability.
func (n *Network) Drop(from, to int, probability float64) {
	n.set(from, to, func(r *rule) { r.drop = probability })
}

// Duplicate doubles packets of one direction with a probability.
func (n *Network) Duplicate(from, to int, probability float64) {
	n.set(from, to, func(r *rule) { r.duplicate = probability })
}

// Delay holds packets of one direction for delay and up to jitter more, by which they may overtake each other.
func (n *Network) Delay(from, to int, delay, jitter time.Duration) {
	n.set(from, to, func(r *rule) { r.delay, r.jitter = delay, jitter })
}

// Slow delays everything that a node sends to the other nodes.
func (n *Network) Slow(node int, delay time.Duration) {
	n.each(func(from, _ int, r *rule) {
		if from == node {
			r.delay, r.jitter = delay, 0
		}
	})
}

// Silence isolates a node from nodes and clients alike, or ends that. Heal does not end it.
func (n *Network) Silence(node int, silent bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.silenced[node] = silent
}

// Heal drops all rules. Packets that are delayed already arrive when they would have.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.rules)
}

// Close drops the packets that are on their way and closes the sockets that nodes have left open.
func (n *Network) Close() error {
	n.mu.Lock()
	n.closed = true
	for timer := range n.timers {
		if timer.Stop() {
			n.delayed.Done()
		}
	}
	clear(n.timers)
	var open []*packetConn
	for _, a := range n.nodes {
		if a.conn != nil {
			open = append(open, a.conn)
		}
	}
	n.mu.Unlock()
	n.delayed.Wait()
	var errs []error
	for _, conn := range open {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// fate is what happens to one packet: a delay for each copy that is delivered.
func (n *Network) fate(from int, to net.Addr) []time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.silenced[from] || n.closed {
		return nil
	}
	node, isNode := n.nodeAt(to)
	if !isNode {
		return []time.Duration{0}
	}
	r := n.rules[direction{from, node}]
	if r.cut || n.silenced[node] || r.drop > 0 && n.random.Float64() < r.drop {
		return nil
	}
	copies := []time.Duration{n.draw(r)}
	if r.duplicate > 0 && n.random.Float64() < r.duplicate {
		copies = append(copies, n.draw(r))
	}
	return copies
}

// draw returns the delay of one packet. It needs n.mu.
func (n *Network) draw(r rule) time.Duration {
	if r.jitter <= 0 {
		return r.delay
	}
	return r.delay + time.Duration(n.random.Int64N(int64(r.jitter)))
}

// nodeAt returns the node at an address. It needs n.mu.
func (n *Network) nodeAt(address net.Addr) (node int, ok bool) {
	udp, ok := address.(*net.UDPAddr)
	if !ok || !udp.IP.IsLoopback() {
		return 0, false
	}
	node, ok = n.byPort[uint16(udp.Port)]
	return node, ok
}

func (n *Network) isSilenced(node int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.silenced[node]
}

// later sends a packet after a delay, unless the network is closed before.
func (n *Network) later(delay time.Duration, send func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	n.delayed.Add(1)
	var timer *time.Timer
	timer = time.AfterFunc(delay, func() {
		defer n.delayed.Done()
		n.mu.Lock() // the timer is in the map once later has returned
		delete(n.timers, timer)
		n.mu.Unlock()
		send()
	})
	n.timers[timer] = struct{}{}
}

// detach notes that a node closed its socket.
func (n *Network) detach(node int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nodes[node].conn = nil
}

// packetConn is the socket of one node. Everything it sends goes by the rules. Of a UDP socket it shows only what every
// net.PacketConn has: with the rest QUIC would send past the rules.
type packetConn struct {
	socket  *net.UDPConn
	network *Network
	node    int
	close   sync.Once
	err     error // of close
}

// WriteTo implements net.PacketConn. A packet that the rules lose counts as sent, as on any network.
func (c *packetConn) WriteTo(p []byte, to net.Addr) (int, error) {
	for _, delay := range c.network.fate(c.node, to) {
		if delay == 0 {
			if _, err := c.socket.WriteTo(p, to); err != nil {
				return 0, err
			}
			continue
		}
		held := slices.Clone(p)
		c.network.later(delay, func() {
			// An error is that of a node that was closed meanwhile: the packet is lost with it.
			_, _ = c.socket.WriteTo(held, to)
		})
	}
	return len(p), nil
}

// ReadFrom implements net.PacketConn. A silenced node hears nothing.
func (c *packetConn) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		size, from, err := c.socket.ReadFrom(p)
		if err != nil || !c.network.isSilenced(c.node) {
			return size, from, err
		}
	}
}

// Close implements net.PacketConn.
func (c *packetConn) Close() error {
	c.close.Do(func() {
		c.err = c.socket.Close()
		c.network.detach(c.node)
	})
	return c.err
}

func (c *packetConn) LocalAddr() net.Addr                { return c.socket.LocalAddr() }
func (c *packetConn) SetDeadline(t time.Time) error      { return c.socket.SetDeadline(t) }
func (c *packetConn) SetReadDeadline(t time.Time) error  { return c.socket.SetReadDeadline(t) }
func (c *packetConn) SetWriteDeadline(t time.Time) error { return c.socket.SetWriteDeadline(t) }

// SetReadBuffer sets the size of the kernel's receive buffer; QUIC asks for a large one.
func (c *packetConn) SetReadBuffer(bytes int) error { return c.socket.SetReadBuffer(bytes) }

// SetWriteBuffer sets the size of the kernel's send buffer.
func (c *packetConn) SetWriteBuffer(bytes int) error { return c.socket.SetWriteBuffer(bytes) }
