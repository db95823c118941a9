package replica

import (
	"time"

	"github.com/rsqld/rsqld/raft"
)

// compactionInterval is the time between two looks at the size of the log.
const compactionInterval = time.Second

// compact drops the beginning of the log, whole segments, when there is more of it than anybody needs:
//
//   - the newest KeepLogBytes stay, and what came within KeepLogTime, so that a peer which was away for a moment needs no
//     snapshot;
//   - what a peer that answers has not acknowledged stays too, up to MaxLogBytes;
//   - nothing goes that the machine does not hold durably.
//
// It costs one sync of the machine for each 16 MiB or so of log.
func (r *Replica) compact() {
	ticks, stop := r.cfg.Clock.Ticker(compactionInterval)
	defer stop()
	failing := false
	trail := trail{keep: r.cfg.Limits.KeepLogTime}
	for {
		select {
		case <-r.stopping:
			return
		case <-ticks:
		}
		status := r.status.Load()
		r.courier.warn(r.courier.stock.tidy(status.First))
		trail.note(r.cfg.Clock.Now(), status.Last.Index)
		err := r.compactOnce(status, &trail)
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

func (r *Replica) compactOnce(status *raft.Status, trail *trail) error {
	through := min(r.droppable(status, trail), r.Applied())
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
func (r *Replica) droppable(status *raft.Status, trail *trail) raft.Index {
	through := min(r.cfg.WAL.Behind(r.cfg.Limits.KeepLogBytes), trail.old)
	for _, p := range status.Peers {
		if p.SinceAck < electionTicks {
			through = min(through, p.Match)
		}
	}
	return max(through, r.cfg.WAL.Behind(r.cfg.Limits.MaxLogBytes))
}

// trail remembers how long the log was when, as far back as entries are kept because of their age. What was there at the start
// counts as come at the start.
type trail struct {
	keep  time.Duration
	marks []mark
	// old is the newest index that is known to be old enough to go.
	old raft.Index
}

// mark says that at a time the log ended with an index.
type mark struct {
	at    time.Time
	index raft.Index
}

func (t *trail) note(now time.Time, last raft.Index) {
	if n := len(t.marks); n == 0 || t.marks[n-1].index != last {
		t.marks = append(t.marks, mark{now, last})
	}
	for len(t.marks) > 0 && now.Sub(t.marks[0].at) >= t.keep {
		t.old, t.marks = t.marks[0].index, t.marks[1:]
	}
}
