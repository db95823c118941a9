package raft

// Status is a copy of what a Node knows, for operators, metrics and tests.
type Status struct {
	ID     ID
	Role   Role
	Term   Term
	Leader ID // 0: not known
	Vote   ID
	Fit    bool
	// Commit and Applied are the newest committed and the newest applied index.
	Commit, Applied Index
	// First is the oldest index held; Last the newest entry, durable or not; Stable the newest durable index.
	First  Index
	Last   EntryID
	Stable Index
	// Configuration counts now; its entry stands at ConfigurationIndex, which may not be committed yet.
	Configuration      Configuration
	ConfigurationIndex Index
	// Transferring is the node that leadership is being handed to, or 0.
	Transferring ID
	// ContactTicks is the time since the last contact with a quorum (on a leader) or with a leader (elsewhere).
	ContactTicks int
	// Peers are the other members, by id. Only a leader has them.
	Peers []PeerStatus
}

// PeerStatus is what a leader knows of one peer.
type PeerStatus struct {
	ID ID
	// Match is the newest index known to be durable there; Next the next one to send.
	Match, Next Index
	// State is "probe", "replicate", or "stranded": it needs entries that this log no longer holds,
	// or "snapshot": a snapshot with them is on its way.
	State string
	// SinceAck is the time since its last answer, in ticks.
	SinceAck int
	// Learner says that it does not vote, CaughtUp that it may be promoted.
	Learner, CaughtUp bool
	// Inflight and InflightBytes measure the Appends that are not acknowledged yet.
	Inflight, InflightBytes int
}
