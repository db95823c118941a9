package testcluster

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Network is what lies between the nodes of a Cluster: loopback sockets whose packets can be lost, delayed, doubled and
// cut, each direction by itself. Rules go by the nodes' addresses, so clients are not affected by them, except that a
// silent node says nothing to anybody. Rules may change at any moment and hold for packets sent from then on.
type Network struct {
	mu     sync.Mutex // guards what follows
	chance *rand.Rand
	nodes  map[int]*net.UDPAddr // an address is a node's for ever
	byAddr map[string]int
	links  map[direction]link
	silent map[int]bool
	late   map[*time.Timer]struct{} // packets under way
	closed bool
	group  sync.WaitGroup // of late packets
}

// direction is what one node sends to another.
type direction struct{ from, to int }

// link is what happens to the packets of one direction.
type link struct {
	cut      bool
	loss     float64 // chance to be lost
	doubling float64 // chance to arrive twice
	delay    time.Duration
	jitter   time.Duration // up to so much more delay, which reorders
}

// NewNetwork returns a network without faults whose chances are drawn from seed.
func NewNetwork(seed uint64) *Network {
	return &Network{
		chance: rand.New(rand.NewPCG(seed, 0)), nodes: make(map[int]*net.UDPAddr), byAddr: make(map[string]int),
		links: make(map[direction]link), silent: make(map[int]bool), late: make(map[*time.Timer]struct{}),
	}
}

// PacketConn opens the socket of a node: on a free port of 127.0.0.1 the first time, on the same one again later.
func (n *Network) PacketConn(node int) (net.PacketConn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	address := n.nodes[node]
	if address == nil {
		address = &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}
	}
	socket, err := net.ListenUDP("udp4", address)
	if err != nil {
		return nil, fmt.Errorf("opening the socket of node %d: %w", node, err)
	}
	address = socket.LocalAddr().(*net.UDPAddr)
	n.nodes[node], n.byAddr[address.String()] = address, node
	return &packetConn{PacketConn: socket, network: n, node: node}, nil
}

// Address returns host:port of a node, or "" if it never had a socket.
func (n *Network) Address(node int) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if address := n.nodes[node]; address != nil {
		return address.String()
	}
	return ""
}

// set changes the rules of one direction.
func (n *Network) set(from, to int, change func(*link)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	rules := n.links[direction{from, to}]
	change(&rules)
	n.links[direction{from, to}] = rules
}

// Cut loses all packets from one node to another, or no longer does.
func (n *Network) Cut(from, to int, cut bool) { n.set(from, to, func(l *link) { l.cut = cut }) }

// Lose loses packets from one node to another with a probability.
func (n *Network) Lose(from, to int, probability float64) {
	n.set(from, to, func(l *link) { l.loss = probability })
}

// Double lets packets from one node to another arrive twice with a probability.
func (n *Network) Double(from, to int, probability float64) {
	n.set(from, to, func(l *link) { l.doubling = probability })
}

// Delay delays packets from one node to another by delay and up to jitter more, which reorders them.
func (n *Network) Delay(from, to int, delay, jitter time.Duration) {
	n.set(from, to, func(l *link) { l.delay, l.jitter = delay, jitter })
}

// Slow delays everything that a node sends to the others.
func (n *Network) Slow(node int, delay time.Duration) {
	n.mu.Lock()
	others := make([]int, 0, len(n.nodes))
	for other := range n.nodes {
		others = append(others, other)
	}
	n.mu.Unlock()
	for _, other := range others {
		n.Delay(node, other, delay, 0)
	}
}

// Silence loses everything that a node sends, to clients too, or no longer does. Heal does not end it.
func (n *Network) Silence(node int, silent bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.silent[node] = silent
}

// Heal ends all cuts, losses, doublings and delays.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.links)
}

// Close drops the packets that are under way and waits for those that are being delivered. The sockets are their
// owners' to close.
func (n *Network) Close() error {
	n.mu.Lock()
	n.closed = true
	for timer := range n.late {
		if timer.Stop() {
			n.group.Done()
		}
	}
	clear(n.late)
	n.mu.Unlock()
	n.group.Wait()
	return nil
}

// fate decides when copies of a packet are to be delivered.
func (n *Network) fate(from int, to net.Addr) (deliveries []time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.silent[from] {
		return nil
	}
	rules := n.links[direction{from, n.byAddr[to.String()]}]
	if rules.cut || rules.loss > 0 && n.chance.Float64() < rules.loss {
		return nil
	}
	copies := 1
	if rules.doubling > 0 && n.chance.Float64() < rules.doubling {
		copies = 2
	}
	for range copies {
		delay := rules.delay
		if rules.jitter > 0 {
			delay += time.Duration(n.chance.Int64N(int64(rules.jitter)))
		}
		deliveries = append(deliveries, delay)
	}
	return deliveries
}

// later delivers a packet after a while, unless the network is closed before.
func (n *Network) later(delay time.Duration, deliver func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	n.group.Add(1)
	var timer *time.Timer
	timer = time.AfterFunc(delay, func() {
		defer n.group.Done()
		n.mu.Lock()
		delete(n.late, timer)
		n.mu.Unlock()
		deliver()
	})
	n.late[timer] = struct{}{}
}

// packetConn is a node's socket on the network.
type packetConn struct {
	net.PacketConn
	network *Network
	node    int
}

// WriteTo sends a packet as the rules say. A packet that is lost was sent, as far as the sender can tell.
func (c *packetConn) WriteTo(packet []byte, to net.Addr) (int, error) {
	for _, delay := range c.network.fate(c.node, to) {
		if delay == 0 {
			if _, err := c.PacketConn.WriteTo(packet, to); err != nil {
				return 0, err
			}
			continue
		}
		late := append([]byte(nil), packet...)
		c.network.later(delay, func() {
			_, _ = c.PacketConn.WriteTo(late, to) // on a socket closed by now it is lost like any other
		})
	}
	return len(packet), nil
}
