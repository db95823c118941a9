package replica

import (
	"time"

	"github.com/rsqld/rsqld/raft"
)

// markAfter is how long the log is idle before it gets the marker that covers its newest record: without it a damaged
// newest record could not be told from a torn one.
const markAfter = 50 * time.Millisecond

// marker says whether the newest record is covered.
type marker struct {
	// done says that no record needs one.
	done bool
	// idleSince is when a tick first found nothing to write, with seq as the newest write. Zero: not idle.
	idleSince time.Time
	seq       raft.Seq
}

// mark asks for the marker once the log has been idle for markAfter. It looks only at ticks: which one does not matter.
func (h *Handler) mark(now time.Time) {
	m := &h.marker
	switch {
	case m.done || h.queued == 0:
	case h.queued != h.written:
		m.idleSince = time.Time{}
	case m.idleSince.IsZero() || m.seq != h.queued:
		m.idleSince, m.seq = now, h.queued
	case now.Sub(m.idleSince) >= markAfter:
		h.env.Writer.Mark()
		*m = marker{done: true}
	}
}

// A leader whose disk has completed no write for stallLimit (and 5T) gives leadership away. Shorter stalls are normal:
// 134–217 ms were measured beside one large copy.
const (
	stallLimit    = 1500 * time.Millisecond
	stallTimeouts = 5
)

// stall watches the disk. A stall is seen at the first tick that finds a write pending and nothing completed since the
// tick before.
type stall struct {
	// newest is the index of the newest entry that the writer has, settled what newest was when a write completed last.
	// An entry above settled was made after the disk last moved: a peer that holds it durably has a disk that moves.
	newest, settled raft.Index
	// since is when the stall was first seen; zero: the disk moves, or has nothing to do.
	since time.Time
	// written is Handler.written as of the newest tick.
	written raft.Seq
	// retryAt is the earliest time for the next attempt to hand over.
	retryAt time.Time
	// told says that this stall was logged.
	told bool
}

// queue notes a write on its way to the disk.
func (s *stall) queue(w *raft.Write) {
	switch n := len(w.Entries); {
	case n > 0:
		s.newest = w.Entries[n-1].ID.Index
	case w.TruncateFrom > 0:
		s.newest = w.TruncateFrom - 1
	}
}

// complete notes that the disk moves.
func (s *stall) complete() { s.settled = s.newest }

// watchDisk hands over leadership when the disk stands still and another voter's does not. Until then the stall costs
// nothing: a majority of the others commits, and heartbeats do not wait for the disk. A single voter, or one whose
// peers stand still as well (they may share the disk), has nobody to hand over to and stays.
func (h *Handler) watchDisk(now time.Time) {
	s := &h.stall
	switch {
	case h.queued == h.written || h.written != s.written:
		s.written, s.since, s.told = h.written, time.Time{}, false
	case s.since.IsZero():
		s.since = now
	case now.Sub(s.since) >= max(stallLimit, stallTimeouts*h.timeout):
		h.leaveDisk(now)
	}
}

// leaveDisk begins a transfer because of a stall, at most once in T.
func (h *Handler) leaveDisk(now time.Time) {
	s := &h.stall
	if h.role != raft.Leader || now.Before(s.retryAt) {
		return
	}
	s.retryAt = now.Add(h.timeout)
	status := h.node.Status()
	to := bestVoter(status, func(p raft.PeerStatus) bool { return p.Match > s.settled })
	if to == 0 || status.Transferring != 0 {
		return
	}
	log := h.log.With("term", uint64(h.term), "peer", uint64(to), "dur", now.Sub(s.since))
	switch err := h.node.Transfer(to); {
	case s.told:
	case err != nil:
		log.Warn("disk completes no write, and leadership cannot be handed over", "err", err)
	default:
		log.Warn("disk completes no write, handing over leadership")
	}
	s.told = true
}
