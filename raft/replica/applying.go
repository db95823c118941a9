package replica

import (
	"time"

	"github.com/rsqld/rsqld/raft"
)

// Pauses between attempts to apply after the state machine failed: each is twice the one before.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// applying is the state of the applier as the handler sees it.
type applying struct {
	// err is why nothing is applied at the moment, or nil.
	err error
	// pause follows the next failure; retryAt is when to try again, zero while an attempt runs.
	pause   time.Duration
	retryAt time.Time
}

// Applied says that entries up to index are applied here.
func (h *Handler) Applied(index raft.Index) {
	// What a snapshot brings is not applied by an entry; the core hears of it with Restored.
	if h.err == nil && !h.restoring {
		h.node.Applied(index)
	}
}

// ApplyFailed says that the environment of the state machine failed: a disk that is full, a file that is damaged.
// From here on the node is unfit to lead until ApplyResumed: the core hands leadership over, or gives it up, and does not
// campaign. It votes and acknowledges as before.
func (h *Handler) ApplyFailed(err error) {
	if h.err != nil {
		return
	}
	a := &h.applying
	if a.err == nil {
		a.pause = firstRetry
		h.log.Error("applying paused", "term", uint64(h.term), "err", err)
	}
	a.err = err
	h.refit()
	a.retryAt = h.env.Clock.Now().Add(a.pause)
	a.pause = min(2*a.pause, lastRetry)
	h.changed = true
}

// ApplyResumed says that the state machine works again.
func (h *Handler) ApplyResumed() {
	if h.err != nil || h.applying.err == nil {
		return
	}
	h.applying = applying{}
	h.refit()
	h.log.Info("applying resumed", "term", uint64(h.term))
	h.changed = true
}

// ApplyErr returns why nothing is applied at the moment, or nil.
func (h *Handler) ApplyErr() error { return h.applying.err }

// watchApplier tries again when it is time.
func (h *Handler) watchApplier(now time.Time) {
	a := &h.applying
	if a.err != nil && !a.retryAt.IsZero() && !now.Before(a.retryAt) {
		a.retryAt = time.Time{}
		h.env.Committer.Retry()
	}
}
