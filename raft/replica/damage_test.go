package replica_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

// acknowledged is how many commands a cluster of these tests has acknowledged, hurt the one whose record is damaged.
const acknowledged, hurt = 1000, 500

// firstRecord is the offset of the first record in a segment.
const firstRecord = 4096

// harm damages a log. at is the offset of the record with the command, which has length bytes.
type harm func(log []byte, at, length int)

// harms are the ways in which the log of one node is damaged.
var harms = []struct {
	name string
	harm harm
	// behind and ahead say what a node does whose state machine has not applied the command, or has; alone is behind on
	// the only voter.
	behind, ahead, alone string
}{
	{"bit flip", func(log []byte, at, length int) { log[at+length-9] ^= 4 }, "given back", "needs nobody", "refused"},
	{"16 zeroed bytes", func(log []byte, at, length int) { clear(log[at+length-24:][:16]) },
		"given back", "needs nobody", "refused"},
	{"zeroed sector", func(log []byte, at, _ int) { clear(log[at/512*512:][:512]) },
		"given back", "needs nobody", "refused"},
	{"lost write", func(log []byte, at, length int) { clear(log[at:][:length]) }, "given back", "needs nobody", "refused"},
	{"stale record", func(log []byte, at, length int) { copy(log[at:][:length], log[firstRecord:]) },
		"given back", "needs nobody", "refused"},
	{"newest record", func(log []byte, _, length int) { clear(log[bytes.Index(log, numbered(acknowledged))+10:][:8]) },
		"given back", "needs nobody", "refused"},
	{"torn write", func(log []byte, _, _ int) { clear(log[bytes.Index(log, []byte("never acknowledged"))+10:][:8]) },
		"cut", "cut", "cut"},
	{"lost header", func(log []byte, _, _ int) { clear(log[:512]) }, "refused", "refused", "refused"},
}

// numbered is the i-th one. All are equally long.
func numbered(i int) []byte {
	return fmt.Appendf(nil, "command %04d of the log that is to be damaged", i)
}

// age lets a cluster acknowledge all commands, and stops it. Node 1 has a write under way then that nobody was told of.
func age(c *cluster) {
	for i := 1; i <= acknowledged; i++ {
		c.write(string(numbered(i)))
	}
	c.eventually("all nodes to have everything", func() bool {
		for _, m := range c.members {
			if len(m.machine.content()) != acknowledged {
				return false
			}
		}
		return true
	})
	c.pass(T) // markers
	for _, m := range c.members {
		c.stop(m)
	}
	m := c.members[1]
	log, recovered, err := wal.Open(c.options(m))
	if err != nil {
		c.Fatal(err)
	}
	last := recovered.Log.Last
	next := raft.Entry{ID: raft.EntryID{Term: last.Term, Index: last.Index + 1}, Data: []byte("never acknowledged, and torn")}
	err = log.Append(&raft.Write{HardState: recovered.HardState, Entries: []raft.Entry{next}})
	if err := errors.Join(err, log.Close()); err != nil {
		c.Fatal(err)
	}
}

// log returns the bytes of the only segment of a node that is stopped.
func (c *cluster) log(m *member) []byte {
	c.Helper()
	var found []byte
	for name, content := range m.disk.named {
		if strings.HasSuffix(name, ".wal") {
			if found != nil {
				c.Fatal("the log has two segments")
			}
			found = content.bytes
		}
	}
	return found
}

// damage applies a harm to the log of a node, at the record that holds a command.
func (c *cluster) damage(m *member, do harm, index int) {
	c.Helper()
	log := c.log(m)
	text := bytes.Index(log, numbered(index))
	if text < 0 {
		c.Fatalf("command %d is not in the log", index)
	}
	for at := firstRecord; ; {
		length := int(binary.LittleEndian.Uint32(log[at+4:]))
		if at+length > text {
			do(log, at, length)
			return
		}
		at += length
	}
}

// startDamaged starts a node as the layer above does, and says what became of its log.
func (c *cluster) startDamaged(m *member) (outcome string) {
	c.Helper()
	log, recovered, err := wal.Open(c.options(m))
	if err == nil {
		if err := log.Close(); err != nil {
			c.Fatal(err)
		}
		c.start(m.id)
		if recovered.TornBytes > 0 {
			return "cut"
		}
		return "whole"
	}
	if !errors.As(err, new(*wal.CorruptionError)) {
		c.Fatal(err)
	}
	done, err := wal.Repair(c.options(m), m.machine.base)
	switch {
	case errors.Is(err, raft.ErrLost):
		return "refused"
	case err != nil:
		c.Fatal(err)
	}
	c.start(m.id)
	if done.Lost == (raft.EntryID{}) {
		return "needs nobody"
	}
	return "given back"
}

// image is what a stopped cluster has on its disks.
type image struct {
	named    map[string][]byte
	base     raft.Base
	commands []string
}

