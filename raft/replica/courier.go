package replica

import (
	"context"
	"io"

	"github.com/rsqld/rsqld/raft"
)

// SnapshotTransport brings snapshots to peers.
type SnapshotTransport interface {
	// SendSnapshot brings a snapshot to a peer. It returns nil when the peer has installed it durably (its own call of
	// InstallSnapshot has returned) or had no need of it. It may take long and is called by several goroutines, perhaps with
	// one snapshot. The snapshot is what the machine has returned.
	SendSnapshot(ctx context.Context, to raft.ID, snapshot raft.SnapshotReader) error
}

// courier reads snapshots out of the machine and gives them to the transport, a goroutine each. It implements Snapshots.
type courier struct {
	replica *Replica
	machine raft.Snapshotter
	stock   *stock
	// places bounds the snapshots that are on their way.
	places chan struct{}
	ctx    context.Context // ends with the replica
}

// arrival is a snapshot that a peer has brought.
type arrival struct {
	meta    raft.SnapshotMeta
	content io.ReaderAt
	// done has room for the outcome.
	done chan error
}

// snapshotSent is the end of a snapshot's way to a peer.
type snapshotSent struct {
	to  raft.ID
	err error
}

func newCourier(r *Replica) *courier {
	ctx, cancel := context.WithCancel(context.Background())
	machine := r.cfg.Machine.(raft.Snapshotter)
	c := &courier{replica: r, machine: machine, stock: newStock(machine, r.cfg.Clock, r.cfg.Limits.KeepSnapshot),
		places: make(chan struct{}, r.cfg.Limits.MaxSnapshots), ctx: ctx}
	r.workers.Go(func() {
		<-r.stopping
		cancel()
		c.warn(c.stock.close())
	})
	return c
}

// Send implements Snapshots. It runs in a turn, so that the replica's goroutines are not all gone yet.
func (c *courier) Send(to raft.ID) {
	c.replica.workers.Go(func() {
		err := c.bring(to)
		// The inbox refuses only when the replica stops, and then nobody waits for the end.
		_ = c.replica.inbox.put(func(a *arrivals) error {
			a.sent = append(a.sent, snapshotSent{to, err})
			return nil
		})
		c.replica.arrived()
	})
}

func (c *courier) bring(to raft.ID) (err error) {
	select {
	case c.places <- struct{}{}:
		defer func() { <-c.places }()
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
	snapshot, err := c.stock.take(c.ctx, func() raft.Index { return c.replica.status.Load().First })
	if err != nil {
		return err
	}
	defer func() { c.warn(c.stock.giveBack(snapshot, err != nil)) }()
	meta := snapshot.Meta()
	c.replica.handler.log.Info("a peer gets a snapshot", "peer", uint64(to), "term", uint64(meta.Applied.Term),
		"index", uint64(meta.Applied.Index), "bytes", meta.Size)
	return c.replica.cfg.Snapshots.SendSnapshot(c.ctx, to, snapshot.SnapshotReader)
}

// warn tells of a snapshot that could not be removed, which takes room and does no other harm.
func (c *courier) warn(err error) {
	if err != nil {
		c.replica.handler.log.Warn("an old snapshot takes room", "err", err)
	}
}

// Restore implements Snapshots.
func (c *courier) Restore(meta raft.SnapshotMeta, content io.ReaderAt) {
	c.replica.applier.restore(&arrival{meta: meta, content: content})
}

// deliverSnapshots hands over what became of snapshots, and those that have arrived.
func (r *Replica) deliverSnapshots(h *Handler, a *arrivals) {
	for _, s := range a.sent {
		h.SnapshotSent(s.to, s.err)
	}
	for _, err := range a.restored {
		h.Restored(err)
		r.installing.done <- err
		r.installing = nil
	}
	if a.need != nil {
		h.NeedSnapshot(*a.need)
	}
	for _, s := range a.snapshots {
		if err := h.SnapshotArrived(s.meta, s.content); err != nil {
			s.done <- err
		} else {
			r.installing = s
		}
	}
}

// NeedSnapshot says whether InstallSnapshot may replace what the log would lead to: a machine that cannot go on, or must not.
// A snapshot that was installed ends the need.
func (r *Replica) NeedSnapshot(need bool) {
	// The inbox refuses only when the replica stops, and then no snapshot is installed.
	_ = r.inbox.put(func(a *arrivals) error {
		a.need = &need
		return nil
	})
	r.arrived()
}

// InstallSnapshot replaces the machine's content by what a peer has brought, which is whole and verified, and returns when
// that is durable. content is not used any more then, whatever is returned. The log begins after it, or goes on.
//
// Errors: raft.ErrStale (this node holds more; the sender may count the snapshot as installed), raft.ErrBusy (another
// one is being installed), raft.ErrMalformed, raft.ErrIgnored (no Config.Snapshots), ErrClosed, and the machine's.
func (r *Replica) InstallSnapshot(meta raft.SnapshotMeta, content io.ReaderAt) error {
	s := &arrival{meta: meta, content: content, done: make(chan error, 1)}
	err := r.inbox.put(func(a *arrivals) error {
		a.snapshots = append(a.snapshots, s)
		return nil
	})
	if err != nil {
		return err
	}
	r.arrived()
	select {
	case err := <-s.done:
		return err
	case <-r.stopping:
		<-r.applier.ended
		return closed(r.Err())
	}
}
