package replica

// room is whether the log has room for what comes. The log says that it has none while the segment in use still takes
// what is small: that is for votes, for membership and for the hand-over. Beyond that the disk stands still (stall).
type room struct {
	// err is why there is none, or nil.
	err error
}

// Room says that the log has no room for what comes, and why, or with nil that it has. Without room a leader takes no
// proposals, and hands over to a voter that takes it; if there is none it leads on, so that the cluster can still be read
// and nodes can be removed (see reluctance).
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
