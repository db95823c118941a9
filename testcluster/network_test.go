package testcluster_test

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/rsqld/rsqld/testcluster"
)

// pair opens the sockets of two nodes on a network.
func pair(t *testing.T) (n *testcluster.Network, a, b net.PacketConn) {
	t.Helper()
	n = testcluster.NewNetwork(1)
	a, err := n.PacketConn(1)
	if err != nil {
		t.Fatal(err)
	}
	b, err = n.PacketConn(2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.Close()
		b.Close()
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n, a, b
}

func send(t *testing.T, from, to net.PacketConn, text string) {
	t.Helper()
	if _, err := from.WriteTo([]byte(text), to.LocalAddr()); err != nil {
		t.Fatal(err)
	}
}

// receive returns the next packet.
func receive(t *testing.T, at net.PacketConn) string {
	t.Helper()
	packet := make([]byte, 100)
	at.SetReadDeadline(time.Now().Add(patience))
	size, _, err := at.ReadFrom(packet)
	if err != nil {
		t.Fatal(err)
	}
	return string(packet[:size])
}

// TestNetworkRules proves: a cut loses one direction and not the other, a doubled packet arrives twice, a delayed one
// after those sent later, a silent node reaches nobody, and healing ends all but silence.
func TestNetworkRules(t *testing.T) {
	n, a, b := pair(t)
	n.Cut(1, 2, true)
	send(t, a, b, "lost")
	send(t, b, a, "other way")
	if got := receive(t, a); got != "other way" {
		t.Errorf("node 1 receives %q", got)
	}
	n.Heal()
	n.Double(1, 2, 1)
	send(t, a, b, "twice")
	for i := range 2 {
		if got := receive(t, b); got != "twice" {
			t.Errorf("packet %d is %q", i, got)
		}
	}
	n.Heal()
	n.Slow(1, 50*time.Millisecond)
	send(t, a, b, "late")
	n.Heal()
	send(t, a, b, "early")
	if first, second := receive(t, b), receive(t, b); first != "early" || second != "late" {
		t.Errorf("node 2 receives %q, then %q", first, second)
	}
	n.Silence(1, true)
	send(t, a, b, "unheard")
	n.Heal()
	send(t, a, b, "unheard")
	n.Silence(1, false)
	send(t, a, b, "heard")
	if got := receive(t, b); got != "heard" {
		t.Errorf("node 2 receives %q", got)
	}
}

// TestNetworkLoss proves: losses have the probability asked for, and are the same for the same seed.
func TestNetworkLoss(t *testing.T) {
	arrived := func() (text string) {
		n, a, b := pair(t)
		n.Lose(1, 2, 0.5)
		for i := range 64 {
			send(t, a, b, fmt.Sprint(i))
		}
		n.Heal()
		send(t, a, b, "end")
		for {
			got := receive(t, b)
			if got == "end" {
				return text
			}
			text += got + " "
		}
	}
	first := arrived()
	if second := arrived(); first != second {
		t.Errorf("the same seed loses other packets:\n%s\n%s", first, second)
	}
	if len(first) < 40 || len(first) > 160 {
		t.Errorf("with probability one half arrived %q", first)
	}
}

// TestNetworkAddress proves: a node that is opened again has the address it had.
func TestNetworkAddress(t *testing.T) {
	n, a, _ := pair(t)
	address := n.Address(1)
	if address != a.LocalAddr().String() {
		t.Errorf("the network says %q, the socket %v", address, a.LocalAddr())
	}
	a.Close()
	again, err := n.PacketConn(1)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.LocalAddr().String() != address {
		t.Errorf("opened again it is at %v, not %s", again.LocalAddr(), address)
	}
}
