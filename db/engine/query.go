package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
)

// Sink takes the rows of a read as they come. Its methods may wait (for a client that reads slowly): other reads go on
// meanwhile. An error that one returns ends the read, and Query returns it.
type Sink interface {
	// Columns is called once, before the first row. It is not called for a statement without columns.
	Columns([]Column) error
	// Row is called for each row, packed as package wire describes. The bytes are valid until Row returns.
	Row(packed []byte) error
}

// Lingerer is a Sink that wants to know of a read that is not over in a moment.
type Lingerer interface {
	// Lingers is called, perhaps more than once, by the goroutine that reads: before the read waits for another one or for
	// the sink, and when it has stepped for some tens of microseconds. It must not wait.
	Lingers()
}

// QueryDone says what a read saw.
type QueryDone struct {
	// Index is that of an entry that the read saw, and all before it; it may have seen more.
	Index raft.Index
	// Rows is how many rows went to the sink.
	Rows int64
}

// Query runs one read statement on a snapshot of the rows and streams its rows to the sink. It ends early, with the
// cause, when ctx ends or after Config.ReaderTimeout; the snapshot is given up then even if the sink still waits. A
// statement that writes is refused with ErrNotRead, before anything of it runs.
func (e *Engine) Query(ctx context.Context, text string, args []*commandpb.Argument, sink Sink) (QueryDone, error) {
	if err := e.Quarantined(); err != nil {
		return QueryDone{}, err
	}
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	q := newQuery(e, ctx, sink)
	reader, err := e.readers.acquire(ctx, q.lingers)
	if err != nil {
		return QueryDone{}, err
	}
	err = q.on(reader, text, args)
	if closing := e.readers.release(reader); closing != nil {
		err = errors.Join(err, closing)
	}
	return q.finish(err)
}

// ErrLingers says that a read is not over in a moment.
var ErrLingers = errors.New("the read is not over in a moment")

// Quick is Query for a read that is over in a moment: it waits for nothing, and so needs no context to end its waiting. A
// read that would wait for a reader, takes more than stepsPerTick steps of SQLite's virtual machine or has more than
// bufferBytes of rows ends with ErrLingers; the caller then runs Query. With any error nothing has reached the sink, unless
// it is the sink's own.
func (e *Engine) Quick(text string, args []*commandpb.Argument, sink Sink) (QueryDone, error) {
	if err := e.Quarantined(); err != nil {
		return QueryDone{}, err
	}
	reader := e.readers.acquireNow()
	if reader == nil {
		return QueryDone{}, ErrLingers
	}
	q := newQuery(e, context.Background(), sink)
	q.quick = true
	err := q.on(reader, text, args)
	if closing := e.readers.release(reader); closing != nil {
		err = errors.Join(err, closing)
	}
	return q.finish(err)
}

// bounded gives a context that ends later, or never, the end that Config.ReaderTimeout sets.
func (e *Engine) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if end, has := ctx.Deadline(); has && time.Until(end) <= e.config.ReaderTimeout {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, e.config.ReaderTimeout, ErrReaderTimeout)
}

// query is one read on its way.
type query struct {
	engine *Engine
	ctx    context.Context
	reader *reader
	sink   Sink
	done   QueryDone
	// quick says that the read ends with ErrLingers where another would wait, or take long.
	quick bool
	// shape is sent before the first row, and shaped says that it was.
	shape  []Column
	shaped bool
	// packed holds rows that the sink has not had yet; ends are where each of them ends.
	packed []byte
	ends   []int

	// using is held by whoever uses the reader's connection: the read, but not while its sink may wait.
	using sync.Mutex
	// stmt is the statement from its first step to its end. It is guarded by using.
	stmt *sqlite.Stmt
	// since is when the read got its turn to step.
	since time.Time
}

func newQuery(e *Engine, ctx context.Context, sink Sink) *query {
	return &query{engine: e, ctx: ctx, sink: sink}
}

// lingers tells the sink that the read takes its time.
func (q *query) lingers() {
	if sink, wants := q.sink.(Lingerer); wants {
		sink.Lingers()
	}
}

// on runs the read on a reader that the caller has acquired. The last rows have not gone to the sink then: finish sends
// them, when the reader may serve others.
func (q *query) on(reader *reader, text string, args []*commandpb.Argument) error {
	e := q.engine
	q.reader, reader.tick = reader, q.tick
	settled := func() {}
	if !q.quick {
		settled = q.endWithContext()
	}
	q.done.Index = e.Applied()
	generation := e.generation.Load()
	err := q.run(text, args)
	e.noteDamage(generation, err)
	settled()
	q.reader = nil
	return q.explain(err)
}

// endWithContext interrupts the read when its context ends. The caller calls settled when the read has ended: after it no
// interrupt is on its way, which the reader's next user would get.
func (q *query) endWithContext() (settled func()) {
	interrupted := make(chan struct{})
	stop := context.AfterFunc(q.ctx, func() {
		q.interrupt()
		close(interrupted)
	})
	return func() {
		if !stop() {
			<-interrupted
		}
	}
}

