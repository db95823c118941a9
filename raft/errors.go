package raft

import "errors"

// Refusals of Propose, Read, Change and Transfer. After each of them nothing was appended and nothing will be.
var (
	// ErrNotLeader says that this node does not lead, or cannot prove that it does. Status names the leader, if known.
	ErrNotLeader = errors.New("not the leader")
	// ErrTermChanged says that the term is not the one that the caller asked for.
	ErrTermChanged = errors.New("the term has changed")
	// ErrBusy says that Config.MaxUncommittedBytes of proposals wait to be committed, or
	// Config.MaxPendingReads of reads to be confirmed.
	ErrBusy = errors.New("too much is waiting to be committed")
	// ErrTransferring says that the leader is handing over its leadership.
	ErrTransferring = errors.New("leadership is being transferred")
	// ErrNoProposal says that Propose was called without data.
	ErrNoProposal = errors.New("nothing to propose")
)

// Refusals of Change and Transfer.
var (
	// ErrChangePending says that the last configuration is not committed yet, or that the leader has not
	// committed an entry of its own term yet. It ends by itself.
	ErrChangePending = errors.New("another configuration change is pending")
	// ErrUnsupportedChange says that a Membership names no node, node 0, or a node twice.
	ErrUnsupportedChange = errors.New("a change names each of its nodes once, and at least one")
	// ErrMember says that the node to be added is a member already.
	ErrMember = errors.New("already a member")
	// ErrReused says that the node to be added was a member and was removed: its id belongs to that disk for ever.
	ErrReused = errors.New("removed before, and ids are not used again: join as a new node with an empty data directory")
	// ErrTooManyMembers says that the change would make more than MaxMembers members.
	ErrTooManyMembers = errors.New("too many members")
	// ErrNotMember says that the node to be removed is no member.
	ErrNotMember = errors.New("not a member")
	// ErrNotLearner says that the node to be promoted is no learner.
	ErrNotLearner = errors.New("not a learner")
	// ErrNotVoter says that the target of a transfer, or the node to be demoted, is no voter that stays one.
	ErrNotVoter = errors.New("not a voter")
	// ErrNotCaughtUp says that the learner to be promoted still lacks old entries (§4.2.1).
	ErrNotCaughtUp = errors.New("not caught up with the leader's log")
	// ErrLastVoter says that the change would leave the cluster without voters.
	ErrLastVoter = errors.New("the last voter cannot be removed")
	// ErrNoTarget says that no voter is fit to receive the leadership.
	ErrNoTarget = errors.New("no voter to transfer leadership to")
)

// Reasons why Step dropped a message. None is fatal: networks double and delay messages, and a peer may be broken.
var (
	// ErrStaleTerm says that the message is of an older term than this node's.
	ErrStaleTerm = errors.New("message of an older term")
	// ErrStale says that the message answers something that no longer matters.
	ErrStale = errors.New("message no longer matters")
	// ErrIgnored says that the message was heard and, by a rule of the protocol, is not obeyed.
	ErrIgnored = errors.New("message is not obeyed")
	// ErrMalformed says that no correct peer sends such a message.
	ErrMalformed = errors.New("malformed message")
)

// ErrLost is the cause when New refuses the only voter of a cluster whose log is shorter than what it acknowledged: no
// other node can bring the rest back.
var ErrLost = errors.New("acknowledged entries are lost")
