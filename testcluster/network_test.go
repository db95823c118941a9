package testcluster

import (
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience bounds the waits of the network's tests; quiet is how long a packet that must not arrive is waited for.
const (
	patience = 10 * time.Second
	quiet    = 30 * time.Millisecond
)

// openNetwork makes a network with sockets for nodes 1 to count and a client's.
func openNetwork(t *testing.T, count int) (*Network, []net.PacketConn, net.PacketConn) {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
	n := NewNetwork(1)
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("closing the network: %v", err)
		}
	})
	conns := make([]net.PacketConn, count+1)
	for i := 1; i <= count; i++ {
		conns[i] = attach(t, n, i)
	}
	client, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return n, conns, client
}

func attach(t *testing.T, n *Network, node int) net.PacketConn {
	t.Helper()
	conn, err := n.PacketConn(node)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func send(t *testing.T, from, to net.PacketConn, number uint64) {
	t.Helper()
	if _, err := from.WriteTo(binary.BigEndian.AppendUint64(nil, number), to.LocalAddr()); err != nil {
		t.Fatal(err)
	}
}

// next returns the number of the next packet, or false if none comes within the time.
func next(t *testing.T, conn net.PacketConn, within time.Duration) (uint64, bool) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	var p [8]byte
	if _, _, err := conn.ReadFrom(p[:]); err != nil {
		return 0, false
	}
	return binary.BigEndian.Uint64(p[:]), true
}

// passes fails the test unless a packet arrives, and is the next to do so.
func passes(t *testing.T, from, to net.PacketConn) {
	t.Helper()
	mark := uint64(time.Now().UnixNano())
	send(t, from, to, mark)
	if got, ok := next(t, to, patience); !ok || got != mark {
		t.Errorf("packet %d did not arrive next, but %d (%v)", mark, got, ok)
	}
}

// vanishes fails the test if a packet arrives.
func vanishes(t *testing.T, from, to net.PacketConn) {
	t.Helper()
	send(t, from, to, 1)
	if got, ok := next(t, to, quiet); ok {
		t.Errorf("packet %d arrived", got)
	}
}

// A cut loses packets of its direction only, and between its two nodes only, until it ends.
func TestCut(t *testing.T) {
	n, c, client := openNetwork(t, 3)
	n.Cut(1, 2, true)
	vanishes(t, c[1], c[2])
	passes(t, c[2], c[1])
	passes(t, c[1], c[3])
	passes(t, c[1], client)
	passes(t, client, c[2])
	n.Cut(1, 2, false)
	passes(t, c[1], c[2])
}

// A partition cuts between its groups both ways, leaves the groups and clients whole, and Heal ends it.
func TestPartition(t *testing.T) {
	n, c, client := openNetwork(t, 4)
	n.Partition([]int{1, 2}, []int{3})
	for from := 1; from <= 4; from++ {
		for to := 1; to <= 4; to++ {
			switch {
			case from == to:
			case from <= 2 && to <= 2:
				passes(t, c[from], c[to])
			default:
				vanishes(t, c[from], c[to])
			}
		}
		passes(t, client, c[from])
		passes(t, c[from], client)
	}
	n.Heal()
	passes(t, c[1], c[3])
	passes(t, c[4], c[1])
}

// A silenced node neither reaches anybody nor is reached, clients included, and Heal does not change that.
func TestSilence(t *testing.T) {
	n, c, client := openNetwork(t, 2)
	n.Silence(1, true)
	n.Heal()
	for _, other := range []net.PacketConn{c[2], client} {
		vanishes(t, c[1], other)
		vanishes(t, other, c[1])
	}
	n.Silence(1, false)
	passes(t, c[1], c[2])
	passes(t, client, c[1])
}

