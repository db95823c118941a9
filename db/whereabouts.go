package db

import (
	"context"
	"sync"
	"time"

	"github.com/rsqld/rsqld/raft"
)

// The table of members says where each was when it last told the cluster. When several change their addresses while they are
// down, nobody finds anybody by it, and to change it takes a leader. So a node that knows no leader seeks members at the
// addresses of --join, and a node that misses a member tells those that it has found where it is itself and asks them whom they
// have found where. What it hears is used to dial and for nothing else; the table is changed by the node that moved, as soon as
// there is a leader. One address that everybody is given is enough.

const (
	// seekInterval is how often a node that knows no leader looks for members. With a leader it asks ever more seldom for those
	// that it misses, down to once in maxSeekInterval: they may be gone for good.
	seekInterval    = 500 * time.Millisecond
	maxSeekInterval = 8 * seekInterval
	// claimLife is how long an address counts that was heard and not heard again.
	claimLife = 10 * time.Second
	// seekPatience bounds the attempt at one address.
	seekPatience = time.Second
)

// claim is where a member says that it is.
type claim struct {
	address string
	// table is what the table of members said then: when that changes the claim is over.
	table string
	heard time.Time
}

// whereabouts are the claims that a node heard.
type whereabouts struct {
	mu     sync.Mutex // guards claims
	claims map[raft.ID]claim
}

// hear notes a claim that differs from the table.
func (w *whereabouts) hear(id raft.ID, address, table string, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if address == table {
		delete(w.claims, id)
		return
	}
	if w.claims == nil {
		w.claims = make(map[raft.ID]claim)
	}
	w.claims[id] = claim{address, table, now}
}

// of returns where a member is: where it says, or else what the table says.
func (w *whereabouts) of(id raft.ID, table string, now time.Time) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, claimed := w.claims[id]
	switch {
	case !claimed:
		return table
	case c.table != table || now.Sub(c.heard) > claimLife:
		delete(w.claims, id)
		return table
	}
	return c.address
}

// seekMembers looks for members that are missing until the node closes.
func (n *Node) seekMembers(ctx context.Context) {
	found := make([]raft.ID, len(n.config.Join)) // who listens at the addresses of --join
	rest := seekInterval
	for {
		if leader, _, _ := n.replica.Leader(); leader == 0 {
			n.seekHints(ctx, found)
			rest = seekInterval
		}
		connected, missing := n.census()
		if missing {
			n.askAround(ctx, connected)
		} else {
			rest = seekInterval
		}
		if _, ended := pause(ctx, rest, nil); ended != nil {
			return
		}
		rest = min(2*rest, maxSeekInterval)
	}
}

// seekHints connects with the nodes at the addresses of --join that are not connected, all at once, and notes who they are.
func (n *Node) seekHints(ctx context.Context, found []raft.ID) {
	ctx, cancel := context.WithTimeout(ctx, seekPatience)
	defer cancel()
	var seeking sync.WaitGroup
	for i, hint := range n.config.Join {
		if hint == n.address || found[i] != 0 && n.endpoint.Connected(found[i]) {
			continue
		}
		seeking.Go(func() {
			var err error
			if found[i], err = n.endpoint.Seek(ctx, hint); err != nil {
				n.log.Debug("found no member at an address of --join", "node", n.self.Node, "address", hint, "err", err)
			}
		})
	}
	seeking.Wait()
}

// census tells apart the members that are connected, and whether one is not.
func (n *Node) census() (connected []raft.ID, missing bool) {
	for _, m := range n.members() {
		switch {
		case m.ID == n.self.Node:
		case n.endpoint.Connected(m.ID):
			connected = append(connected, m.ID)
		default:
			missing = true
		}
	}
	return connected, missing
}

// askAround tells members where this node is, and hears from them where they and others are.
func (n *Node) askAround(ctx context.Context, connected []raft.ID) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var asking sync.WaitGroup
	for _, id := range connected {
		asking.Go(func() {
			rows, failed := n.ask(ctx, id, "whereabouts", n.address)
			if failed != nil {
				return // it is asked again
			}
			for _, row := range rows {
				n.hearOf(row)
			}
		})
	}
	asking.Wait()
}

// hearOf takes a row of an answer to whereabouts: id and address of a member.
func (n *Node) hearOf(row []any) {
	if len(row) != 2 {
		return
	}
	id, isID := row[0].(int64)
	address, isText := row[1].(string)
	if !isID || !isText || raft.ID(id) == n.self.Node || checkAddress("the address", address) != nil {
		return
	}
	if m, known := n.member(raft.ID(id)); known {
		n.whereabouts.hear(m.ID, address, m.Address, time.Now())
	}
}

// whereabouts is the verb by which a member says where it is. The answer is where this node is, and where those are that it is
// connected with.
func (s *session) whereabouts(_ context.Context, _ raft.Term, args []string) (*table, *Error) {
	n := s.node
	if err := checkAddress("the address", args[0]); err != nil {
		return nil, protocolError("%v", err)
	}
	n.hearOf([]any{int64(s.peer), args[0]})
	t := &table{columns: []string{"id", "address"}, rows: [][]any{{int64(n.self.Node), n.address}}}
	for _, m := range n.members() {
		if m.ID != n.self.Node && m.ID != s.peer && n.endpoint.Connected(m.ID) {
			t.rows = append(t.rows, []any{int64(m.ID), n.whereabouts.of(m.ID, m.Address, time.Now())})
		}
	}
	return t, nil
}
