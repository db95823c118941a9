package sqlite

import (
	"sync/atomic"
	"time"
)

// Clock is what a connection believes to be the time: CURRENT_TIMESTAMP, every date function, DEFAULTs and triggers.
// SQLite reads it at most once per execution of a statement and keeps milliseconds; what is finer is cut off.
// A Clock may be set from any goroutine; a statement that already read it keeps what it read.
type Clock struct{ unixNano atomic.Int64 }

// NewClock returns a clock that stands at 1970-01-01 00:00:00 UTC. It moves only when it is set.
func NewClock() *Clock { return &Clock{} }

// SetUnixNano sets the clock to ns nanoseconds since 1970-01-01 00:00:00 UTC.
func (k *Clock) SetUnixNano(ns int64) { k.unixNano.Store(ns) }

// UnixNano is the time last set, in nanoseconds.
func (k *Clock) UnixNano() int64 { return k.unixNano.Load() }

// julianEpochMillis is 1970-01-01 in SQLite's time scale: milliseconds since noon of 24 November 4714 BC.
const julianEpochMillis = 210866760000000

// julianMillis is the clock in SQLite's scale, rounded towards the past also before 1970.
func (k *Clock) julianMillis() int64 {
	return time.Unix(0, k.UnixNano()).UnixMilli() + julianEpochMillis
}