func (c *cluster) save() map[raft.ID]image {
	images := make(map[raft.ID]image)
	for id, m := range c.members {
		i := image{named: make(map[string][]byte), base: m.machine.base, commands: slices.Clone(m.machine.commands)}
		for name, content := range m.disk.named {
			i.named[name] = slices.Clone(content.bytes)
		}
		images[id] = i
	}
	return images
}

func (c *cluster) restore(images map[raft.ID]image) {
	for id, m := range c.members {
		c.stop(m)
		i := images[id]
		m.disk, m.machine = newFiles(), &machine{base: i.base, commands: slices.Clone(i.commands)}
		for name, b := range i.named {
			m.disk.named[name] = &content{slices.Clone(b)}
		}
	}
}

// TestDamageTable proves, for a log of 1,000 acknowledged commands of which one node's copy is damaged, in clusters of one,
// three and five: what the node does, and that every acknowledged command is on every node that runs afterwards.
// docs/internals.md has the table.
func TestDamageTable(t *testing.T) {
	for _, size := range []int{1, 3, 5} {
		testCluster(t, size, func(t *testing.T, c *cluster) {
			age(c)
			images := c.save()
			for _, h := range harms {
				for _, ahead := range []bool{false, true} {
					want := h.behind
					if ahead {
						want = h.ahead
					} else if size == 1 {
						want = h.alone
					}
					c.restore(images)
					m := c.members[1]
					c.damage(m, h.harm, hurt)
					if !ahead {
						m.machine.forget()
						m.machine.base.Configuration = images[1].base.Configuration
					}
					got := c.startDamaged(m)
					if got != want {
						t.Errorf("%d nodes, %s, applied is %v: %s, want %s", size, h.name, ahead, got, want)
					}
					c.recovers(h.name)
				}
			}
		})
	}
}

// recovers starts the nodes that are not running but node 1, and waits until all that run have all that was acknowledged.
func (c *cluster) recovers(what string) {
	c.Helper()
	running := 0
	for id, m := range c.members {
		if id != 1 {
			c.start(id)
		}
		if m.Replica != nil {
			running++
		}
	}
	if running == 0 {
		return // the only node was refused
	}
	c.write(what)
	var want []string
	for i := 1; i <= acknowledged; i++ {
		want = append(want, string(numbered(i)))
	}
	c.eventually("every node to have what was acknowledged: "+what, func() bool {
		for _, m := range c.members {
			if m.Replica != nil && !slices.Contains(m.machine.content(), what) {
				return false
			}
		}
		return true
	})
	for id, m := range c.members {
		if m.Replica == nil {
			continue
		}
		got := slices.DeleteFunc(m.machine.content(), func(s string) bool { return !strings.HasPrefix(s, "command ") })
		if !slices.Equal(got, want) {
			c.Errorf("%s: node %d has %d commands, or others", what, id, len(got))
		}
	}
}

// TestDamagedQuorum proves: where a damaged node was half of the quorum that acknowledged, and the other half is down, no
// leader is elected that lacks what was acknowledged; the cluster waits for the node that has it. If the operator accepts
// the loss instead, the two elect one, and the entries are gone.
func TestDamagedQuorum(t *testing.T) {
	for _, accept := range []bool{false, true} {
		testCluster(t, 3, func(t *testing.T, c *cluster) {
			c.leader()
			c.pass(T)
			for i := 1; i <= 20; i++ {
				c.write(string(numbered(i)))
			}
			c.network.isolate(3)
			for i := 21; i <= 60; i++ {
				c.write(string(numbered(i)), 1, 2)
			}
			c.pass(T)
			for _, m := range c.members {
				c.stop(m)
			}
			c.network.isolate()
			m := c.members[1]
			m.machine.forget()
			m.machine.base.Configuration = raft.Configuration{Voters: []raft.ID{1, 2, 3}}
			c.damage(m, func(log []byte, at, _ int) { log[at+30] ^= 1 }, 40)
			if accept {
				if _, err := wal.AcceptLoss(c.options(m), m.machine.base); err != nil {
					t.Fatal(err)
				}
				c.start(1)
				c.start(3)
				c.write("after the loss")
				if got := m.machine.content(); slices.Contains(got, string(numbered(60))) {
					t.Error("what was lost is there")
				}
				return
			}
			if got := c.startDamaged(m); got != "given back" {
				t.Fatalf("the log is %s", got)
			}
			c.start(3)
			for range 50 {
				c.pass(T)
				for _, id := range []raft.ID{1, 3} {
					if s := c.members[id].Status(); s.Role == raft.Leader || s.Commit > 40+3 {
						t.Fatalf("node %d leads, or commits: %+v", id, s)
					}
				}
			}
			c.start(2)
			c.write("after the repair")
			c.eventually("all three to have all", func() bool {
				for _, m := range c.members {
					if got := m.machine.content(); len(got) != 61 || got[59] != string(numbered(60)) {
						return false
					}
				}
				return true
			})
		})
	}
}
