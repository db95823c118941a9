package db

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/replica"
	"github.com/rsqld/rsqld/raft/wal"
	"github.com/rsqld/rsqld/transport"
	"github.com/rsqld/rsqld/transport/identity"
)

// Node is one member of a cluster, running. Its methods may be called from any goroutine.
type Node struct {
	config      Config
	log         *slog.Logger
	dir         *directory
	self        nodeFile
	cluster     identity.Cluster
	address     string // what peers and clients dial
	fingerprint [32]byte

	identity  *identity.Identity
	authority atomic.Pointer[identity.Authority] // nil on a node that was never a voter
	engine    *engine.Engine
	endpoint  *transport.Endpoint
	replica   *replica.Replica
	wal       *wal.WAL // the replica's: it closes it

	clocks    clocks
	stamps    stamper
	sessions  sessions
	snapshots snapshots
	exports   exports
	healer    healer
	restores  restores
	gate      gate
	noted     quarantineNote

	whereabouts whereabouts

	// opened is closed when all parts stand: what peers and clients send before waits, or is dropped.
	opened chan struct{}
	ctx    context.Context // ends when the node closes, with errClosing
	cancel context.CancelCauseFunc
	// entering guards the start of sessions against Close; group counts all goroutines of the node.
	entering sync.Mutex
	closed   bool
	group    sync.WaitGroup

	closing  sync.Once
	closeErr error
}

// errClosing is the cause of everything's end when the node closes.
var errClosing = errors.New("the node is closing")

// Open starts the node of a data directory: the one it holds, else a new member of the cluster at config.Join, else the
// first node of a new cluster. Errors that other arguments would not give wrap ErrUsage; a directory that another
// process has open is ErrInUse. The caller closes the Node.
func Open(ctx context.Context, config Config) (*Node, error) {
	full, err := config.withDefaults()
	if err != nil {
		return nil, errors.Join(err, closeConn(config.PacketConn))
	}
	n := &Node{config: full, log: full.Logger, opened: make(chan struct{}),
		clocks: clocks{now: full.Clock, limit: full.MaxClockAhead}, gate: gate{idle: full.TransactionIdle}}
	n.snapshots.node = n
	n.ctx, n.cancel = context.WithCancelCause(context.Background())
	if n.dir, err = openDirectory(full.Data); err != nil {
		n.cancel(errClosing)
		return nil, errors.Join(err, closeConn(config.PacketConn))
	}
	if err := n.open(ctx); err != nil {
		n.cancel(errClosing)
		return nil, errors.Join(err, n.closeParts())
	}
	return n, nil
}

func closeConn(conn net.PacketConn) error {
	if conn == nil {
		return nil
	}
	return conn.Close()
}

func (n *Node) open(ctx context.Context) error {
	conn, err := n.listen()
	if err != nil {
		return err
	}
	if err := n.identify(ctx); err != nil {
		return errors.Join(err, conn.Close())
	}
	log, recovered, err := n.openLog()
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	if err := n.connect(conn, log, recovered); err != nil {
		return err
	}
	n.updateFitness()
	close(n.opened)
	n.updatePeers()
	n.group.Go(func() { n.followMembers(n.ctx) })
	n.group.Go(func() { n.housekeeping(n.ctx) })
	n.group.Go(func() { n.seekMembers(n.ctx) })
	n.group.Go(func() { n.watchLeader(n.ctx) })
	n.group.Go(func() { n.watchClock(n.ctx) })
	n.group.Go(func() { n.heal(n.ctx) })
	n.group.Go(func() { n.watchRestores(n.ctx) })
	n.group.Go(func() { n.watchChains(n.ctx) })
	n.log.Info("node is up", "node", n.self.Node, "name", n.self.Name, "cluster", n.self.Cluster, "address", n.address)
	return nil
}

// logError says why the log cannot be opened. A node whose log is gone must not come back under its id: it has forgotten
// what it acknowledged and whom it voted for, and the others count on both (dragonboat#254).
func (n *Node) logError(err error) error {
	if errors.Is(err, wal.ErrNoLog) {
		return fmt.Errorf("%s is node %d's and its log is gone (%w): a node without its log must not vote under its old id; put wal/ back, or remove the node from the cluster (rsqld remove %d) and join as a new one with an empty --data",
			n.dir.path, n.self.Node, err, n.self.Node)
	}
	return fmt.Errorf("opening the log: %w", err)
}

