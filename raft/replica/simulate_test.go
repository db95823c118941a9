package replica

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/rsqld/rsqld/raft"
)

// world runs handlers in one goroutine and in virtual time: the disk, the network and the applier are events of a heap.
// It shows that a Handler needs nothing else; testcluster/sim is the simulator that looks for faults.
type world struct {
	now    time.Time
	random *rand.Rand
	events events
	count  int
	nodes  []*simulated
	trace  []string
}

// simulated is one node of a world. It is the environment of its handler.
type simulated struct {
	*Handler
	world   *world
	id      raft.ID
	log     []raft.Entry
	waiters Waiters
	applier *Applier
	content []string
}

func newWorld(t *testing.T, seed uint64, voters ...raft.ID) *world {
	w := &world{now: time.Unix(0, 0), random: rand.New(rand.NewPCG(seed, 0))}
	for _, id := range voters {
		hardState, log := founded(voters...)
		n := &simulated{world: w, id: id, log: slices.Clone(log.Tail)}
		config := Config{ID: id, Seed: seed ^ uint64(id)<<32, ElectionTimeout: DefaultElectionTimeout, Limits: Limits{}.withDefaults()}
		node, err := raft.New(config.core(), hardState, log, 0)
		if err != nil {
			t.Fatal(err)
		}
		n.applier = NewApplier(n, n, &n.waiters, 0, config.Limits, nil)
		n.Handler = NewHandler(node, config.ElectionTimeout, config.Limits, Environment{
			Clock: n, Writer: n, Loader: n, Committer: n, Transport: n, Waiters: &n.waiters,
		})
		w.nodes = append(w.nodes, n)
		w.after(config.tick(), n.tick)
	}
	return w
}

// after lets an event happen d from now, with up to a tenth more.
func (w *world) after(d time.Duration, do func()) {
	w.count++
	at := w.now.Add(d + time.Duration(w.random.Int64N(int64(d/10)+1)))
	heap.Push(&w.events, event{at, w.count, do})
}

// run lets virtual time pass.
func (w *world) run(d time.Duration) {
	for end := w.now.Add(d); len(w.events) > 0 && w.events[0].at.Before(end); {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
	}
}

func (n *simulated) tick() {
	n.Tick()
	n.Process()
	n.world.after(DefaultElectionTimeout/electionTicks, n.tick)
}

func (n *simulated) Now() time.Time { return n.world.now }
func (n *simulated) Mark()          {}

func (n *simulated) Write(w *raft.Write) {
	if w.TruncateFrom > 0 {
		n.log = n.log[:w.TruncateFrom-1]
	}
	n.log = append(n.log, w.Entries...)
	n.world.after(200*time.Microsecond, func() {
		n.Written(w.Seq, nil)
		n.Process()
	})
}

func (n *simulated) Send(m raft.Message) {
	to := m.Header().To
	n.world.after(time.Millisecond, func() {
		receiver := n.world.nodes[to-1]
		// A refusal is the core's answer to a message that came too late.
		_ = receiver.Step(m)
		receiver.Process()
	})
}

func (n *simulated) Load(load raft.LoadRange) {
	n.world.after(time.Millisecond, func() {
		n.Loaded(load, n.log[load.Range.First-1:load.Range.Last], nil)
		n.Process()
	})
}

func (n *simulated) Retry() {}

func (n *simulated) Commit(index raft.Index) {
	n.applier.Commit(index)
	n.world.after(time.Millisecond, func() {
		for more := true; more; {
			more, _ = n.applier.Step()
		}
		n.Applied(n.applier.Applied())
		n.Process()
	})
}

func (n *simulated) Entries(first, last raft.Index, _ int) ([]raft.Entry, error) {
	return n.log[first-1 : last], nil
}

func (n *simulated) Apply(entries []raft.Entry) ([]raft.Result, error) {
	for _, e := range entries {
		if e.Kind == raft.EntryCommand {
			n.content = append(n.content, string(e.Data))
		}
		n.world.trace = append(n.world.trace, fmt.Sprint(n.world.now.UnixNano(), " ", n.id, " applies ", e.ID))
	}
	return make([]raft.Result, len(entries)), nil
}

func (n *simulated) Base() (raft.Base, error) { return raft.Base{}, nil }

// simulate lets three nodes elect, and apply what is proposed to all of them.
func simulate(t *testing.T, seed uint64) *world {
	w := newWorld(t, seed, 1, 2, 3)
	for i := range 50 {
		w.run(100 * time.Millisecond)
		for _, n := range w.nodes {
			n.Propose([]*Proposal{{Data: fmt.Appendf(nil, "%d", i), Done: func(a Applied, err error) {
				w.trace = append(w.trace, fmt.Sprint(w.now.UnixNano(), " ", n.id, " answers ", a, err))
			}}})
			n.Process()
		}
	}
	w.run(time.Second)
	return w
}

// Handlers that run as events of one goroutine agree, and the same seed runs the same way, to the nanosecond.
func TestHandlerRunsInASimulator(t *testing.T) {
	one, again, other := simulate(t, 1), simulate(t, 1), simulate(t, 2)
	if !slices.Equal(one.trace, again.trace) {
		t.Error("the same seed ran in two ways")
	}
	if slices.Equal(one.trace, other.trace) {
		t.Error("another seed ran in the same way")
	}
	for _, n := range one.nodes {
		if len(n.content) < 40 || !slices.Equal(n.content, one.nodes[0].content) {
			t.Errorf("node %d applied %q, node 1 %q", n.id, n.content, one.nodes[0].content)
		}
	}
}

type event struct {
	at    time.Time
	order int
	do    func()
}

type events []event

func (e events) Len() int      { return len(e) }
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].order < e[j].order
}
func (e *events) Push(x any) { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	*e = (*e)[:last]
	return x
}
