package transport

import (
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Refusals are logged so often at most: a flood of them must not become a flood of log lines.
const (
	refusalBurst    = 5
	refusalInterval = time.Second
)

// refusals logs connections that are not let in.
type refusals struct {
	log *slog.Logger

	mu         sync.Mutex // guards what follows
	credit     bucket
	suppressed int
}

func newRefusals(log *slog.Logger) *refusals {
	return &refusals{log: log, credit: bucket{rate: 1 / refusalInterval.Seconds(), burst: refusalBurst}}
}

// add logs that remote was refused because of err, unless too much was logged just now.
func (r *refusals) add(remote net.Addr, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.credit.take(time.Now()) {
		r.suppressed++
		return
	}
	var attributes []any
	if r.suppressed > 0 {
		attributes = append(attributes, "not_logged_before", r.suppressed)
	}
	r.suppressed = 0
	r.log.Warn(fmt.Sprintf("refused a connection from %v: %v", remote, err), attributes...)
}

// bucket is a token bucket: rate tokens a second, at most burst of them saved up. It begins full.
type bucket struct {
	rate, burst float64
	spent       float64 // burst minus the tokens that are left
	last        time.Time
}

// take takes a token if there is one.
func (b *bucket) take(now time.Time) bool {
	b.spent = max(0, b.spent-b.rate*max(0, now.Sub(b.last).Seconds()))
	b.last = now
	if b.spent+1 > b.burst {
		return false
	}
	b.spent++
	return true
}
