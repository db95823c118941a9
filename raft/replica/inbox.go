package replica

import (
	"fmt"
	"sync"

	"github.com/rsqld/rsqld/raft"
)

// inbox is where everything arrives that the loop has not seen yet. Putting something in takes one short lock and never
// waits; the loop takes all at once, which is what makes batches: whatever arrived during one turn is the next turn.
type inbox struct {
	limits Limits
	// wake has room for one signal: something arrived since the loop looked last.
	wake chan struct{}

	mu      sync.Mutex
	arrived arrivals
	// proposals wait until the loop wants a batch. held says that it does not want one now: they do not wake it.
	proposals     []*Proposal
	proposalBytes int
	held          bool
	closed        error
	dropped       uint64
}

// arrivals are events by kind, each kind in order.
type arrivals struct {
	messages     []raft.Message
	messageBytes int

	// read is the round that readers join until the loop takes it, or nil.
	read      *sharedRead
	transfers []*Transfer

	unreachable []raft.ID
	loaded      []loaded
	written     written
	// applying are the outcomes of the applier, nil: it works again.
	applying []error
	// sent are the ends of snapshots' ways to peers, snapshots those that peers have brought, restored the outcomes of
	// installations.
	sent      []snapshotSent
	snapshots []*arrival
	restored  []error
	// need is the newest word on whether the machine must be replaced, or nil.
	need *bool
	// fit is the newest judgement of the layers above, or nil.
	fit *bool
}

type loaded struct {
	load    raft.LoadRange
	entries []raft.Entry
	err     error
}

// written says that the writes up to seq are durable, or that one failed. Zero: nothing new.
type written struct {
	seq raft.Seq
	err error
}

// reset empties a, and keeps the room.
func (a *arrivals) reset() {
	clear(a.messages)
	clear(a.transfers)
	clear(a.loaded)
	clear(a.applying)
	clear(a.sent)
	clear(a.snapshots)
	clear(a.restored)
	*a = arrivals{
		messages: a.messages[:0], transfers: a.transfers[:0],
		unreachable: a.unreachable[:0], loaded: a.loaded[:0], applying: a.applying[:0],
		sent: a.sent[:0], snapshots: a.snapshots[:0], restored: a.restored[:0],
	}
}

func newInbox(limits Limits) *inbox {
	return &inbox{limits: limits, wake: make(chan struct{}, 1)}
}

// take swaps the arrivals against an empty set. The caller resets what it got and gives it back with the next call.
func (b *inbox) take(empty *arrivals) {
	b.mu.Lock()
	b.arrived, *empty = *empty, b.arrived
	b.mu.Unlock()
}

// takeProposals swaps the proposals that wait against an empty list.
func (b *inbox) takeProposals(empty []*Proposal) []*Proposal {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.proposals
	b.proposals, b.proposalBytes = empty, 0
	return taken
}

// hold says whether the loop has a batch on its way. It wakes the loop if proposals were held that need not be.
func (b *inbox) hold(held bool) {
	b.mu.Lock()
	b.held = held
	due := !held && len(b.proposals) > 0
	b.mu.Unlock()
	if due {
		b.signal()
	}
}

// put runs add, unless the inbox is closed. Whoever calls it sees to it that a turn follows.
func (b *inbox) put(add func(*arrivals) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed != nil {
		return b.closed
	}
	return add(&b.arrived)
}

func (b *inbox) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// message takes a message, or drops it if it does not fit. Whoever calls it sees to it that a turn follows.
func (b *inbox) message(m raft.Message) {
	size := entryBytes(m)
	b.mu.Lock()
	a := &b.arrived
	switch {
	case b.closed != nil:
	case len(a.messages) >= b.limits.MaxInboxMessages,
		size > 0 && a.messageBytes > 0 && a.messageBytes+size > b.limits.MaxInboxBytes:
		b.dropped++
	default:
		a.messages = append(a.messages, m)
		a.messageBytes += size
	}
	b.mu.Unlock()
}

// entryBytes is the size of the entries that a message carries. What is small does not count.
func entryBytes(m raft.Message) int {
	size := 0
	if a, ok := m.(raft.Append); ok {
		for i := range a.Entries {
			size += len(a.Entries[i].Data)
		}
	}
	return size
}

// propose refuses what does not fit. Unless the proposal is held, whoever calls it sees to it that a turn follows.
func (b *inbox) propose(p *Proposal) (held bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	err = b.closed
	switch {
	case err != nil:
	case len(b.proposals) >= b.limits.MaxProposals,
		len(b.proposals) > 0 && b.proposalBytes+len(p.Data) > b.limits.MaxProposalBytes:
		err = fmt.Errorf("%w: %d proposals wait for the loop", raft.ErrBusy, len(b.proposals))
	default:
		b.proposals = append(b.proposals, p)
		b.proposalBytes += len(p.Data)
	}
	return b.held, err
}

// read returns the round to wait for. It was not asked before this call.
func (b *inbox) read() (*sharedRead, error) {
	var round *sharedRead
	err := b.put(func(a *arrivals) error {
		if a.read == nil {
			a.read = newSharedRead()
		}
		round = a.read
		return nil
	})
	return round, err
}

// done reports a completed write. The newest one says all, and the first failure is the last word.
func (b *inbox) done(seq raft.Seq, err error) {
	b.mu.Lock()
	w := &b.arrived.written
	if w.err == nil {
		*w = written{max(w.seq, seq), err}
	}
	b.mu.Unlock()
}

// empty reports whether nothing has arrived that the loop would act on.
func (b *inbox) empty() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return (b.held || len(b.proposals) == 0) && len(b.arrived.messages) == 0
}

// close refuses everything from now on with why, and returns the proposals and the round that the loop never saw.
func (b *inbox) close(why error) (proposals []*Proposal, read *sharedRead, transfers []*Transfer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed != nil {
		return nil, nil, nil
	}
	b.closed = why
	proposals, read, transfers = b.proposals, b.arrived.read, b.arrived.transfers
	b.arrived, b.proposals = arrivals{}, nil
	return proposals, read, transfers
}

func (b *inbox) droppedMessages() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dropped
}

// sharedRead is a ReadRound that any number of readers wait for.
type sharedRead struct {
	ReadRound
	// done is closed when index and err are set.
	done  chan struct{}
	index raft.Index
	err   error
}

func newSharedRead() *sharedRead {
	s := &sharedRead{done: make(chan struct{})}
	s.Done = func(index raft.Index, err error) {
		s.index, s.err = index, err
		close(s.done)
	}
	return s
}
