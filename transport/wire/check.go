package wire

import (
	"fmt"
	"math"

	"github.com/rsqld/rsqld/raft"
)

// maxIndex bounds every index on the wire, so that the arithmetic of whoever uses one never wraps around.
const maxIndex raft.Index = math.MaxInt64

// checkPeer refuses a message that no correct node sends. It looks at the message alone: whether it fits the receiver's
// state is for the core to say.
func checkPeer(incarnation uint64, m raft.Message) error {
	if m == nil {
		return fmt.Errorf("%w: nil", ErrPeerMessage)
	}
	e := m.Header()
	switch {
	case e.From == 0 || e.To == 0:
		return fmt.Errorf("%w: from node %d to node %d, and ids begin at 1", ErrPeerMessage, e.From, e.To)
	case e.From == e.To:
		return fmt.Errorf("%w: node %d sends to itself", ErrPeerMessage, e.From)
	case incarnation == 0:
		return fmt.Errorf("%w: incarnation is zero", ErrPeerMessage)
	}
	if problem := checkBody(e, m); problem != "" {
		return fmt.Errorf("%w: %s", ErrPeerMessage, problem)
	}
	return nil
}

// checkBody returns what is wrong with the fields of m's own type, or "".
func checkBody(e raft.Envelope, m raft.Message) string {
	switch m := m.(type) {
	case raft.Append:
		return checkAppend(m)
	case raft.AppendAck:
		return checkAppendAck(m)
	case raft.Heartbeat:
		return first(needTerm(e), checkIndex("commit", m.Commit))
	case raft.Vote:
		return first(needTerm(e), checkID("last", m.Last), notNewer("last", m.Last, e.Term))
	case raft.TimeoutNow:
		return first(needTerm(e), checkIndex("commit", m.Commit))
	case raft.ReadIndexAck:
		return checkIndex("index", m.Index)
	case raft.Removed:
		return checkIndex("index", m.Index)
	case raft.HeartbeatAck, raft.VoteAck, raft.ReadIndex, Clock:
		return ""
	}
	return fmt.Sprintf("a %T is of a kind that this version does not know", m)
}

func checkAppend(m raft.Append) string {
	if problem := first(needTerm(m.Envelope), checkID("prev", m.Prev), notNewer("prev", m.Prev, m.Term),
		checkIndex("commit", m.Commit), checkIndex("last", m.Prev.Index+raft.Index(len(m.Entries)))); problem != "" {
		return problem
	}
	previous := m.Prev
	for i, entry := range m.Entries {
		switch {
		case entry.ID.Index != previous.Index+1:
			return fmt.Sprintf("entry %d has index %d and follows index %d", i, entry.ID.Index, previous.Index)
		case entry.ID.Term == 0 || entry.ID.Term < previous.Term || entry.ID.Term > m.Term:
			return fmt.Sprintf("entry %d has term %d, behind term %d in an append of term %d", i, entry.ID.Term, previous.Term, m.Term)
		case entry.Kind > raft.EntryConfiguration:
			return fmt.Sprintf("entry %d has kind %d, which this version does not know", i, entry.Kind)
		case len(entry.Data) > MaxEntry:
			return fmt.Sprintf("entry %d has %d bytes and may have %d", i, len(entry.Data), MaxEntry)
		}
		previous = entry.ID
	}
	return ""
}

func checkAppendAck(m raft.AppendAck) string {
	switch {
	case m.Rejected && m.Match != 0:
		return fmt.Sprintf("a rejection with match %d", m.Match)
	case m.Rejected && m.Hint.Index > m.Prev:
		return fmt.Sprintf("a rejection of index %d with hint %v behind it", m.Prev, m.Hint)
	}
	return first(needTerm(m.Envelope), checkIndex("match", m.Match), checkIndex("prev", m.Prev), checkID("hint", m.Hint))
}

// needTerm refuses term zero where the sender must have had a term: as candidate, leader, or follower of one.
func needTerm(e raft.Envelope) string {
	if e.Term == 0 {
		return "term is zero"
	}
	return ""
}

func checkIndex(what string, index raft.Index) string {
	if index > maxIndex {
		return fmt.Sprintf("%s index %d is beyond %d", what, index, maxIndex)
	}
	return ""
}

// checkID refuses an id that is half zero: index and term begin together.
func checkID(what string, id raft.EntryID) string {
	if (id.Term == 0) != (id.Index == 0) {
		return fmt.Sprintf("%s is %v", what, id)
	}
	return checkIndex(what, id.Index)
}

func notNewer(what string, id raft.EntryID, term raft.Term) string {
	if id.Term > term {
		return fmt.Sprintf("%s is %v, of a later term than the message's %d", what, id, term)
	}
	return ""
}

// first returns the first problem that is one.
func first(problems ...string) string {
	for _, problem := range problems {
		if problem != "" {
			return problem
		}
	}
	return ""
}
