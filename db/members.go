package db

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// Member is a node of the cluster as the table of members has it.
type Member struct {
	ID      raft.ID
	Name    string
	Address string
	// Learner says that the member wants to stay a learner.
	Learner bool
}

// members returns the members known here, sorted by id, one without a name called n and its id: the applied table, or
// before this node has applied its own admission (the entry whose index is its id) what it was told when it joined. In
// between the table tells of the past: its addresses may be old, and the leader may not be in it yet.
func (n *Node) members() []Member {
	var members []Member
	if n.engine.Applied() < raft.Index(n.self.Node) {
		for _, m := range n.self.Members {
			members = append(members, Member{ID: m.Node, Name: m.Name, Address: m.Address})
		}
	} else {
		for _, m := range n.engine.Members() {
			members = append(members, Member{m.ID, m.Name, m.Address, m.Learner})
		}
	}
	for i := range members {
		if members[i].Name == "" {
			members[i].Name = fmt.Sprintf("n%d", members[i].ID)
		}
	}
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	return members
}

func (n *Node) member(id raft.ID) (Member, bool) {
	for _, m := range n.members() {
		if m.ID == id {
			return m, true
		}
	}
	return Member{}, false
}

func (n *Node) wireMembers() (members []*sqlpb.Member) {
	configuration := n.replica.Status().Configuration
	for _, m := range n.members() {
		members = append(members, &sqlpb.Member{Id: uint64(m.ID), Name: m.Name, Address: m.Address,
			Learner: configuration.Learner(m.ID)})
	}
	return members
}

// reachableVoters counts the voters that this node is connected with, itself included, and all voters.
func (n *Node) reachableVoters() (reached, voters int) {
	configuration := n.replica.Status().Configuration
	for _, id := range configuration.Voters {
		voters++
		if id == n.self.Node || n.endpoint.Connected(id) {
			reached++
		}
	}
	return reached, voters
}

const (
	// housekeepingInterval is how often a node looks whether the members changed, and a leader whether a learner is ready.
	housekeepingInterval = 50 * time.Millisecond
	// chorePatience bounds one attempt at a chore, choreRest is the pause after one: a chore that fails is seldom
	// successful at once, and what succeeded takes a moment to be applied here.
	chorePatience = 2 * time.Second
	choreRest     = 500 * time.Millisecond
)

// followMembers keeps the peers of the transport equal to the members.
func (n *Node) followMembers(ctx context.Context) {
	ticker := time.NewTicker(housekeepingInterval)
	defer ticker.Stop()
	for {
		n.updatePeers()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// housekeeping tells the cluster of a changed address of this node, and on the leader keeps the voters. Both
// wait for the cluster, so that followMembers must be another goroutine: it makes the connections.
func (n *Node) housekeeping(ctx context.Context) {
	logged := "" // the failure that was logged last: the same one is not logged at each attempt
	for {
		rest := housekeepingInterval
		bounded, cancel := context.WithTimeout(ctx, chorePatience)
		if n.announce(bounded) {
			rest = choreRest
		}
		peer, failed := n.tendVoters(bounded)
		cancel()
		if failed != nil {
			rest = choreRest
			if text := fmt.Sprint(peer, failed); text != logged && ctx.Err() == nil {
				logged = text
				n.log.Info("changing the voters did not work yet", "peer", peer, "err", failed)
			}
		}
		if _, ended := pause(ctx, rest, nil); ended != nil {
			return
		}
	}
}

// updatePeers connects to all members but this node. The table of members only grows before a node joins the
// configuration, so a leader can reach a learner as soon as it replicates to it.
func (n *Node) updatePeers() {
	peers := make(map[raft.ID]string)
	for _, m := range n.members() {
		if m.ID != n.self.Node {
			peers[m.ID] = n.whereabouts.of(m.ID, m.Address, time.Now())
		}
	}
	n.endpoint.SetPeers(peers)
}
