package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/replica"
)

// clientTimeout is how long a client waits for an answer before it goes on. What it asked for stays open.
const clientTimeout = time.Second

// client does one operation after the other, each once: an operation without an answer is never sent again, so that
// nothing but the log can double it.
type client struct {
	world  *World
	id     int
	chance *rand.Rand
	// attempt numbers operations: an answer to an earlier one does not begin the next.
	attempt int
	// written counts the writes that were acknowledged.
	written int
}

// pendingRead waits until a node has applied index.
type pendingRead struct {
	index raft.Index
	key   uint8
	done  func(Content)
}

func newClient(w *World, id int) *client {
	c := &client{world: w, id: id, chance: w.chance(fmt.Sprint("client ", id))}
	c.thinkThenAct()
	return c
}

func (c *client) thinkThenAct() {
	c.attempt++
	c.world.after(exponential(c.chance, c.world.swarm.think), c.act)
}

// act begins one operation.
func (c *client) act() {
	n := c.target()
	if n == nil {
		c.thinkThenAct()
		return
	}
	key := uint8(c.chance.IntN(c.world.swarm.keys))
	// A key whose history is long enough to be checked has a successor.
	for c.world.history.Full(keyName(key)) {
		key += uint8(c.world.swarm.keys)
	}
	attempt := c.attempt
	c.world.after(clientTimeout, func() { c.next(attempt) })
	if c.chance.IntN(3) == 0 {
		c.get(n, key, attempt)
	} else {
		c.put(n, key, attempt)
	}
}

// next ends an operation, unless it has ended already.
func (c *client) next(attempt int) {
	if attempt == c.attempt {
		c.thinkThenAct()
	}
}

// target returns the node to ask: mostly the one that some node believes to lead.
func (c *client) target() *node {
	var up []*node
	for _, n := range c.world.nodes {
		if n.up && (!n.frozen() || n == c.world.limping) {
			up = append(up, n)
		}
	}
	if len(up) == 0 {
		return nil
	}
	n := up[c.chance.IntN(len(up))]
	if _, _, leader := n.handler.Role(); leader != 0 && c.chance.IntN(5) > 0 {
		if l := c.world.node(leader); l.up && (!l.frozen() || l == c.world.limping) {
			return l
		}
	}
	return n
}

func keyName(key uint8) string { return string('a' + rune(key)) }

func (c *client) put(n *node, key uint8, attempt int) {
	w := c.world
	write := command{append: c.chance.IntN(2) == 0, key: key, value: uint64(c.id)<<32 | uint64(attempt)}
	var call Call
	if write.append {
		call = w.history.Append(c.id, keyName(key), write.value)
	} else {
		call = w.history.Put(c.id, keyName(key), write.value)
	}
	padding := 0
	if w.swarm.size > 0 {
		padding = c.chance.IntN(w.swarm.size)
	}
	n.propose(&replica.Proposal{Data: write.encode(padding), Done: func(a replica.Applied, err error) {
		switch {
		case err == nil:
			c.written++
			w.history.Done(call, a.Result.(Content))
		case neverExecuted(err):
			w.history.Refused(call)
		}
		c.next(attempt)
	}})
}

// neverExecuted reports whether an error says that a proposal has had no effect and will have none.
func neverExecuted(err error) bool {
	if errors.Is(err, replica.ErrOutcomeUnknown) {
		return false
	}
	for _, certain := range []error{raft.ErrNotLeader, raft.ErrTermChanged, raft.ErrBusy, raft.ErrTransferring,
		replica.ErrDropped, replica.ErrClosed, replica.ErrTooLarge, replica.ErrNoRoom} {
		if errors.Is(err, certain) {
			return true
		}
	}
	return false
}

func (c *client) get(n *node, key uint8, attempt int) {
	w := c.world
	call := w.history.Get(c.id, keyName(key))
	n.read(&replica.ReadRound{Done: func(index raft.Index, err error) {
		if err != nil {
			w.history.Refused(call)
			c.next(attempt)
			return
		}
		n.waiting = append(n.waiting, pendingRead{index, key, func(got Content) {
			w.history.Done(call, got)
			c.next(attempt)
		}})
		w.serveReads(n)
	}})
}

// serveReads answers the reads that a node has applied enough for.
func (w *World) serveReads(n *node) {
	waiting := n.waiting
	n.waiting = nil
	for _, r := range waiting {
		if n.applier.Applied() >= r.index {
			r.done(n.machine.content[r.key])
		} else {
			n.waiting = append(n.waiting, r)
		}
	}
}
