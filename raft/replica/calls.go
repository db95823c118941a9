package replica

import (
	"context"
	"fmt"

	"github.com/rsqld/rsqld/raft"
)

// call is a Proposal with somebody who waits for it. Calls are pooled: a call whose outcome was received is used again.
type call struct {
	Proposal
	// outcome has room for the one value that Done puts in.
	outcome chan outcome
}

type outcome struct {
	applied Applied
	err     error
}

func newCall() *call {
	c := &call{outcome: make(chan outcome, 1)}
	c.Done = func(applied Applied, err error) { c.outcome <- outcome{applied, err} }
	return c
}

// Propose puts data into the log and waits until it is applied on this node. Term binds the proposal to one term; zero
// is any. Data is not changed by anybody from now on, the caller included.
//
// The error says what became of the proposal. Nothing was proposed: raft.ErrNotLeader, raft.ErrBusy,
// raft.ErrTermChanged, raft.ErrTransferring, ErrNoRoom, ErrTooLarge, ErrClosed, or the context's error alone. It will never
// be executed: ErrDropped. It may have been or may be executed: ErrOutcomeUnknown.
func (r *Replica) Propose(ctx context.Context, term raft.Term, data []byte) (Applied, error) {
	if len(data) > r.cfg.Limits.MaxEntryBytes {
		return Applied{}, fmt.Errorf("%w: %d bytes, the most is %d", ErrTooLarge, len(data), r.cfg.Limits.MaxEntryBytes)
	}
	c := r.calls.Get().(*call)
	c.Term, c.Data = term, data
	return r.call(ctx, c)
}

// Change proposes a change of membership and waits until it is done: the configuration that it leads to is committed and
// applied on this node, and not joint, so that nodes that were removed are needed no more. Errors are those of Propose and
// raft's ErrChangePending, ErrUnsupportedChange, ErrMember, ErrReused, ErrTooManyMembers, ErrNotMember, ErrNotLearner,
// ErrNotVoter, ErrNotCaughtUp and ErrLastVoter, after which nothing was proposed.
func (r *Replica) Change(ctx context.Context, change raft.Membership) error {
	c := r.calls.Get().(*call)
	c.Membership = &change
	applied, err := r.call(ctx, c)
	if err != nil {
		return err
	}
	return r.leaveJoint(ctx, applied.ID.Index)
}

// leaveJoint waits until a configuration of index or later is committed and not joint, and then until it is applied. A
// leader leaves a joint configuration by itself. The status is looked at once a tick, which is how old it may be.
func (r *Replica) leaveJoint(ctx context.Context, index raft.Index) error {
	ticks, stop := r.cfg.Clock.Ticker(Tick(r.cfg.ElectionTimeout))
	defer stop()
	for {
		s := r.status.Load()
		if at := s.ConfigurationIndex; !s.Configuration.Joint() && at >= index && at <= s.Commit {
			return r.WaitApplied(ctx, at)
		}
		select {
		case <-ticks:
		case <-r.stopping:
			return fmt.Errorf("%w: the change was begun: %w", ErrOutcomeUnknown, r.Err())
		case <-ctx.Done():
			return fmt.Errorf("%w: the change was begun, its end is not known: %w", ErrOutcomeUnknown, ctx.Err())
		}
	}
}

func (r *Replica) call(ctx context.Context, c *call) (Applied, error) {
	err, held := ctx.Err(), false
	if err != nil {
		err = notProposed(err)
	} else {
		held, err = r.inbox.propose(&c.Proposal)
	}
	if err != nil {
		r.recycle(c)
		return Applied{}, err
	}
	if !held {
		r.arrived()
	}
	select {
	case o := <-c.outcome:
		r.recycle(c)
		return o.applied, o.err
	case <-ctx.Done():
	}
	if c.Abandon() {
		// The inbox still points to c: it is left to the garbage collector.
		return Applied{}, notProposed(ctx.Err())
	}
	select {
	case o := <-c.outcome:
		r.recycle(c)
		return o.applied, o.err
	default:
		return Applied{}, fmt.Errorf("%w: %w", ErrOutcomeUnknown, ctx.Err())
	}
}

// GiveUp ends the wait of all proposals and changes of membership that were made before the call and are not applied,
// because of why. Their errors wrap it: with ErrOutcomeUnknown, or alone if nothing was proposed.
func (r *Replica) GiveUp(why error) {
	// With the baton nothing is on its way from the inbox to the waiters.
	r.baton.Lock()
	defer r.baton.Unlock()
	for _, p := range r.inbox.takeProposals(nil) {
		if p.take() {
			p.Done(Applied{}, notProposed(why))
		}
	}
	r.waiters.GiveUp(why)
}

