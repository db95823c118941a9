package transport

import (
	"errors"
	"log/slog"
	"net"

	"github.com/rsqld/rsqld/raft"
)

// Bounds of what is remembered so that it is not logged twice. Each node has a certificate of the cluster.
const (
	maxComplaints  = 8    // kinds of failures of one node
	maxComplainers = 1024 // nodes
)

// complain logs why a connection with a node of the cluster failed before it was in use: once for each kind of failure,
// until a connection with it works.
func (e *Endpoint) complain(id raft.ID, address net.Addr, err error) {
	if errors.Is(err, errDuplicate) || e.ctx.Err() != nil {
		return
	}
	kind, level := err.Error(), slog.LevelWarn
	var different *mismatch
	switch {
	case errors.Is(err, ErrUnreachable):
		kind, level = "unreachable", slog.LevelInfo // it may not have been started yet
	case errors.As(err, &different), errors.Is(err, ErrRefused):
		kind = "refused" // whoever sees the difference first tells the other: one line is enough
		e.counters.refused.Add(1)
	}
	if e.newComplaint(id, kind) {
		e.log.Log(e.ctx, level, "no connection with a peer", "node", e.self, "peer", id, "address", address, "err", err)
	}
}

// newComplaint reports whether a kind of failure was not logged since the last connection, and notes that it is now.
func (e *Endpoint) newComplaint(id raft.ID, kind string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	kinds := e.complaints[id]
	_, told := kinds[kind]
	if told || len(kinds) >= maxComplaints {
		return false
	}
	if kinds == nil {
		if len(e.complaints) >= maxComplainers {
			return false
		}
		kinds = make(map[string]struct{})
		e.complaints[id] = kinds
	}
	kinds[kind] = struct{}{}
	return true
}
