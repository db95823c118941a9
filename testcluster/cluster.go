package testcluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/raft"
)

// Config describes a cluster in one process.
type Config struct {
	// Nodes is how many nodes vote, Learners how many more only learn.
	Nodes, Learners int
	// Dir holds a data directory per node: n1, n2 … It is the caller's to remove.
	Dir string
	// Seed is of the network's chances.
	Seed uint64
	// ElectionTimeout is that of every node; zero: the default.
	ElectionTimeout time.Duration
	// LogSegmentBytes, LogKeepBytes and LogMaxBytes are those of every node (db.Config); zero: the defaults.
	LogSegmentBytes, LogKeepBytes, LogMaxBytes int64
	// Logger gets the nodes' state changes, each with the attribute "name". Nil: nothing is logged.
	Logger *slog.Logger
}

// Cluster is a whole cluster in this process: real nodes with real data directories and real QUIC over loopback, and a
// network between them that can be cut. Nodes are numbered from 1; node 1 founded the cluster, learners come last.
type Cluster struct {
	config  Config
	network *Network

	mu      sync.Mutex // guards members' nodes; not held while a node opens or closes
	members []*member
}

// member is one node and what it needs to be started again.
type member struct {
	config db.Config
	node   *db.Node // nil while it is down
	disk   *Disk
	// clock is by how much the node's clock differs from this machine's, in nanoseconds.
	clock atomic.Int64
}

// ErrDown says that a node is not running.
var ErrDown = errors.New("the node is down")

// Start founds a cluster and returns when all its nodes are members and all that shall vote do.
func Start(ctx context.Context, config Config) (*Cluster, error) {
	if config.Nodes < 1 {
		return nil, errors.New("a cluster needs a node")
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Cluster{config: config, network: NewNetwork(config.Seed)}
	for i := 1; i <= config.Nodes+config.Learners; i++ {
		if err := c.add(ctx, i, i > config.Nodes, 1); err != nil {
			return nil, errors.Join(fmt.Errorf("starting node %d: %w", i, err), c.Close())
		}
	}
	if err := c.awaitVoters(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Add starts one more node, which joins through one that runs, and returns its number. It is a member when Add returns, and
// votes some time later, unless it is a learner. After an error it is a node that is down: Restart tries again.
func (c *Cluster) Add(ctx context.Context, learner bool) (i int, err error) {
	through := 0
	for at := range c.Size() {
		if c.Node(at+1) != nil {
			through = at + 1
			break
		}
	}
	if through == 0 {
		return 0, fmt.Errorf("adding a node: no other is running: %w", ErrDown)
	}
	i = c.Size() + 1
	if err := c.add(ctx, i, learner, through); err != nil {
		return i, fmt.Errorf("adding node %d: %w", i, err)
	}
	return i, nil
}

// add starts the i-th node for the first time.
func (c *Cluster) add(ctx context.Context, i int, learner bool, through int) error {
	name := fmt.Sprintf("n%d", i)
	config := db.Config{
		Data: filepath.Join(c.config.Dir, name), Name: name, ElectionTimeout: c.config.ElectionTimeout,
		Logger: c.config.Logger.With("name", name), Learner: learner,
		LogSegmentBytes: c.config.LogSegmentBytes, LogKeepBytes: c.config.LogKeepBytes, LogMaxBytes: c.config.LogMaxBytes,
	}
	if i > 1 {
		config.Join = []string{c.Address(through)}
		config.Token = "@" + filepath.Join(c.config.Dir, "n1", "join-token")
	}
	m := &member{disk: newDisk()}
	config.LogFiles = m.disk
	config.Clock = func() time.Time { return time.Now().Add(time.Duration(m.clock.Load())) }
	m.config = config
	c.mu.Lock()
	c.members = append(c.members, m)
	c.mu.Unlock()
	return c.open(ctx, i)
}

// open starts the i-th node on a packet connection of the network.
func (c *Cluster) open(ctx context.Context, i int) error {
	conn, err := c.network.PacketConn(i)
	if err != nil {
		return err
	}
	m := c.member(i)
	m.config.PacketConn = conn
	node, err := db.Open(ctx, m.config)
	if err != nil {
		return err
	}
	c.mu.Lock()
	m.node = node
	c.mu.Unlock()
	return nil
}

func (c *Cluster) member(i int) *member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.members[i-1]
}

// awaitVoters waits until the first node knows of all voters and learners.
func (c *Cluster) awaitVoters(ctx context.Context) error {
	return poll(ctx, func() error {
		configuration := c.Node(1).Status().Raft.Configuration
		if len(configuration.Voters) != c.config.Nodes || len(configuration.Learners) != c.config.Learners {
			return fmt.Errorf("waiting for %d voters and %d learners: the cluster has %v", c.config.Nodes, c.config.Learners, configuration)
		}
		return nil
	})
}

// pollInterval is how often a condition of other goroutines is looked at.
const pollInterval = 5 * time.Millisecond

// poll waits until try works, or ctx ends with try's last error.
func poll(ctx context.Context, try func() error) error {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return err
		}
	}
}

// Size returns the number of nodes, learners included.
func (c *Cluster) Size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.members)
}

// Node returns the i-th node, or nil while it is down.
func (c *Cluster) Node(i int) *db.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.members[i-1].node
}

// State is what a node says of itself.
type State struct {
	// Role is leader, follower, candidate or learner; empty: the node is down.
	Role string
	Term raft.Term
	// Voters counts the voters that it knows, Last and Applied are the newest entries that it has and has executed.
	Voters        int
	Last, Applied raft.Index
}

