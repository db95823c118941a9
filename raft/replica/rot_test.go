package replica_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/replica"
	"github.com/rsqld/rsqld/raft/wal"
)

// startForgetful starts a member that keeps next to nothing of its log in memory, with a bit of a command flipped after it
// has opened the log.
func (c *cluster) startForgetful(id raft.ID, rotten int) *member {
	c.Helper()
	m := c.members[id]
	m.incarnation++
	o := c.options(m)
	o.CacheBytes = 1
	log, recovered, err := wal.Open(o)
	if err != nil {
		c.Fatal(err)
	}
	if rotten > 0 {
		b := c.log(m)
		b[bytes.Index(b, numbered(rotten))+30] ^= 1
	}
	config := replica.Config{
		ID: id, Seed: uint64(id)<<32 | m.incarnation, WAL: log, Recovered: recovered, Limits: replica.Limits{MaxTailBytes: 1},
		Machine: m.machine, Transport: wire{c.network, id}, Logger: m.logs.logger(),
	}
	if m.Replica, err = replica.Open(config); err != nil {
		c.Fatal(err)
	}
	c.network.mu.Lock()
	c.network.attached[id] = m.Replica
	c.network.mu.Unlock()
	return m
}

// full reports whether a member has applied the first n commands, in order.
func full(m *member, n int) bool {
	got := slices.DeleteFunc(m.machine.content(), func(s string) bool { return !bytes.HasPrefix([]byte(s), []byte("command ")) })
	for i := 1; i <= n; i++ {
		if len(got) < n || got[i-1] != string(numbered(i)) {
			return false
		}
	}
	return true
}

// TestRotBeforeApply proves: an entry that rots before it is applied is not applied. The node says so, does not lead, and
// has it back from the others after a restart.
func TestRotBeforeApply(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		for i := 1; i <= 60; i++ {
			c.write(string(numbered(i)))
		}
		c.eventually("all to have all", func() bool { return full(c.members[1], 60) && full(c.members[2], 60) && full(c.members[3], 60) })
		c.pass(T)
		for _, m := range c.members {
			c.stop(m)
		}
		c.members[1].machine.forget()
		m := c.startForgetful(1, 40)
		c.start(2)
		c.start(3)
		c.eventually("node 1 to stop applying", func() bool { return errors.As(m.ApplyErr(), new(*wal.CorruptionError)) })
		c.eventually("another leader", func() bool { return m.Status().Role != raft.Leader && !m.Status().Fit })
		c.write(string(numbered(61)), 2, 3)
		if full(m, 40) {
			t.Error("the rotten entry was applied")
		}
		c.pass(T)
		c.stop(m)
		if got := c.startDamaged(m); got != "given back" {
			t.Fatalf("the log is %s", got)
		}
		c.eventually("node 1 to have all", func() bool { return full(m, 61) })
	})
}

// TestRotBeforeSend proves: an entry that rots is not sent to a peer that lacks it. The leader says so and goes on; the
// peer has it from the next leader.
func TestRotBeforeSend(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		c.leader()
		c.network.isolate(3)
		for i := 1; i <= 60; i++ {
			c.write(string(numbered(i)), 1, 2)
		}
		c.eventually("two to have all", func() bool { return full(c.members[1], 60) && full(c.members[2], 60) })
		c.pass(T)
		c.stop(c.members[1])
		m := c.startForgetful(1, 40)
		c.leader(1, 2)
		if err := c.members[2].Transfer(within(t, 100*T), 1); err != nil && !errors.Is(err, raft.ErrNotLeader) {
			t.Fatal(err)
		}
		c.eventually("node 1 to lead", func() bool { return m.Status().Role == raft.Leader })
		c.network.isolate()
		c.eventually("node 1 to say so", func() bool { return strings.Contains(m.logs.String(), "cannot read entries for a peer") })
		c.propose(m, string(numbered(61)))
		if full(c.members[3], 40) {
			t.Error("the rotten entry came to node 3")
		}
		if err := m.Transfer(within(t, 100*T), 2); err != nil {
			t.Fatal(err)
		}
		c.eventually("node 3 to have all", func() bool { return full(c.members[3], 61) })
	})
}
