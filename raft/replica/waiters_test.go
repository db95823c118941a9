package replica

import (
	"errors"
	"fmt"
	"testing"

	"github.com/rsqld/rsqld/raft"
)

// waiting adds a proposal at id to w; what it is told appears in told.
func waiting(w *Waiters, id raft.EntryID, told map[raft.EntryID]string) {
	w.add(id, []*Proposal{{Done: func(a Applied, err error) {
		answer := fmt.Sprint(a.Result)
		for _, sentinel := range []error{ErrDropped, ErrOutcomeUnknown} {
			if errors.Is(err, sentinel) {
				answer = sentinel.Error()
			}
		}
		if told[id] != "" {
			answer = "told twice"
		}
		told[id] = answer
	}}})
}

func applied(ids ...raft.EntryID) (entries []raft.Entry, results []raft.Result) {
	for _, id := range ids {
		entries, results = append(entries, raft.Entry{ID: id}), append(results, "result of "+id.String())
	}
	return entries, results
}

// A waiter has the result of exactly its entry; one whose place was taken by another term learns that it was dropped.
func TestWaiterHasTheResultOfExactlyItsEntry(t *testing.T) {
	var w Waiters
	told := make(map[raft.EntryID]string)
	for _, id := range []raft.EntryID{
		{Term: 2, Index: 7}, {Term: 2, Index: 8}, {Term: 4, Index: 7}, {Term: 4, Index: 9}, {Term: 3, Index: 8},
	} {
		waiting(&w, id, told)
	}
	w.resolve(applied(raft.EntryID{Term: 1, Index: 6}, raft.EntryID{Term: 4, Index: 7}))
	w.resolve(applied(raft.EntryID{Term: 4, Index: 8}))
	want := map[raft.EntryID]string{
		{Term: 2, Index: 7}: ErrDropped.Error(),
		{Term: 4, Index: 7}: "result of 4/7",
		{Term: 2, Index: 8}: ErrDropped.Error(),
		{Term: 3, Index: 8}: ErrDropped.Error(),
	}
	if fmt.Sprint(told) != fmt.Sprint(want) || w.Len() != 1 {
		t.Errorf("got %v and %d waiting, want %v and 1", told, w.Len(), want)
	}
}

// A waiter that the state machine has passed without a result is not told that it was applied, nor that it was not.
func TestWaiterWithoutResultKnowsNothing(t *testing.T) {
	var w Waiters
	told := make(map[raft.EntryID]string)
	waiting(&w, raft.EntryID{Term: 1, Index: 3}, told)
	waiting(&w, raft.EntryID{Term: 1, Index: 4}, told)
	waiting(&w, raft.EntryID{Term: 1, Index: 5}, told)
	w.skip(3)
	w.resolve(applied(raft.EntryID{Term: 1, Index: 5}))
	for index := raft.Index(3); index <= 4; index++ {
		if got := told[raft.EntryID{Term: 1, Index: index}]; got != ErrOutcomeUnknown.Error() {
			t.Errorf("waiter at %d was told %q", index, got)
		}
	}
	if got := told[raft.EntryID{Term: 1, Index: 5}]; got != "result of 1/5" {
		t.Errorf("waiter at 5 was told %q", got)
	}
}

// Closed waiters answer everyone, those who come later too.
func TestClosedWaitersAnswerAtOnce(t *testing.T) {
	var w Waiters
	told := make(map[raft.EntryID]string)
	waiting(&w, raft.EntryID{Term: 1, Index: 1}, told)
	w.Close(ErrClosed)
	waiting(&w, raft.EntryID{Term: 1, Index: 2}, told)
	for index := raft.Index(1); index <= 2; index++ {
		if got := told[raft.EntryID{Term: 1, Index: index}]; got != ErrOutcomeUnknown.Error() {
			t.Errorf("waiter at %d was told %q", index, got)
		}
	}
}

// Who is given up learns that the outcome is unknown and why; who comes later waits as before.
func TestWaitersAreGivenUp(t *testing.T) {
	var w Waiters
	why := errors.New("nobody is there")
	var early, late []error
	w.add(raft.EntryID{Term: 1, Index: 1}, []*Proposal{{Done: func(_ Applied, err error) { early = append(early, err) }}})
	w.GiveUp(why)
	w.add(raft.EntryID{Term: 1, Index: 2}, []*Proposal{{Done: func(_ Applied, err error) { late = append(late, err) }}})
	w.resolve([]raft.Entry{{ID: raft.EntryID{Term: 1, Index: 1}}, {ID: raft.EntryID{Term: 1, Index: 2}}}, make([]raft.Result, 2))
	if len(early) != 1 || !errors.Is(early[0], ErrOutcomeUnknown) || !errors.Is(early[0], why) {
		t.Errorf("who was given up heard %v", early)
	}
	if len(late) != 1 || late[0] != nil {
		t.Errorf("who came later heard %v", late)
	}
}

// The queue does not grow with the number of proposals that have passed through it.
func TestWaitersReuseTheirRoom(t *testing.T) {
	var w Waiters
	p := []*Proposal{{Done: func(Applied, error) {}}}
	const window = 10
	for i := raft.Index(1); i <= 10_000; i++ {
		w.add(raft.EntryID{Term: 1, Index: i}, p)
		if i > window {
			w.resolve(applied(raft.EntryID{Term: 1, Index: i - window}))
		}
	}
	if room := cap(w.queue); room > 8*window {
		t.Errorf("room for %d waiters, at most %d waited", room, window+1)
	}
}
