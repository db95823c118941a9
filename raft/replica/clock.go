package replica

import "time"

// Clock is the time that a replica lives by. The real one is used where Config.Clock is nil; a test gives a clock
// that runs fast, slow, or only when told to.
type Clock interface {
	// Now returns the time. Only differences are used, so that a step of the wall clock must not show in it:
	// time.Now carries a monotonic reading.
	Now() time.Time
	// Ticker returns a channel that receives once every period until stop is called. It holds at most one tick:
	// a reader that was away finds one, not all that it missed.
	Ticker(period time.Duration) (ticks <-chan time.Time, stop func())
}

type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

func (realClock) Ticker(period time.Duration) (<-chan time.Time, func()) {
	t := time.NewTicker(period)
	return t.C, t.Stop
}
