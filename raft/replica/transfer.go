package replica

import "github.com/rsqld/rsqld/raft"

// Transfer is a request to hand over leadership.
type Transfer struct {
	// To is the next leader, or zero for the voter that is furthest. A leader that hands over to itself is done.
	To raft.ID
	// Done is called once: with nil when this node no longer leads, else with why it still does. It must not block.
	Done func(error)
}

// Transfer begins to hand over leadership (§3.10).
func (h *Handler) Transfer(t *Transfer) {
	if h.err != nil {
		t.Done(closed(h.err))
		return
	}
	if err := h.node.Transfer(t.To); err != nil {
		t.Done(err)
		return
	}
	if h.node.Status().Transferring == 0 {
		// The leader was asked to hand over to itself.
		t.Done(nil)
		return
	}
	h.transfers = append(h.transfers, t)
}

// settleTransfers answers who waits for a transfer, once all events at hand are known: the core says that an attempt
// ended before it says that this node became a follower.
func (h *Handler) settleTransfers() {
	switch {
	case h.role != raft.Leader:
		h.endTransfers(nil)
	case h.transferEnded:
		h.log.Info("leadership was not handed over", "term", uint64(h.term))
		h.endTransfers(ErrTransferFailed)
	}
	h.transferEnded = false
}

func (h *Handler) endTransfers(err error) {
	for _, t := range h.transfers {
		t.Done(err)
	}
	clear(h.transfers)
	h.transfers = h.transfers[:0]
}

// bestVoter returns the other voter of the newest configuration whose log is furthest among those that eligible
// accepts and that answered within one T, or zero.
func bestVoter(status raft.Status, eligible func(raft.PeerStatus) bool) raft.ID {
	var best raft.PeerStatus
	for _, peer := range status.Peers {
		if !status.Configuration.Voter(peer.ID) || peer.SinceAck > electionTicks || !eligible(peer) {
			continue
		}
		if best.ID == 0 || peer.Match > best.Match {
			best = peer
		}
	}
	return best.ID
}
