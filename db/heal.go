package db

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
)

// A node whose database cannot follow the log tries again by itself (package raft/replica). Where that does not help it
// asks another member for a snapshot, which replaces the database and nothing else: term, vote and log are whole.

const (
	// healInterval is the time between two looks at what this node applies.
	healInterval = time.Second / 2
	// healPatience is how long applying may fail before a snapshot is asked for. A database whose content is damaged is not
	// waited for; one without room is not given another copy, which needs more of it; nor is one whose restore waits for a file
	// that a member gives it.
	healPatience = 30 * time.Second
	// healPause is the pause after the first request, and maxHealPause the longest one: each is twice the one before.
	healPause    = 5 * time.Second
	maxHealPause = 10 * time.Minute
	// healAnswer bounds the answer to a request.
	healAnswer = 5 * time.Second
	// giveWait bounds how long a node that was asked waits until it has applied what its snapshot has to hold.
	giveWait = 10 * time.Second
)

// healer asks for a snapshot when this node's database cannot follow the log, and gives them to others.
type healer struct {
	// needs says that this node wants a snapshot of what its log holds.
	needs atomic.Bool
	// giving is held while a snapshot is on its way to one that asked.
	giving sync.Mutex

	// What follows is the goroutine's. since is when applying began to fail, next when the next request may be made.
	since, next time.Time
	pause       time.Duration
}

// heal looks after this node's database until the node closes.
func (n *Node) heal(ctx context.Context) {
	for {
		n.healOnce(ctx, time.Now())
		if _, ended := pause(ctx, healInterval, nil); ended != nil {
			return
		}
	}
}

func (n *Node) healOnce(ctx context.Context, now time.Time) {
	h := &n.healer
	n.snapshots.tidy()
	quarantined := n.engine.Quarantined()
	failed := cmp.Or(quarantined, n.engine.Damage(), n.replica.ApplyErr())
	if failed == nil {
		if h.needs.Swap(false) {
			n.replica.NeedSnapshot(false)
		}
		h.since = time.Time{}
		n.released()
		return
	}
	if h.since.IsZero() {
		h.since, h.next, h.pause = now, now, healPause
	}
	patient := quarantined == nil && !engine.Damaged(failed) && (now.Sub(h.since) < healPatience || n.restores.awaitsFile(failed))
	if engine.Full(failed) || patient || now.Before(h.next) {
		return
	}
	h.needs.Store(true)
	n.replica.NeedSnapshot(true)
	donors := n.donors()
	if len(donors) == 0 {
		return // the next look finds who has come
	}
	h.next, h.pause = now.Add(h.pause), min(2*h.pause, maxHealPause)
	for _, donor := range donors {
		asked, cancel := context.WithTimeout(ctx, healAnswer)
		_, refused := n.ask(asked, donor, "snapshot", strconv.FormatUint(uint64(n.engine.Applied()), 10))
		cancel()
		if refused == nil {
			n.log.Warn("this node's database cannot follow the log: asked for a snapshot", "node", n.self.Node, "peer", donor, "err", failed)
			return
		}
		n.log.Info("a peer gives no snapshot", "node", n.self.Node, "peer", donor, "err", refused)
	}
}

// donors are the nodes to ask, of those that are connected, the leader first.
func (n *Node) donors() []raft.ID {
	status := n.replica.Status()
	donors := slices.Clone(status.Configuration.Voters)
	if q := (quarantine{}); errors.As(n.engine.Quarantined(), &q) {
		donors = q.donors(donors)
	}
	donors = slices.DeleteFunc(donors, func(id raft.ID) bool { return id == n.self.Node || !n.endpoint.Connected(id) })
	slices.SortStableFunc(donors, func(a, b raft.ID) int {
		if a == status.Leader {
			return -1
		}
		if b == status.Leader {
			return 1
		}
		return 0
	})
	return donors
}

// snapshot is the verb by which a peer asks for a snapshot of an index or later. The answer says that it is on its way, or
// will be.
func (s *session) snapshot(_ context.Context, _ raft.Term, args []string) (*table, *Error) {
	index, err := strconv.ParseUint(args[0], 10, 63)
	if err != nil {
		return nil, protocolError("%q is no index", args[0])
	}
	n := s.node
	if err := cmp.Or(n.engine.Quarantined(), n.engine.Damage(), n.replica.ApplyErr()); err != nil {
		return nil, busy(fmt.Sprintf("this node has none to give: %v", err))
	}
	if !n.healer.giving.TryLock() {
		return nil, busy("another snapshot is on its way from this node")
	}
	n.group.Go(func() {
		defer n.healer.giving.Unlock()
		if err := n.give(s.peer, raft.Index(index)); err != nil {
			n.log.Warn("cannot give a peer the snapshot that it asked for", "node", n.self.Node, "peer", s.peer, "err", err)
		}
	})
	return &table{}, nil
}

// give brings a snapshot of an index or later to a peer.
func (n *Node) give(to raft.ID, index raft.Index) error {
	ctx, cancel := context.WithTimeout(n.ctx, giveWait)
	defer cancel()
	if err := n.replica.WaitApplied(ctx, index); err != nil {
		return err
	}
	image, err := n.engine.Snapshot()
	if err != nil {
		return err
	}
	defer image.Close()
	n.log.Info("a peer gets the snapshot that it asked for", "peer", to, "index", image.Meta().Applied.Index, "bytes", image.Meta().Size)
	return n.snapshots.SendSnapshot(n.ctx, to, image)
}
