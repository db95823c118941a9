package transport

import (
	"sync"

	"github.com/rsqld/rsqld/raft"
)

// notices collects the peers that messages to were lost, for a goroutine of their own to tell: who sends a message
// must not be called back from inside.
type notices struct {
	wake chan struct{} // holds a token when lost may have something

	mu   sync.Mutex // guards lost
	lost map[raft.ID]struct{}
}

func (n *notices) init() { n.wake, n.lost = make(chan struct{}, 1), make(map[raft.ID]struct{}) }

func (n *notices) add(peer raft.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lost[peer] = struct{}{}
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *notices) take() map[raft.ID]struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	lost := n.lost
	n.lost = make(map[raft.ID]struct{})
	return lost
}

// tellUnreachable calls OnUnreachable until the Endpoint closes.
func (e *Endpoint) tellUnreachable() {
	for {
		select {
		case <-e.notices.wake:
			for peer := range e.notices.take() {
				e.config.OnUnreachable(peer)
			}
		case <-e.ctx.Done():
			return
		}
	}
}
