package transport

import "time"

// Limits bounds what others can make an Endpoint spend. A zero field has the default that is named with it.
type Limits struct {
	// Sessions is how many SQL sessions clients may have open here. One more is answered with an Error frame of
	// class busy. Default 10,000.
	Sessions int
	// Relays is how many sessions peers may relay here. Default 40,000.
	Relays int
	// Connections is how many connections clients may have here. Default 4,096.
	Connections int
	// Joins is how many nodes may be in the middle of joining here. Default 16.
	Joins int

	// Handshakes is how many connections may be in the middle of their handshake; each costs some 75 KiB.
	// Peers at their known addresses are let in beyond it. Default 128.
	Handshakes int
	// Unvalidated is how many of these may come from addresses that have not shown that they receive what is sent
	// to them, and how many from addresses of peers, which may be forged too. Beyond it newcomers must echo a token
	// first (RFC 9000 §8.1.2), which costs this node no memory. Default 16.
	Unvalidated int
	// HandshakesPerSecond bounds the processor time for handshakes of others than peers. Default 500.
	HandshakesPerSecond int

	// QueueMessages and QueueBytes bound what waits to be sent on the ordered stream to one peer. An empty queue
	// takes a message of any size. Defaults 1,024 and 16 MiB.
	QueueMessages int
	QueueBytes    int

	// Handshake is how long a handshake may pause; one that takes twice as long is ended too. Default 2 s.
	Handshake time.Duration
	// FirstFrame is how long the first frame of a stream may take to arrive. Default 5 s.
	FirstFrame time.Duration
	// JoinAnswer is how long OnJoin may take. Default 15 s.
	JoinAnswer time.Duration
	// SnapshotStall is how long the way of a snapshot may stand still, SnapshotInstall how long its installation may take.
	// Defaults 30 s and 10 min.
	SnapshotStall   time.Duration
	SnapshotInstall time.Duration
	// PeerSilence is how long a peer may say nothing before its connection counts as lost. Idle peers say something
	// four times in it. It should be well above the election timeout. Default 2 s.
	PeerSilence time.Duration
	// CloseGrace is how long Close waits for sessions to say their last words. Default 300 ms.
	CloseGrace time.Duration
}

// Bounds that are part of the protocol, or follow from it.
const (
	// maxHeader bounds a StreamHeader, maxKey a KeyOffer or KeyReceipt, in bytes.
	maxHeader = 4 << 10
	maxKey    = 16 << 10
	// minIncomingStreams is how many streams each connection may have at least. Sessions are counted by
	// Limits.Sessions, so that one too many gets an answer and does not wait in silence.
	minIncomingStreams = 10_000
	// peerUniStreams are the hello and the appends of a peer, and one to see that there is one too many.
	peerUniStreams = 3
	// largestDatagram is the size of the largest message that is tried as a datagram; QUIC knows the path and may allow
	// less. Every path that QUIC works on carries packets of 1,200 bytes (RFC 9000 §14).
	largestDatagram = 1100
	// datagramQueue is how many small messages to one peer may wait for the connection. They are heartbeats and votes:
	// old ones are worth nothing.
	datagramQueue = 64
)

func (l Limits) withDefaults() Limits {
	number := func(field *int, otherwise int) {
		if *field == 0 {
			*field = otherwise
		}
	}
	duration := func(field *time.Duration, otherwise time.Duration) {
		if *field == 0 {
			*field = otherwise
		}
	}
	number(&l.Sessions, 10_000)
	number(&l.Relays, 40_000)
	number(&l.Connections, 4096)
	number(&l.Joins, 16)
	number(&l.Handshakes, 128)
	number(&l.Unvalidated, 16)
	number(&l.HandshakesPerSecond, 500)
	number(&l.QueueMessages, 1024)
	number(&l.QueueBytes, 16<<20)
	duration(&l.Handshake, 2*time.Second)
	duration(&l.FirstFrame, 5*time.Second)
	duration(&l.JoinAnswer, 15*time.Second)
	duration(&l.SnapshotStall, 30*time.Second)
	duration(&l.SnapshotInstall, 10*time.Minute)
	duration(&l.PeerSilence, 2*time.Second)
	duration(&l.CloseGrace, 300*time.Millisecond)
	return l
}
