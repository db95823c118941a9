package replica

import "github.com/rsqld/rsqld/raft"

// observe logs an event of the core and lets those know who wait for it. Only changes of state come here, so that a
// quiet cluster has a quiet log.
func (h *Handler) observe(event raft.Event) {
	h.changed = true
	switch e := event.(type) {
	case raft.RoleChanged:
		h.role, h.term, h.leader = e.Role, e.Term, e.Leader
		h.refit()
		h.log.Info("role changed", "role", e.Role.String(), "term", uint64(e.Term), "leader", uint64(e.Leader), "why", e.Why)
	case raft.Voted:
		h.log.Debug("voted", "term", uint64(e.Term), "peer", uint64(e.For))
	case raft.Truncated:
		h.log.Info("dropped entries that another leader has replaced",
			"term", uint64(e.From.Term), "index", uint64(e.From.Index), "last", uint64(e.Last))
	case raft.ConfigurationChanged:
		h.log.Info("configuration changed", "index", uint64(e.Index), "configuration", e.Configuration.String())
	case raft.Transferring:
		if e.To != 0 {
			h.log.Info("handing over leadership", "term", uint64(h.term), "peer", uint64(e.To))
		}
		h.transferEnded = e.To == 0
	case raft.PeerStranded:
		h.log.Warn("the log no longer holds what a peer needs", "peer", uint64(e.ID), "index", uint64(e.Next),
			"first", uint64(e.First))
	case raft.SnapshotInstalled:
		h.log.Info("snapshot installed", "term", uint64(h.term), "index", uint64(e.Last.Index), "dropped", uint64(e.Dropped.Index))
	case raft.LearnerLags:
		h.log.Warn("a learner does not catch up and is not promoted", "peer", uint64(e.ID), "behind", uint64(e.Behind))
	case raft.WasRemoved:
		h.removal.index = e.Index
		h.log.Warn("this node was removed from the cluster", "index", uint64(e.Index))
	}
}
