package raft

import (
	"fmt"
	"math"

	"github.com/rsqld/rsqld/raft/tracker"
)

// leadership is what only a leader has. It is made anew for each term led.
type leadership struct {
	// peers are the members but this node, by rising id.
	peers []peer
	// uncommitted is the size of the entries after commit.
	uncommitted int

	// transferee receives the leadership since the tick transferSince; 0: nobody.
	transferee    ID
	transferSince uint64
	// hurried says that TimeoutNow was sent since the last heartbeat.
	hurried bool
	// leaving is the index of the committed configuration in which this leader does not vote, or 0.
	leaving Index
}

// peer is what the leader knows of one other member.
type peer struct {
	id       ID
	progress tracker.Progress
	// ackedAt is the tick of its last answer, round the newest read round that it has answered.
	ackedAt uint64
	round   uint64
	// told is the commit index that the newest message to it carried.
	told Index
	// beat says that a heartbeat is due; check that its answer shall be followed by an append if the peer lags;
	// ask that an append is due even if it has no entries.
	beat, check, ask bool
	// loading is what the driver was asked to read for this peer; it is not asked again before the tick loadAfter.
	loading   Range
	loadAfter uint64
	// chase is its race with the end of the log, of interest while it is a learner.
	chase chase
	// snapshotAfter is the earliest tick for the next snapshot, snapshotFrom the index that the one on its way covers at least.
	snapshotAfter uint64
	snapshotFrom  Index
	// lowest says that the oldest entry held was probed, without an acknowledgement since.
	lowest bool
}

func (p *peer) match() Index { return Index(p.progress.Match()) }
func (p *peer) next() Index  { return Index(p.progress.Next()) }

// becomeLeader begins to lead. The first entry of a term is empty: only an entry of its own term shows a leader what is
// committed (§3.6.2), and reads and configuration changes wait for that.
func (n *Node) becomeLeader() {
	n.resetTimer()
	n.beat = 0
	n.lead = leadership{uncommitted: n.log.bytes(n.log.commit+1, n.log.last.Index)}
	n.setRole(Leader, n.config.ID, "won election")
	n.reconcilePeers()
	n.lead.append(n, EntryNoop, nil)
}

// resign clears what only a leader has. It is the last thing that a leader does, whatever ended it.
func (n *Node) resign() {
	leaving := n.lead.leaving
	if n.lead.transferee != 0 {
		n.emit(Transferring{})
	}
	n.lead = leadership{}
	if leaving != 0 && !n.configurations.at(leaving).Configuration.Member(n.config.ID) {
		n.emit(WasRemoved{Index: leaving})
	}
}

// tickLeader does what a leader owes time: it stops leading when a quorum has been silent for T (§6.2), which is at most
// when the first follower can campaign.
func (n *Node) tickLeader(repeat bool) {
	if n.quorumSilence() >= n.config.ElectionTicks {
		n.becomeFollower(n.hard.Term, 0, "lost quorum")
		return
	}
	n.tickTransfer(repeat)
	if n.role != Leader {
		return
	}
	for i := range n.lead.peers {
		p := &n.lead.peers[i]
		n.tickChase(p)
		n.offerSnapshot(p)
		if repeat {
			p.beat, p.check = true, true
		}
	}
}

// quorumSilence returns the time since the leader was in contact with a quorum: since the newest tick at which or after
// which each of a quorum has answered.
func (n *Node) quorumSilence() int {
	heard := n.reached(n.now, func(p *peer) uint64 { return p.ackedAt })
	return int(min(n.now-min(heard, n.now), math.MaxInt32))
}

// reached returns the highest value that a quorum has reached, both majorities of a joint configuration: mine is this
// node's, which counts only if it votes.
func (n *Node) reached(mine uint64, of func(*peer) uint64) uint64 {
	return n.configuration().quorum().Committed(func(id ID) uint64 {
		if id == n.config.ID {
			return mine
		}
		if p := n.peer(id); p != nil {
			return of(p)
		}
		return 0
	})
}

// Propose appends commands to the log, all or none, and returns the id of the first. They are committed if and when
// Ready.Commit covers their ids, and certainly never executed if another entry is committed in the place of one.
// A term that is not zero must be the current one, else ErrTermChanged. The node keeps data.
func (n *Node) Propose(term Term, data ...[]byte) (EntryID, error) {
	size := len(data) * entryOverhead
	for _, d := range data {
		size += len(d)
	}
	switch {
	case len(data) == 0:
		return EntryID{}, ErrNoProposal
	case n.role != Leader:
		return EntryID{}, ErrNotLeader
	case term != 0 && term != n.hard.Term:
		return EntryID{}, ErrTermChanged
	case n.lead.transferee != 0 || n.lead.leaving != 0:
		return EntryID{}, ErrTransferring
	case n.lead.uncommitted > 0 && n.lead.uncommitted+size > n.config.MaxUncommittedBytes:
		return EntryID{}, ErrBusy
	}
	return n.lead.append(n, EntryCommand, data...), nil
}

