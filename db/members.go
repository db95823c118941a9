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

// members returns the members known here, sorted by id, one without a name called n and its id: the applied table, or before this node has applied it what it
// was told when it joined.
func (n *Node) members() []Member {
	var members []Member
	for _, m := range n.engine.Members() {
		members = append(members, Member{m.ID, m.Name, m.Address, m.Learner})
	}
	if len(members) == 0 {
		for _, m := range n.self.Members {
			members = append(members, Member{ID: m.Node, Name: m.Name, Address: m.Address})
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

// housekeepingInterval is how often a node looks whether the members changed, and a leader whether a learner is ready.
const housekeepingInterval = 50 * time.Millisecond

// housekeeping keeps the peers of the transport equal to the members, tells the cluster of a changed address of this
// node, and on the leader promotes learners that have caught up.
func (n *Node) housekeeping(ctx context.Context) {
	ticker := time.NewTicker(housekeepingInterval)
	defer ticker.Stop()
	for {
		n.updatePeers()
		n.announce(ctx)
		n.promoteReady(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
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
			peers[m.ID] = m.Address
		}
	}
	n.endpoint.SetPeers(peers)
}
