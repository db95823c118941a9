package raft

import (
	"fmt"
	"io"

	"github.com/rsqld/rsqld/raft/tracker"
)

// SnapshotMeta says what a snapshot stands for.
type SnapshotMeta struct {
	// Base is the newest entry whose effect the content holds, and the configuration as of there.
	Base
	// Size is the length of the content in bytes.
	Size int64
}

// SnapshotReader is the content of a state machine at one moment. It does not change while the machine goes on. The
// caller closes it.
type SnapshotReader interface {
	io.ReaderAt
	io.Closer
	Meta() SnapshotMeta
}

// Snapshotter is a Machine whose content can be handed to a peer that lags behind the beginning of the log.
type Snapshotter interface {
	Machine
	// Snapshot returns the content as it is now. It may be called beside Apply, by any goroutine.
	Snapshot() (SnapshotReader, error)
	// Restore replaces the content by that of a snapshot, durably when it returns: after a crash the machine holds the
	// old content or the new one, and Base says which. It is called in the place of an Apply.
	Restore(SnapshotMeta, io.ReaderAt) error
	// Durable makes everything applied so far durable and returns how far that is. Entries up to there may leave the log.
	// It may be called beside Apply, by any goroutine.
	Durable() (Base, error)
}

// SendSnapshot asks the driver to bring a snapshot of its state machine to a peer, and to say with SnapshotSent what
// became of it, whatever became of it: nothing else ends the wait.
type SendSnapshot struct{ To ID }

// SnapshotInstalled says that the state machine was replaced by a snapshot. Dropped is the end of the log that had to go
// because it did not hold the snapshot's last entry; zero if the log stayed.
type SnapshotInstalled struct {
	Last    EntryID
	Dropped EntryID
}

func (SnapshotInstalled) event() {}

// offerSnapshot asks for a snapshot for a peer that needs entries which the log no longer holds. It waits until the peer
// answers, and T after an attempt that failed. One that runs is not begun anew, however old it gets: a peer that is slower
// than the log grows would never have one.
func (n *Node) offerSnapshot(p *peer) {
	if !n.config.Snapshots || p.progress.State() != tracker.Stranded || n.now < p.snapshotAfter ||
		n.now-p.ackedAt >= uint64(n.config.ElectionTicks) {
		return
	}
	p.progress.Snapshot()
	n.out.snapshots = append(n.out.snapshots, SendSnapshot{To: p.id})
}

// SnapshotSent ends a SendSnapshot. With ok the peer has installed the snapshot durably, or holds more than it. The peer is
// asked where it stands: its own answer may be lost, and an answer that comes late or twice proves nothing.
func (n *Node) SnapshotSent(to ID, ok bool) {
	p := n.peer(to)
	if p == nil || p.progress.State() != tracker.Snapshot {
		return
	}
	p.lowest, p.ask = false, true
	if ok {
		p.progress.ProbeAt(max(uint64(n.log.base.Index+1), p.progress.Match()+1))
		return
	}
	p.progress.Strand()
	p.snapshotAfter = n.now + uint64(n.config.ElectionTicks)
}

// Install asks whether a snapshot that is at hand, whole and verified, is to replace the state machine. If so (nil) the
// driver does that and calls Installed. Until then nothing is handed out to be applied, and this node does not campaign;
// it votes and takes entries as ever. What is not newer than the commit index is refused: the log leads there; unless the
// state machine does not follow it (NeedSnapshot).
func (n *Node) Install(base Base) error {
	switch at := base.Applied; {
	case n.installing != nil:
		return fmt.Errorf("%w: a snapshot up to %s is being installed", ErrBusy, n.installing.Applied)
	case at.Index <= n.log.commit && !(n.needSnapshot && at.Index >= n.log.applied):
		return fmt.Errorf("%w: snapshot up to %s, %d is committed here", ErrStale, at, n.log.commit)
	case n.role == Leader:
		return fmt.Errorf("%w: snapshot up to %s for the leader of term %d", ErrStale, at, n.hard.Term)
	case base.Configuration.validate() != nil || base.ConfigurationIndex > at.Index || at.Term == 0 || at.Index >= maxNumber:
		return fmt.Errorf("%w: snapshot up to %s with configuration %v of %d", ErrMalformed, at, base.Configuration,
			base.ConfigurationIndex)
	}
	n.installing = &base
	if n.role != Follower || base.Applied.Term > n.hard.Term {
		n.becomeFollower(max(n.hard.Term, base.Applied.Term), 0, "installing a snapshot")
	}
	return nil
}

// NeedSnapshot says whether the state machine is to be replaced although the log leads on from it, because it cannot or
// must not apply what comes next. Then a snapshot may be installed from the applied index on, and what the log holds behind
// it is applied again. A snapshot that was installed ends the need.
func (n *Node) NeedSnapshot(need bool) { n.needSnapshot = need }

// Installed says that the state machine was replaced, durably, or with ok false that it was not. The log keeps what
// follows the snapshot's last entry if it holds that very entry. If it does not, all of it goes: entries behind an entry
// that conflicts with a committed one are another history, and one that stays makes the leader send snapshots for ever
// (hashicorp/raft#697). The leader hears of it when the log's new beginning is durable too (paper fig. 13).
func (n *Node) Installed(ok bool) {
	base := n.installing
	n.installing = nil
	if !ok || base == nil {
		return
	}
	n.needSnapshot = false
	at := base.Applied
	before := *n.configurations.at(n.log.commit)
	installed := SnapshotInstalled{Last: at}
	if !n.log.holds(at) && at.Index > n.log.base.Index {
		installed.Dropped = n.log.last
		n.beginLog(base)
	}
	n.log.commit = max(n.log.commit, at.Index)
	n.log.handed, n.log.applied = max(n.log.handed, at.Index), max(n.log.applied, at.Index)
	n.emit(installed)
	if after := n.configurations.at(n.log.commit); after.Index != before.Index {
		n.configurationCommitted(&before.Configuration, after)
	}
	if n.leader != 0 {
		n.promise(AppendAck{Envelope: n.to(n.leader), Match: at.Index})
	}
}

// beginLog lets the log begin after a snapshot, empty. Nothing of the old one counts as durable any more.
func (n *Node) beginLog(base *Base) {
	n.log.begin(base.Applied)
	for i := range n.writes {
		n.writes[i].last = 0
	}
	n.beginning = base
	n.configurations = configurations{list: []ConfigurationAt{{Index: base.ConfigurationIndex, Configuration: base.Configuration}}}
	n.configurationChanged()
	n.recall()
}
