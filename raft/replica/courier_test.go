package replica_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/replica"
)

// vault is a machine that has snapshots.
type vault struct {
	*machine
	// restored counts the snapshots that were installed; refuse, if not nil, is what Restore answers.
	restored int
	refuse   error
	// poisoned says that a snapshot ends the failure.
	poisoned bool
}

type reading struct {
	*bytes.Reader
	meta raft.SnapshotMeta
}

func (r reading) Meta() raft.SnapshotMeta { return r.meta }
func (r reading) Close() error            { return nil }

func (v *vault) Snapshot() (raft.SnapshotReader, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	b, err := json.Marshal(v.commands)
	return reading{bytes.NewReader(b), raft.SnapshotMeta{Base: v.base, Size: int64(len(b))}}, err
}

func (v *vault) Restore(meta raft.SnapshotMeta, content io.ReaderAt) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.refuse != nil {
		return v.refuse
	}
	var commands []string
	if err := json.NewDecoder(io.NewSectionReader(content, 0, meta.Size)).Decode(&commands); err != nil {
		return err
	}
	v.base, v.commands = meta.Base, commands
	v.restored++
	if v.poisoned {
		v.failing, v.poisoned = nil, false
	}
	return nil
}

// poison makes the machine fail until a snapshot replaces it.
func (v *vault) poison(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.failing, v.poisoned = err, true
}

func (v *vault) Durable() (raft.Base, error) { return v.Base() }

func (v *vault) installed() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.restored
}

// SendSnapshot implements replica.SnapshotTransport.
func (w wire) SendSnapshot(_ context.Context, to raft.ID, snapshot raft.SnapshotReader) error {
	w.mu.Lock()
	target, cut := w.attached[to], w.cut[[2]raft.ID{w.from, to}]
	w.mu.Unlock()
	if target == nil || cut {
		return errors.New("no way")
	}
	if err := target.InstallSnapshot(snapshot.Meta(), snapshot); !errors.Is(err, raft.ErrStale) {
		return err
	}
	return nil
}

// withVault gives a member snapshots, and a log of which little is kept.
func (c *cluster) withVault(id raft.ID) *vault {
	m := c.members[id]
	v := &vault{machine: m.machine}
	if m.Replica != nil {
		c.stop(m)
	}
	c.start(id, func(config *replica.Config) {
		config.Machine, config.Snapshots = v, wire{c.network, id}
		config.Limits.KeepLogBytes, config.Limits.MaxLogBytes = 1, 4<<20
	})
	return v
}

// bulky is a command of which ten fill a segment.
func bulky(i int) string { return fmt.Sprint(command(i), strings.Repeat(" ", 100<<10)) }

// A member that was away for longer than the log reaches back gets a snapshot, and goes on from there by the log. So does a
// new one. Nobody's log is longer than what was asked for.
func TestSnapshotTakesTheWayOfALongLog(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		vaults := map[raft.ID]*vault{}
		for id := range raft.ID(3) {
			vaults[id+1] = c.withVault(id + 1)
		}
		leader := c.leader()
		away := c.others(leader)[0]
		c.write(command(0))
		match := away.Status().Last.Index
		c.network.isolate(away.id)
		for i := range 60 {
			c.propose(c.leader(leader.id), bulky(i))
		}
		c.eventually("the leader has dropped what the one away lacks", func() bool { return leader.Status().First > match+1 })
		c.network.isolate()
		content := c.converged()
		if len(content) != 61 || vaults[away.id].installed() != 1 {
			t.Errorf("%d commands, %d snapshots installed", len(content), vaults[away.id].installed())
		}
		c.write(bulky(60))
		c.converged()
		if n := vaults[away.id].installed(); n != 1 {
			t.Errorf("%d snapshots for one absence", n)
		}

		c.found(4, nil)
		vaults[4] = c.withVault(4)
		if err := c.leader(leader.id).Change(within(t, T*100), raft.Membership{AddLearners: []raft.ID{4}}); err != nil {
			t.Fatal(err)
		}
		c.converged()
		if vaults[4].installed() != 1 {
			t.Error("the new member was not given a snapshot")
		}
		for id, m := range c.members {
			if held := m.Status().Last.Index - m.Status().First + 1; held > 45 {
				t.Errorf("%d still holds %d entries", id, held)
			}
		}
	})
}

