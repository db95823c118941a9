package raft

import (
	"fmt"
	"math/rand/v2"

	"github.com/rsqld/rsqld/raft/quorum"

	"github.com/rsqld/rsqld/raft/tracker"
)

// Node is one member's consensus state. It is a value in the mathematical sense: what it does depends on its
// arguments and the calls made, on nothing else. It is not safe for concurrent use.
type Node struct {
	config Config
	random *rand.Rand
	// fit is false while the driver says that this node must not lead.
	fit bool

	// hard is the hard state as it must become durable; handed is how it stands in the newest Write, durable as far
	// as the driver has confirmed it. Promises wait until durable has caught up.
	hard, handed, durable HardState
	// seq is the newest write handed out, writes those not confirmed yet, oldest first.
	seq    Seq
	writes []pendingWrite

	log            log
	configurations configurations
	// voters are the ids of the active configuration whose votes count.
	voters []ID

	role   Role
	leader ID // 0: not known
	// announced is the last RoleChanged emitted, without its cause.
	announced RoleChanged
	// now counts ticks; it is the only clock.
	now uint64
	// elapsed is the time since the election timer was reset. It fires at timeout, drawn anew at each reset.
	elapsed, timeout int
	// beat is the time since requests were last repeated, on a leader: since the last heartbeats.
	beat int
	// contact is the time since the leader was last heard. It means nothing on a leader.
	contact int
	// removedAt is the index of a configuration that a peer says this node is not in, or 0.
	removedAt Index
	// installing is the snapshot that the state machine is being replaced by, or nil. beginning is the base that the log
	// was given by one and that no Write has held yet, or nil.
	installing, beginning *Base
	// needSnapshot says that the state machine cannot follow the log (NeedSnapshot).
	needSnapshot bool

	// ballots are the answers in the running election. It is looked up in, never walked: the order of a map is chance.
	ballots map[ID]quorum.Answer
	// transferred marks an election that the leader asked for.
	transferred bool
	lead        leadership // zero unless leading
	reads       reads
	out         outbox
}

// New returns a node as it was when its last durable write was made: hard state and log come from recovery, applied
// from the state machine. The slices of log are copied, the data of its entries is not. An error says that the
// three contradict each other.
//
// A node whose log is shorter than what it may once have acknowledged (HardState.Acked) begins in a new term: a leader
// of the old one believes the lost entries to be here, and only another election makes it forget that.
func New(config Config, hard HardState, from Log, applied Index) (*Node, error) {
	config, err := config.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("starting node: %w", err)
	}
	n := &Node{config: config, fit: true, hard: hard, handed: hard, durable: hard}
	n.random = rand.New(rand.NewPCG(config.Seed, uint64(config.ID)))
	if n.log, err = newLog(from, applied, config.MaxTailBytes); err != nil {
		return nil, fmt.Errorf("starting node %d: %w", config.ID, err)
	}
	if n.configurations, err = newConfigurations(from); err != nil {
		return nil, fmt.Errorf("starting node %d: %w", config.ID, err)
	}
	if hard.Term < n.log.last.Term {
		return nil, fmt.Errorf("starting node %d: log ends at %s, but the hard state's term is %d",
			config.ID, n.log.last, hard.Term)
	}
	n.voters = n.configuration().voters()
	if n.repairing() {
		if n.onlyVoter() {
			return nil, fmt.Errorf("starting node %d: log ends at %s, but %s was acknowledged and no other voter has it: %w",
				config.ID, n.log.last, hard.Acked, ErrLost)
		}
		n.hard.Term, n.hard.Vote = hard.Term+1, 0
	}
	n.reads.seq = n.random.Uint64() >> 1
	n.resetTimer()
	if n.onlyVoter() && n.mayCampaign() {
		n.campaign(false, "only voter")
	}
	return n, nil
}

// Tick tells the node that one tick of time has passed.
func (n *Node) Tick() {
	n.now++
	n.elapsed++
	n.contact++
	n.beat++
	repeat := n.beat >= n.config.HeartbeatTicks
	if repeat {
		n.beat = 0
	}
	if n.role == Leader {
		n.tickLeader(repeat)
		return
	}
	if n.elapsed >= n.timeout {
		n.electionTimeout()
		return
	}
	if repeat {
		n.repeatVotes()
		n.repeatReads()
	}
}

// Applied tells the node that the state machine holds everything up to index.
func (n *Node) Applied(index Index) {
	if index > n.log.handed {
		panic(fmt.Sprintf("raft: index %d is applied, but only %d was handed out", index, n.log.handed))
	}
	n.log.applied = max(n.log.applied, index)
}

