package replica

import (
	"time"

	"github.com/rsqld/rsqld/raft"
)

// compactionInterval is the time between two looks at the size of the log.
const compactionInterval = time.Second

// compact drops the beginning of the log, whole segments, when there is more of it than anybody needs:
//
//   - the newest KeepLogBytes stay, so that a peer which was away for a moment needs no snapshot;
//   - what a peer that answers has not acknowledged stays too, up to MaxLogBytes;
//   - nothing goes that the machine does not hold durably.
//
// It costs one sync of the machine for each 16 MiB or so of log.
func (r *Replica) compact() {
	ticks, stop := r.cfg.Clock.Ticker(compactionInterval)
	defer stop()
	failing := false
	for {
		select {
		case <-r.stopping:
			return
		case <-ticks:
		}
		err := r.compactOnce()
		if failed := err != nil; failed != failing && !r.stopped() {
			failing = failed
			if failed {
				r.handler.log.Error("cannot compact the log, which grows", "err", err)
			} else {
				r.handler.log.Info("the log is compacted again")
			}
		}
	}
}

func (r *Replica) compactOnce() error {
	status := r.status.Load()
	through := min(r.droppable(status), r.Applied())
	if through < status.First {
		return nil
	}
	base, err := r.courier.machine.Durable()
	if err != nil {
		return err
	}
	r.baton.Lock()
	through = r.handler.Compact(min(through, base.Applied.Index))
	r.baton.Unlock()
	return r.cfg.WAL.Compact(through)
}

// droppable returns the newest index that nobody is expected to ask for.
func (r *Replica) droppable(status *raft.Status) raft.Index {
	through := r.cfg.WAL.Behind(r.cfg.Limits.KeepLogBytes)
	for _, p := range status.Peers {
		if p.SinceAck < electionTicks {
			through = min(through, p.Match)
		}
	}
	return max(through, r.cfg.WAL.Behind(r.cfg.Limits.MaxLogBytes))
}
