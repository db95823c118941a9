package raft

import (
	"fmt"

	"github.com/rsqld/rsqld/raft/quorum"
)

// PreVote (§9.6), CheckQuorum (§6.2) and stickiness (§4.2.3) are always on and only together. Any one alone can leave a
// connected majority without a leader for ever: stickiness without CheckQuorum protects a leader that reaches too few,
// and both without PreVote let one node that cannot hear the others raise their term again and again.

// mayCampaign reports whether this node may try to lead. It must hold all that it ever acknowledged, and be a voter: of
// the active configuration, committed or not, or of the committed one. A voter whose log ends with its own removal may
// be the only one that the others can elect, because their logs are shorter; it then leads without counting itself until
// the removal is committed (§4.2.2).
func (n *Node) mayCampaign() bool {
	active, committed := n.configurations.active(), n.configurations.at(n.log.commit)
	voter := active.Configuration.Voter(n.config.ID) || committed.Configuration.Voter(n.config.ID)
	return n.fit && voter && n.installing == nil && !n.repairing() && n.removedAt <= committed.Index
}

// electionTimeout ends a time without a leader.
func (n *Node) electionTimeout() {
	n.resetTimer()
	if !n.mayCampaign() {
		n.becomeFollower(n.hard.Term, 0, "election timeout")
		return
	}
	if n.onlyVoter() {
		n.campaign(false, "only voter")
		return
	}
	n.preCampaign()
}

// preCampaign asks whether an election could be won. It changes neither term nor vote, here or elsewhere.
func (n *Node) preCampaign() {
	n.beginElection(PreCandidate, "election timeout")
	n.count(n.config.ID, true) // a promise of nothing needs no disk
}

// campaign begins an election in a new term. Its own vote counts once it is durable (Stable), and not before are others
// asked: after a crash this node could ask again in the same term with another log.
func (n *Node) campaign(transfer bool, why string) {
	n.resetTimer()
	n.hard.Term++
	n.hard.Vote = n.config.ID
	n.transferred = transfer
	n.beginElection(Candidate, why)
	n.emit(Voted{Term: n.hard.Term, For: n.config.ID})
}

func (n *Node) beginElection(role Role, why string) {
	n.failReads()
	n.beat = 0
	n.ballots = map[ID]quorum.Answer{}
	n.setRole(role, 0, why)
	n.askVotes()
}

// askVotes asks every voter that has not answered.
func (n *Node) askVotes() {
	for _, id := range n.voters {
		if id == n.config.ID || n.answer(id) != quorum.Silent {
			continue
		}
		if m := (Vote{Envelope: n.to(id), Last: n.log.last}); n.role == PreCandidate {
			m.Term, m.Pre = m.Term+1, true
			n.send(m)
		} else {
			m.Transfer = n.transferred
			n.promise(m)
		}
	}
}

// repeatVotes asks again those that have not answered: votes travel as datagrams, and without this one lost message
// costs a whole timeout.
func (n *Node) repeatVotes() {
	if n.role == PreCandidate || n.role == Candidate && n.durable == n.hard {
		n.askVotes()
	}
}

// onVote answers a request for a vote. The decision rests on this node's own log, vote and contact with a leader, never
// on whether it believes the candidate or itself to be a voter: the newest configuration may not have arrived here
// (etcd#10998). Learners answer like everybody.
func (n *Node) onVote(m Vote) error {
	n.tellRemoved(m.From)
	if m.Term > n.hard.Term {
		if !m.Transfer && n.sticky() {
			if m.Pre {
				n.send(VoteAck{Envelope: n.to(m.From), Pre: true})
			}
			return fmt.Errorf("%w: %d asks for a vote while %d leads", ErrIgnored, m.From, n.leader)
		}
		if !m.Pre {
			n.becomeFollower(m.Term, 0, "higher term")
		}
	}
	if !n.votable(m) {
		n.send(VoteAck{Envelope: n.to(m.From), Pre: m.Pre})
		return nil
	}
	if m.Pre {
		ack := VoteAck{Envelope: n.to(m.From), Pre: true, Granted: true}
		ack.Term = m.Term
		n.send(ack)
		return nil
	}
	if n.hard.Vote == 0 {
		n.hard.Vote = m.From
		n.emit(Voted{Term: m.Term, For: m.From})
	}
	n.resetTimer()
	n.promise(VoteAck{Envelope: n.to(m.From), Granted: true})
	return nil
}

// votable reports whether the request may be granted. A repeated request passes the same test as the first: only the log
// check makes a vote that survived a crash as good as one given now (hashicorp/raft#661).
func (n *Node) votable(m Vote) bool {
	if m.Term < n.hard.Term {
		return false
	}
	free := n.hard.Vote == m.From || n.hard.Vote == 0 && n.leader == 0
	if !free && !(m.Pre && m.Term > n.hard.Term) {
		return false
	}
	// A damaged log is as long as it was: a leader elected with this vote must have what was acknowledged here.
	mine := n.log.last
	if n.repairing() {
		mine = n.hard.Acked
	}
	return m.Last.Compare(mine) >= 0
}

// sticky reports whether a leader is alive as far as this node knows: itself, as CheckQuorum would have ended it
// otherwise, or one that was heard within the minimum election timeout.
func (n *Node) sticky() bool {
	return n.role == Leader || n.leader != 0 && n.contact < n.config.ElectionTicks
}

// onVoteAck counts an answer. A granted PreVote echoes the term it is for, which nobody is in yet; every other answer
// bears the answerer's term.
func (n *Node) onVoteAck(m VoteAck) error {
	asked := n.hard.Term
	if m.Pre && m.Granted {
		asked++
	} else if m.Term > n.hard.Term {
		n.becomeFollower(m.Term, 0, "higher term")
		return nil
	}
	role := Candidate
	if m.Pre {
		role = PreCandidate
	}
	// A refusal of a PreVote may come from an older term: the answerer adopts nothing by a PreVote.
	if n.role != role || m.Term != asked && !(m.Pre && !m.Granted) {
		return fmt.Errorf("%w: vote of %d in term %d", ErrStale, m.From, m.Term)
	}
	n.count(m.From, m.Granted)
	return nil
}

// count records one answer and ends the election if it decides. A grant outweighs an earlier refusal: it is a promise,
// whatever was said before.
func (n *Node) count(id ID, granted bool) {
	switch {
	case !contains(n.voters, id): // counts for nothing, and there may be many
	case granted:
		n.ballots[id] = quorum.Granted
	case n.answer(id) == quorum.Silent:
		n.ballots[id] = quorum.Refused
	}
	switch n.configuration().quorum().Tally(n.answer) {
	case quorum.Won:
		if n.role == PreCandidate {
			n.campaign(false, "won pre-election")
		} else {
			n.becomeLeader()
		}
	case quorum.Lost:
		n.becomeFollower(n.hard.Term, 0, "lost election")
	}
}

// answer returns what a voter said in the running election.
func (n *Node) answer(id ID) quorum.Answer { return n.ballots[id] }
