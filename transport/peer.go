package transport

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/rsqld/rsqld/raft"
)

// peer is another node of the cluster: a member, which this node dials, or a guest, which has dialled this node and is
// no member as far as this node knows. A guest is heard and answered, because it may know better: it may have been
// added a moment ago, or must hear that it was removed. Endpoint.mu guards all fields but id.
type peer struct {
	id raft.ID
	// address is where a member listens; a guest has none.
	address string
	link    *link // nil while there is no connection
	// stop ends the goroutine that dials a member.
	stop context.CancelFunc
	// abort ends the attempt to dial that is under way; nil if none is.
	abort context.CancelCauseFunc
	// linked holds a token when link was set since it was last looked at.
	linked chan struct{}
	// rtt is the round trip of the last connection, or zero.
	rtt time.Duration
}

// SetPeers makes the members what peers says: host:port of each other node. New ones are dialled and kept connected,
// those that left the set are disconnected. Nodes that were never in it and have dialled this node stay. This node
// itself is left out if it is there.
func (e *Endpoint) SetPeers(peers map[raft.ID]string) {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return
	}
	for id, address := range peers {
		if id != e.self && address != "" {
			e.addMember(id, address)
		}
	}
	var dropped []*link
	for id, p := range e.peers {
		if _, stays := peers[id]; !stays && p.address != "" {
			p.stop()
			p.address, p.stop = "", nil
			e.admission.forget(id)
			if p.link != nil {
				dropped = append(dropped, p.link)
			} else {
				delete(e.peers, id)
			}
		}
	}
	e.mu.Unlock()
	for _, l := range dropped {
		shut(l.conn, codeDropped, fmt.Sprintf("node %d is no member any more", l.peer))
	}
}

// addMember needs e.mu.
func (e *Endpoint) addMember(id raft.ID, address string) {
	p := e.peerOf(id)
	member := p.address != ""
	p.address = address // a new address counts from the next attempt on
	if member {
		return
	}
	ctx, stop := context.WithCancel(e.ctx)
	p.stop = stop
	e.group.Go(func() { e.dialLoop(ctx, p) })
}

// peerOf returns the peer with id, made if need be. It needs e.mu.
func (e *Endpoint) peerOf(id raft.ID) *peer {
	p := e.peers[id]
	if p == nil {
		p = &peer{id: id, linked: make(chan struct{}, 1)}
		e.peers[id] = p
	}
	return p
}

// install puts l in use, unless the pair has a better connection.
func (e *Endpoint) install(l *link) bool {
	e.mu.Lock()
	p := e.peerOf(l.peer)
	old := p.link
	if e.closed || old != nil && !l.replaces(old) {
		e.mu.Unlock()
		return false
	}
	p.link, l.heard = l, time.Now()
	delete(e.complaints, l.peer)
	if !l.dialled && p.abort != nil {
		p.abort(errDuplicate)
	}
	select {
	case p.linked <- struct{}{}:
	default:
	}
	e.publish()
	e.mu.Unlock()
	if old != nil {
		shut(old.conn, codeDuplicate, "the two nodes have a better connection")
	}
	return true
}

// remove takes l, whose connection has ended, out of use.
func (e *Endpoint) remove(l *link) {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.peers[l.peer]
	if p == nil || p.link != l {
		return
	}
	p.link, p.rtt = nil, l.conn.ConnectionStats().SmoothedRTT
	if p.address == "" {
		delete(e.peers, l.peer)
	}
	e.publish()
}

// publish renews e.links. It needs e.mu.
func (e *Endpoint) publish() {
	links := make(map[raft.ID]*link, len(e.peers))
	for id, p := range e.peers {
		if p.link != nil {
			links[id] = p.link
		}
	}
	e.links.Store(&links)
}

// linkTo returns the connection with a peer, or nil.
func (e *Endpoint) linkTo(peer raft.ID) *link { return (*e.links.Load())[peer] }

// Send implements raft.Transport: it queues m for the peer that it names, or drops it. It never blocks.
func (e *Endpoint) Send(m raft.Message) {
	if l := e.linkTo(m.Header().To); l != nil {
		l.send(m)
		return
	}
	e.counters.noConnection.Add(1)
}

// Connected reports whether there is a connection with a peer. One that says nothing counts for Limits.PeerSilence.
func (e *Endpoint) Connected(peer raft.ID) bool { return e.linkTo(peer) != nil }

// RTT returns the smoothed round trip time of the connection with a peer, if there is one.
func (e *Endpoint) RTT(peer raft.ID) (time.Duration, bool) {
	l := e.linkTo(peer)
	if l == nil {
		return 0, false
	}
	return l.conn.ConnectionStats().SmoothedRTT, true
}

// servePeer serves a connection that a peer dialled.
func (e *Endpoint) servePeer(conn *quic.Conn, peer raft.ID) {
	if peer == e.self {
		e.refuse(conn.RemoteAddr(), fmt.Errorf("it calls itself node %d, as this node does: two nodes run on copies of one data directory", peer))
		shut(conn, codeMismatch, fmt.Sprintf("this is node %d too", peer))
		return
	}
	if up, err := e.serveLink(conn, peer, false); !up {
		e.complain(peer, conn.RemoteAddr(), err)
	}
}

// watchSilence closes the connections of peers that say nothing, and sees to it that this node says something. QUIC
// would take longer: the timeout that both sides agree on is at least 5 s for the side that accepted.
func (e *Endpoint) watchSilence() {
	silence := e.config.Limits.PeerSilence
	ticker := time.NewTicker(silence / 8)
	ticks := 0
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			ticks++
			for l := range maps.Values(*e.links.Load()) {
				if ticks%2 == 0 {
					l.tellClock()
				}
				if packets := l.conn.ConnectionStats().PacketsReceived; packets != l.packets {
					l.packets, l.heard = packets, now
				} else if now.Sub(l.heard) > silence {
					shut(l.conn, codeSilence, fmt.Sprintf("nothing was heard for %v", silence))
				}
			}
		case <-e.ctx.Done():
			return
		}
	}
}
