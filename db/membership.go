package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

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

// promoteMember makes a voter of a learner, for good: one that asked to stay a learner does so no more. One that lags is
// refused (§4.2.1).
func (n *Node) promoteMember(ctx context.Context, term raft.Term, id raft.ID) *Error {
	member, known := n.member(id)
	switch c := n.replica.Status().Configuration; {
	case c.Voter(id) && !(known && member.Learner): // else an earlier attempt came that far
		return protocolError("node %d is a voter already", id)
	case !c.Member(id):
		return protocolError("node %d is no learner yet: it is being added, or was not seen since; .nodes shows what it is", id)
	case c.Learner(id):
		if failed := n.awaitCaughtUp(ctx, id); failed != nil {
			return failed
		}
		if failed := n.promote(ctx, id, 0); failed != nil {
			return failed
		}
	}
	return n.wish(ctx, term, id, false)
}

// demoteMember makes a learner of a voter, and lets it stay one. The wish comes first, so that the leader does not promote it
// again at once.
func (n *Node) demoteMember(ctx context.Context, term raft.Term, id raft.ID) *Error {
	member, known := n.member(id)
	status := n.replica.Status()
	switch c := status.Configuration; {
	case !c.Member(id):
		return protocolError("node %d is no voter: .nodes lists the members", id)
	case !c.Voter(id) && known && member.Learner:
		return protocolError("node %d is a learner already, and stays one", id)
	case c.Voter(id):
		if failed := n.spares(&status, id, 0); failed != nil {
			return failed
		}
	}
	if failed := n.wish(ctx, term, id, true); failed != nil {
		return failed
	}
	return n.change(ctx, func(c raft.Configuration) (raft.Membership, bool) {
		return raft.Membership{Demote: []raft.ID{id}}, c.Voter(id)
	})
}

// removeMember takes a node out of the configuration, then out of the table of members.
func (n *Node) removeMember(ctx context.Context, term raft.Term, id raft.ID) *Error {
	_, known := n.member(id)
	status := n.replica.Status()
	if !known && !status.Configuration.Member(id) {
		return protocolError("there is no node %d: .nodes lists the members", id)
	}
	if failed := n.spares(&status, id, 0); failed != nil {
		return failed
	}
	failed := n.change(ctx, func(c raft.Configuration) (raft.Membership, bool) {
		return raft.Membership{Remove: []raft.ID{id}}, c.Member(id)
	})
	if failed != nil {
		return failed
	}
	return n.strikeOut(ctx, term, id)
}

// replaceMember removes a voter and makes a voter of a learner in its place, in one step: the number of voters stays as it is.
func (n *Node) replaceMember(ctx context.Context, term raft.Term, old, fresh raft.ID) *Error {
	status := n.replica.Status()
	switch c := status.Configuration; {
	case old == fresh:
		return protocolError("node %d cannot replace itself: join a new node with --learner and name that one", old)
	case c.Voter(fresh) && !c.Member(old): // an earlier attempt came that far
	case c.Voter(fresh):
		return protocolError("node %d is a voter already: to be rid of node %d, remove it", fresh, old)
	case !c.Learner(fresh):
		return protocolError("node %d is no learner: .nodes lists the members", fresh)
	case !c.Voter(old):
		return protocolError("node %d is no voter: promote node %d, and remove node %d", old, fresh, old)
	default:
		failed := n.awaitCaughtUp(ctx, fresh)
		if failed == nil {
			failed = n.spares(&status, old, fresh)
		}
		if failed == nil {
			failed = n.promote(ctx, fresh, old)
		}
		if failed != nil {
			return failed
		}
	}
	if failed := n.wish(ctx, term, fresh, false); failed != nil {
		return failed
	}
	return n.strikeOut(ctx, term, old)
}