// State returns the state of the i-th node.
func (c *Cluster) State(i int) State {
	node := c.Node(i)
	if node == nil {
		return State{}
	}
	s := node.Status()
	return State{Role: s.Role(), Term: s.Raft.Term, Voters: len(s.Raft.Configuration.Voters),
		Last: s.Raft.Last.Index, Applied: s.Raft.Applied}
}

// Address returns where the i-th node listens, which stays the same when it is restarted.
func (c *Cluster) Address(i int) string { return c.network.Address(i) }

// Credential returns the file of the first administrator's credential.
func (c *Cluster) Credential() string { return filepath.Join(c.config.Dir, "n1", "admin.pem") }

// Leader waits until one of the nodes (all, if none is named) leads, and returns its number.
func (c *Cluster) Leader(ctx context.Context, among ...int) (leader int, err error) {
	if len(among) == 0 {
		for i := range c.Size() {
			among = append(among, i+1)
		}
	}
	err = poll(ctx, func() error {
		for _, i := range among {
			if n := c.Node(i); n != nil && n.Status().Raft.Role == raft.Leader {
				leader = i
				return nil
			}
		}
		return fmt.Errorf("none of the nodes %v leads", among)
	})
	return leader, err
}

// Kill stops a node without a word to the others, as kill -9 would: what it still says on its way out is lost.
func (c *Cluster) Kill(i int) error {
	c.network.Silence(i, true)
	return c.close(context.Background(), i, (*db.Node).Abort)
}

// Stop stops a node in good order.
func (c *Cluster) Stop(ctx context.Context, i int) error {
	return c.close(ctx, i, (*db.Node).Close)
}

func (c *Cluster) close(ctx context.Context, i int, stop func(*db.Node, context.Context) error) error {
	if i < 1 || i > c.Size() {
		return fmt.Errorf("there is no node %d: the nodes are 1 to %d", i, c.Size())
	}
	c.mu.Lock()
	m := c.members[i-1]
	node := m.node
	m.node = nil
	c.mu.Unlock()
	m.disk.Resume() // a node cannot be closed while it waits for its disk
	if node == nil {
		return fmt.Errorf("node %d: %w", i, ErrDown)
	}
	return stop(node, ctx)
}

// Restart starts a node that is down, on its directory and address.
func (c *Cluster) Restart(ctx context.Context, i int) error {
	if i < 1 || i > c.Size() {
		return fmt.Errorf("there is no node %d: the nodes are 1 to %d", i, c.Size())
	}
	if c.Node(i) != nil {
		return fmt.Errorf("node %d is running", i)
	}
	c.network.Silence(i, false)
	return c.open(ctx, i)
}

// Partition cuts the cluster into groups that do not hear each other; nodes that no group names are alone.
func (c *Cluster) Partition(groups ...[]int) error {
	group := make(map[int]int)
	for g, members := range groups {
		for _, i := range members {
			if i < 1 || i > c.Size() {
				return fmt.Errorf("there is no node %d: the nodes are 1 to %d", i, c.Size())
			}
			if _, twice := group[i]; twice {
				return fmt.Errorf("node %d is in two groups", i)
			}
			group[i] = g + 1
		}
	}
	for a := 1; a <= c.Size(); a++ {
		for b := 1; b <= c.Size(); b++ {
			if a != b {
				c.network.Cut(a, b, group[a] == 0 || group[a] != group[b])
			}
		}
	}
	return nil
}

// Cut loses every packet that one node sends to another, and not those that come back, until it is called with false, or Heal.
func (c *Cluster) Cut(from, to int, cut bool) error {
	if size := c.Size(); from < 1 || from > size || to < 1 || to > size {
		return fmt.Errorf("there is no way from node %d to node %d: the nodes are 1 to %d", from, to, size)
	}
	c.network.Cut(from, to, cut)
	return nil
}

// Heal ends all cuts, losses and delays. Nodes that are down stay so.
func (c *Cluster) Heal() { c.network.Heal() }

// Slow delays everything that a node sends to the others.
func (c *Cluster) Slow(i int, delay time.Duration) error {
	if i < 1 || i > c.Size() {
		return fmt.Errorf("there is no node %d: the nodes are 1 to %d", i, c.Size())
	}
	c.network.Slow(i, delay)
	return nil
}

// Disk returns the disk that the i-th node's log is on.
func (c *Cluster) Disk(i int) *Disk { return c.member(i).disk }

// SetClock sets a node's wall clock to this machine's and ahead of it.
func (c *Cluster) SetClock(i int, ahead time.Duration) error {
	if i < 1 || i > c.Size() {
		return fmt.Errorf("there is no node %d: the nodes are 1 to %d", i, c.Size())
	}
	c.member(i).clock.Store(int64(ahead))
	return nil
}

// Close stops all nodes, in good order where they have a quorum, and the network.
func (c *Cluster) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	c.Heal()
	var errs []error
	for i := len(c.members); i >= 1; i-- {
		if err := c.close(ctx, i, (*db.Node).Abort); err != nil && !errors.Is(err, ErrDown) {
			errs = append(errs, fmt.Errorf("closing node %d: %w", i, err))
		}
	}
	return errors.Join(append(errs, c.network.Close())...)
}

// closeTimeout bounds how long Close waits for hand-overs.
const closeTimeout = 5 * time.Second
