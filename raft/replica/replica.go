package replica

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/rsqld/rsqld/raft"
)

// Replica runs one member: the core, its log, its state machine and the way to its peers. All methods may be called
// from any goroutine.
type Replica struct {
	cfg Config

	// baton is held by the goroutine that is in handler, scratch or batch. It is never held across I/O: Process only
	// queues.
	baton   sync.Mutex
	handler *Handler
	scratch arrivals
	batch   []*Proposal

	inbox   *inbox
	writer  *writer
	applier *applierLoop
	loader  *loader
	courier *courier // nil without Config.Snapshots
	waiters *Waiters
	calls   sync.Pool // of *call

	status   atomic.Pointer[raft.Status]
	leader   atomic.Pointer[leadership]
	applyErr atomic.Pointer[error]
	roomErr  atomic.Pointer[error]
	// installing waits for the installation of a snapshot, or is nil. It needs the baton.
	installing *arrival
	// malformed counts messages that no correct peer sends.
	malformed atomic.Uint64

	// stopping is closed when the replica stops for good; err is set before.
	stopping chan struct{}
	stopOnce sync.Once
	err      atomic.Pointer[error]
	// loops are the two goroutines that hand events to the handler, workers all goroutines.
	loops, workers sync.WaitGroup
	closeOnce      sync.Once
	closeErr       error
}

// leadership is what Leader returns.
type leadership struct {
	id      raft.ID
	term    raft.Term
	changed chan struct{}
}

// Open starts a replica. Entries that the log holds beyond what the machine has applied are applied as soon as they are
// known to be committed. If Open fails, the log stays open and the caller's.
func Open(cfg Config) (*Replica, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	base, err := cfg.Machine.Base()
	if err != nil {
		return nil, fmt.Errorf("opening replica %d: asking the state machine how far it came: %w", cfg.ID, err)
	}
	if err := rebase(&cfg, base); err != nil {
		return nil, fmt.Errorf("opening replica %d: %w", cfg.ID, err)
	}
	node, err := raft.New(cfg.core(), cfg.Recovered.HardState, cfg.Recovered.Log, base.Applied.Index)
	if err != nil {
		return nil, fmt.Errorf("opening replica %d: %w", cfg.ID, err)
	}
	r := build(cfg, node, base.Applied.Index)
	r.start()
	return r, nil
}

// rebase sees to it that the log leads on from the state machine: it refuses a machine that is older than the log, and lets
// a log begin anew that does not lead to the machine.
func rebase(cfg *Config, base raft.Base) error {
	log := cfg.Recovered.Log
	if base.Applied.Index < log.Base.Index {
		return fmt.Errorf("the state machine has applied %v, but the log begins after %v: entries between are missing",
			base.Applied, log.Base)
	}
	write := Rebase(base, cfg.Recovered.HardState, log)
	if write == nil {
		return nil
	}
	if cfg.Snapshots == nil {
		return fmt.Errorf("the state machine has applied %v, which the log, from %v to %v, does not hold", base.Applied, log.Base, log.Last)
	}
	if err := cfg.WAL.Append(write); err != nil {
		return fmt.Errorf("letting the log begin after %v, which the state machine has applied: %w", base.Applied, err)
	}
	cfg.Logger.Warn("the log begins anew after what the state machine has applied, as after a crash in the installation of a snapshot",
		"node", uint64(cfg.ID), "term", uint64(base.Applied.Term), "index", uint64(base.Applied.Index))
	cfg.Recovered.HardState = write.HardState
	cfg.Recovered.Log = raft.Log{Base: base.Applied, Last: base.Applied,
		BaseConfiguration: raft.ConfigurationAt{Index: base.ConfigurationIndex, Configuration: base.Configuration}}
	return nil
}

// termAt returns the term of an index from log.Base to log.Last.
func termAt(log raft.Log, index raft.Index) raft.Term {
	term := log.Base.Term
	for _, run := range log.Runs {
		if run.First <= index {
			term = run.Term
		}
	}
	return term
}

