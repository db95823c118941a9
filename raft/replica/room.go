package replica

import (
	"time"

	"github.com/rsqld/rsqld/raft"
)

// roomRest is the pause between two attempts of a leader without room to hand over.
const roomRest = 5 * time.Second

// room is whether the log has room for what comes. The log says that it has none while the segment in use still takes
// what is small: that is for votes, for membership and for the hand-over. Beyond that the disk stands still (stall).
type room struct {
	// err is why there is none, or nil.
	err error
	// retryAt is the earliest time for the next attempt to hand over.
	retryAt time.Time
}

// Room says that the log has no room for what comes, and why, or with nil that it has. Without room a leader takes no
// proposals and hands over to a voter that takes it; if there is none it leads on, so that the cluster can still be read
// and nodes can be removed. A node that does not lead becomes unfit to.
func (h *Handler) Room(err error) {
	if h.err != nil || (err == nil) == (h.room.err == nil) {
		return
	}
	if err != nil {
		h.log.Error("log has no room, taking no proposals", "term", uint64(h.term), "err", err)
	} else {
		h.log.Info("log has room again", "term", uint64(h.term))
	}
	h.room = room{err: err}
	h.refit()
	h.changed = true
}

// RoomErr returns why the log has no room, or nil.
func (h *Handler) RoomErr() error { return h.room.err }

// roomUnfit reports whether the lack of room makes this node unfit: a leader stays fit, as nobody else may be.
func (h *Handler) roomUnfit() bool { return h.room.err != nil && h.role != raft.Leader }

// watchRoom hands over a leadership without room, again and again: another voter may have room later.
func (h *Handler) watchRoom(now time.Time) {
	r := &h.room
	if r.err == nil || h.role != raft.Leader || now.Before(r.retryAt) {
		return
	}
	r.retryAt = now.Add(roomRest)
	// Without another voter, or while one takes over already, there is nothing to do.
	_ = h.node.Transfer(0)
}
