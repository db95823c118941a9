package raft

import "fmt"

// follow accepts the sender of an Append or Heartbeat of the current term as its leader.
func (n *Node) follow(e Envelope) error {
	if n.role == Leader || n.leader != 0 && n.leader != e.From {
		return fmt.Errorf("%w: %d claims to lead term %d, as does %d", ErrMalformed, e.From, e.Term, n.leader)
	}
	if n.role != Follower || n.leader == 0 {
		n.becomeFollower(n.hard.Term, e.From, "heard a leader")
	}
	n.hear()
	return nil
}

// onAppend takes entries from the leader (AppendEntries, paper fig. 2).
func (n *Node) onAppend(m Append) error {
	if err := n.follow(m.Envelope); err != nil {
		return err
	}
	// The acknowledgement says what this message proves, never how long the log is: entries after it may be another
	// leader's (CCF#6016).
	match := m.Prev.Index + Index(len(m.Entries))
	prev, entries := n.skipCommitted(m.Prev, m.Entries)
	if prev.Index >= n.log.commit && !n.log.holds(prev) {
		return n.rejectAppend(m, prev)
	}
	if err := n.takeEntries(entries); err != nil {
		return err
	}
	n.commitTo(min(m.Commit, match))
	n.promise(AppendAck{Envelope: n.to(m.From), Match: match, Round: m.Round})
	return nil
}

// skipCommitted drops the part of a message that is committed here: the leader holds the same entries, and this log may
// have forgotten them. If all of it is, the result has no entries and prev stays below commit.
func (n *Node) skipCommitted(prev EntryID, entries []Entry) (EntryID, []Entry) {
	if prev.Index >= n.log.commit {
		return prev, entries
	}
	skip := min(int(n.log.commit-prev.Index), len(entries))
	if skip > 0 {
		prev = entries[skip-1].ID
	}
	return prev, entries[skip:]
}

// rejectAppend tells the leader where the logs may agree.
func (n *Node) rejectAppend(m Append, prev EntryID) error {
	if prev.Index == n.log.commit {
		return fmt.Errorf("%w: %d of term %d has %s where another entry is committed",
			ErrMalformed, m.From, m.Term, prev)
	}
	n.send(AppendAck{
		Envelope: n.to(m.From), Rejected: true,
		Prev: m.Prev.Index, Hint: n.log.lastBefore(m.Prev), Round: m.Round,
	})
	return nil
}

// takeEntries appends the entries that are not held yet. Only a conflict cuts the log, and only from the first
// conflicting entry on: a message that is merely short is an old one, and what follows it may have been acknowledged.
func (n *Node) takeEntries(entries []Entry) error {
	for len(entries) > 0 && n.log.holds(entries[0].ID) {
		entries = entries[1:]
	}
	if len(entries) == 0 {
		return nil
	}
	if first := entries[0].ID; first.Index <= n.log.last.Index {
		if first.Index <= n.log.commit {
			return fmt.Errorf("%w: %s conflicts with a committed entry", ErrMalformed, first)
		}
		n.cutLog(first.Index)
	}
	n.appendEntries(entries)
	return nil
}

// onHeartbeat takes a sign of life from the leader. Its commit index is at most what the leader knows to be held here:
// nothing else says that this log's tail is the leader's.
func (n *Node) onHeartbeat(m Heartbeat) error {
	if err := n.follow(m.Envelope); err != nil {
		return err
	}
	if !m.Silent {
		n.send(HeartbeatAck{Envelope: n.to(m.From), Round: m.Round})
	}
	if m.Commit > n.log.last.Index {
		return fmt.Errorf("%w: %d says that %d is committed here, the log ends at %s",
			ErrMalformed, m.From, m.Commit, n.log.last)
	}
	n.commitTo(m.Commit)
	return nil
}
