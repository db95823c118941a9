package raft

import "testing"

// The tests of election, append, leader, read, membership, node and step prove one sentence of the protocol each, most of
// them sentences that an implementation somewhere got wrong: the names in parentheses say where. Most drive a single node
// by hand; its peers are the messages that the test steps into it.

// solo starts node 1 of a cluster with the log whose entries, after the configuration, have the terms given.
func solo(t *testing.T, c Configuration, hard HardState, terms ...Term) (*cluster, *member) {
	t.Helper()
	image := found(c)
	image.hard = hard
	for i, term := range terms {
		image.entries = append(image.entries, Entry{EntryID{term, Index(i + 2)}, EntryCommand, []byte("x")})
	}
	cl := &cluster{t: t}
	m := cl.add(1, 1, Config{ElectionTicks: 10, HeartbeatTicks: 3}, image)
	m.start(t)
	return cl, m
}

// lead makes node 1 of voters 1, 2, 3 the leader of the next term, by the vote of 2.
func lead(t *testing.T, c Configuration, hard HardState, terms ...Term) (*cluster, *member) {
	t.Helper()
	cl, m := solo(t, c, hard, terms...)
	cl.timeout(1)
	step(t, m, VoteAck{Envelope: Envelope{2, 1, hard.Term + 1}, Pre: true, Granted: true})
	cl.settle(nil)
	step(t, m, VoteAck{Envelope: Envelope{2, 1, hard.Term + 1}, Granted: true})
	if m.node.role != Leader {
		t.Fatalf("role is %s, want leader", m.node.role)
	}
	return cl, m
}

func step(t *testing.T, m *member, messages ...Message) {
	t.Helper()
	for _, msg := range messages {
		if err := m.node.Step(msg); err != nil {
			t.Fatalf("%T: %v", msg, err)
		}
	}
}

// run settles a lone member and returns what it sent.
func run(cl *cluster) []Message {
	var sent []Message
	cl.sent = func(_ *member, m Message) { sent = append(sent, m) }
	cl.settle(nil)
	cl.sent = nil
	return sent
}

// only returns the one message of type M among sent.
func only[M Message](t *testing.T, sent []Message) M {
	t.Helper()
	var found []M
	for _, m := range sent {
		if m, ok := m.(M); ok {
			found = append(found, m)
		}
	}
	if len(found) != 1 {
		t.Fatalf("got %d messages %T in %v, want 1", len(found), *new(M), sent)
	}
	return found[0]
}

func appendOf(from ID, term Term, prev EntryID, commit Index, terms ...Term) Append {
	m := Append{Envelope: Envelope{from, 1, term}, Prev: prev, Commit: commit}
	for i, term := range terms {
		m.Entries = append(m.Entries, Entry{EntryID{term, prev.Index + 1 + Index(i)}, EntryCommand, []byte("y")})
	}
	return m
}
