package replica

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/rsqld/rsqld/raft"
)

// Writer makes writes durable, in the order of the calls. Its methods return at once; the outcome of a write comes
// back as the event Handler.Written.
type Writer interface {
	Write(*raft.Write)
	// Mark asks for the marker that covers the newest record (wal.Mark). Its failure also comes back as Written.
	Mark()
}

// Loader reads entries for a peer that lags; the answer comes back as the event Handler.Loaded.
type Loader interface {
	Load(raft.LoadRange)
}

// Committer is told how far entries may be applied. Its outcome comes back as the events Applied, ApplyFailed and
// ApplyResumed.
type Committer interface {
	Commit(raft.Index)
	// Retry applies again after a failure.
	Retry()
}

// Environment is everything that a Handler touches.
type Environment struct {
	Clock     interface{ Now() time.Time }
	Writer    Writer
	Loader    Loader
	Committer Committer
	Transport raft.Transport
	Waiters   *Waiters
	// Snapshots is nil where the state machine has none: then peers behind the beginning of the log stay behind.
	Snapshots Snapshots
	Logger    *slog.Logger
}

// Handler is the replica without its goroutines: a deterministic reaction to events. Each event is a method; after any
// number of events, Process carries out what they caused. The caller sees to it that one goroutine at a time is in
// here, and that all messages at hand are handed in before a Tick: a node that was paused must not campaign because
// its clock arrived before the heartbeat did.
//
// No method waits for the disk, the state machine or a peer.
type Handler struct {
	node *raft.Node
	env  Environment
	log  *slog.Logger
	// timeout is T.
	timeout time.Duration

	// role, term and leader are as of the newest RoleChanged event.
	role   raft.Role
	term   raft.Term
	leader raft.ID
	// changed says that an event came out of the core since TakeChanged.
	changed bool

	// queued is the newest write handed to the writer, written the newest that is durable. written ≤ queued.
	queued, written raft.Seq
	// held are the messages that promise what a write ≤ queued and > written holds.
	held []raft.AfterWrite
	// err, if not nil, is the write failure or the removal that stopped this handler for good: no event has an effect
	// any more.
	err error

	marker     marker
	stall      stall
	removal    removal
	room       room
	applying   applying
	reluctance reluctance
	reads      reads
	// restoring says that the state machine is being replaced.
	restoring bool
	transfers []*Transfer
	// transferEnded says that the core has ended an attempt, with or without success.
	transferEnded bool

	// loadFailed says that the newest Load failed, which was logged.
	loadFailed bool
	// data is scratch of Propose.
	data [][]byte
}

// NewHandler returns a handler around the core. T, the election timeout, is the base of its limits of time.
func NewHandler(node *raft.Node, timeout time.Duration, limits Limits, env Environment) *Handler {
	if env.Logger == nil {
		env.Logger = slog.New(slog.DiscardHandler)
	}
	status := node.Status()
	return &Handler{
		node:    node,
		env:     env,
		log:     env.Logger.With("node", uint64(status.ID)),
		timeout: timeout,
		role:    status.Role, term: status.Term, leader: status.Leader,
		stall: stall{newest: status.Last.Index, settled: status.Last.Index},
		reads: reads{limit: limits.withDefaults().MaxReadRounds},
	}
}

// Step takes a message from a peer. One that makes no sense is dropped by the core, as a network may.
func (h *Handler) Step(m raft.Message) error {
	if h.err != nil {
		return h.err
	}
	return h.node.Step(m)
}

// Unreachable says that the transport lost a peer.
func (h *Handler) Unreachable(id raft.ID) {
	if h.err == nil {
		h.node.Unreachable(id)
	}
}

// Tick says that T/15 has passed. Everything that waits for a time is looked at here, so that a simulator needs no
// timer but this one.
func (h *Handler) Tick() {
	if h.err != nil {
		return
	}
	now := h.env.Clock.Now()
	h.node.Tick()
	h.mark(now)
	h.watchDisk(now)
	h.watchApplier(now)
	h.watchReluctance(now)
	h.watchRemoval(now)
}

// Written says that the writes up to seq are durable. An error says that this or a later one failed: what the disk
// holds is not known then, and the handler stops for good (an index is never used twice in a term).
func (h *Handler) Written(seq raft.Seq, err error) {
	switch {
	case h.err != nil:
	case err != nil:
		h.err = fmt.Errorf("writing the log: %w", err)
		h.log.Error("log write failed, replica stops", "term", uint64(h.term), "err", err)
		h.reads.fail(closed(h.err))
		h.endTransfers(closed(h.err))
	case seq > h.written:
		h.written = seq
		h.stall.complete()
		h.node.Stable(seq)
		h.release()
	}
}

// release sends the messages whose promise has become durable.
func (h *Handler) release() {
	h.held = slices.DeleteFunc(h.held, func(m raft.AfterWrite) bool {
		if m.Seq > h.written {
			return false
		}
		h.env.Transport.Send(m.Message)
		return true
	})
}

