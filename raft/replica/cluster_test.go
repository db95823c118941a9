package replica_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/replica"
	"github.com/rsqld/rsqld/raft/wal"
)

// T is the election timeout of the clusters here, which all run in the virtual time of a synctest bubble.
const T = replica.DefaultElectionTimeout

// cluster is a set of replicas in one process.
type cluster struct {
	*testing.T
	network *network
	members map[raft.ID]*member
}

// member is one replica and what outlives it.
type member struct {
	*replica.Replica
	id          raft.ID
	disk        *files
	machine     *machine
	logs        *records
	incarnation uint64
}

// network carries messages at once, or not at all.
type network struct {
	mu       sync.Mutex
	attached map[raft.ID]*replica.Replica
	cut      map[[2]raft.ID]bool
	// appends counts the messages that carried entries.
	appends int
}

// wire is one member's way into the network.
type wire struct {
	*network
	from raft.ID
}

func (w wire) Send(m raft.Message) {
	to := m.Header().To
	w.mu.Lock()
	target, cut := w.attached[to], w.cut[[2]raft.ID{w.from, to}]
	if a, ok := m.(raft.Append); ok && len(a.Entries) > 0 {
		w.appends++
	}
	w.mu.Unlock()
	if target != nil && !cut {
		target.Step(m)
	}
}

// takeAppends returns how many messages carried entries since the last call.
func (n *network) takeAppends() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	appends := n.appends
	n.appends = 0
	return appends
}

// isolate cuts all links between the nodes of group and the others, in both directions. No group: everything is healed.
func (n *network) isolate(group ...raft.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	for a := range n.attached {
		for b := range n.attached {
			if slices.Contains(group, a) != slices.Contains(group, b) {
				n.cut[[2]raft.ID{a, b}] = true
			}
		}
	}
}

// testCluster runs body in a bubble with a cluster of the given voters, which have founded their logs alike.
func testCluster(t *testing.T, voters int, body func(t *testing.T, c *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		c := &cluster{
			T:       t,
			network: &network{attached: make(map[raft.ID]*replica.Replica), cut: make(map[[2]raft.ID]bool)},
			members: make(map[raft.ID]*member),
		}
		var ids []raft.ID
		for id := range raft.ID(voters) {
			ids = append(ids, id+1)
		}
		for _, id := range ids {
			c.found(id, ids)
		}
		for _, id := range ids {
			c.start(id)
		}
		// Before the bubble ends, also when a test gives up.
		defer func() {
			for _, m := range c.members {
				m.disk.resume()
				m.machine.unblock()
				c.stop(m)
			}
		}()
		body(t, c)
	})
}

func (c *cluster) options(m *member) wal.Options {
	return wal.Options{Files: m.disk, Dir: "wal", Cluster: [16]byte{1}, Node: m.id, SegmentSize: 1 << 20, Seed: m.incarnation + 1}
}