// listen takes the node's socket before anything is made or asked for, so that a busy port leaves no traces.
func (n *Node) listen() (net.PacketConn, error) {
	conn := n.config.PacketConn
	if conn == nil {
		address, err := net.ResolveUDPAddr("udp", n.config.Listen)
		if err != nil {
			return nil, fmt.Errorf("%w: --listen %s: %v", ErrUsage, n.config.Listen, err)
		}
		if conn, err = net.ListenUDP("udp", address); err != nil {
			return nil, fmt.Errorf("listening on %s (UDP): %w; choose another --listen, or stop what has it", n.config.Listen, err)
		}
	}
	if n.address = n.config.Advertise; n.address == "" {
		n.address = conn.LocalAddr().String()
	}
	return conn, nil
}

// identify loads who this node is, or makes it someone.
func (n *Node) identify(ctx context.Context) error {
	n.fingerprint = sqlite.Fingerprint()
	self, known, err := n.dir.load()
	if err != nil {
		return err
	}
	if self, err = finishRecovery(n.dir, self, n.config.LogFiles); err != nil {
		return err
	}
	n.self = self
	switch {
	case known && (len(n.config.Join) > 0 || n.config.Token != ""):
		n.log.Info("this directory already has a node: --token is not needed, and --join only if it cannot find the others", "node", self.Node)
	case !known && len(n.config.Join) > 0:
		err = n.join(ctx, n.address)
	case !known:
		err = n.found(n.address)
	}
	if err != nil {
		return err
	}
	if n.cluster, err = n.self.cluster(); err != nil {
		return err
	}
	if n.identity, err = identity.Load(n.dir.file("tls")); err != nil {
		return fmt.Errorf("loading the node's certificate: %w", err)
	}
	if n.identity.Cluster != n.cluster || n.identity.Node != n.self.Node {
		return fmt.Errorf("the certificate in %s is node %d's of cluster %x, and node.json says node %d of cluster %x",
			n.dir.file("tls"), n.identity.Node, n.identity.Cluster, n.self.Node, n.cluster)
	}
	authority, err := n.identity.LoadAuthority(n.dir.file("tls"))
	if err != nil {
		return fmt.Errorf("loading the authority's key: %w", err)
	}
	n.authority.Store(authority)
	return nil
}

func (n *Node) walOptions(cluster identity.Cluster) wal.Options {
	return wal.Options{Files: n.config.LogFiles, Dir: n.dir.file("wal"), Cluster: cluster, Node: n.self.Node, Seed: rand.Uint64(),
		SegmentSize: n.config.LogSegmentBytes}
}

// connect starts endpoint and replica, which need each other: until both stand, messages of peers are dropped.
func (n *Node) connect(conn net.PacketConn, log *wal.WAL, recovered wal.Recovered) (err error) {
	var running atomic.Pointer[replica.Replica]
	n.endpoint, err = transport.Listen(transport.Config{
		Conn: conn, Identity: n.identity, Epoch: n.self.Epoch, Fingerprint: n.fingerprint[:], Incarnation: rand.Uint64(), Logger: n.log,
		OnMessage: func(m raft.Message) {
			if r := running.Load(); r != nil {
				r.Step(m)
			}
		},
		OnUnreachable: func(id raft.ID) {
			if r := running.Load(); r != nil {
				r.Unreachable(id)
			}
		},
		Now:       n.config.Clock,
		OnClock:   func(peer raft.ID, clock int64) { n.clocks.hear(peer, clock, time.Now()) },
		OnSession: n.serveSession, OnJoin: n.serveJoin, OnKey: n.takeKey, OnSnapshot: n.snapshots.receive,
	})
	if err != nil {
		return errors.Join(fmt.Errorf("opening the endpoint: %w", err), log.Close(), conn.Close())
	}
	n.replica, err = replica.Open(replica.Config{
		ID: n.self.Node, Seed: rand.Uint64(), WAL: log, Recovered: recovered, Machine: n.engine, Transport: n.endpoint,
		Snapshots:       &n.snapshots,
		ElectionTimeout: n.config.ElectionTimeout, Logger: n.log,
		Limits: replica.Limits{KeepLogBytes: n.config.LogKeepBytes, MaxLogBytes: n.config.LogMaxBytes, KeepLogTime: n.config.LogKeepTime},
	})
	if err != nil {
		return errors.Join(fmt.Errorf("starting the replica: %w", err), log.Close())
	}
	n.wal = log
	running.Store(n.replica)
	return nil
}

