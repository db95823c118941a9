package raft

import "github.com/rsqld/rsqld/raft/tracker"

// Nothing is sent while a message or a proposal is handled. Ready calls replicate once for all that has come in, so
// that one append carries all proposals, and it and no heartbeat the commit index.

// replicate makes the messages that the leader owes its peers.
func (n *Node) replicate() {
	n.beginRound()
	for i := range n.lead.peers {
		p := &n.lead.peers[i]
		n.sendEntries(p)
		n.sendHeartbeat(p)
	}
}

// sendEntries sends a peer what it lacks, as far as the flow control allows.
func (n *Node) sendEntries(p *peer) {
	for p.next() <= n.log.last.Index && p.progress.Ready() {
		prev := p.next() - 1
		term, known := n.log.term(prev)
		if !known {
			if n.strand(p) {
				return
			}
			continue
		}
		if p.next() >= n.log.tailFirst() {
			entries, bytes := n.log.slice(p.next(), n.config.MaxMessageBytes)
			n.transmit(p, EntryID{Term: term, Index: prev}, entries, bytes)
			continue
		}
		if p.progress.State() == tracker.Probe {
			// Whether prev is held can be asked without reading anything.
			n.transmit(p, EntryID{Term: term, Index: prev}, nil, 0)
			return
		}
		n.load(p)
		break
	}
	if p.ask && (p.progress.State() == tracker.Replicate || p.progress.Ready()) {
		n.askPosition(p)
	}
}

// askPosition sends an append without entries. Its answer says whether the peer holds all that was sent, and so ends
// every wait for a lost message, whether the window is full or not.
func (n *Node) askPosition(p *peer) {
	prev := p.next() - 1
	if term, known := n.log.term(prev); known {
		n.transmit(p, EntryID{Term: term, Index: prev}, nil, 0)
	} else if n.strand(p) {
		p.ask = false
	} else {
		n.transmit(p, n.log.base, nil, 0)
	}
}

// transmit sends one append.
func (n *Node) transmit(p *peer, prev EntryID, entries []Entry, bytes int) {
	p.ask = false
	replicating := p.progress.State() == tracker.Replicate
	p.progress.Sent(len(entries), bytes)
	if replicating {
		p.told = max(p.told, min(n.log.commit, prev.Index+Index(len(entries))))
	}
	n.send(Append{
		Envelope: n.to(p.id), Prev: prev, Entries: entries, Commit: n.log.commit, Round: n.reads.round,
	})
}

// sendHeartbeat sends a heartbeat if one is due, or a silent one if the peer can commit more than it was told: an answer
// to each would double what the commit index of a lone write costs, and say nothing that the next one's does not.
func (n *Node) sendHeartbeat(p *peer) {
	commit := min(n.log.commit, p.match())
	if !p.beat && p.told >= commit {
		return
	}
	n.send(Heartbeat{Envelope: n.to(p.id), Commit: commit, Round: n.reads.round, Silent: !p.beat})
	p.beat = false
	p.told = max(p.told, commit)
}

// strand deals with a peer that is to get entries below the log's base. It may hold more than is known here, so it is
// probed once at the base; if it does not hold that either, it is given up on. strand reports whether it is.
func (n *Node) strand(p *peer) bool {
	if !p.lowest {
		p.lowest = true
		p.progress.ProbeAt(uint64(n.log.base.Index + 1))
		return false
	}
	p.progress.Strand()
	p.snapshotFrom = n.log.applied
	if n.config.Snapshots {
		n.offerSnapshot(p)
		return true
	}
	n.emit(PeerStranded{ID: p.id, Next: p.next(), First: n.log.base.Index + 1})
	return true
}

// load asks the driver to read entries for a peer, one range at a time.
func (n *Node) load(p *peer) {
	if n.now < p.loadAfter {
		return
	}
	p.loading = Range{First: p.next(), Last: n.log.tailFirst() - 1}
	p.loadAfter = n.now + uint64(n.config.ElectionTicks)
	n.out.load = append(n.out.load, LoadRange{To: p.id, Range: p.loading, MaxBytes: n.config.MaxMessageBytes})
}

// Loaded answers a LoadRange of Ready.Load with entries from its first index on, fewer than asked for if they are large.
// None says that reading failed; the node asks again after a heartbeat interval. The entries are not changed.
func (n *Node) Loaded(asked LoadRange, entries []Entry) {
	p := n.peer(asked.To)
	if p == nil || p.loading != asked.Range {
		return
	}
	p.loading, p.loadAfter = Range{}, 0
	bytes := 0
	for i := range entries {
		// What was read may be of another time: only what is in the log now may be sent.
		if entries[i].ID.Index != asked.Range.First+Index(i) || !n.log.holds(entries[i].ID) {
			entries = entries[:i]
			break
		}
		bytes += entryBytes(&entries[i])
	}
	if len(entries) == 0 {
		p.loadAfter = n.now + uint64(n.config.HeartbeatTicks)
		return
	}
	prev := asked.Range.First - 1
	term, known := n.log.term(prev)
	if !known || p.next() != asked.Range.First || p.progress.State() != tracker.Replicate || !p.progress.Ready() {
		return
	}
	n.transmit(p, EntryID{Term: term, Index: prev}, entries, bytes)
}
