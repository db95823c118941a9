package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/rsqld/rsqld/db/sqlite"
)

// readers are the connections that reads run on. They are opened on demand and kept. Two things are bounded apart:
//
//   - how many reads are open (slots): a client that does not take its rows holds a slot and nothing else;
//   - how many of them step at one moment (turns): one less than the cores, so that the applier always has one. A read
//     gives up its turn while its sink waits for the client, and every few milliseconds to those that wait for one. Quick
//     ones, which step for some tens of microseconds at most, need none.
//
// A fixed pool would have to be as large as the number of slow clients, or let them stop the fast ones.
type readers struct {
	engine *Engine
	slots  chan struct{}
	turns  chan struct{}

	mu sync.Mutex
	// idle are open connections that no read uses; the last is the warmest.
	idle []*reader
	// busy are those in use, so that close can end their reads.
	busy map[*reader]bool
	// began numbers reads from 1.
	began uint64
	// age counts renewals: a connection of an earlier age is closed instead of being used again.
	age    int
	closed bool
	// ended is done when a connection is given back after close.
	ended sync.WaitGroup
	// held, if not nil, is closed when reads may begin again. quiet, if not nil, is closed, and held is set, at the moment
	// when no read runs.
	held, quiet chan struct{}
}

// reader is one connection for reads.
type reader struct {
	users *preparer
	age   int
	// tick is called now and then while a statement steps, and ends it with true; it is that of the read that uses the reader.
	tick func() (stop bool)
	// began numbers the read that uses it.
	began uint64
}

func newReaders(e *Engine) *readers {
	return &readers{
		engine: e,
		slots:  make(chan struct{}, e.config.MaxReaders),
		turns:  make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1)),
		busy:   make(map[*reader]bool),
	}
}

// openReader opens a connection that can change nothing.
func openReader(e *Engine) (*sqlite.Conn, error) {
	options := sqlite.ReaderOptions()
	limits := e.committed.Load().limits
	options.Pragmas = append(options.Pragmas, sqlite.Pragma{Name: "foreign_keys", Value: switchWord(limits.foreignKeys)})
	conn, err := sqlite.Open(e.file(), options)
	if err != nil {
		return nil, fmt.Errorf("opening a reader: %w", err)
	}
	limits.limit(conn)
	return conn, nil
}

// progress is SQLite's callback.
func (r *reader) progress() (stop bool) { return r.tick() }

// ErrReadersBusy says that a read has waited for one of Config.MaxReaders (sql.max_readers) until its context ended.
var ErrReadersBusy = errors.New("every reader of this node is in use")

// acquire returns a reader that is the caller's until release. It waits while all are in use; before it does, it calls
// waits.
func (r *readers) acquire(ctx context.Context, waits func()) (*reader, error) {
	select {
	case r.slots <- struct{}{}:
	default:
		waits()
		select {
		case r.slots <- struct{}{}:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: waiting for one of %d readers (sql.max_readers): %w", ErrReadersBusy, cap(r.slots), context.Cause(ctx))
		}
	}
	for {
		found, held, err := r.take()
		if held == nil {
			if err != nil {
				<-r.slots
			}
			return found, err
		}
		waits()
		select {
		case <-held:
		case <-ctx.Done():
			<-r.slots
			return nil, fmt.Errorf("waiting for the write-ahead log to be begun anew: %w", context.Cause(ctx))
		}
	}
}

// acquireNow is acquire without waiting: nil if there is something to wait for, or no reader can be opened.
func (r *readers) acquireNow() *reader {
	select {
	case r.slots <- struct{}{}:
	default:
		return nil
	}
	found, _, _ := r.take() // whoever is not served here asks again, and hears why
	if found == nil {
		<-r.slots
	}
	return found
}

// hold waits for a moment at which no read runs, and makes it last until resume is called: the channel is closed then, and
// reads that come wait. With now they wait from now on.
func (r *readers) hold(now bool) (quiet <-chan struct{}, resume func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.quiet = make(chan struct{})
	if now {
		r.held = make(chan struct{})
	}
	r.quieten()
	return r.quiet, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.held != nil {
			close(r.held)
		}
		r.held, r.quiet = nil, nil
	}
}

// quieten makes the moment last if this is it. It needs r.mu.
func (r *readers) quieten() {
	if len(r.busy) > 0 || r.quiet == nil || isDone(r.quiet) {
		return
	}
	close(r.quiet)
	if r.held == nil {
		r.held = make(chan struct{})
	}
}

// take returns an idle reader or a new one, or what to wait for before. The caller has a slot.
func (r *readers) take() (_ *reader, held <-chan struct{}, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, nil, ErrClosed
	}
	if r.held != nil {
		return nil, r.held, nil
	}
	var found *reader
	if last := len(r.idle) - 1; last >= 0 {
		found, r.idle = r.idle[last], r.idle[:last]
	} else {
		conn, err := openReader(r.engine)
		if err != nil {
			return nil, nil, err
		}
		found = &reader{users: newPreparer(conn, roleReader, func() settings { return r.engine.committed.Load().limits }), age: r.age}
		conn.SetProgress(stepsPerTick, found.progress)
	}
	r.began++
	found.began = r.began
	r.busy[found] = true
	r.ended.Add(1)
	return found, nil, nil
}

// release gives a reader back. No interrupt of it may be on its way any more.
func (r *readers) release(used *reader) error {
	used.users.conn.ClearInterrupt()
	r.mu.Lock()
	delete(r.busy, used)
	began := used.began
	keep := !r.closed && used.age == r.age
	if keep {
		r.idle = append(r.idle, used)
	}
	r.quieten()
	r.mu.Unlock()
	var err error
	if !keep {
		err = used.users.conn.Close()
	}
	r.ended.Done()
	<-r.slots
	r.engine.checkpointer.readEnded(began)
	return err
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// oldest returns the number of the oldest read that runs, zero if none does.
func (r *readers) oldest() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var oldest uint64
	for reader := range r.busy {
		if oldest == 0 || reader.began < oldest {
			oldest = reader.began
		}
	}
	return oldest
}

// step waits for a turn to step, and calls waits before it does; stepped ends the turn.
func (r *readers) step(ctx context.Context, waits func()) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case r.turns <- struct{}{}:
		return nil
	default:
		waits()
	}
	select {
	case r.turns <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *readers) stepped() { <-r.turns }

// renew makes every later read run on a new connection, because what a connection is opened with has changed.
func (r *readers) renew() {
	r.mu.Lock()
	idle := r.idle
	r.idle = nil
	r.age++
	r.mu.Unlock()
	for _, reader := range idle {
		if err := reader.users.conn.Close(); err != nil {
			r.engine.log.Warn("closing a reader", "err", err)
		}
	}
}

// close interrupts the reads that run, waits for them and closes every connection.
func (r *readers) close() error {
	r.mu.Lock()
	r.closed = true
	idle := r.idle
	r.idle = nil
	for reader := range r.busy {
		reader.users.conn.Interrupt()
	}
	r.mu.Unlock()
	var errs []error
	for _, reader := range idle {
		errs = append(errs, reader.users.conn.Close())
	}
	r.ended.Wait()
	return errors.Join(errs...)
}