// enter counts a session in, or returns ok=false when the node closes. The context ends with the node or by cancel;
// leave counts the session out again.
func (n *Node) enter(parent context.Context) (ctx context.Context, cancel context.CancelFunc, leave func(), ok bool) {
	n.entering.Lock()
	defer n.entering.Unlock()
	if n.closed {
		return nil, nil, nil, false
	}
	n.group.Add(1)
	ctx, end := context.WithCancelCause(parent)
	unhook := context.AfterFunc(n.ctx, func() { end(errClosing) })
	return ctx, func() { end(nil) }, func() { unhook(); end(nil); n.group.Done() }, true
}

// ID returns the node's id.
func (n *Node) ID() raft.ID { return n.self.Node }

// Name returns what people call the node.
func (n *Node) Name() string { return n.self.Name }

// Address returns host:port as advertised.
func (n *Node) Address() string { return n.address }

// Cluster returns the cluster's id.
func (n *Node) Cluster() [16]byte { return n.cluster }

// Done is closed when the node has stopped: by itself, then Err says why, or because it was closed.
func (n *Node) Done() <-chan struct{} { return n.replica.Done() }

// Err returns why the node stopped by itself, or nil. Such a node still has to be closed.
func (n *Node) Err() error {
	if err := n.replica.Err(); !errors.Is(err, replica.ErrClosed) {
		return err
	}
	return nil
}

// Close hands leadership over if it has it and another voter can take it (bounded by ctx), ends all sessions, stops
// every goroutine and gives the directory back. What was acknowledged is durable either way. A second Close waits for the
// first and returns the same.
func (n *Node) Close(ctx context.Context) error {
	return n.close(func() { n.handOver(ctx) })
}

// Abort closes the node without handing leadership over, for tests of what a crash does to the others.
func (n *Node) Abort(context.Context) error { return n.close(func() {}) }

func (n *Node) close(before func()) error {
	n.closing.Do(func() {
		n.entering.Lock()
		n.closed = true
		n.entering.Unlock()
		before()
		n.cancel(errClosing)
		n.closeErr = n.closeParts()
		n.log.Info("node is down", "node", n.self.Node)
	})
	return n.closeErr
}

// handOverWait is how long a node that closes waits for the end of a transaction.
const handOverWait = 2 * time.Second

// handOver transfers leadership. That it does not work is no failure of Close: the others elect a leader.
func (n *Node) handOver(ctx context.Context) {
	status := n.replica.Status()
	if status.Role != raft.Leader || len(status.Configuration.Voters) < 2 {
		return
	}
	// A transaction that is open may end first, if it does so soon.
	quiet, cancel := context.WithTimeout(ctx, handOverWait)
	release, failed := n.quiesce(quiet)
	cancel()
	if failed == nil {
		defer release()
	}
	if err := n.replica.Transfer(ctx, 0); err != nil {
		n.log.Info("leadership was not handed over before closing", "node", n.self.Node, "err", err)
	}
}

// closeParts stops what was started, from the outside in.
func (n *Node) closeParts() error {
	var errs []error
	if n.endpoint != nil {
		errs = append(errs, n.endpoint.Close())
	}
	n.group.Wait()
	if n.replica != nil {
		errs = append(errs, n.replica.Close())
	}
	if n.engine != nil {
		errs = append(errs, n.engine.Close())
	}
	errs = append(errs, n.dir.Close())
	return errors.Join(errs...)
}
