package transport

import (
	"math/rand/v2"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/rsqld/rsqld/transport/identity"
)

// firstPacket returns what a QUIC client sends first.
func firstPacket(t *testing.T) []byte {
	t.Helper()
	catcher, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer catcher.Close()
	socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	transport := &quic.Transport{Conn: socket}
	defer func() { transport.Close(); socket.Close() }()
	dialled := make(chan struct{})
	ctx := timeout(t)
	go func() {
		defer close(dialled)
		token := identity.NewToken(newRealm(t).authority.Certificate)
		if conn, err := transport.Dial(ctx, catcher.LocalAddr(), token.TLS(), nil); err == nil {
			conn.CloseWithError(0, "")
			t.Error("the catcher answered")
		}
	}()
	defer func() { transport.Close(); <-dialled }()
	packet := make([]byte, 2000)
	if err := catcher.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	n, _, err := catcher.ReadFrom(packet)
	if err != nil {
		t.Fatal(err)
	}
	return packet[:n]
}

// Garbage and first packets of handshakes that nobody goes on with cost little memory, are logged in few lines, and
// peers and clients go on and new ones are let in. The flood comes in bursts with room between them: at full speed the
// kernel drops packets of newcomers too, and whether one gets in is chance.
func TestFlood(t *testing.T) {
	r := newRealm(t)
	a, b := r.start(1, serving(echo)), r.start(2)
	meet(t, a, b)
	link := a.linkTo(2)
	session := r.client(a).open(t)
	burst := newFlood(t, a.address())
	before, peak := memory(), uint64(0)
	for round := range uint64(200) {
		burst(50)
		a.reach(b)
		b.reach(a)
		session.say(t, ping(round))
		if got := session.hear(t).GetPong().GetId(); got != round {
			t.Fatalf("got pong %d, want %d", got, round)
		}
		if round%20 == 19 {
			if !a.admission.mustEcho(address(1)) {
				t.Error("the flood has not got all the handshakes that it may: it proves nothing")
			}
			newcomer := r.client(a).open(t) // it must show that it receives at its address
			newcomer.say(t, ping(1))
			newcomer.hear(t)
			newcomer.Close()
			peak = max(peak, memory())
		}
	}
	if const50 := uint64(50 << 20); peak > before+const50 {
		t.Errorf("memory grew from %d to %d MiB", before>>20, peak>>20)
	}
	if a.linkTo(2) != link {
		t.Error("the peers lost their connection")
	}
	if lines := len(r.logs.lines("refused a connection from")); lines > 2*refusalBurst+int(patience/refusalInterval) {
		t.Errorf("%d lines were logged", lines)
	}
}

// memory returns the bytes that the process uses for objects and stacks.
func memory() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapInuse + stats.StackInuse
}

// newFlood returns what sends so many packets of a flood to an address.
func newFlood(t *testing.T, address string) func(count int) {
	t.Helper()
	socket, err := net.Dial("udp4", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	initial := firstPacket(t)
	random := rand.New(rand.NewPCG(1, 2))
	fill := func(p []byte) []byte {
		for i := range p {
			p[i] = byte(random.Uint32())
		}
		return p
	}
	garbage := make([]byte, 1400)
	return func(count int) {
		t.Helper()
		for i := range count {
			packet := initial // the same again
			switch i % 4 {
			case 0:
				packet = fill(garbage[:1+random.IntN(len(garbage)-1)])
			case 1, 2:
				fill(initial[6:14]) // a new connection: its id begins there
			}
			if _, err := socket.Write(packet); err != nil {
				t.Fatalf("flooding: %v", err)
			}
		}
	}
}
