package sim

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"time"

	"github.com/rsqld/rsqld/raft"
)

// World is one simulated cluster: nodes, network, clients and the nemesis, all run as events of one heap by one goroutine
// in virtual time. The same Options make the same world, event by event.
type World struct {
	options Options
	swarm   swarm

	// now is the virtual time since the world began. Only run moves it.
	now   time.Duration
	queue eventQueue
	order uint64

	// nodes are all that ever were, by rising id from 1; ids are not used again.
	nodes   []*node
	network *network
	clients []*client
	nemesis *nemesis
	checker *checker
	atlas   *Atlas
	history History

	// calm says that the phase of faults is over: the liveness phase runs.
	calm bool
	// limping is a node outside the core of the liveness phase whose disk stands still, nil without one.
	limping *node
	counts  Counts
	trace   trace
	// violation ends the run.
	violation *Violation
}

// Options say which world it is.
type Options struct {
	// Seed decides everything that is left to chance.
	Seed uint64
	// Duration is the virtual time of the phase with faults.
	Duration time.Duration
	// Skip names actions of the nemesis, by number, that are left out. Every action draws from a generator of its own, so
	// that the others stay what they were. It is how a failing world is made smaller.
	Skip func(action int) bool
	// Trace keeps the newest events as text, for people.
	Trace bool

	// demand is how many writes of each client the liveness phase waits for; zero: one.
	demand int
}

// Violation says what must not have happened.
type Violation struct {
	// Invariant is the name of what was violated, as in doc.go, or "panic" for a panic of the code under test: a fault as
	// well, and found by an assertion of its own.
	Invariant string
	Seed      uint64
	At        time.Duration
	Text      string
}

// panicked is the name of the violation that is none of the simulator's own invariants.
const panicked = "panic"

// String returns one line, "violation seed=… invariant=… at=…: …", or "panic seed=…".
func (v *Violation) String() string {
	if v.Invariant == panicked {
		first, _, _ := strings.Cut(v.Text, "\n")
		return fmt.Sprintf("panic seed=%d at=%v: %s", v.Seed, v.At, first)
	}
	return fmt.Sprintf("violation seed=%d invariant=%s at=%v: %s", v.Seed, v.Invariant, v.At, v.Text)
}

// Counts say how much a run has tested.
type Counts struct {
	Seeds, SimSeconds, Events, Commits, Elections, Crashes, Partitions, DiskFaults, ConfigChanges, Checks int
	// SnapshotCuts counts transfers that were cut, SnapshotBytesKept what had arrived before the next one began.
	SnapshotCuts, SnapshotBytesKept int
}

// Add adds the counts of another run.
func (c *Counts) Add(other Counts) {
	for i, sum := range c.fields() {
		*sum += *other.fields()[i]
	}
}

func (c *Counts) fields() []*int {
	return []*int{&c.Seeds, &c.SimSeconds, &c.Events, &c.Commits, &c.Elections, &c.Crashes, &c.Partitions, &c.DiskFaults,
		&c.ConfigChanges, &c.SnapshotCuts, &c.SnapshotBytesKept, &c.Checks}
}

func (c Counts) String() string {
	return fmt.Sprintf("seeds=%d sim_seconds=%d events=%d commits=%d elections=%d crashes=%d partitions=%d disk_faults=%d config_changes=%d snapshot_cuts=%d snapshot_bytes_kept=%d checks=%d",
		c.Seeds, c.SimSeconds, c.Events, c.Commits, c.Elections, c.Crashes, c.Partitions, c.DiskFaults, c.ConfigChanges,
		c.SnapshotCuts, c.SnapshotBytesKept, c.Checks)
}

// Result is what one run came to.
type Result struct {
	// Violation is nil if all invariants held and the cluster came back to life.
	Violation *Violation
	Counts    Counts
	// Hash is the hash of all events: equal for equal Options.
	Hash uint64
	// Actions is how many actions the nemesis took, Trace the newest events if Options.Trace asked for them.
	Actions int
	Trace   []string
}

// Run runs the world of o to its end: a time of faults, then the liveness phase, then the clients' history.
func Run(o Options) Result {
	w := newWorld(o)
	w.guard(func() {
		w.run(o.Duration)
		if w.violation == nil {
			w.comeAlive()
		}
		if w.violation == nil {
			w.checker.finish()
		}
	})
	w.counts.Seeds, w.counts.SimSeconds = 1, int(w.now/time.Second)
	return Result{
		Violation: w.violation, Counts: w.counts, Hash: w.trace.hash, Actions: w.nemesis.actions, Trace: w.trace.lines(),
	}
}

// guard turns a panic of the code under test into a violation.
func (w *World) guard(do func()) {
	defer func() {
		if p := recover(); p != nil {
			w.fail(panicked, "%v\n%s", p, debug.Stack())
		}
	}()
	do()
}

func newWorld(o Options) *World {
	w := &World{options: o}
	w.trace.keep = o.Trace
	w.swarm = drawSwarm(w.chance("swarm"))
	w.network = newNetwork(w)
	w.nemesis = newNemesis(w)
	w.checker = newChecker(w)
	var voters []raft.ID
	for range w.swarm.voters {
		voters = append(voters, w.addNode().id)
	}
	w.atlas = NewAtlas(voters...)
	w.guard(func() {
		for _, n := range w.nodes {
			n.found(voters)
			n.start()
		}
	})
	for range w.swarm.clients {
		w.clients = append(w.clients, newClient(w, len(w.clients)))
	}
	return w
}

// chance returns a generator for one part of the world, so that a draw more in one part shifts no other.
func (w *World) chance(part string) *rand.Rand {
	h := uint64(14695981039346656037)
	for _, b := range []byte(part) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return rand.New(rand.NewPCG(w.options.Seed, h))
}

// fail notes the first violation.
func (w *World) fail(invariant, format string, args ...any) {
	if w.violation == nil {
		w.violation = &Violation{Invariant: invariant, Seed: w.options.Seed, At: w.now, Text: fmt.Sprintf(format, args...)}
		w.note(0, "VIOLATION of %s: %s", invariant, w.violation.Text)
	}
}

// event is something that happens at a moment. order breaks ties by age.
type event struct {
	at    time.Duration
	order uint64
	do    func()
}

// after lets something happen d from now.
func (w *World) after(d time.Duration, do func()) {
	w.order++
	w.queue.push(event{w.now + max(d, 0), w.order, do})
}

// run lets everything happen up to a moment.
func (w *World) run(until time.Duration) {
	for w.violation == nil && len(w.queue) > 0 && w.queue[0].at <= until {
		e := w.queue.pop()
		w.now = e.at
		w.counts.Events++
		e.do()
	}
	w.now = until
}

// eventQueue is a heap with the next event on top.
type eventQueue []event

func (q eventQueue) before(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].order < q[j].order
}

func (q *eventQueue) push(e event) {
	h := append(*q, e)
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h.before(i, parent) {
			break
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
	*q = h
}

func (q *eventQueue) pop() event {
	h := *q
	top, last := h[0], len(h)-1
	h[0], h[last] = h[last], event{}
	h = h[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if h.before(child, least) {
				least = child
			}
		}
		if least == i {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	*q = h
	return top
}

// exponential draws a time with this mean.
func exponential(chance *rand.Rand, mean time.Duration) time.Duration {
	return time.Duration(chance.ExpFloat64() * float64(mean))
}

// happens draws an event of this probability.
func happens(chance *rand.Rand, p float64) bool { return p > 0 && chance.Float64() < p }
