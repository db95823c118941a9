package replica

import (
	"errors"
	"fmt"
	"time"

	"github.com/rsqld/rsqld/raft"
)

// ErrRemoved stops a replica that is no longer a member: a peer or its own log has told it so.
var ErrRemoved = errors.New("this node was removed from the cluster; its id is not used again: to come back, join as a new node with an empty data directory")

// removal is the end of a node that was removed. It is delayed: a leader that has removed itself still tells the others
// that its removal is committed and hands leadership over, and its client hears that the change is done.
type removal struct {
	// index is where the configuration without this node stands; zero while it is a member.
	index raft.Index
	// since is when the first tick after the removal came.
	since time.Time
}

// removalGrace, in election timeouts, is how long a removed node goes on.
const removalGrace = 5

// watchRemoval stops a removed node when its time is over.
func (h *Handler) watchRemoval(now time.Time) {
	switch {
	case h.removal.index == 0:
	case h.removal.since.IsZero():
		h.removal.since = now
	case now.Sub(h.removal.since) >= removalGrace*h.timeout:
		h.err = fmt.Errorf("%w (as of index %d)", ErrRemoved, h.removal.index)
	}
}
