package raft

import (
	"errors"
	"testing"
)

// A read is confirmed only by answers to a round begun after it arrived (etcd#20418).
func TestReadNeedsARoundOfItsOwn(t *testing.T) {
	cl, m := lead(t, voters(1, 2, 3), HardState{Term: 1})
	run(cl)
	step(t, m, AppendAck{Envelope: Envelope{2, 1, 2}, Match: 2})
	run(cl)
	if err := m.node.Read(1); err != nil {
		t.Fatal(err)
	}
	round := only[Heartbeat](t, toNode(2, run(cl))).Round
	step(t, m, HeartbeatAck{Envelope: Envelope{2, 1, 2}, Round: round})
	run(cl)
	if len(m.reads) != 1 || m.reads[0] != (ReadResult{ID: 1, Index: 2}) {
		t.Fatalf("reads are %v, want one at 2", m.reads)
	}
	if err := m.node.Read(2); err != nil {
		t.Fatal(err)
	}
	run(cl)
	step(t, m,
		HeartbeatAck{Envelope: Envelope{2, 1, 2}, Round: round}, HeartbeatAck{Envelope: Envelope{3, 1, 2}, Round: round},
		AppendAck{Envelope: Envelope{2, 1, 2}, Match: 2, Round: round})
	run(cl)
	if len(m.reads) != 1 {
		t.Fatal("old answers confirmed a new read")
	}
	step(t, m, AppendAck{Envelope: Envelope{3, 1, 2}, Match: 2, Round: round + 1})
	run(cl)
	if len(m.reads) != 2 {
		t.Fatal("an append's answer to the round did not confirm it")
	}
}

// An answer to a round that was never begun confirms nothing, now or when the round is begun.
func TestRoundsThatNeverWere(t *testing.T) {
	cl, m := lead(t, voters(1, 2, 3), HardState{Term: 1})
	run(cl)
	step(t, m, AppendAck{Envelope: Envelope{2, 1, 2}, Match: 2, Round: 1 << 40})
	step(t, m, HeartbeatAck{Envelope: Envelope{3, 1, 2}, Round: 7})
	run(cl)
	if err := m.node.Read(1); err != nil {
		t.Fatal(err)
	}
	if run(cl); len(m.reads) != 0 {
		t.Errorf("confirmed before it was asked: %v", m.reads)
	}
}

func toNode(id ID, sent []Message) []Message {
	var to []Message
	for _, m := range sent {
		if m.Header().To == id {
			to = append(to, m)
		}
	}
	return to
}

// A repeated request of a follower has a new number, and an answer to the old one is not taken (etcd#21399).
func TestRepeatedReadIndexIsNew(t *testing.T) {
	cl, m := solo(t, voters(1, 2, 3), HardState{Term: 1})
	step(t, m, Heartbeat{Envelope: Envelope{2, 1, 1}})
	if err := m.node.Read(5); err != nil {
		t.Fatal(err)
	}
	first := only[ReadIndex](t, run(cl))
	for range 3 {
		m.node.Tick()
	}
	second := only[ReadIndex](t, run(cl))
	if first.Seq == second.Seq {
		t.Error("the repeated request has the old number")
	}
	if err := m.node.Step(ReadIndexAck{Envelope: Envelope{2, 1, 1}, Seq: first.Seq, Index: 1}); !errors.Is(err, ErrStale) {
		t.Errorf("answer to the old number: got %v, want ErrStale", err)
	}
	step(t, m, ReadIndexAck{Envelope: Envelope{2, 1, 1}, Seq: second.Seq, Index: 1})
	run(cl)
	if len(m.reads) != 1 || m.reads[0] != (ReadResult{ID: 5, Index: 1}) {
		t.Errorf("reads are %v, want 5 at 1", m.reads)
	}
}

// Reads have a limit too, and a leader that is asked by too many peers refuses.
func TestTooManyReads(t *testing.T) {
	cl := &cluster{t: t}
	m := cl.add(1, 1, Config{MaxPendingReads: 2}, found(voters(1, 2)))
	m.start(t)
	step(t, m, Heartbeat{Envelope: Envelope{2, 1, 1}})
	for i := range 3 {
		if err := m.node.Read(ReadID(i)); errors.Is(err, ErrBusy) != (i == 2) {
			t.Errorf("read %d: %v", i, err)
		}
	}
}
