package raft

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"
)

// Every input decodes to a configuration that encodes to the same bytes, or fails with ErrConfiguration.
func FuzzDecodeConfiguration(f *testing.F) {
	for _, c := range []Configuration{
		{}, voters(1, 2, 3), {Voters: []ID{1, 300}, Outgoing: []ID{1, 2}, Learners: []ID{7}, LearnersNext: []ID{2}},
		{Voters: []ID{9}, Removed: []ID{1, 8}},
	} {
		data, err := c.AppendBinary(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, text := range []string{"", "\x01", "\x01\x01\x00\x00\x00\x00", "\x02\x01", "\x02\x02\x02\x01\x00\x00\x00\x00",
		"\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x02\x01\x00\x00\x00\x00\x00", "\x02\x81\x00\x01\x00\x00\x00\x00",
		"\x02\x00\x00\x00\x00\x00\x00"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := DecodeConfiguration(data)
		if err != nil {
			if !errors.Is(err, ErrConfiguration) {
				t.Fatalf("%x: %v does not wrap ErrConfiguration", data, err)
			}
			return
		}
		again, err := c.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		// A uvarint may be longer than it must be, so that not the bytes but what they mean is compared.
		if decoded, err := DecodeConfiguration(again); err != nil || !reflect.DeepEqual(decoded, c) {
			t.Fatalf("%x: decoded %s, again %s, %v", data, c, decoded, err)
		}
	})
}

// source turns fuzz input into choices; at its end all choices are 0.
type source []byte

func (s *source) draw(n int) int {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return int(b) % n
}

// number draws small numbers mostly, and all others sometimes.
func (s *source) number() uint64 {
	if s.draw(12) == 11 && len(*s) >= 8 {
		n := binary.LittleEndian.Uint64(*s)
		*s = (*s)[8:]
		return n
	}
	return uint64(s.draw(8))
}

func (s *source) id() EntryID { return EntryID{Term(s.number()), Index(s.number())} }

func (s *source) entries(prev EntryID) []Entry {
	entries := make([]Entry, s.draw(4))
	for i := range entries {
		entries[i] = Entry{ID: EntryID{Term(s.number()), prev.Index + 1 + Index(i)}, Kind: EntryKind(s.draw(4))}
		if s.draw(16) == 15 {
			entries[i].ID.Index = Index(s.number())
		}
		if entries[i].Kind == EntryConfiguration {
			c := Configuration{Voters: []ID{1, 2, 3}[:s.draw(4)], Learners: []ID{3, 4}[:s.draw(3)]}
			if s.draw(3) == 2 {
				c.Outgoing, c.Removed = []ID{1, 2, 5}[:s.draw(4)], []ID{6, 7}[:s.draw(3)]
			}
			entries[i].Data, _ = c.AppendBinary(nil) // never fails
			entries[i].Data = entries[i].Data[:len(entries[i].Data)-s.draw(2)]
		}
	}
	return entries
}

// message draws any message, honest or not.
func (s *source) message(n *Node) Message {
	e := Envelope{From: ID(2 + s.draw(2)), To: 1, Term: n.hard.Term}
	switch s.draw(8) {
	case 5:
		e.Term = Term(s.number())
	case 6:
		e.Term++
	case 7:
		e = Envelope{ID(s.number()), ID(s.number()), Term(s.number())}
	}
	switch s.draw(10) {
	case 0:
		prev := n.log.last
		if s.draw(2) == 1 {
			prev = s.id()
		}
		return Append{e, prev, s.entries(prev), Index(s.number()), s.number()}
	case 1:
		return AppendAck{e, Index(s.number()), s.draw(2) == 1, Index(s.number()), s.id(), s.number()}
	case 2:
		return Heartbeat{e, Index(s.number()), s.number(), s.number()%2 == 1}
	case 3:
		return HeartbeatAck{e, s.number()}
	case 4:
		return Vote{e, s.id(), s.draw(2) == 1, s.draw(2) == 1}
	case 5:
		return VoteAck{e, s.draw(2) == 1, s.draw(2) == 1}
	case 6:
		return TimeoutNow{e, Index(s.number())}
	case 7:
		return ReadIndex{e, s.number()}
	case 8:
		return ReadIndexAck{e, s.number(), Index(s.number()), s.draw(2) == 1}
	}
	return Removed{e, Index(s.number())}
}

// No sequence of messages, well formed or not, makes a node panic, break its invariants, cut committed entries, forget its
// term, or vote twice in one.
func FuzzStep(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x03\x01\x02"), uint8(3))
	f.Add([]byte("abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"), uint8(1))
	f.Add([]byte{0, 6, 5, 0, 1, 1, 1, 1, 0, 0, 0, 0, 9, 9, 9, 3, 4, 5, 6, 2, 2, 2, 0, 1, 0, 1, 0, 1, 7, 7, 7, 7}, uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, size uint8) { stepGarbage(t, data, 1+int(size%3)) })
}

// TestGarbage is FuzzStep with inputs from a seed, for runs without a fuzzer.
func TestGarbage(t *testing.T) {
	for seed := range uint64(1500) {
		random := rand.New(rand.NewPCG(seed, 3))
		data := make([]byte, 600)
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		stepGarbage(t, data, 1+int(seed%3))
	}
}

func stepGarbage(t *testing.T, data []byte, size int) {
	input := source(data)
	cl := &cluster{t: t}
	m := cl.add(1, 1, Config{ElectionTicks: 3, HeartbeatTicks: 1, MaxTailBytes: 200, MaxPendingReads: 3},
		found(voters([]ID{1, 2, 3}[:size]...)))
	m.start(t)
	votes := map[Term]ID{}
	for len(input) > 0 {
		before := m.node.hard
		var committed EntryID
		committed.Index = m.node.log.commit
		committed.Term, _ = m.node.log.term(committed.Index)
		switch input.draw(10) {
		case 0:
			m.node.Tick()
		case 1:
			cl.process(m)
		case 2:
			cl.finish(m)
		case 3:
			_, _ = m.node.Propose(0, []byte("a")) // refusals are part of the game
			_ = m.node.Read(ReadID(input.draw(9)))
		case 4:
			_ = m.node.Transfer(ID(input.draw(4)))
			var change Membership
			for _, list := range []*[]ID{&change.AddLearners, &change.Promote, &change.Demote, &change.Remove} {
				if input.draw(3) == 2 {
					*list = append(*list, ID(input.draw(6)))
				}
			}
			_, _ = m.node.Change(change)
		case 5:
			m.node.Compact(m.applied)
			m.disk.compact(m.applied)
		default:
			_ = m.node.Step(input.message(m.node))
		}
		checkNode(t, m.node)
		after := m.node.hard
		if after.Term < before.Term || after.Term == before.Term && before.Vote != 0 && after.Vote != before.Vote {
			t.Fatalf("hard state went from %+v to %+v", before, after)
		}
		if vote, voted := votes[after.Term]; voted && vote != after.Vote {
			t.Fatalf("votes for %d and %d in term %d", vote, after.Vote, after.Term)
		}
		if after.Vote != 0 {
			votes[after.Term] = after.Vote
		}
		if !m.node.log.holds(committed) || m.node.log.commit < committed.Index {
			t.Fatalf("committed %s is gone", committed)
		}
	}
}
