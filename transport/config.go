package transport

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/joinpb"
	"github.com/rsqld/rsqld/transport/wire/peerpb"
)

// Config is what Listen needs. Identity and Incarnation are required. The functions are called from many goroutines at
// once; a nil one means that what it would serve is refused.
type Config struct {
	// Conn is the socket. The Endpoint closes it, unless Listen fails. Nil: a UDP socket on Listen (host:port).
	Conn   net.PacketConn
	Listen string

	Identity *identity.Identity
	// Fingerprint says how this node executes commands. Peers with another one are refused.
	Fingerprint []byte
	// Epoch is the cluster's. Nodes of other epochs are refused.
	Epoch identity.Epoch
	// Incarnation is drawn anew at each start of the node, and never zero.
	Incarnation uint64
	// Logger gets state changes and refusals. Nil: nothing is logged.
	Logger *slog.Logger
	Limits Limits

	// OnMessage takes a message of a peer. It must not block: what comes after on the same connection waits for it.
	OnMessage func(raft.Message)
	// OnClock hears what a peer's wall clock was (Unix nanoseconds) a packet's travel ago. Each peer says it four times
	// in Limits.PeerSilence or more often. It must not block. Nil: nobody wants to know.
	OnClock func(peer raft.ID, clock int64)
	// OnUnreachable hears that messages to a peer were lost, because its connection ended or its queue is full.
	OnUnreachable func(raft.ID)
	// OnSession serves a SQL session until it returns; then the stream is flushed and closed. The context ends when
	// the other end has closed the stream or its connection is lost, and when the Endpoint closes.
	OnSession func(context.Context, *Session)
	// OnJoin answers a joining node, which has proven nothing yet. exporter binds the proof in the request to the
	// node's connection.
	OnJoin func(ctx context.Context, request *joinpb.JoinRequest, exporter []byte) *joinpb.JoinAnswer
	// OnKey takes the authority's private key (PKCS #8, DER) from a peer. It returns when the key is durable.
	OnKey func(keyDER []byte) error
	// OnSnapshot is asked when a peer brings a snapshot; the manifest is not verified. A nil sink says that this node holds
	// more and needs none, an error that it takes none now. The endpoint closes the sink. Nil takes no snapshots.
	OnSnapshot func(from raft.ID, manifest *peerpb.SnapshotManifest) (SnapshotSink, error)

	// Now is the wall clock that peers are told of. Nil: time.Now.
	Now func() time.Time

	// maxDatagram is largestDatagram, or less in tests.
	maxDatagram int
}

func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Identity == nil:
		return c, errors.New("opening an endpoint: an identity is required")
	case c.Incarnation == 0:
		return c, errors.New("opening an endpoint: an incarnation other than zero is required")
	case c.Conn == nil && c.Listen == "":
		return c, errors.New("opening an endpoint: a connection or an address to listen on is required")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.OnMessage == nil {
		c.OnMessage = func(raft.Message) {}
	}
	if c.OnClock == nil {
		c.OnClock = func(raft.ID, int64) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.OnUnreachable == nil {
		c.OnUnreachable = func(raft.ID) {}
	}
	if c.maxDatagram == 0 {
		c.maxDatagram = largestDatagram
	}
	c.Limits = c.Limits.withDefaults()
	return c, nil
}

// acceptedIdle is when QUIC gives up a connection that was accepted and says nothing. Who dials sets a shorter time.
const acceptedIdle = 30 * time.Second

// acceptConfig is for all connections that others make: QUIC asks for it before it is known what they will speak.
func (l Limits) acceptConfig() *quic.Config {
	return &quic.Config{
		Versions:              []quic.Version{quic.Version1},
		HandshakeIdleTimeout:  l.Handshake,
		MaxIdleTimeout:        acceptedIdle,
		MaxIncomingStreams:    l.incomingStreams(),
		MaxIncomingUniStreams: peerUniStreams,
		EnableDatagrams:       true,
	}
}

// peerConfig is for dialling peers. The dialler keeps the connection alive for both: each of its pings is acknowledged.
func (l Limits) peerConfig() *quic.Config {
	config := l.acceptConfig()
	config.MaxIdleTimeout = 2 * l.PeerSilence
	config.KeepAlivePeriod = l.PeerSilence / 4
	return config
}

func (l Limits) incomingStreams() int64 {
	const spare = 64 // to tell one session too many that it is
	return int64(max(minIncomingStreams, l.Sessions) + spare)
}

// ClientIdle is when a client gives up a connection on which the node says nothing, not even to the pings that ask.
const ClientIdle = 2 * time.Second

// clientConfig is for dialling a node as a client or a joiner: nodes open no streams to them.
func clientConfig(idle time.Duration) *quic.Config {
	return &quic.Config{
		Versions:              []quic.Version{quic.Version1},
		MaxIdleTimeout:        idle,
		KeepAlivePeriod:       idle / 3,
		MaxIncomingStreams:    -1,
		MaxIncomingUniStreams: -1,
	}
}
