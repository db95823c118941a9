package raft

import (
	"errors"
	"reflect"
	"testing"
)

// A leader of an older term is told of the newer one, with heartbeats too: a node whose term is ahead could otherwise never
// be led again.
func TestStaleLeaderIsTold(t *testing.T) {
	cl, m := solo(t, voters(1, 2, 3), HardState{Term: 9})
	for _, msg := range []Message{
		Heartbeat{Envelope: Envelope{2, 1, 8}}, appendOf(2, 8, EntryID{1, 1}, 0), ReadIndex{Envelope: Envelope{2, 1, 8}, Seq: 1},
	} {
		if err := m.node.Step(msg); !errors.Is(err, ErrStaleTerm) {
			t.Errorf("%T: got %v, want ErrStaleTerm", msg, err)
		}
		sent := run(cl)
		if len(sent) != 1 || sent[0].Header().Term != 9 || sent[0].Header().To != 2 {
			t.Errorf("%T was answered by %v, want one message of term 9", msg, sent)
		}
	}
}

// What only a broken peer sends is refused, and changes nothing.
func TestMalformedMessages(t *testing.T) {
	bad := appendOf(2, 3, EntryID{1, 1}, 0, 2, 2)
	gap, backwards, garbage := bad, bad, bad
	gap.Entries = []Entry{{ID: EntryID{2, 3}}}
	backwards.Entries = []Entry{{ID: EntryID{3, 2}}, {ID: EntryID{2, 3}}}
	garbage.Entries = []Entry{{ID: EntryID{2, 2}, Kind: EntryConfiguration, Data: []byte("no")}}
	for _, msg := range []Message{
		nil, gap, backwards, garbage, &bad,
		Heartbeat{Envelope: Envelope{2, 9, 3}}, Heartbeat{Envelope: Envelope{0, 1, 3}}, Heartbeat{Envelope: Envelope{1, 1, 3}},
		Heartbeat{Envelope: Envelope{2, 1, 0}}, Heartbeat{Envelope: Envelope{2, 1, 1 << 63}},
		appendOf(2, 3, EntryID{0, 1}, 0), appendOf(2, 3, EntryID{4, 9}, 0), appendOf(2, 3, EntryID{1, 1}, 0, 4),
		appendOf(2, 3, EntryID{3, 1 << 63}, 0),
		Vote{Envelope: Envelope{2, 1, 3}, Last: EntryID{3, 1}}, Vote{Envelope: Envelope{2, 1, 3}, Last: EntryID{0, 1}},
		Append{Envelope: Envelope{2, 1, 3}, Entries: []Entry{{ID: EntryID{1, 1}, Kind: 77}}},
	} {
		_, m := solo(t, voters(1, 2, 3), HardState{Term: 2})
		before := m.node.Status()
		if err := m.node.Step(msg); !errors.Is(err, ErrMalformed) {
			t.Errorf("%T%+v: got %v, want ErrMalformed", msg, msg, err)
		}
		if _, pointer := msg.(*Append); pointer {
			continue // its envelope is well formed, and so its term is adopted
		}
		if after := m.node.Status(); !reflect.DeepEqual(before, after) {
			t.Errorf("%T%+v: status changed from %+v to %+v", msg, msg, before, after)
		}
	}
}
