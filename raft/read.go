package raft

import "fmt"

// Reads are proved by rounds (ReadIndex, §6.4). A leader notes its commit index, then sends a round: a counter that it
// makes itself and never uses twice, on heartbeats and appends alike. Once a quorum has answered that round or a newer
// one, no other leader can have committed anything before the round began, and the noted index covers every write
// acknowledged before the reads of the round arrived. Identifiers made by clients prove nothing of the kind: an answer
// to an earlier attempt would confirm a later one (etcd#20418).

// maxRounds is how many rounds may be on their way. While they are, further reads gather for the next one: it serves
// them all, however many there are.
const maxRounds = 2

// reads are those that wait. At most Config.MaxPendingReads do.
type reads struct {
	// fresh have come since the last round (on a leader) or request (elsewhere).
	fresh []readRequest
	// round numbers the leader's rounds. rounds are on their way, oldest first.
	round  uint64
	rounds []readRound
	// asked wait for the leader's answer to seq. A follower's only.
	asked []readRequest
	seq   uint64
	// pending counts all of them.
	pending int
}

// readRequest is a Read of this node's driver (from == 0) or a ReadIndex of a peer.
type readRequest struct {
	id   ReadID
	from ID
	seq  uint64
}

// readRound waits for a quorum of answers to number. It confirms that index was the newest commit index of all.
type readRound struct {
	number   uint64
	index    Index
	requests []readRequest
}

// Read asks for an index that a linearizable read may run at, on any member that knows a leader. The answer is in
// Ready.Reads, with the same id; ids need not be unique for the node.
func (n *Node) Read(id ReadID) error {
	if n.leader == 0 {
		return ErrNotLeader
	}
	if n.reads.pending >= n.config.MaxPendingReads {
		return ErrBusy
	}
	n.addRead(readRequest{id: id})
	return nil
}

func (n *Node) addRead(r readRequest) {
	n.reads.fresh = append(n.reads.fresh, r)
	n.reads.pending++
}

// beginRound starts a round for the reads that have come. It must follow the commitment of an entry of the leader's own
// term: until then commit may be behind what a former leader has acknowledged.
func (n *Node) beginRound() {
	if len(n.reads.fresh) == 0 || len(n.reads.rounds) >= maxRounds || !n.ownTermCommitted() {
		return
	}
	n.reads.round++
	n.reads.rounds = append(n.reads.rounds, readRound{n.reads.round, n.log.commit, n.reads.fresh})
	n.reads.fresh = nil
	for i := range n.lead.peers {
		if p := &n.lead.peers[i]; contains(n.voters, p.id) {
			p.beat = true
		}
	}
	n.confirmReads() // the only voter needs no answers
}

// confirmReads answers the rounds that a quorum of the active configuration has confirmed.
func (n *Node) confirmReads() {
	if len(n.reads.rounds) == 0 {
		return
	}
	confirmed := n.reached(n.reads.round, func(p *peer) uint64 { return p.round })
	for len(n.reads.rounds) > 0 && n.reads.rounds[0].number <= confirmed {
		round := n.reads.rounds[0]
		n.reads.rounds = n.reads.rounds[1:]
		n.answerReads(round.requests, round.index, nil)
	}
}

// answerReads ends requests.
func (n *Node) answerReads(requests []readRequest, index Index, err error) {
	n.reads.pending -= len(requests)
	for _, r := range requests {
		if r.from == 0 {
			n.out.reads = append(n.out.reads, ReadResult{ID: r.id, Index: index, Err: err})
		} else {
			n.send(ReadIndexAck{Envelope: n.to(r.from), Seq: r.seq, Index: index, Rejected: err != nil})
		}
	}
}

// failReads ends all requests without success: whoever could have confirmed them leads no more.
func (n *Node) failReads() {
	for _, round := range n.reads.rounds {
		n.answerReads(round.requests, 0, ErrNotLeader)
	}
	n.answerReads(n.reads.asked, 0, ErrNotLeader)
	n.answerReads(n.reads.fresh, 0, ErrNotLeader)
	n.reads.rounds, n.reads.asked, n.reads.fresh = nil, nil, nil
}

// askIndex sends the leader one request for all reads that have come, unless one is on its way.
func (n *Node) askIndex() {
	if len(n.reads.fresh) == 0 || len(n.reads.asked) > 0 || n.leader == 0 {
		return
	}
	n.reads.asked, n.reads.fresh = n.reads.fresh, nil
	n.beat = 0
	n.sendReadIndex()
}

// repeatReads asks again: request or answer may be lost. A repeated request has a number of its own, so that nothing
// ever depends on what an older one meant (etcd#21399).
func (n *Node) repeatReads() {
	if len(n.reads.asked) == 0 {
		return
	}
	n.reads.asked = append(n.reads.asked, n.reads.fresh...)
	n.reads.fresh = nil
	n.sendReadIndex()
}

func (n *Node) sendReadIndex() {
	n.reads.seq++
	n.send(ReadIndex{Envelope: n.to(n.leader), Seq: n.reads.seq})
}

// onReadIndex takes a peer's request for an index.
func (n *Node) onReadIndex(m ReadIndex) error {
	if n.role != Leader || n.reads.pending >= n.config.MaxPendingReads {
		n.send(ReadIndexAck{Envelope: n.to(m.From), Seq: m.Seq, Rejected: true})
		return nil
	}
	n.addRead(readRequest{from: m.From, seq: m.Seq})
	return nil
}

// onReadIndexAck takes the leader's answer.
func (n *Node) onReadIndexAck(m ReadIndexAck) error {
	if m.From != n.leader || len(n.reads.asked) == 0 || m.Seq != n.reads.seq {
		return fmt.Errorf("%w: read index %d from %d", ErrStale, m.Seq, m.From)
	}
	var err error
	if m.Rejected {
		err = ErrNotLeader
	}
	asked := n.reads.asked
	n.reads.asked = nil
	n.answerReads(asked, m.Index, err)
	return nil
}