// A peer that answers is waited for before entries go that it needs, but not beyond the limit.
func TestLogWaitsForThoseThatAnswer(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		for id := range raft.ID(3) {
			c.withVault(id + 1)
		}
		c.write(command(0))
		c.converged()
		leader := c.leader()
		slow := c.others(leader)[0]
		slow.disk.stall()
		first := slow.Status().Last.Index + 1
		for i := range 30 {
			c.propose(leader, bulky(i))
		}
		c.pass(T * 20)
		if got := leader.Status().First; got > first {
			t.Errorf("the log begins at %d, and %d is not acknowledged by one that answers", got, first)
		}
		for i := range 50 {
			c.propose(leader, bulky(i))
		}
		c.eventually("the limit is kept", func() bool { return leader.Status().First > first })
		slow.disk.resume()
		c.converged()
	})
}

// A crash after the state machine was replaced and before the log's record of it leaves a machine ahead of its log, which
// then begins anew after the machine.
func TestOpenAfterCrashInInstallation(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		for id := range raft.ID(3) {
			c.withVault(id + 1)
		}
		leader := c.leader()
		away := c.others(leader)[0]
		c.stop(away)
		for i := range 60 {
			c.propose(c.leader(leader.id), bulky(i))
		}
		content := &vault{machine: leader.machine}
		snapshot, err := content.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		if err := (&vault{machine: away.machine}).Restore(snapshot.Meta(), snapshot); err != nil {
			t.Fatal(err)
		}
		v := c.withVault(away.id)
		c.write(command(60))
		if got := c.converged(); len(got) != 61 || v.installed() != 0 {
			t.Errorf("%d commands, %d further snapshots", len(got), v.installed())
		}
		c.stop(away)
		c.withVault(away.id)
		c.converged()
	})
}

// A snapshot that cannot be installed is tried again, and no node stops for it.
func TestSnapshotRefusedByTheMachine(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		vaults := map[raft.ID]*vault{}
		for id := range raft.ID(3) {
			vaults[id+1] = c.withVault(id + 1)
		}
		leader := c.leader()
		away := c.others(leader)[0]
		vaults[away.id].refuse = errDiskFull
		c.network.isolate(away.id)
		for i := range 60 {
			c.propose(c.leader(leader.id), bulky(i))
		}
		c.eventually("the log is short", func() bool { return leader.Status().First > 10 })
		c.network.isolate()
		c.eventually("the failure is noticed", func() bool { return strings.Contains(away.logs.String(), "cannot install a snapshot") })
		vaults[away.id].mu.Lock()
		vaults[away.id].refuse = nil
		vaults[away.id].mu.Unlock()
		if got := c.converged(); len(got) != 60 {
			t.Errorf("%d commands", len(got))
		}
	})
}

// A machine that cannot apply the next entry is replaced by a snapshot, although the log leads on from it, and by no
// snapshot while it needs none; what the log holds behind the snapshot is applied.
func TestSnapshotReplacesAMachineThatCannotGoOn(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		vaults := map[raft.ID]*vault{}
		for id := range raft.ID(3) {
			vaults[id+1] = c.withVault(id + 1)
		}
		leader := c.leader()
		sick := c.others(leader)[0]
		c.write(command(0))
		c.converged()
		vaults[sick.id].fail(errDiskFull)
		for i := range 5 {
			c.propose(leader, command(i+1))
		}
		c.eventually("it stops applying", func() bool { return sick.ApplyErr() != nil })
		snapshot, err := vaults[leader.id].Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			c.propose(leader, command(i+6))
		}
		c.eventually("the entries are committed there", func() bool { return sick.Status().Commit >= snapshot.Meta().Applied.Index })
		if err := sick.InstallSnapshot(snapshot.Meta(), snapshot); !errors.Is(err, raft.ErrStale) {
			t.Errorf("a snapshot that nobody needs: %v", err)
		}
		sick.NeedSnapshot(true)
		vaults[sick.id].fail(nil)
		// Between the two the machine may have begun to work again, and be ahead.
		if err := sick.InstallSnapshot(snapshot.Meta(), snapshot); err != nil && !errors.Is(err, raft.ErrStale) {
			t.Errorf("the snapshot is not installed: %v", err)
		}
		if got := c.converged(); len(got) != 11 {
			t.Errorf("%d commands", len(got))
		}
		vaults[sick.id].poison(errDiskFull)
		c.propose(leader, command(11))
		c.eventually("it stops again", func() bool { return sick.ApplyErr() != nil })
		for i := range 3 {
			c.propose(leader, command(i+12))
		}
		if snapshot, err = vaults[leader.id].Snapshot(); err != nil {
			t.Fatal(err)
		}
		c.propose(leader, command(15))
		sick.NeedSnapshot(true)
		if err := sick.InstallSnapshot(snapshot.Meta(), snapshot); err != nil {
			t.Errorf("the snapshot is not installed: %v", err)
		}
		if got := c.converged(); len(got) != 16 || vaults[sick.id].installed() == 0 {
			t.Errorf("%d commands, %d snapshots", len(got), vaults[sick.id].installed())
		}
	})
}
