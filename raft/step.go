package raft

import "fmt"

// maxNumber bounds terms and indexes in messages. Nothing honest comes near, and sums of smaller numbers do not
// overflow.
const maxNumber = 1 << 62

// Step handles a message from a peer. An error says why it was dropped or not obeyed; the node is as well as before.
func (n *Node) Step(m Message) error {
	if m == nil {
		return fmt.Errorf("%w: nil", ErrMalformed)
	}
	if err := n.check(m); err != nil {
		return err
	}
	// Elections have their own rules about terms: not every higher term is adopted.
	switch m := m.(type) {
	case Vote:
		return n.onVote(m)
	case VoteAck:
		return n.onVoteAck(m)
	case Removed:
		return n.onRemoved(m)
	}
	e := m.Header()
	if e.Term < n.hard.Term {
		return n.answerStale(m)
	}
	if e.Term > n.hard.Term {
		n.becomeFollower(e.Term, 0, "higher term")
	}
	switch m := m.(type) {
	case Append:
		return n.onAppend(m)
	case Heartbeat:
		return n.onHeartbeat(m)
	case AppendAck:
		return n.onAppendAck(m)
	case HeartbeatAck:
		return n.onHeartbeatAck(m)
	case TimeoutNow:
		return n.onTimeoutNow(m)
	case ReadIndex:
		return n.onReadIndex(m)
	case ReadIndexAck:
		return n.onReadIndexAck(m)
	}
	return fmt.Errorf("%w: unknown type %T", ErrMalformed, m)
}

// answerStale answers a message of an older term, where that helps. A leader that hears of a newer term steps down;
// without the answer, a node whose term is ahead could never be led again, as it ignores its leader and its leader
// ignores the votes it asks for (etcd#8501).
func (n *Node) answerStale(m Message) error {
	e := m.Header()
	switch m := m.(type) {
	case Append:
		n.send(AppendAck{Envelope: n.to(e.From), Rejected: true, Prev: m.Prev.Index})
	case Heartbeat:
		n.send(HeartbeatAck{Envelope: n.to(e.From)})
	case ReadIndex:
		n.send(ReadIndexAck{Envelope: n.to(e.From), Seq: m.Seq, Rejected: true})
	}
	return fmt.Errorf("%w: %T of term %d from %d, now %d", ErrStaleTerm, m, e.Term, e.From, n.hard.Term)
}

// check refuses what no correct peer sends, before anything is changed by it.
func (n *Node) check(m Message) error {
	e := m.Header()
	if e.To != n.config.ID || e.From == 0 || e.From == e.To {
		return fmt.Errorf("%w: %T from %d to %d, this is %d", ErrMalformed, m, e.From, e.To, n.config.ID)
	}
	if e.Term >= maxNumber {
		return fmt.Errorf("%w: %T of term %d", ErrMalformed, m, e.Term)
	}
	switch m := m.(type) {
	case VoteAck:
		return nil // the only message of a node that is in no term yet: a refusal
	case Vote:
		if m.Last.Term >= e.Term || (m.Last.Index == 0) != (m.Last.Term == 0) {
			return fmt.Errorf("%w: vote for term %d with a log that ends at %s", ErrMalformed, e.Term, m.Last)
		}
	case Append:
		if err := m.check(); err != nil {
			return fmt.Errorf("%w: append from %d: %w", ErrMalformed, e.From, err)
		}
	}
	if e.Term == 0 {
		return fmt.Errorf("%w: %T without a term", ErrMalformed, m)
	}
	return nil
}

// check reports why the entries cannot follow Prev in the log of a leader of the message's term.
func (m *Append) check() error {
	if (m.Prev.Index == 0) != (m.Prev.Term == 0) || m.Prev.Index >= maxNumber {
		return fmt.Errorf("previous entry %s", m.Prev)
	}
	before := m.Prev
	for i := range m.Entries {
		e := &m.Entries[i]
		if e.ID.Index != before.Index+1 || e.ID.Term < max(before.Term, 1) {
			return fmt.Errorf("entry %s after %s", e.ID, before)
		}
		before = e.ID
		switch e.Kind {
		case EntryCommand, EntryNoop:
		case EntryConfiguration:
			if c, err := DecodeConfiguration(e.Data); err != nil {
				return fmt.Errorf("entry %s: %w", e.ID, err)
			} else if err := c.validate(); err != nil {
				return fmt.Errorf("entry %s: %w", e.ID, err)
			}
		default:
			return fmt.Errorf("entry %s of kind %d", e.ID, e.Kind)
		}
	}
	if before.Term > m.Term {
		return fmt.Errorf("entry %s from a leader of term %d", before, m.Term)
	}
	return nil
}

// to returns the envelope of a message to id in the current term.
func (n *Node) to(id ID) Envelope {
	return Envelope{From: n.config.ID, To: id, Term: n.hard.Term}
}