// promote makes a voter of a learner, and removes another node in the same step unless that is zero. The learner gets the
// authority's key and has made it durable before: every voter has it.
func (n *Node) promote(ctx context.Context, id, instead raft.ID) *Error {
	ctx, cancel := n.bounded(ctx)
	defer cancel()
	if failed := n.handKey(ctx, id); failed != nil {
		return failed
	}
	return n.change(ctx, func(c raft.Configuration) (raft.Membership, bool) {
		m := raft.Membership{Promote: []raft.ID{id}}
		if instead != 0 {
			m.Remove = []raft.ID{instead}
		}
		return m, c.Learner(id)
	})
}

// handKey gives a node the authority's key.
func (n *Node) handKey(ctx context.Context, id raft.ID) *Error {
	authority := n.authority.Load()
	if authority == nil {
		return protocolError("%v", n.noKey())
	}
	if err := n.endpoint.OfferKey(ctx, id, authority.KeyDER()); err != nil {
		return busy(fmt.Sprintf("handing node %d the authority's key: %v", id, err))
	}
	return nil
}

// noKey says what to do about a leader without the authority's key. A voter has it, unless the cluster was recovered from a
// learner's copy.
func (n *Node) noKey() error {
	return fmt.Errorf("node %d leads and has not got the authority's key: "+
		"stop it, copy tls/ca.key there from the directory of any former voter, and start it",
		n.self.Node)
}

// catchUpPatience is how long a promotion waits for a learner that has everything and is not known to be fast yet.
const catchUpPatience = time.Second

// awaitCaughtUp refuses a learner that lags, and says by how much.
func (n *Node) awaitCaughtUp(ctx context.Context, id raft.ID) *Error {
	for begun := time.Now(); ; {
		status := n.replica.Status()
		i := slices.IndexFunc(status.Peers, func(p raft.PeerStatus) bool { return p.ID == id })
		switch {
		case status.Role != raft.Leader || i < 0:
			return n.notLeader()
		case !n.endpoint.Connected(id):
			return protocolError("node %d cannot be reached: start it, and promote it when it has caught up", id)
		case status.Peers[i].CaughtUp:
			return nil
		case time.Since(begun) > catchUpPatience:
			match := status.Peers[i].Match
			return protocolError("node %d lags: it has entries up to %d of %d, %d less than the leader; "+
				"promote it when it has caught up (.nodes shows its lag)",
				id, match, status.Last.Index, status.Last.Index-match)
		}
		if _, failed := pause(ctx, housekeepingInterval, nil); failed != nil {
			return failed
		}
	}
}

// spares refuses a change by which a voter leaves and, unless it is zero, another node becomes one, if no majority of the voters
// could be reached after it: the cluster would take no writes until others come back.
func (n *Node) spares(status *raft.Status, leaves, comes raft.ID) *Error {
	if !status.Configuration.Voter(leaves) {
		return nil
	}
	if len(status.Configuration.Voters) == 1 && comes == 0 {
		return protocolError("node %d is the only voter: the cluster would end with it; promote another node first", leaves)
	}
	var after, away []raft.ID
	for _, id := range append(slices.Clone(status.Configuration.Voters), comes) {
		if id == 0 || id == leaves {
			continue
		}
		after = append(after, id)
		if id != n.self.Node && !n.endpoint.Connected(id) {
			away = append(away, id)
		}
	}
	if reached := len(after) - len(away); reached <= len(after)/2 {
		return protocolError("without node %d, %d of %d voters could be reached, and that is no majority: "+
			"first bring back, or remove, node %v",
			leaves, reached, len(after), away)
	}
	return nil
}

// wish stores whether a member wants to stay a learner.
func (n *Node) wish(ctx context.Context, term raft.Term, id raft.ID, learner bool) *Error {
	member, known := n.member(id)
	if !known || member.Learner == learner {
		return nil
	}
	member.Learner = learner
	return n.proposeMember(ctx, term, setMember(member, false))
}

// strikeOut takes a node out of the table of members, unless that was done before.
func (n *Node) strikeOut(ctx context.Context, term raft.Term, id raft.ID) *Error {
	member, known := n.member(id)
	if !known {
		return nil
	}
	return n.proposeMember(ctx, term, setMember(member, true))
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