// finish hands the rows that are left to the sink, unless the read has failed.
func (q *query) finish(err error) (QueryDone, error) {
	if err == nil {
		err = q.deliver()
	}
	return q.done, err
}

// sinkError is an error of the sink, which is returned as it is.
type sinkError struct{ error }

// explain replaces the error of an interrupted statement by what interrupted it.
func (q *query) explain(err error) error {
	if err == nil {
		return nil
	}
	var fromSQLite *sqlite.Error
	var fromSink sinkError
	switch {
	case errors.As(err, &fromSink):
		return fromSink.error
	case errors.As(err, &fromSQLite) && fromSQLite.Code == sqlite.CodeInterrupt:
		if q.quick {
			return ErrLingers
		}
		if cause := context.Cause(q.ctx); cause != nil {
			return fmt.Errorf("the read was interrupted: %w", cause)
		}
		return fmt.Errorf("the read was interrupted: %w", ErrClosed)
	}
	return q.engine.committed.Load().limits.named(err)
}

func (q *query) run(text string, args []*commandpb.Argument) error {
	if !q.quick { // which takes less than the wait for a turn would
		if err := q.engine.readers.step(q.ctx, q.lingers); err != nil {
			return err
		}
		defer q.engine.readers.stepped()
	}
	q.using.Lock()
	defer q.using.Unlock()
	q.since = time.Now()
	users := q.reader.users
	stmt, rest, err := users.prepare(text)
	if err != nil || stmt == nil {
		return err
	}
	defer users.done(stmt)
	if classOf(text, stmt, &users.facts) != Read {
		return ErrNotRead
	}
	if rest != "" {
		return ErrSeveral
	}
	all := newArguments(args)
	if err := bind(stmt, &all); err != nil {
		return err
	}
	if err := all.finish(); err != nil {
		return err
	}
	q.stmt = stmt
	defer func() { q.stmt = nil }()
	return q.stream(stmt)
}

// interrupt ends the statement: at its next step, or here and now while the sink waits.
func (q *query) interrupt() {
	q.reader.users.conn.Interrupt()
	q.using.Lock()
	defer q.using.Unlock()
	if q.stmt != nil {
		// What a read that is cut short has to say is the cause of its end.
		_ = q.stmt.Reset()
		q.stmt = nil
	}
}

// sliceTime is for how long a read steps before it lets the next one have its turn.
const sliceTime = 5 * time.Millisecond

// tick is SQLite's progress callback; true ends the statement. A long statement gives up its turn every now and then, and takes it again behind
// those that wait. Without it a few statements that compute and compute would keep every other read from its first row.
func (q *query) tick() (stop bool) {
	if q.quick {
		return true
	}
	q.lingers()
	if time.Since(q.since) < sliceTime {
		return false
	}
	q.engine.readers.stepped()
	q.engine.readers.turns <- struct{}{}
	q.since = time.Now()
	return false
}

// bufferBytes is how many bytes of rows are packed before the sink gets them. A turn to step is given up and taken
// again between, which for every row would cost as much as the row.
const bufferBytes = 32 << 10

// stream steps the statement and feeds the sink, but for the last rows. The caller has a turn to step, and has it again
// afterwards.
func (q *query) stream(stmt *sqlite.Stmt) error {
	row, err := stmt.Step()
	if err != nil {
		return err
	}
	q.shape = columns(stmt) // after the step, which prepares again if the schema has changed
	for row {
		if q.stmt == nil { // ended while the sink waited
			return fmt.Errorf("the read was interrupted: %w", context.Cause(q.ctx))
		}
		q.packed = appendRow(q.packed, stmt, len(q.shape))
		q.ends = append(q.ends, len(q.packed))
		if len(q.packed) >= bufferBytes {
			if q.quick {
				return ErrLingers
			}
			if err := q.pause(); err != nil {
				return err
			}
			if q.stmt == nil {
				continue
			}
		}
		if row, err = stmt.Step(); err != nil {
			return err
		}
	}
	return nil
}

// pause gives up the connection and the turn to step while the sink, which may wait, gets the rows. It has both again when it
// returns, even if the context has ended: the others that step give up theirs soon.
func (q *query) pause() error {
	q.using.Unlock()
	q.engine.readers.stepped()
	q.lingers()
	err := q.deliver()
	q.engine.readers.turns <- struct{}{}
	q.using.Lock()
	q.since = time.Now()
	if err != nil {
		return sinkError{err}
	}
	return nil
}

// deliver hands the packed rows to the sink, and before the first the columns.
func (q *query) deliver() error {
	if !q.shaped && len(q.shape) > 0 {
		q.shaped = true
		if err := q.sink.Columns(q.shape); err != nil {
			return err
		}
	}
	begin := 0
	for _, end := range q.ends {
		if err := q.sink.Row(q.packed[begin:end]); err != nil {
			return err
		}
		q.done.Rows++
		begin = end
	}
	q.packed, q.ends = q.packed[:0], q.ends[:0]
	return nil
}