func build(cfg Config, node *raft.Node, applied raft.Index) *Replica {
	r := &Replica{
		cfg:      cfg,
		inbox:    newInbox(cfg.Limits),
		writer:   newWriter(cfg.WAL, cfg.Limits.MaxAppendBytes, cfg.Clock),
		waiters:  &Waiters{},
		stopping: make(chan struct{}),
	}
	r.calls.New = func() any { return newCall() }
	r.applier = newApplierLoop(NewApplier(cfg.WAL, cfg.Machine, r.waiters, applied, cfg.Limits, cfg.OnApplied), r.inbox)
	r.loader = newLoader(cfg.WAL, r.inbox)
	environment := Environment{
		Clock:     cfg.Clock,
		Writer:    r.writer,
		Loader:    r.loader,
		Committer: r.applier,
		Transport: cfg.Transport,
		Waiters:   r.waiters,
		Logger:    cfg.Logger,
	}
	if cfg.Snapshots != nil {
		r.courier = newCourier(r)
		environment.Snapshots = r.courier
	}
	r.handler = NewHandler(node, cfg.ElectionTimeout, cfg.Limits, environment)
	r.leader.Store(&leadership{changed: make(chan struct{})})
	r.publish(true)
	return r
}

func (r *Replica) start() {
	r.loops.Add(2)
	r.workers.Go(r.loop)
	r.workers.Go(r.tick)
	r.workers.Go(r.writeLog)
	r.workers.Go(func() { r.applier.run(r.stopping) })
	r.workers.Go(func() { r.loader.run(r.stopping) })
	if r.courier != nil {
		r.workers.Go(r.compact)
	}
	r.workers.Go(func() {
		r.loops.Wait()
		// Both loops are gone. A turn that a late message causes finds a handler that does nothing.
		r.baton.Lock()
		defer r.baton.Unlock()
		r.handler.Close(r.Err())
	})
	r.inbox.signal()
}

// loop takes a turn whenever something arrived. It also writes a lone write itself, between two turns.
func (r *Replica) loop() {
	defer r.loops.Done()
	for {
		select {
		case <-r.stopping:
			return
		case <-r.inbox.wake:
		}
		r.turn(false)
		for r.inbox.empty() && r.writer.claimLone() {
			seq, err := r.writer.flush()
			r.inbox.done(seq, err)
			r.turn(false)
		}
		r.writer.kick()
	}
}

// tick takes a turn with a tick at every period, whatever the loop does. While the loop is away in a write that takes
// longer than a period, the turns that it is woken for are taken here too: a stalled disk delays them by one tick at most.
func (r *Replica) tick() {
	defer r.loops.Done()
	ticks, stop := r.cfg.Clock.Ticker(r.cfg.tick())
	defer stop()
	var wake <-chan struct{}
	for {
		select {
		case <-r.stopping:
			return
		case <-ticks:
			r.turn(true)
		case <-wake:
			r.turn(false)
		}
		wake = nil
		if r.writer.loopAway() {
			wake = r.inbox.wake
		}
		r.writer.kick()
	}
}

// writeLog is the WAL goroutine.
func (r *Replica) writeLog() {
	for {
		select {
		case <-r.stopping:
			return
		case <-r.writer.work:
		}
		for !r.stopped() && r.writer.claim() {
			seq, err := r.writer.flush()
			r.inbox.done(seq, err)
			r.arrived()
		}
	}
}

// arrived follows whatever was put into the inbox. The goroutine that brought it takes the turn itself if nobody has the
// baton: to wake the loop for it costs more than the turn. Only the write that may come of it is for others.
func (r *Replica) arrived() {
	if !r.baton.TryLock() {
		r.inbox.signal()
		return
	}
	r.act(false)
	r.baton.Unlock()
	if r.writer.wantsLoop() {
		r.inbox.signal()
	} else {
		r.writer.kick()
	}
}

// turn is a turn of the loop or, with a tick, of the tick goroutine.
func (r *Replica) turn(tick bool) {
	r.baton.Lock()
	defer r.baton.Unlock()
	r.act(tick)
}

