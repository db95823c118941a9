package replica

import (
	"sync/atomic"

	"github.com/rsqld/rsqld/raft"
)

// Applied is the outcome of a proposal that was committed and applied on this node.
type Applied struct {
	// ID is where the proposal stands in the log, for ever.
	ID raft.EntryID
	// Result is what the state machine answered; nil for a change of membership.
	Result raft.Result
}

// Proposal is one entry on its way into the log: a command, or a change of membership.
type Proposal struct {
	// Term is the only term in which the proposal may be made; zero is any.
	Term raft.Term
	// Data is the command. It is shared with the log and the peers: nobody changes it any more.
	Data []byte
	// Membership, if not nil, makes the proposal a change of membership; Term and Data do not count then.
	Membership *raft.Membership
	// Done is called exactly once with the outcome, unless Abandon returned true. It must not block.
	Done func(Applied, error)

	// claim is unclaimed until either the handler takes the proposal or its owner gives it up: only one can.
	claim atomic.Uint32
}

const (
	unclaimed uint32 = iota
	taken
	abandoned
)

// Abandon gives up a proposal that the handler has not taken yet. True says that it never will: nothing was proposed
// and Done is not called. False says that the handler has it, and that Done is or will be called.
func (p *Proposal) Abandon() bool { return p.claim.CompareAndSwap(unclaimed, abandoned) }

func (p *Proposal) take() bool { return p.claim.CompareAndSwap(unclaimed, taken) }

// reset makes p usable again; its Done was called.
func (p *Proposal) reset() {
	p.Term, p.Data, p.Membership = 0, nil, nil
	p.claim.Store(unclaimed)
}