// append appends entries of the leader's own. It returns the id of the first.
func (l *leadership) append(n *Node, kind EntryKind, data ...[]byte) EntryID {
	first := EntryID{Term: n.hard.Term, Index: n.log.last.Index + 1}
	var room [1]Entry // one at a time is the common case, and costs no allocation
	entries := room[:]
	if len(data) > 1 {
		entries = make([]Entry, len(data))
	}
	for i, d := range data {
		entries[i] = Entry{ID: EntryID{Term: first.Term, Index: first.Index + Index(i)}, Kind: kind, Data: d}
		l.uncommitted += entryBytes(&entries[i])
	}
	n.appendEntries(entries)
	return first
}

// advanceCommit commits what a quorum holds durably. Only entries of the leader's own term are committed by counting; an
// older one can be on a quorum and still be replaced (fig. 8), and is committed by the first of this term after it.
func (n *Node) advanceCommit() {
	// Entries leave before they are durable here (§10.2.1); they count here when they are.
	held := Index(n.reached(uint64(n.log.stable), func(p *peer) uint64 { return p.progress.Match() }))
	if held <= n.log.commit {
		return
	}
	if term, _ := n.log.term(held); term == n.hard.Term {
		n.commitTo(held)
	}
}

// ownTermCommitted reports whether an entry of the current term is committed: then commit is up to date (§6.4).
func (n *Node) ownTermCommitted() bool {
	term, _ := n.log.term(n.log.commit)
	return term == n.hard.Term
}

// onAppendAck learns what a peer holds, or does not.
func (n *Node) onAppendAck(m AppendAck) error {
	p := n.answered(m.Envelope, m.Round)
	if p == nil {
		return fmt.Errorf("%w: append acknowledged by %d", ErrStale, m.From)
	}
	if m.Rejected {
		hint := EntryID{Term: m.Hint.Term, Index: min(m.Hint.Index, m.Prev)}
		p.progress.Reject(uint64(m.Prev), uint64(n.log.lastBefore(hint).Index))
	} else if m.Match > n.log.last.Index {
		return fmt.Errorf("%w: %d acknowledges %d, the log ends at %s", ErrMalformed, m.From, m.Match, n.log.last)
	} else if p.progress.Acknowledge(uint64(m.Match)) {
		p.lowest = false
		n.advanceCommit()
		n.hurryTransfer()
	}
	n.confirmReads()
	return nil
}

// onHeartbeatAck ends every pause: what was sent to the peer, or its answer, may be lost.
func (n *Node) onHeartbeatAck(m HeartbeatAck) error {
	p := n.answered(m.Envelope, m.Round)
	if p == nil {
		return fmt.Errorf("%w: heartbeat acknowledged by %d", ErrStale, m.From)
	}
	if p.check {
		p.check = false
		p.progress.Resume()
		p.ask = p.match() < n.log.last.Index || p.progress.State() == tracker.Probe
	}
	n.confirmReads()
	return nil
}

// answered notes an answer of a peer in the current term; nil if this node does not lead it.
func (n *Node) answered(e Envelope, round uint64) *peer {
	if n.role != Leader {
		return nil
	}
	p := n.peer(e.From)
	if p == nil {
		return nil
	}
	p.ackedAt = n.now
	if round <= n.reads.round {
		p.round = max(p.round, round)
	}
	return p
}

// Unreachable tells the node that what was last sent to a peer may be lost.
func (n *Node) Unreachable(id ID) {
	if p := n.peer(id); p != nil && p.progress.State() == tracker.Replicate {
		p.progress.Probe()
	}
}

// peer returns what the leader knows of a member; nil for others, and on other nodes.
func (n *Node) peer(id ID) *peer {
	for i := range n.lead.peers {
		if n.lead.peers[i].id == id {
			return &n.lead.peers[i]
		}
	}
	return nil
}

// reconcilePeers makes peers those of the active configuration, and keeps what is known of those that stay.
func (n *Node) reconcilePeers() {
	members := n.configuration().Members()
	peers := make([]peer, 0, len(members))
	for _, id := range members {
		if id == n.config.ID {
			continue
		}
		if known := n.peer(id); known != nil {
			peers = append(peers, *known)
			continue
		}
		peers = append(peers, peer{
			id: id, ackedAt: n.now, ask: true, chase: chase{goal: n.log.last.Index, since: n.now},
			progress: tracker.New(uint64(n.log.last.Index+1), n.config.MaxInflightMessages, n.config.MaxInflightBytes),
		})
	}
	n.lead.peers = peers
	n.advanceCommit()
	n.confirmReads()
}

// peerStatus returns a copy of what is known of the peers.
func (n *Node) peerStatus() []PeerStatus {
	all := make([]PeerStatus, 0, len(n.lead.peers))
	for i := range n.lead.peers {
		p := &n.lead.peers[i]
		s := PeerStatus{
			ID: p.id, Match: p.match(), Next: p.next(), State: p.progress.State().String(),
			SinceAck: int(n.now - p.ackedAt),
			Learner:  !contains(n.voters, p.id), CaughtUp: n.caughtUp(p),
		}
		s.Inflight, s.InflightBytes = p.progress.Inflight()
		all = append(all, s)
	}
	return all
}