// Drop loses about as many packets as it says, the same ones with the same seed.
func TestDrop(t *testing.T) {
	const count, mark = 400, 1000
	run := func() (arrived []uint64) {
		n, c, client := openNetwork(t, 2)
		n.Drop(1, 2, 0.25)
		for i := range uint64(count) {
			send(t, c[1], c[2], i)
			send(t, client, c[2], mark)
			for {
				got, ok := next(t, c[2], patience)
				if !ok {
					t.Fatal("the client's packet was lost")
				}
				if got == mark {
					break
				}
				arrived = append(arrived, got)
			}
		}
		return arrived
	}
	first := run()
	if len(first) < 250 || len(first) > 350 {
		t.Errorf("%d of %d packets arrived, want about 300", len(first), count)
	}
	if second := run(); !slices.Equal(first, second) {
		t.Error("the same seed lost other packets")
	}
}

// Duplicate delivers packets twice.
func TestDuplicate(t *testing.T) {
	n, c, _ := openNetwork(t, 2)
	n.Duplicate(1, 2, 1)
	send(t, c[1], c[2], 7)
	for range 2 {
		if got, ok := next(t, c[2], patience); !ok || got != 7 {
			t.Fatalf("got %d, %v", got, ok)
		}
	}
	if got, ok := next(t, c[2], quiet); ok {
		t.Errorf("packet %d arrived a third time", got)
	}
}

// A delayed packet arrives after the ones sent later without delay, no sooner than the delay says, and unharmed by what
// its sender does with the memory meanwhile.
func TestDelay(t *testing.T) {
	n, c, _ := openNetwork(t, 2)
	const delay = 50 * time.Millisecond
	n.Slow(1, delay)
	packet := binary.BigEndian.AppendUint64(nil, 1)
	start := time.Now()
	if _, err := c[1].WriteTo(packet, c[2].LocalAddr()); err != nil {
		t.Fatal(err)
	}
	packet[0] = 99
	passes(t, c[2], c[1])
	n.Heal()
	send(t, c[1], c[2], 2)
	for _, want := range []uint64{2, 1} {
		if got, ok := next(t, c[2], patience); !ok || got != want {
			t.Fatalf("got %d, %v, want %d", got, ok, want)
		}
	}
	if took := time.Since(start); took < delay {
		t.Errorf("the packet took %v", took)
	}
}

// With jitter packets overtake each other, and all arrive.
func TestJitter(t *testing.T) {
	n, c, _ := openNetwork(t, 2)
	n.Delay(1, 2, 0, 20*time.Millisecond)
	const count = 100
	for i := range uint64(count) {
		send(t, c[1], c[2], i)
	}
	var arrived []uint64
	for range count {
		got, ok := next(t, c[2], patience)
		if !ok {
			t.Fatalf("%d of %d arrived", len(arrived), count)
		}
		arrived = append(arrived, got)
	}
	if slices.IsSorted(arrived) {
		t.Error("all packets kept their order")
	}
}

// A node gets its address again after its socket was closed, and nobody is at the address meanwhile.
func TestReopen(t *testing.T) {
	n, c, _ := openNetwork(t, 2)
	address := n.Address(1)
	if address != c[1].LocalAddr().String() {
		t.Errorf("the address is %s, and the socket's %v", address, c[1].LocalAddr())
	}
	if _, err := n.PacketConn(1); err == nil {
		t.Error("the socket was opened twice")
	}
	if err := c[1].Close(); err != nil {
		t.Fatal(err)
	}
	if n.Address(1) != address {
		t.Error("the address is gone")
	}
	again := attach(t, n, 1)
	if again.LocalAddr().String() != address {
		t.Errorf("the address is %v, and was %s", again.LocalAddr(), address)
	}
	passes(t, c[2], again)
	if unknown := n.Address(3); unknown != "" {
		t.Errorf("a node that never was has address %s", unknown)
	}
}

// Close drops what is on its way, closes the sockets, and opens no more.
func TestCloseNetwork(t *testing.T) {
	n, c, _ := openNetwork(t, 2)
	n.Slow(1, time.Hour)
	for i := range uint64(100) {
		send(t, c[1], c[2], i)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c[1].WriteTo(nil, c[2].LocalAddr()); err != nil {
		t.Errorf("a packet into a closed network: %v, want it to vanish", err)
	}
	if _, err := n.PacketConn(3); fmt.Sprint(err) != "opening the socket of node 3: the network is closed" {
		t.Errorf("got %v", err)
	}
}
