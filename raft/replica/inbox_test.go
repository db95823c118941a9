package replica

import (
	"errors"
	"testing"

	"github.com/rsqld/rsqld/raft"
)

func appendOf(bytes int) raft.Message {
	return raft.Append{Entries: []raft.Entry{{Data: make([]byte, bytes)}}}
}

// A full inbox drops entries and counts them; a heartbeat still finds room beside them.
func TestInboxDropsWhatDoesNotFit(t *testing.T) {
	b := newInbox(Limits{MaxInboxMessages: 4, MaxInboxBytes: 100})
	b.message(appendOf(1000)) // one always fits
	b.message(appendOf(1))
	b.message(raft.Heartbeat{})
	if got := len(b.arrived.messages); got != 2 || b.droppedMessages() != 1 {
		t.Errorf("%d messages are in, %d dropped; want 2 and 1", got, b.droppedMessages())
	}
	for range 5 {
		b.message(raft.Heartbeat{})
	}
	if got := len(b.arrived.messages); got != 4 || b.droppedMessages() != 4 {
		t.Errorf("%d messages are in, %d dropped; want 4 and 4", got, b.droppedMessages())
	}
	var taken arrivals
	b.take(&taken)
	b.message(appendOf(50))
	if got := len(b.arrived.messages); got != 1 {
		t.Errorf("%d messages are in after the loop took all, want 1", got)
	}
}

// A full queue answers ErrBusy; what is in is not lost.
func TestInboxRefusesProposals(t *testing.T) {
	b := newInbox(Limits{MaxProposals: 3, MaxProposalBytes: 100})
	for i, want := range []struct {
		size int
		err  error
	}{{1000, nil}, {1, raft.ErrBusy}} {
		if _, err := b.propose(&Proposal{Data: make([]byte, want.size)}); !errors.Is(err, want.err) {
			t.Errorf("proposal %d of %d bytes: got %v, want %v", i, want.size, err, want.err)
		}
	}
	taken := b.takeProposals(nil)
	for i := range 4 {
		if _, err := b.propose(&Proposal{}); (i == 3) != errors.Is(err, raft.ErrBusy) {
			t.Errorf("proposal %d: got %v", i, err)
		}
	}
	if len(taken) != 1 || len(b.proposals) != 3 {
		t.Errorf("%d proposals were taken and %d wait, want 1 and 3", len(taken), len(b.proposals))
	}
}

// Readers share a round until the loop takes it; who comes later needs a new one.
func TestReadersShareARoundUntilItIsTaken(t *testing.T) {
	b := newInbox(Limits{})
	first, _ := b.read()
	second, _ := b.read()
	var taken arrivals
	b.take(&taken)
	third, _ := b.read()
	if first != second || taken.read != first || third == first {
		t.Errorf("rounds %p, %p, taken %p, then %p", first, second, taken.read, third)
	}
}

// The first failure of the log is the last word, and the marker's completion does not take back a write's.
func TestInboxKeepsTheNewestCompletion(t *testing.T) {
	b := newInbox(Limits{})
	b.done(5, nil)
	b.done(0, nil)
	if got := b.arrived.written; got.seq != 5 || got.err != nil {
		t.Errorf("got %+v, want 5", got)
	}
	failure := errors.New("first")
	b.done(6, failure)
	b.done(7, nil)
	if got := b.arrived.written; got.err != failure {
		t.Errorf("got %+v, want the failure", got)
	}
}