// act hands everything that arrived to the handler, then the tick if there is one, and lets it act. It needs the baton.
func (r *Replica) act(tick bool) {
	r.scratch.reset()
	r.inbox.take(&r.scratch)
	h := r.handler
	h.Applied(r.applier.Applied())
	r.deliver(h, &r.scratch)
	if tick || h.Settled() {
		r.propose(h)
	}
	if tick {
		h.Room(r.cfg.WAL.Spare())
		h.Tick()
	}
	h.Process()
	r.inbox.hold(!h.Settled())
	r.publish(tick)
	if err := h.Err(); err != nil {
		r.stop(err)
	}
}

// propose makes a batch of the proposals that wait.
func (r *Replica) propose(h *Handler) {
	r.batch = r.inbox.takeProposals(r.batch[:0])
	h.Propose(r.batch)
	clear(r.batch)
}

// deliver hands over completions first: they free what the rest may need.
func (r *Replica) deliver(h *Handler, a *arrivals) {
	h.Written(a.written.seq, a.written.err)
	for _, err := range a.applying {
		if err != nil {
			h.ApplyFailed(err)
		} else {
			h.ApplyResumed()
		}
	}
	if a.fit != nil {
		h.SetFit(*a.fit)
	}
	for _, l := range a.loaded {
		h.Loaded(l.load, l.entries, l.err)
	}
	for _, id := range a.unreachable {
		h.Unreachable(id)
	}
	r.deliverSnapshots(h, a)
	for _, m := range a.messages {
		// A refusal is the core's way to say that the message was stale or malformed. Both are a network's normal.
		if err := h.Step(m); errors.Is(err, raft.ErrMalformed) {
			r.malformed.Add(1)
		}
	}
	if a.read != nil {
		h.Read(&a.read.ReadRound)
	}
	for _, t := range a.transfers {
		h.Transfer(t)
	}
}

// publish makes the new state visible: after a tick, and whenever something changed.
func (r *Replica) publish(tick bool) {
	changed := r.handler.TakeChanged()
	if !changed && !tick {
		return
	}
	status := r.handler.Status()
	r.status.Store(&status)
	err := r.handler.ApplyErr()
	r.applyErr.Store(&err)
	room := r.handler.RoomErr()
	r.roomErr.Store(&room)
	if old := r.leader.Load(); old.id != status.Leader || old.term != status.Term {
		r.leader.Store(&leadership{id: status.Leader, term: status.Term, changed: make(chan struct{})})
		close(old.changed)
	}
}

// stop ends everything, with why. It does not wait.
func (r *Replica) stop(why error) {
	r.stopOnce.Do(func() {
		r.err.Store(&why)
		close(r.stopping)
		unknown := why
		if errors.Is(why, ErrClosed) {
			unknown = errStopped
		}
		r.waiters.Close(unknown)
		why := closed(why)
		proposals, read, transfers := r.inbox.close(why)
		for _, p := range proposals {
			if p.take() {
				p.Done(Applied{}, why)
			}
		}
		if read != nil {
			read.Done(0, why)
		}
		for _, t := range transfers {
			t.Done(why)
		}
		r.applier.progress.close(why)
	})
}

func (r *Replica) stopped() bool {
	select {
	case <-r.stopping:
		return true
	default:
		return false
	}
}

// Done is closed when the replica stops for good: Close was called, or the log failed. Err says why.
func (r *Replica) Done() <-chan struct{} { return r.stopping }

// Err returns nil while the replica runs, ErrClosed after Close, and else the failure that stopped it.
func (r *Replica) Err() error {
	if err := r.err.Load(); err != nil {
		return *err
	}
	return nil
}

// Close stops the replica, waits for its goroutines (a running Apply, a running write) and closes the log, with the
// marker that covers the newest record. The machine and the transport stay open; Step does nothing from now on.
// Proposals that wait end in ErrOutcomeUnknown. A leader that wants no gap calls Transfer first.
func (r *Replica) Close() error {
	r.closeOnce.Do(func() {
		r.stop(ErrClosed)
		r.workers.Wait()
		var err error
		if errors.Is(r.Err(), ErrClosed) {
			err = r.cfg.WAL.Mark()
		}
		if err = errors.Join(err, r.cfg.WAL.Close()); err != nil {
			r.closeErr = fmt.Errorf("closing replica %d: %w", r.cfg.ID, err)
		}
	})
	return r.closeErr
}
