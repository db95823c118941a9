package replica

import (
	"errors"
	"fmt"
	"io"

	"github.com/rsqld/rsqld/raft"
)

// Snapshots moves the state machine's content. Its methods return at once.
type Snapshots interface {
	// Send brings the machine's content, as it is, to a peer. The outcome comes back as the event SnapshotSent, always.
	Send(to raft.ID)
	// Restore replaces the machine's content (Applier.Restore). The outcome comes back as the event Restored.
	Restore(raft.SnapshotMeta, io.ReaderAt)
}

// SnapshotSent says that a Send has ended: with nil when the peer has the content and the beginning of its log durably, or
// had no need of it.
func (h *Handler) SnapshotSent(to raft.ID, err error) {
	if h.err != nil {
		return
	}
	if err != nil {
		h.log.Warn("cannot bring a snapshot to a peer", "term", uint64(h.term), "peer", uint64(to), "err", err)
	}
	h.node.SnapshotSent(to, err == nil)
}

// SnapshotArrived says that a peer has brought content, which is whole and verified. An error says that it is not wanted;
// raft.ErrStale that this node holds more. Else content is used until Restored.
func (h *Handler) SnapshotArrived(meta raft.SnapshotMeta, content io.ReaderAt) error {
	switch {
	case h.err != nil:
		return closed(h.err)
	case h.env.Snapshots == nil:
		return fmt.Errorf("%w: this node's state machine has no snapshots", raft.ErrIgnored)
	}
	if err := h.node.Install(meta.Base); err != nil {
		return err
	}
	h.restoring = true
	h.env.Snapshots.Restore(meta, content)
	return nil
}

// NeedSnapshot says whether the machine is to be replaced although the log leads on from it (raft.Node.NeedSnapshot).
func (h *Handler) NeedSnapshot(need bool) {
	if h.err == nil {
		h.node.NeedSnapshot(need)
	}
}

// Restored says that the state machine was replaced, durably, or why not. The log follows it, never the other way: after a
// crash in between the machine is ahead of the log, which Rebase mends.
func (h *Handler) Restored(err error) {
	if h.err != nil || !h.restoring {
		return
	}
	h.restoring = false
	if err != nil {
		h.log.Error("cannot install a snapshot", "term", uint64(h.term), "err", err)
	}
	h.node.Installed(err == nil)
}

// Compact lets the core forget entries up to index, and returns how far the log may be cut (wal.Compact). index must be
// durable in the state machine.
func (h *Handler) Compact(index raft.Index) raft.Index {
	if h.err != nil {
		return 0
	}
	return h.node.Compact(index)
}

// Restore replaces the content of the machine, which must be a raft.Snapshotter, in the place of a Step.
func (a *Applier) Restore(meta raft.SnapshotMeta, content io.ReaderAt) error {
	machine, ok := a.machine.(raft.Snapshotter)
	if !ok {
		return errors.New("restoring a snapshot: the state machine has none")
	}
	if a.last > meta.Applied.Index { // it was asked for while nothing could be applied, and the cause is gone
		return fmt.Errorf("%w: snapshot of %v, the state machine has applied %d", raft.ErrStale, meta.Applied, a.last)
	}
	if err := machine.Restore(meta, content); err != nil {
		a.failed = true
		return fmt.Errorf("restoring a snapshot of %v: %w", meta.Applied, err)
	}
	a.failed = false
	a.last = meta.Applied.Index
	a.Commit(a.last)
	a.publish()
	a.waiters.skip(a.last)
	return nil
}

// Rebase returns the write that a log needs, before anything else, whose state machine is not on its way: a crash came
// between the installation of a snapshot and the log's record of it, so that the log ends before what the machine holds, or
// holds another entry there. All of it goes. It returns nil if the log leads on from the machine.
//
// What the log has promised stays promised: terms and votes are in the hard state, and acknowledged entries are up to the
// machine's last one (which was committed), or were another history.
func Rebase(machine raft.Base, hard raft.HardState, log raft.Log) *raft.Write {
	at := machine.Applied
	if at.Index <= log.Base.Index || at.Index <= log.Last.Index && termAt(log, at.Index) == at.Term {
		return nil
	}
	if at.Term > hard.Term {
		hard.Term, hard.Vote = at.Term, 0
	}
	if hard.Acked.Compare(at) <= 0 {
		hard.Acked = raft.EntryID{}
	}
	return &raft.Write{Seq: 1, HardState: hard, Snapshot: &machine}
}
