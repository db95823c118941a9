package raft

// Message is what one node sends to another. Each kind has a type of its own. Any message may be lost, doubled,
// delayed or reordered: no rule of the protocol depends on delivery.
type Message interface {
	// Header returns the fields that every message has. (Envelope is the name of the embedded field.)
	Header() Envelope
	sealed()
}

// Envelope is the part that all messages share.
type Envelope struct {
	From, To ID
	// Term is the sender's term. In a Vote with Pre set it is the term the sender would campaign in, and in a
	// granted VoteAck with Pre set it echoes that term.
	Term Term
}

// Header implements Message.
func (e Envelope) Header() Envelope { return e }
func (Envelope) sealed()            {}

// Append carries entries from the leader (AppendEntries, paper fig. 2).
type Append struct {
	Envelope
	// Prev is the entry before the first of Entries.
	Prev    EntryID
	Entries []Entry
	// Commit is the leader's commit index.
	Commit Index
	// Round is the leader's newest read round: an acknowledgement of it confirms leadership (§6.4).
	Round uint64
}

// AppendAck answers an Append.
type AppendAck struct {
	Envelope
	// Match is Prev.Index + len(Entries) of the Append that it answers, never "my last index". Zero if rejected.
	Match Index
	// Rejected says that the follower does not hold Prev. Then Prev names the rejected index and Hint the
	// follower's last entry that may match, with index ≤ Prev and term ≤ the term asked for (§3.5 end).
	Rejected bool
	Prev     Index
	Hint     EntryID
	Round    uint64
}

// Heartbeat keeps a follower from campaigning, tells it the commit index and carries the read round (paper §5.2).
type Heartbeat struct {
	Envelope
	// Commit is min(leader's commit, what the follower is known to hold): its tail may be another leader's.
	Commit Index
	Round  uint64
	// Silent asks for no answer: the heartbeat is not due, and only tells the commit index as soon as it is known.
	Silent bool
}

// HeartbeatAck answers a Heartbeat that is not silent.
type HeartbeatAck struct {
	Envelope
	Round uint64
}

// Vote asks for a vote (RequestVote, paper §5.2), or with Pre for the promise of one (§9.6).
type Vote struct {
	Envelope
	// Last is the id of the candidate's last entry.
	Last EntryID
	Pre  bool
	// Transfer marks an election that the leader itself asked for: stickiness yields to it (§4.2.3).
	Transfer bool
}

// VoteAck answers a Vote. A refusal carries the answerer's term.
type VoteAck struct {
	Envelope
	Pre     bool
	Granted bool
}

// TimeoutNow tells the target of a leadership transfer to campaign at once (§3.10).
type TimeoutNow struct {
	Envelope
	// Commit is the leader's commit index, so that the new leader starts with it.
	Commit Index
}

// ReadIndex asks the leader for an index that a linearizable read may run at (§6.4).
type ReadIndex struct {
	Envelope
	// Seq is unique to the sender's incarnation; a retry has a new one.
	Seq uint64
}

// ReadIndexAck answers a ReadIndex once a quorum has confirmed the leader after the request arrived.
type ReadIndexAck struct {
	Envelope
	Seq   uint64
	Index Index
	// Rejected says that the answerer is no leader, or could not confirm that it is.
	Rejected bool
}

// Removed tells a node that the committed configuration no longer has it: when that is committed, and when it asks for
// votes later (§4.2.3 leaves it to find out).
type Removed struct {
	Envelope
	// Index is where the configuration without the node stands.
	Index Index
}
