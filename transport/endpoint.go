package transport

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/identity"
)

// Endpoint is a node's one address: it listens and dials on one socket. It implements raft.Transport.
type Endpoint struct {
	config  Config
	log     *slog.Logger
	self    raft.ID
	cluster identity.Cluster

	conn      net.PacketConn
	transport *quic.Transport
	listener  *quic.Listener
	refusals  *refusals
	admission *admission
	notices   notices
	counters  counters

	ctx    context.Context // ends when Close begins, with ErrClosed
	cancel context.CancelCauseFunc
	group  sync.WaitGroup // every goroutine of the Endpoint

	closing sync.Once
	failed  error // of Close

	// links holds the connection with each peer that has one. The map is never changed: it is replaced under mu.
	links atomic.Pointer[map[raft.ID]*link]

	mu     sync.Mutex // guards what follows; nothing blocks while it is held
	closed bool
	peers  map[raft.ID]*peer
	conns  map[*quic.Conn]struct{} // all that stand, to say goodbye to
	// complaints are the kinds of failures to connect with a node that were logged since the last connection.
	complaints map[raft.ID]map[string]struct{}
}

// Listen opens the Endpoint of a node. The caller closes it.
func Listen(config Config) (*Endpoint, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, err
	}
	conn := config.Conn
	if conn == nil {
		if conn, err = listenUDP(config.Listen); err != nil {
			return nil, err
		}
	}
	e := &Endpoint{
		config: config, log: config.Logger, self: config.Identity.Node, cluster: config.Identity.Cluster, conn: conn,
		refusals: newRefusals(config.Logger), peers: make(map[raft.ID]*peer), conns: make(map[*quic.Conn]struct{}),
		complaints: make(map[raft.ID]map[string]struct{}),
	}
	e.ctx, e.cancel = context.WithCancelCause(context.Background())
	e.admission = newAdmission(config.Limits, e.refuse)
	e.links.Store(new(map[raft.ID]*link))
	if err := e.listen(); err != nil {
		err = fmt.Errorf("listening for QUIC: %w", err)
		if config.Conn == nil {
			err = errors.Join(err, conn.Close())
		}
		return nil, err
	}
	checkBuffer(conn, e.log)
	e.notices.init()
	e.group.Go(e.accept)
	e.group.Go(e.watchSilence)
	e.group.Go(e.tellUnreachable)
	return e, nil
}

func (e *Endpoint) listen() error {
	reset, err := resetKey(e.config.Identity)
	if err != nil {
		return err
	}
	e.transport = &quic.Transport{
		Conn: e.conn, StatelessResetKey: reset, DisableVersionNegotiationPackets: true,
		VerifySourceAddress: e.admission.mustEcho, ConnContext: e.admission.begin,
	}
	if e.listener, err = e.transport.Listen(e.serverTLS(), e.config.Limits.acceptConfig()); err != nil {
		return errors.Join(err, e.transport.Close())
	}
	return nil
}

// resetKey returns the key that a node proves with that it has forgotten a connection (RFC 9000 §10.3). It is the same
// in each incarnation, so that others notice a restart with the first packet they send.
func resetKey(id *identity.Identity) (*quic.StatelessResetKey, error) {
	key, ok := id.Certificate.PrivateKey.(interface{ Seed() []byte })
	if !ok {
		return nil, fmt.Errorf("the node's key is a %T, and Ed25519 is needed", id.Certificate.PrivateKey)
	}
	derived, err := hkdf.Key(sha256.New, key.Seed(), nil, "rsqld stateless reset", len(quic.StatelessResetKey{}))
	if err != nil {
		return nil, fmt.Errorf("deriving the key for stateless resets: %w", err)
	}
	return (*quic.StatelessResetKey)(derived), nil
}

// Addr returns where the Endpoint listens.
func (e *Endpoint) Addr() net.Addr { return e.conn.LocalAddr() }

// refuse counts and logs a connection that is not let in.
func (e *Endpoint) refuse(remote net.Addr, err error) {
	if e.ctx.Err() != nil {
		return
	}
	e.counters.refused.Add(1)
	e.refusals.add(remote, err)
}

// hold keeps a connection for Close to end. It reports false, and ends the connection, if Close has begun.
func (e *Endpoint) hold(conn *quic.Conn) bool {
	e.mu.Lock()
	closed := e.closed
	if !closed {
		e.conns[conn] = struct{}{}
	}
	e.mu.Unlock()
	if closed {
		shut(conn, codeClosing, closingText)
	}
	return !closed
}

func (e *Endpoint) release(conn *quic.Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.conns, conn)
}

const closingText = "the node is closing"

// shut closes a connection. CloseWithError returns no error of its own.
func shut(conn *quic.Conn, why code, text string) { _ = conn.CloseWithError(why, text) }

// farewell is how long the last words of sessions have to leave before their connections are closed.
const farewell = 10 * time.Millisecond

// Close ends the contexts of all sessions, lets them say their last words (Limits.CloseGrace), closes all connections
// and the socket, and waits for every goroutine. OnSession, OnJoin and OnKey have returned when it returns.
func (e *Endpoint) Close() error {
	e.closing.Do(func() { e.failed = e.close() })
	return e.failed
}

func (e *Endpoint) close() error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.cancel(ErrClosed)
	e.endSessions()
	err := e.listener.Close()
	e.mu.Lock()
	conns := slices.Collect(maps.Keys(e.conns)) // closed does not let it grow any more
	e.mu.Unlock()
	for _, conn := range conns {
		shut(conn, codeClosing, closingText)
	}
	e.group.Wait()
	return errors.Join(err, e.transport.Close(), e.conn.Close())
}

// endSessions waits, within bounds, until sessions have ended and what they said has left.
func (e *Endpoint) endSessions() {
	if e.counters.sessions.taken()+e.counters.relays.taken() == 0 {
		return
	}
	grace := time.NewTimer(e.config.Limits.CloseGrace)
	defer grace.Stop()
	for _, open := range []*places{&e.counters.sessions, &e.counters.relays} {
		select {
		case <-open.emptied():
		case <-grace.C:
			return
		}
	}
	<-time.After(farewell)
}