func notProposed(err error) error { return fmt.Errorf("nothing was proposed: %w", err) }

// recycle takes back a call that nobody else points to.
func (r *Replica) recycle(c *call) {
	c.reset()
	r.calls.Put(c)
}

// ReadIndex returns an index such that a read at it, or later, sees every write that was acknowledged before the call
// (§6.4): a quorum confirmed the leader after ReadIndex was called. It works on leader and followers. Errors:
// raft.ErrNotLeader (no leader is known, or the one that was asked is lost; ask again), raft.ErrBusy, ErrClosed, the
// context's.
func (r *Replica) ReadIndex(ctx context.Context) (raft.Index, error) {
	round, err := r.inbox.read()
	if err != nil {
		return 0, err
	}
	r.inbox.signal() // and not r.arrived: who comes before the loop does shares the round
	select {
	case <-round.done:
		return round.index, round.err
	case <-ctx.Done():
		return 0, fmt.Errorf("waiting for a quorum to confirm the leader: %w", ctx.Err())
	}
}

// Last returns the newest entry that this node's log holds or is about to write. A proposal whose call has returned is at
// it or before, or was never made.
func (r *Replica) Last() raft.EntryID {
	r.baton.Lock()
	defer r.baton.Unlock()
	return r.handler.Status().Last
}

// WaitApplied waits until the entry at index is applied on this node. Errors: the context's, ErrClosed.
func (r *Replica) WaitApplied(ctx context.Context, index raft.Index) error {
	return r.applier.progress.wait(ctx, index)
}

// Applied returns the index of the last entry applied on this node. It takes no lock.
func (r *Replica) Applied() raft.Index { return r.applier.Applied() }

// Transfer hands leadership to a voter (zero: the one that is furthest) and waits until this node does not lead any
// more, or until the attempt has ended: ErrTransferFailed after about one T. Other errors: raft.ErrNotLeader,
// raft.ErrNotVoter, raft.ErrNoTarget, raft.ErrTransferring, ErrClosed, the context's (the attempt goes on then).
func (r *Replica) Transfer(ctx context.Context, to raft.ID) error {
	done := make(chan error, 1)
	err := r.inbox.put(func(a *arrivals) error {
		a.transfers = append(a.transfers, &Transfer{To: to, Done: func(err error) { done <- err }})
		return nil
	})
	if err != nil {
		return err
	}
	r.arrived()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("handing over leadership: %w", ctx.Err())
	}
}

// Step takes a message from a peer. It never waits: a full inbox drops the message and counts it. It may call
// Transport.Send before it returns. The entries of the message are the replica's from now on.
func (r *Replica) Step(m raft.Message) {
	r.inbox.message(m)
	r.arrived()
}

// Unreachable says that the transport lost the peer, so that nothing more is sent ahead until it answers.
func (r *Replica) Unreachable(id raft.ID) {
	// The inbox refuses only when the replica stops, and then no peer matters.
	_ = r.inbox.put(func(a *arrivals) error {
		a.unreachable = append(a.unreachable, id)
		return nil
	})
	r.arrived()
}

// Status returns the newest published state, at most one tick old, with the applied index of this moment. It takes no
// lock. Slices in it are shared: they must not be changed.
func (r *Replica) Status() raft.Status {
	status := *r.status.Load()
	status.Applied = max(status.Applied, r.Applied())
	return status
}

// Leader returns the leader (zero if none is known) and the term, and a channel that is closed when one of them
// changes. It takes no lock.
func (r *Replica) Leader() (id raft.ID, term raft.Term, changed <-chan struct{}) {
	l := r.leader.Load()
	return l.id, l.term, l.changed
}

// ApplyErr returns why nothing is applied at the moment, or nil: the state machine's environment failed, and is tried
// again. Meanwhile the node does not lead (if another voter can), and what it has applied grows old.
func (r *Replica) ApplyErr() error { return *r.applyErr.Load() }

// RoomErr returns why the log has no room for what comes, or nil. Meanwhile the node takes no proposals, and does not lead
// if another voter can.
func (r *Replica) RoomErr() error { return *r.roomErr.Load() }

// Counters count since Open.
type Counters struct {
	// DroppedMessages did not fit into the inbox.
	DroppedMessages uint64
	// MalformedMessages were such as no correct peer sends.
	MalformedMessages uint64
}

// Counters returns what was counted.
func (r *Replica) Counters() Counters {
	return Counters{DroppedMessages: r.inbox.droppedMessages(), MalformedMessages: r.malformed.Load()}
}