// Compact forgets everything up to index, as far as it is applied, and returns how far that was: the driver is about to
// drop it from its log. Peers that need it get a snapshot, or are stranded without Config.Snapshots. What follows a
// snapshot that is on its way is kept until its peer replicates, or it would need the next one at once.
func (n *Node) Compact(index Index) Index {
	index = min(index, n.log.applied, n.log.stable)
	for i := range n.lead.peers {
		if p := &n.lead.peers[i]; p.progress.State() == tracker.Snapshot {
			index = min(index, p.snapshotFrom)
		}
	}
	if n.installing != nil || index <= n.log.base.Index {
		return n.log.base.Index
	}
	n.log.compact(index)
	n.configurations.compact(index)
	return index
}

// SetFit says whether this node may lead. An unfit node votes and acknowledges, and neither campaigns nor obeys
// TimeoutNow. A leader that becomes unfit hands over, or steps down if nobody can take over.
func (n *Node) SetFit(fit bool) {
	n.fit = fit
	switch {
	case fit || n.role == Follower:
		if fit && n.role == Follower && n.onlyVoter() && n.mayCampaign() {
			n.campaign(false, "only voter")
		}
	case n.role == Leader && n.Transfer(0) == nil:
	case n.role == Leader && n.lead.transferee != 0:
	default:
		n.becomeFollower(n.hard.Term, 0, "unfit to lead")
	}
}

// Status returns a copy of what the node knows.
func (n *Node) Status() Status {
	active := n.configurations.active()
	s := Status{
		ID: n.config.ID, Role: n.role, Term: n.hard.Term, Leader: n.leader, Vote: n.hard.Vote, Fit: n.fit,
		Commit: n.log.commit, Applied: n.log.applied,
		First: n.log.base.Index + 1, Last: n.log.last, Stable: n.log.stable,
		Configuration: active.Configuration, ConfigurationIndex: active.Index,
		Transferring: n.lead.transferee, ContactTicks: n.contact,
	}
	if n.role == Leader {
		s.ContactTicks = n.quorumSilence()
		s.Peers = n.peerStatus()
	}
	return s
}

// configuration returns the configuration that counts. It must not be changed.
func (n *Node) configuration() *Configuration { return &n.configurations.active().Configuration }

// onlyVoter reports whether this node is a quorum by itself.
func (n *Node) onlyVoter() bool { return len(n.voters) == 1 && n.voters[0] == n.config.ID }

// repairing reports whether the log is shorter than what this node may have acknowledged before it was damaged.
func (n *Node) repairing() bool { return n.log.last.Compare(n.hard.Acked) < 0 }

// appendEntries appends to the log, in memory, and lets a configuration count from that moment on. The entries were
// checked: a configuration among them can be decoded.
func (n *Node) appendEntries(entries []Entry) {
	n.log.append(entries)
	changed := false
	for i := range entries {
		if entries[i].Kind != EntryConfiguration {
			continue
		}
		next, err := DecodeConfiguration(entries[i].Data)
		if err != nil {
			panic(fmt.Sprintf("raft: unchecked entry %s: %v", entries[i].ID, err))
		}
		n.configurations.push(ConfigurationAt{Index: entries[i].ID.Index, Configuration: next})
		changed = true
	}
	if changed {
		n.configurationChanged()
	}
	n.recall()
}

// recall ends the repair of a damaged log: it holds again what this node once acknowledged.
func (n *Node) recall() {
	if n.hard.Acked != (EntryID{}) && !n.repairing() {
		n.hard.Acked = EntryID{}
	}
}

// Settled reports whether every entry that this leader has appended or found is committed. A node that does not lead owes
// nobody anything: it is settled.
func (n *Node) Settled() bool { return n.lead.uncommitted == 0 }

// cutLog removes the entries from index on, which conflict with the leader's.
func (n *Node) cutLog(index Index) {
	term, _ := n.log.term(index)
	n.emit(Truncated{From: EntryID{Term: term, Index: index}, Last: n.log.last.Index})
	n.log.cut(index)
	for i := range n.writes {
		n.writes[i].last = min(n.writes[i].last, index-1)
	}
	if n.configurations.cut(index) {
		n.configurationChanged()
	}
}

// configurationChanged follows a change of the active configuration.
func (n *Node) configurationChanged() {
	active := n.configurations.active()
	n.voters = active.Configuration.voters()
	n.emit(ConfigurationChanged{Index: active.Index, Configuration: active.Configuration})
	if n.role == Leader {
		n.reconcilePeers()
	}
}

// commitTo raises the commit index.
func (n *Node) commitTo(index Index) {
	if index <= n.log.commit {
		return
	}
	if index > n.log.last.Index {
		panic(fmt.Sprintf("raft: commit %d beyond the log's last %s", index, n.log.last))
	}
	before := n.configurations.at(n.log.commit)
	if n.role == Leader {
		n.lead.uncommitted -= n.log.bytes(n.log.commit+1, index)
	}
	n.log.commit = index
	n.log.trim()
	after := n.configurations.at(index)
	if before.Index != after.Index {
		n.configurationCommitted(&before.Configuration, after)
	}
	n.leaveJoint()
}