// found makes the log of a new member. One with voters begins with their configuration, as the first node of a cluster
// does; one without has joined and knows nothing.
func (c *cluster) found(id raft.ID, voters []raft.ID) *member {
	c.Helper()
	m := &member{id: id, disk: newFiles(), machine: &machine{}, logs: &records{}}
	c.members[id] = m
	log, err := wal.Create(c.options(m))
	if err != nil {
		c.Fatal(err)
	}
	if len(voters) > 0 {
		if err := log.Append(foundingWrite(voters)); err != nil {
			c.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		c.Fatal(err)
	}
	return m
}

// foundingWrite is the first record of a cluster's log.
func foundingWrite(voters []raft.ID) *raft.Write {
	data, _ := raft.Configuration{Voters: voters}.AppendBinary(nil)
	return &raft.Write{
		Seq:       1,
		HardState: raft.HardState{Term: 1},
		Entries:   []raft.Entry{{ID: raft.EntryID{Term: 1, Index: 1}, Kind: raft.EntryConfiguration, Data: data}},
	}
}

// start runs a member on what its disk and its machine hold.
func (c *cluster) start(id raft.ID, change ...func(*replica.Config)) *member {
	c.Helper()
	m := c.members[id]
	m.incarnation++
	log, recovered, err := wal.Open(c.options(m))
	if err != nil {
		c.Fatal(err)
	}
	config := replica.Config{
		ID: id, Seed: uint64(id)<<32 | m.incarnation, WAL: log, Recovered: recovered,
		Machine: m.machine, Transport: wire{c.network, id}, Logger: m.logs.logger(),
	}
	for _, f := range change {
		f(&config)
	}
	if m.Replica, err = replica.Open(config); err != nil {
		c.Fatal(err)
	}
	c.network.mu.Lock()
	c.network.attached[id] = m.Replica
	c.network.mu.Unlock()
	return m
}

// stop closes a member. What it leaves is what a kill would leave, but for the marker.
func (c *cluster) stop(m *member) {
	if m.Replica == nil {
		return
	}
	c.network.mu.Lock()
	delete(c.network.attached, m.id)
	c.network.mu.Unlock()
	if err := m.Close(); err != nil && m.disk.failing == nil {
		c.Errorf("closing %d: %v", m.id, err)
	}
	m.Replica = nil
}

// eventually waits, in virtual time, until ok is true.
func (c *cluster) eventually(what string, ok func() bool) {
	c.Helper()
	deadline := time.After(time.Minute)
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !ok() {
		select {
		case <-poll.C:
		case <-deadline:
			for _, m := range c.members {
				if m.Replica != nil {
					c.Logf("%d: %+v", m.id, m.Status())
				}
			}
			c.Fatalf("not within a minute: %s", what)
		}
	}
}

// pass lets virtual time go by.
func (c *cluster) pass(d time.Duration) { <-time.After(d) }

// leader waits until one of the members (all, if none is given) leads and the others know it.
func (c *cluster) leader(among ...raft.ID) *member {
	c.Helper()
	if len(among) == 0 {
		for id, m := range c.members {
			if m.Replica != nil {
				among = append(among, id)
			}
		}
	}
	var leader *member
	c.eventually("a leader that all know", func() bool {
		id, term, _ := c.members[among[0]].Leader()
		for _, other := range among {
			if i, t, _ := c.members[other].Leader(); i != id || t != term {
				return false
			}
		}
		leader = c.members[id]
		return leader != nil && slices.Contains(among, id)
	})
	return leader
}

// others are the running members but m, by id.
func (c *cluster) others(m *member) []*member {
	var others []*member
	for _, other := range c.members {
		if other != m && other.Replica != nil {
			others = append(others, other)
		}
	}
	slices.SortFunc(others, func(a, b *member) int { return int(a.id) - int(b.id) })
	return others
}

// propose is a proposal that has to succeed.
func (c *cluster) propose(m *member, command string) replica.Applied {
	c.Helper()
	applied, err := m.Propose(within(c, 10*time.Second), 0, []byte(command))
	if err != nil {
		c.Fatalf("proposing %q: %v", command, err)
	}
	if got := applied.Result.(receipt).command; got != command {
		c.Fatalf("proposed %q, got the result of %q", command, got)
	}
	return applied
}

// write proposes to whoever leads until one says that it is applied.
func (c *cluster) write(command string, among ...raft.ID) replica.Applied {
	c.Helper()
	for range 100 {
		applied, err := c.leader(among...).Propose(within(c, 10*time.Second), 0, []byte(command))
		if err == nil {
			return applied
		}
		if !errors.Is(err, raft.ErrNotLeader) && !errors.Is(err, raft.ErrTransferring) {
			c.Fatalf("proposing %q: %v", command, err)
		}
		c.pass(T / 10)
	}
	c.Fatalf("nobody took %q", command)
	return replica.Applied{}
}

// converged waits until all running members have applied the same commands, and returns them.
func (c *cluster) converged() []string {
	c.Helper()
	var content []string
	c.eventually("all members have applied the same", func() bool {
		applied := raft.Index(0)
		for _, m := range c.members {
			if m.Replica == nil {
				continue
			}
			status := m.Status()
			if applied == 0 {
				applied, content = m.Applied(), m.machine.content()
			}
			if status.Last.Index != m.Applied() || m.Applied() != applied {
				return false
			}
		}
		return true
	})
	for _, m := range c.members {
		if got := m.machine.content(); m.Replica != nil && !slices.Equal(got, content) {
			c.Fatalf("%d holds %q, another one %q", m.id, got, content)
		}
	}
	return content
}

// within returns a context that ends after d of virtual time.
func within(t interface {
	Context() context.Context
	Cleanup(func())
}, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func command(i int) string { return fmt.Sprintf("command %d", i) }
