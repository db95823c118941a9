package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
)

var (
	errIdle = errors.New("it did nothing while others waited to write")
	errLong = errors.New("it was open for too long")
)

// gate keeps other writes of this leader from coming between the statements of a transaction: a plain write passes
// together with others, a transaction alone. Who came first passes first, so that neither kind waits for ever.
//
// It knows nothing of writes that another leader has left in the log, or of those whose clients have given up waiting:
// whoever has it alone waits for what the log holds.
type gate struct {
	// idle is Config.TransactionIdle.
	idle time.Duration

	mu sync.Mutex
	// passing counts the plain writes on their way, holder is the transaction that has the gate. One of the two is zero.
	passing int
	holder  *transaction
	queue   []*gateWaiter
}

// gateWaiter is one that waits.
type gateWaiter struct {
	// wants is the transaction that wants the gate, nil for a plain write.
	wants *transaction
	since time.Time
	ready chan struct{}
}

// enter passes a plain write, which calls leave when it has its result.
func (g *gate) enter(ctx context.Context) *Error { return g.pass(ctx, nil) }

// leave ends the passage of a plain write.
func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.passing--
	g.admit()
}

// acquire gives the gate to a transaction, which calls release when it has ended.
func (g *gate) acquire(ctx context.Context, t *transaction) *Error { return g.pass(ctx, t) }

// release takes the gate from a transaction, if it has it.
func (g *gate) release(t *transaction) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.holder == t {
		g.holder = nil
		g.admit()
	}
}

// admit lets pass who may. It needs g.mu.
func (g *gate) admit() {
	for len(g.queue) > 0 && g.holder == nil {
		first := g.queue[0]
		if first.wants != nil && g.passing > 0 {
			return
		}
		g.queue = g.queue[1:]
		g.holder = first.wants
		if first.wants == nil {
			g.passing++
		}
		close(first.ready)
	}
}

func (g *gate) pass(ctx context.Context, t *transaction) *Error {
	g.mu.Lock()
	if t == nil && g.holder == nil && len(g.queue) == 0 { // nearly every write
		g.passing++
		g.mu.Unlock()
		return nil
	}
	w := &gateWaiter{wants: t, since: time.Now(), ready: make(chan struct{})}
	g.queue = append(g.queue, w)
	g.admit()
	g.mu.Unlock()
	return g.wait(ctx, w)
}

// wait waits for a turn. It ends a transaction that does nothing meanwhile.
func (g *gate) wait(ctx context.Context, w *gateWaiter) *Error {
	timer := time.NewTimer(g.idle)
	defer timer.Stop()
	for {
		select {
		case <-w.ready:
			return nil
		case <-timer.C:
			timer.Reset(g.nudge(w))
		case <-ctx.Done():
			return g.giveUp(ctx, w)
		}
	}
}

// nudge ends the holder if it did nothing for too long since w waits, and returns when to look again.
func (g *gate) nudge(w *gateWaiter) time.Duration {
	g.mu.Lock()
	holder := g.holder
	g.mu.Unlock()
	if holder == nil {
		return g.idle
	}
	quiet, is := holder.idleSince()
	if !is {
		return g.idle
	}
	if quiet.Before(w.since) {
		quiet = w.since
	}
	if left := g.idle - time.Since(quiet); left > 0 {
		return left
	}
	holder.kill(fmt.Errorf("%w: the limit is %v", errIdle, g.idle))
	return g.idle
}

// giveUp ends a wait whose context has ended.
func (g *gate) giveUp(ctx context.Context, w *gateWaiter) *Error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.queue, w); i >= 0 {
		g.queue = slices.Delete(g.queue, i, i+1)
	} else if w.wants == nil {
		g.passing--
	} else {
		g.holder = nil
	}
	holder := g.holder
	g.admit()
	if !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return ended(ctx)
	}
	if holder == nil {
		return busy("other transactions were first")
	}
	return busy("the transaction of " + holder.describe() + " has not ended")
}

// quiesce waits until no transaction is open and lets none begin until release is called, so that a change of the leader that
// somebody asks for takes none with it. Writes wait meanwhile, and go on at the next leader.
func (n *Node) quiesce(ctx context.Context) (release func(), failed *Error) {
	t := &transaction{node: n, begun: time.Now()}
	if failed := n.gate.acquire(ctx, t); failed != nil {
		return nil, failed
	}
	return func() { n.gate.release(t) }, nil
}

// transaction is a transaction that writes, on the leader; without a session it is a change of the leader.
type transaction struct {
	node    *Node
	session *session
	term    raft.Term
	begun   time.Time
	// index is of an entry that it sees, and all before it.
	index raft.Index
	mu    sync.Mutex // guards what follows
	// body is where its statements run. It is set once, when the transaction has the gate: those who know that it has
	// begun read it without the lock.
	body *engine.Transaction
	// quiet is since when no statement runs; zero while one does.
	quiet time.Time
	// committing says that the gate is released by whoever commits.
	committing bool
}

// idleSince returns since when the transaction does nothing; not ok: it does something.
func (t *transaction) idleSince() (time.Time, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.quiet, !t.quiet.IsZero()
}

// work notes that a statement runs, until done is called.
func (t *transaction) work() (done func()) {
	t.mu.Lock()
	t.quiet = time.Time{}
	t.mu.Unlock()
	return func() {
		t.mu.Lock()
		t.quiet = time.Now()
		t.mu.Unlock()
	}
}

// kill undoes a transaction that has begun.
func (t *transaction) kill(why error) { t.body.Kill(why) }

// end is kill for one that may be about to begin.
func (t *transaction) end(why error) {
	t.mu.Lock()
	body := t.body
	t.mu.Unlock()
	if body != nil {
		body.Kill(why)
	}
}

// describe names the transaction to those who wait for it.
func (t *transaction) describe() string {
	if t.session == nil {
		return "a node that hands its leadership over"
	}
	return fmt.Sprintf("session %x of %s, begun %v ago,", t.session.id, t.session.caller(), time.Since(t.begun).Round(time.Millisecond))
}
