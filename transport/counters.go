package transport

import (
	"sync"
	"sync/atomic"
)

// Counters counts what an Endpoint has done since it was opened.
type Counters struct {
	// Sent and Received count messages between cores; Clocks those received that told nothing but a clock.
	Sent, Received, Clocks uint64
	// Datagrams counts those sent as datagrams; Oversized those that were too large for one and went on the stream.
	Datagrams, Oversized uint64
	// NoConnection and QueueFull count messages that were dropped before they were sent.
	NoConnection, QueueFull uint64
	// Misfit counts messages dropped because their cluster, sender, receiver or incarnation is not the connection's,
	// Malformed those that are no messages.
	Misfit, Malformed uint64
	// Refused counts connections that were not let in, for whatever reason; Disconnected those of peers that did not
	// keep to the protocol.
	Refused, Disconnected uint64
	// Snapshots is what travelled of the snapshots that were sent.
	Snapshots SnapshotTally
	// Sessions, Relays, Connections and Joins say how many there are now.
	Sessions, Relays, Connections, Joins int
	// TurnedAway counts sessions, connections and joins beyond a limit.
	TurnedAway uint64
}

// counters is Counters while it counts.
type counters struct {
	sent, received, datagrams, oversized atomic.Uint64
	clocks, noConnection, queueFull      atomic.Uint64
	misfit, malformed                    atomic.Uint64
	refused, disconnected, turnedAway    atomic.Uint64
	snapshots                            tallies
	sessions, relays, clients, joins     places
}

// Counters returns the counters as of now.
func (e *Endpoint) Counters() Counters {
	c := &e.counters
	return Counters{
		Sent: c.sent.Load(), Received: c.received.Load(), Clocks: c.clocks.Load(), Datagrams: c.datagrams.Load(), Oversized: c.oversized.Load(),
		NoConnection: c.noConnection.Load(), QueueFull: c.queueFull.Load(),
		Misfit: c.misfit.Load(), Malformed: c.malformed.Load(), Refused: c.refused.Load(), Disconnected: c.disconnected.Load(),
		Snapshots: c.snapshots.total(),
		Sessions:  c.sessions.taken(), Relays: c.relays.taken(), Connections: c.clients.taken(), Joins: c.joins.taken(),
		TurnedAway: c.turnedAway.Load(),
	}
}

// places counts how many of a limited number of places are taken.
type places struct {
	mu    sync.Mutex // guards what follows
	used  int
	empty chan struct{} // closed when used is zero; nil if nobody waits
}

// take takes a place if fewer than limit are taken.
func (p *places) take(limit int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used >= limit {
		return false
	}
	p.used++
	return true
}

func (p *places) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used--; p.used == 0 && p.empty != nil {
		close(p.empty)
		p.empty = nil
	}
}

func (p *places) taken() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// emptied returns a channel that is closed when no place is taken.
func (p *places) emptied() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.empty == nil {
		p.empty = make(chan struct{})
	}
	empty := p.empty
	if p.used == 0 {
		close(p.empty)
		p.empty = nil
	}
	return empty
}
