package replica

import (
	"errors"
	"fmt"
)

// What Propose, Change, ReadIndex, WaitApplied and Transfer answer, beside the errors of package raft (ErrNotLeader,
// ErrBusy, ErrTermChanged, ErrTransferring, ErrChangePending …), which all say: certainly not proposed.
var (
	// ErrDropped says that the proposal got a place in the log of a leader that lost leadership, and that another
	// entry was committed in that place: the proposal was never executed and never will be.
	ErrDropped = errors.New("proposal dropped: another leader's entry was committed in its place")

	// ErrOutcomeUnknown says that the proposal is in the log and that its fate was not known in time. It may yet be
	// executed. The cause (the context's error, or the failure that stopped the replica) is wrapped beside it. It is
	// never one of the errors that say that nothing was proposed: those would be a false promise here.
	ErrOutcomeUnknown = errors.New("outcome unknown: the proposal may still be executed")

	// ErrClosed says that the replica has stopped, by Close or by a failure that Err names. Nothing was proposed.
	ErrClosed = errors.New("replica is closed")

	// ErrTooLarge says that a proposal is larger than Limits.MaxEntryBytes. Nothing was proposed.
	ErrTooLarge = errors.New("proposal is too large")

	// ErrNoRoom says that this leader's log has no room for what comes. It takes no proposals and hands leadership over
	// if another voter can take it. Nothing was proposed.
	ErrNoRoom = errors.New("the leader's log has no room")

	// ErrTransferFailed says that leadership stayed here: the target did not catch up or did not win in time.
	ErrTransferFailed = errors.New("leadership transfer failed: the target did not take over in time")
)

// errStopped is the cause of ErrOutcomeUnknown where Close ended the wait.
var errStopped = errors.New("the replica was closed before the proposal was applied")

// closed returns an error that is ErrClosed and names why.
func closed(why error) error {
	if errors.Is(why, ErrClosed) {
		return why
	}
	return fmt.Errorf("%w: %w", ErrClosed, why)
}
