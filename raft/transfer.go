package raft

import "fmt"

// Transfer hands leadership to a voter that stays one (§3.10), or with 0 to the one that holds most of the log. The leader
// takes no proposals, brings the target up to its last entry and tells it to campaign at once. If that has not ended its
// term after T it leads on. Transferring events tell of begin and failure; success is another leader. A transfer to the
// leader itself is done already.
func (n *Node) Transfer(to ID) error {
	if n.role != Leader {
		return ErrNotLeader
	}
	if to == 0 {
		if to = n.successor(); to == 0 {
			return ErrNoTarget
		}
	}
	switch {
	case to == n.config.ID || to == n.lead.transferee:
		return nil
	case !contains(n.configuration().Voters, to):
		return fmt.Errorf("transfer to %d: %w", to, ErrNotVoter)
	case n.lead.transferee != 0:
		return ErrTransferring
	}
	n.lead.transferee, n.lead.transferSince, n.lead.hurried = to, n.now, false
	n.emit(Transferring{To: to})
	n.hurryTransfer()
	return nil
}

// successor returns the voter, other than this node, that holds most of the log among those that answered within T, or 0.
func (n *Node) successor() ID {
	var best *peer
	for i := range n.lead.peers {
		p := &n.lead.peers[i]
		alive := contains(n.configuration().Voters, p.id) && n.now-p.ackedAt < uint64(n.config.ElectionTicks)
		if alive && (best == nil || p.match() > best.match()) {
			best = p
		}
	}
	if best == nil {
		return 0
	}
	return best.id
}

// hurryTransfer tells the target to campaign as soon as it holds the whole log. Until then others would refuse it.
func (n *Node) hurryTransfer() {
	if n.lead.transferee == 0 || n.lead.hurried {
		return
	}
	if p := n.peer(n.lead.transferee); p != nil && p.match() == n.log.last.Index {
		n.lead.hurried = true
		n.send(TimeoutNow{Envelope: n.to(p.id), Commit: n.log.commit})
	}
}

// tickTransfer repeats what may be lost, and gives up after T.
func (n *Node) tickTransfer(repeat bool) {
	if n.lead.transferee == 0 {
		return
	}
	if n.now-n.lead.transferSince >= uint64(n.config.ElectionTicks) {
		n.lead.transferee = 0
		n.emit(Transferring{})
		if n.lead.leaving != 0 || !n.fit {
			n.becomeFollower(n.hard.Term, 0, "nobody took over")
		}
		n.leaveJoint()
		return
	}
	if repeat {
		n.lead.hurried = false
		n.hurryTransfer()
	}
}

// onTimeoutNow campaigns at the leader's wish: a real election at once, marked so that stickiness yields to it.
func (n *Node) onTimeoutNow(m TimeoutNow) error {
	if err := n.follow(m.Envelope); err != nil {
		return err
	}
	// The leader has seen its whole log acknowledged here, so all that it committed is here.
	n.commitTo(min(m.Commit, n.log.last.Index))
	if !n.mayCampaign() {
		return fmt.Errorf("%w: %d hands over to a node that may not campaign", ErrIgnored, m.From)
	}
	n.campaign(true, "leadership transferred")
	return nil
}
