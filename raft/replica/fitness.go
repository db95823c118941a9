package replica

import (
	"cmp"
	"slices"
	"time"

	"github.com/rsqld/rsqld/raft"
)

// A node that cannot apply is unfit: the core neither campaigns nor keeps the lead. A node that the layers above find
// unfit, or whose log has no room, is reluctant: it hands a leadership over and lets others lead, but leads where nobody
// else can. The voters that are left may hold less of the log than it does, and then only it can win an election, bring
// another one up to date, and hand over.

// lastResort, in election timeouts, is how long a reluctant node lets the others try to elect a leader.
const lastResort = 10

// handOverRest is the longest pause between two attempts of a reluctant leader to hand over. The first is 2T.
const handOverRest = 5 * time.Second

// reluctance is the state of a node that leads only if nobody else does.
type reluctance struct {
	// barred says that the layers above find this node unfit to lead.
	barred bool
	// unfit is what the core was told.
	unfit bool
	// leaderless is when the first tick without a leader came; zero: there is one. lapsed says that it was too long ago.
	leaderless time.Time
	lapsed     bool
	// attempts counts those to hand over in a row; retryAt is the earliest time for the next.
	attempts int
	retryAt  time.Time
}

// SetFit says whether the layers above find this node fit to lead, which it is until they say otherwise: they may know
// of a wrong clock, for example. A leader that is not hands over, again and again until another voter takes over; a node
// that does not lead campaigns only when the others have elected nobody for ten election timeouts. It does not wait.
func (r *Replica) SetFit(fit bool) {
	// The inbox refuses only when the replica stops, and then it leads nothing.
	_ = r.inbox.put(func(a *arrivals) error {
		a.fit = &fit
		return nil
	})
}

// SetFit takes the judgement of the layers above.
func (h *Handler) SetFit(fit bool) {
	if h.err == nil {
		h.reluctance.barred = !fit
		h.refit()
		h.watchReluctance(h.env.Clock.Now())
	}
}

func (h *Handler) reluctant() bool { return h.reluctance.barred || h.room.err != nil }

// refit tells the core when the sum of all judgements has changed.
func (h *Handler) refit() {
	r := &h.reluctance
	unfit := h.applying.err != nil || h.reluctant() && h.role != raft.Leader && !r.lapsed
	if unfit != r.unfit {
		r.unfit = unfit
		h.node.SetFit(!unfit)
		h.changed = true
	}
}

// watchReluctance hands over a leadership that this node has and should not have, and lets the node campaign when the
// cluster is without a leader for long.
func (h *Handler) watchReluctance(now time.Time) {
	r := &h.reluctance
	switch {
	case h.leader != 0:
		r.leaderless, r.lapsed = time.Time{}, false
	case r.leaderless.IsZero():
		r.leaderless = now
	case now.Sub(r.leaderless) >= lastResort*h.timeout:
		r.lapsed = true
	}
	h.refit()
	if !h.reluctant() || h.role != raft.Leader {
		r.attempts, r.retryAt = 0, time.Time{}
		return
	}
	if now.Before(r.retryAt) {
		return
	}
	// A voter may be reluctant as well, and takes nothing over: each attempt is for another one.
	if to := h.nextVoter(r.attempts); to != 0 {
		_ = h.node.Transfer(to) // ErrTransferring: somebody takes over already
	}
	r.retryAt = now.Add(min(2*h.timeout<<min(r.attempts, 10), handOverRest))
	r.attempts++
}

// nextVoter returns another voter that answered within one T, or zero: the one whose log is furthest first.
func (h *Handler) nextVoter(attempt int) raft.ID {
	status := h.node.Status()
	peers := slices.DeleteFunc(slices.Clone(status.Peers), func(p raft.PeerStatus) bool {
		return !status.Configuration.Voter(p.ID) || p.SinceAck > electionTicks
	})
	if len(peers) == 0 {
		return 0
	}
	slices.SortStableFunc(peers, func(a, b raft.PeerStatus) int { return cmp.Compare(b.Match, a.Match) })
	return peers[attempt%len(peers)].ID
}
