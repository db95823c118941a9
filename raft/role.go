package raft

// becomeFollower follows leader (0: nobody known) in term, which is this node's or a newer one. A vote is forgotten only
// with its term: a candidate that steps down in its own term has voted for itself in it, for ever (CCF#8094).
func (n *Node) becomeFollower(term Term, leader ID, why string) {
	if term > n.hard.Term {
		n.hard.Term, n.hard.Vote = term, 0
	}
	if leader == 0 || leader != n.leader {
		n.failReads()
	}
	if n.role == Leader {
		n.contact = n.quorumSilence()
		n.resign()
	}
	// A follower that only adopts a term keeps its timer: a candidate that nobody votes for must not be able to
	// delay those that somebody would.
	if n.role != Follower {
		n.resetTimer()
	}
	n.setRole(Follower, leader, why)
}

// setRole records role and leader and tells the driver's log if anything is new.
func (n *Node) setRole(role Role, leader ID, why string) {
	n.role, n.leader = role, leader
	now := RoleChanged{Role: role, Term: n.hard.Term, Leader: leader}
	if now == n.announced {
		return
	}
	n.announced = now
	now.Why = why
	n.emit(now)
}

// hear notes a sign of life from the leader.
func (n *Node) hear() {
	n.contact = 0
	n.resetTimer()
}

// resetTimer starts the election timer anew, with another timeout in [T, 2T): equal timeouts would split every vote (§3.4).
func (n *Node) resetTimer() {
	n.elapsed = 0
	n.timeout = n.config.ElectionTicks + n.random.IntN(n.config.ElectionTicks)
}