// Loaded answers a Load. With an error entries is empty, and the core asks again when it has to.
func (h *Handler) Loaded(load raft.LoadRange, entries []raft.Entry, err error) {
	if h.err != nil {
		return
	}
	if failed := err != nil; failed != h.loadFailed {
		h.loadFailed = failed
		if failed {
			h.log.Error("cannot read entries for a peer", "peer", uint64(load.To), "index", uint64(load.Range.First), "err", err)
		} else {
			h.log.Info("entries for peers can be read again")
		}
	}
	h.node.Loaded(load, entries)
}

// Propose takes proposals in order. What cannot be proposed is answered at once; the others when they are applied.
func (h *Handler) Propose(proposals []*Proposal) {
	proposals = slices.DeleteFunc(proposals, func(p *Proposal) bool { return !p.take() })
	for len(proposals) > 0 {
		run := 1
		if proposals[0].Membership != nil {
			h.change(proposals[:1])
		} else {
			for run < len(proposals) && proposals[run].Membership == nil && proposals[run].Term == proposals[0].Term {
				run++
			}
			h.proposeRun(proposals[:run])
		}
		proposals = proposals[run:]
	}
}

// Settled reports whether no batch of this leader is on its way: proposals that come now need not wait for company.
func (h *Handler) Settled() bool { return h.err != nil || h.node.Settled() }

// proposeRun gives the core commands that are bound to the same term, together: one entry each, one write for all.
func (h *Handler) proposeRun(run []*Proposal) {
	if h.err != nil {
		h.refuse(run, closed(h.err))
		return
	}
	if h.role == raft.Leader && h.room.err != nil {
		h.refuse(run, fmt.Errorf("%w: %w", ErrNoRoom, h.room.err))
		return
	}
	for _, p := range run {
		h.data = append(h.data, p.Data)
	}
	first, err := h.node.Propose(run[0].Term, h.data...)
	clear(h.data)
	h.data = h.data[:0]
	switch {
	case err == nil:
		h.env.Waiters.add(first, run)
	case errors.Is(err, raft.ErrBusy) && len(run) > 1:
		// All together are too much; the first of them may fit.
		h.proposeRun(run[:len(run)/2])
		h.proposeRun(run[len(run)/2:])
	default:
		h.refuse(run, err)
	}
}

// change proposes the one change of membership in p.
func (h *Handler) change(p []*Proposal) {
	if h.err != nil {
		h.refuse(p, closed(h.err))
		return
	}
	id, err := h.node.Change(*p[0].Membership)
	if err != nil {
		h.refuse(p, err)
		return
	}
	h.env.Waiters.add(id, p)
}

func (h *Handler) refuse(proposals []*Proposal, err error) {
	for _, p := range proposals {
		p.Done(Applied{}, err)
	}
}

// Process carries out everything that the events since the last call have caused.
func (h *Handler) Process() {
	for h.err == nil {
		ready := h.node.Ready()
		if ready.Empty() {
			return
		}
		h.carryOut(&ready)
	}
}

func (h *Handler) carryOut(ready *raft.Ready) {
	// Entries leave before this node's own write is even queued: the peers' disks work beside this one (§10.2.1).
	for _, m := range ready.Send {
		h.env.Transport.Send(m)
	}
	if ready.Write != nil {
		h.queued = ready.Write.Seq
		h.marker.done = false
		h.stall.queue(ready.Write)
		h.env.Writer.Write(ready.Write)
	}
	h.hold(ready.SendAt)
	if ready.Commit.Len() > 0 {
		h.env.Committer.Commit(ready.Commit.Last)
	}
	for _, load := range ready.Load {
		h.env.Loader.Load(load)
	}
	for _, snapshot := range ready.Snapshot {
		h.env.Snapshots.Send(snapshot.To)
	}
	for _, result := range ready.Reads {
		h.reads.resolve(result)
	}
	for _, event := range ready.Events {
		h.observe(event)
	}
	h.settleTransfers()
}

func (h *Handler) hold(messages []raft.AfterWrite) {
	for _, m := range messages {
		if m.Seq <= h.written {
			h.env.Transport.Send(m.Message)
		} else {
			h.held = append(h.held, m)
		}
	}
}

// Err returns why the handler stopped for good, or nil.
func (h *Handler) Err() error { return h.err }

// Role returns the newest role, term and known leader.
func (h *Handler) Role() (raft.Role, raft.Term, raft.ID) { return h.role, h.term, h.leader }

// Status returns a copy of what the core knows.
func (h *Handler) Status() raft.Status { return h.node.Status() }

// TakeChanged reports whether the core had an event since the last call: then Role or Status may differ.
func (h *Handler) TakeChanged() bool {
	changed := h.changed
	h.changed = false
	return changed
}

// Close ends what waits inside the handler, with why. Proposals wait in Waiters, not here.
func (h *Handler) Close(why error) {
	if h.err == nil {
		h.err = why
	}
	h.reads.fail(closed(why))
	h.endTransfers(closed(why))
}
