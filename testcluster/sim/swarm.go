package sim

import (
	"math/rand/v2"
	"time"
)

// swarm is what one seed makes of its world. Every seed draws how likely each kind of fault is, so that some worlds have
// little but cuts, and some little but crashes: faults that always come together hide one another's consequences.
type swarm struct {
	voters, clients, keys int
	// think is the mean pause between two operations of a client, size the largest padding of a write in bytes.
	think time.Duration
	size  int

	// loss and duplicate are probabilities of a message, late that of a copy to come seconds later; delay is the mean
	// time on the way.
	loss, duplicate, late float64
	delay                 time.Duration
	// drift is the largest error of a clock's rate.
	drift float64

	// pause is the mean time between two actions of the nemesis, weights how often it takes each kind.
	pause   time.Duration
	weights [actionKinds]int
	// curse is how likely a leader is harmed soon after it was elected, curseAfter the mean time until then: what a new
	// leader has not finished is where the rules about terms matter.
	curse      float64
	curseAfter time.Duration
	// down is the mean time that a crashed node stays down.
	down time.Duration
	// applyErrors is how likely one step of the state machine fails.
	applyErrors float64
	// cluster-wide limits, small so that they are reached.
	segment                                int64
	cache, message, window, inflight, tail int
}

// maxVoters is the size of the largest cluster that is founded.
const maxVoters = 7

func drawSwarm(chance *rand.Rand) swarm {
	pick := func(choices ...int) int { return choices[chance.IntN(len(choices))] }
	s := swarm{
		voters:  pick(1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, maxVoters),
		clients: 2 + chance.IntN(4), keys: 6 + chance.IntN(6),
		think: time.Duration(pick(5, 20, 60)) * time.Millisecond, size: pick(0, 40, 40, 400, 3000),
		delay:   time.Duration(pick(100, 500, 500, 3000)) * time.Microsecond,
		drift:   float64(pick(0, 1, 50)) / 1000,
		pause:   time.Duration(pick(150, 400, 1000)) * time.Millisecond,
		down:    time.Duration(pick(50, 300, 1500)) * time.Millisecond,
		segment: int64(pick(16, 16, 64)) << 10, cache: pick(1, 2<<10, 64<<10),
		message: pick(200, 2000, 1<<20), window: pick(400, 8000, 1<<20), inflight: pick(1, 4, 256), tail: pick(200, 4000, 1<<20),
	}
	if chance.IntN(2) == 0 {
		s.loss = float64(pick(1, 5, 20)) / 100
	}
	if chance.IntN(2) == 0 {
		s.duplicate, s.late = float64(pick(1, 10))/100, float64(pick(0, 10, 50))/100
	}
	if chance.IntN(2) == 0 {
		s.curse, s.curseAfter = float64(pick(20, 60, 90))/100, time.Duration(pick(2, 10, 50))*time.Millisecond
	}
	if chance.IntN(3) == 0 {
		s.applyErrors = float64(pick(1, 20)) / 1000
	}
	for kind := range s.weights {
		s.weights[kind] = pick(0, 0, 1, 2, 5)
	}
	return s
}
