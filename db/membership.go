package db

import (
	"context"
	"errors"
	"fmt"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/raft"
)

// addLearner adds a member to the configuration as a learner, unless it is there already. Another change under way is
// waited for.
func (n *Node) addLearner(ctx context.Context, id raft.ID) *Error {
	return n.change(ctx, func(c raft.Configuration) (raft.Membership, bool) {
		return raft.Membership{AddLearners: []raft.ID{id}}, !c.Member(id)
	})
}

// change makes one change of the configuration, if wanted still says so by the configuration that counts now.
func (n *Node) change(ctx context.Context, wanted func(raft.Configuration) (raft.Membership, bool)) *Error {
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	for {
		membership, needed := wanted(n.replica.Status().Configuration)
		if !needed {
			return nil
		}
		err := n.replica.Change(ctx, membership)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, raft.ErrChangePending):
			if _, failed := pause(ctx, holdRetry, nil); failed != nil {
				return busy("another change of the members is under way")
			}
		default:
			return n.proposalError(ctx, err)
		}
	}
}

// promoteReady makes a voter of a learner that has caught up (§4.2.1), if this node leads. A learner gets the authority's
// key and has made it durable before it is promoted: every voter has it. Who could not be promoted is in failed.
func (n *Node) promoteReady(ctx context.Context) (peer raft.ID, failed *Error) {
	status := n.replica.Status()
	if status.Role != raft.Leader || status.Transferring != 0 || status.Configuration.Joint() {
		return 0, nil
	}
	for _, peer := range status.Peers {
		member, known := n.member(peer.ID)
		if !status.Configuration.Learner(peer.ID) || !known || member.Learner || !peer.CaughtUp ||
			!n.endpoint.Connected(peer.ID) {
			continue
		}
		failed := n.promote(ctx, peer.ID)
		if failed == nil {
			n.log.Info("promoted a learner to voter", "peer", peer.ID)
		}
		return peer.ID, failed
	}
	return 0, nil
}

// promote makes a voter of a learner.
func (n *Node) promote(ctx context.Context, id raft.ID) *Error {
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	if !n.replica.Status().Configuration.Learner(id) {
		return protocolError("node %d is no learner", id)
	}
	authority := n.authority.Load()
	if authority == nil {
		return protocolError("this node has not got the authority's key: promote through a voter that leads")
	}
	if err := n.endpoint.OfferKey(ctx, id, authority.KeyDER()); err != nil {
		return busy(fmt.Sprintf("handing node %d the authority's key: %v", id, err))
	}
	return n.change(ctx, func(c raft.Configuration) (raft.Membership, bool) {
		return raft.Membership{Promote: []raft.ID{id}}, c.Learner(id)
	})
}

// takeKey is the transport's OnKey: it returns once the key is durable.
func (n *Node) takeKey(der []byte) error {
	authority, err := n.identity.TakeAuthority(der)
	if err != nil {
		return fmt.Errorf("taking the authority's key: %w", err)
	}
	if err := authority.SaveKey(n.dir.file("tls")); err != nil {
		return fmt.Errorf("saving the authority's key: %w", err)
	}
	n.authority.Store(authority)
	return nil
}

// removeMember takes a node out of the configuration, then out of the table of members.
func (n *Node) removeMember(ctx context.Context, term raft.Term, id raft.ID) *Error {
	member, known := n.member(id)
	configuration := n.replica.Status().Configuration
	if !known && !configuration.Member(id) {
		return protocolError("there is no node %d: .nodes lists the members", id)
	}
	if len(configuration.Voters) == 1 && configuration.Voter(id) {
		return protocolError("node %d is the only voter: the cluster would end with it", id)
	}
	failed := n.change(ctx, func(c raft.Configuration) (raft.Membership, bool) {
		return raft.Membership{Remove: []raft.ID{id}}, c.Member(id)
	})
	if failed != nil {
		return failed
	}
	if !known { // it was struck out before, and added by an entry that came later
		return nil
	}
	return n.proposeMember(ctx, term, setMember(member, true))
}

// setMember is the command that makes a member's row what member says, or strikes it out.
func setMember(m Member, removed bool) *commandpb.Command {
	return &commandpb.Command{Body: &commandpb.Command_SetMember{SetMember: &commandpb.SetMember{Removed: removed,
		Member: &commandpb.Member{Id: uint64(m.ID), Name: m.Name, Address: m.Address, Learner: m.Learner}}}}
}

// announce tells the cluster this node's address when the table of members has another one. It reports whether the
// cluster took it.
func (n *Node) announce(ctx context.Context) bool {
	member, known := n.member(n.self.Node)
	if !known || len(n.engine.Members()) == 0 || member.Address == n.address {
		return false
	}
	failed := n.hold(ctx, func(leader raft.ID, term raft.Term) *Error {
		if leader == n.self.Node {
			return n.setAddress(ctx, term, n.self.Node, n.address)
		}
		_, failed := n.ask(ctx, leader, "announce", fmt.Sprint(uint64(n.self.Node)), n.address)
		return failed
	})
	if failed == nil {
		n.log.Info("told the cluster of a new address", "node", n.self.Node, "address", n.address, "before", member.Address)
	}
	return failed == nil
}

func (n *Node) setAddress(ctx context.Context, term raft.Term, id raft.ID, address string) *Error {
	member, known := n.member(id)
	if !known {
		return protocolError("there is no node %d", id)
	}
	if member.Address == address {
		return nil // told twice, because the first answer was lost
	}
	member.Address = address
	return n.proposeMember(ctx, term, setMember(member, false))
}
