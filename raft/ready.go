package raft

// Ready is everything that a Node wants done. The driver carries it out; the types keep the order that safety needs.
type Ready struct {
	// Write is to be made durable as one record, after all writes before it. Nil if there is nothing to persist.
	Write *Write
	// Send may leave at once, before Write is durable.
	Send []Message
	// SendAt may leave only after Stable was called with its Seq.
	SendAt []AfterWrite
	// Commit holds entries that are committed and locally durable. The driver applies them in order and reports
	// with Applied. A range is handed out once.
	Commit Range
	// Reads are the answers to Read.
	Reads []ReadResult
	// Load asks for old entries out of the durable log, for a peer that lags; the answer is Loaded.
	Load []LoadRange
	// Snapshot asks for the state machine's content to be brought to peers; the answer is SnapshotSent.
	Snapshot []SendSnapshot
	// Events tell the driver's log what happened.
	Events []Event
}

// Empty reports whether there is nothing to do.
func (r *Ready) Empty() bool {
	return r.Write == nil && len(r.Send) == 0 && len(r.SendAt) == 0 && r.Commit.Len() == 0 &&
		len(r.Reads) == 0 && len(r.Load) == 0 && len(r.Snapshot) == 0 && len(r.Events) == 0
}

// Write is one durable record: hard state, truncation and entries together, or not at all.
type Write struct {
	Seq       Seq
	HardState HardState
	// Snapshot, if not nil, is what the state machine was restored to, durably. If the log holds that entry it keeps
	// what comes after it, else it drops everything: Snapshot.Applied is its new base (paper fig. 13).
	Snapshot *Base
	// TruncateFrom, if not zero, removes all entries with index ≥ TruncateFrom before Entries are appended.
	TruncateFrom Index
	// Entries are contiguous and follow the log's last entry (after the truncation).
	Entries []Entry
}

// AfterWrite is a message that promises what Write Seq holds.
type AfterWrite struct {
	Seq     Seq
	Message Message
}

// ReadResult answers one Read.
type ReadResult struct {
	ID ReadID
	// Index is where the state machine must have arrived before the read runs.
	Index Index
	// Err is nil, or ErrNotLeader when leadership could not be confirmed; the read may be asked again.
	Err error
}

// LoadRange asks the driver for entries out of the durable log, to be sent to peer To. The driver may return
// fewer than asked for (at least one), to bound memory.
type LoadRange struct {
	To    ID
	Range Range
	// MaxBytes bounds the sum of the sizes of the entries returned after the first.
	MaxBytes int
}

// Event is something that an operator may want to read in a log: one of RoleChanged, Voted, Truncated,
// ConfigurationChanged, Transferring, WasRemoved, PeerStranded, LearnerLags, SnapshotInstalled.
type Event interface{ event() }

// RoleChanged says that role, term or known leader changed.
type RoleChanged struct {
	Role   Role
	Term   Term
	Leader ID
	// Why is a short cause in lower case: "election timeout", "higher term", "lost quorum", "won election" …
	Why string
}

// Voted says that this node granted its vote in Term.
type Voted struct {
	Term Term
	For  ID
}

// Truncated says that entries from From on conflicted with the leader's and were dropped.
type Truncated struct {
	From EntryID
	Last Index
}

// ConfigurationChanged says that another configuration counts from now on.
type ConfigurationChanged struct {
	Index         Index
	Configuration Configuration
}

// Transferring says that the leader began to hand over to To (zero: the attempt ended without success).
type Transferring struct{ To ID }

// WasRemoved says that this node is no longer a member, as of the configuration of Index: a peer said so, or this node's
// own log has it committed. A leader that removed itself learns it when it has stepped down.
type WasRemoved struct{ Index Index }

// PeerStranded says that a peer needs entries from Next on, which the leader's log, beginning at First, no longer holds.
// It stays so, with heartbeats only, until another leader has those entries.
type PeerStranded struct {
	ID          ID
	Next, First Index
}

// LearnerLags says that a learner is Behind by so many entries and does not catch up: ten times in a row it took longer
// than T to receive what the log held at one moment. It is promoted only when it has become faster (§4.2.1).
type LearnerLags struct {
	ID     ID
	Behind Index
}

func (LearnerLags) event()          {}
func (PeerStranded) event()         {}
func (RoleChanged) event()          {}
func (Voted) event()                {}
func (Truncated) event()            {}
func (ConfigurationChanged) event() {}
func (Transferring) event()         {}
func (WasRemoved) event()           {}
