package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/db/command"
	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/sqlite"
)

var (
	// ErrTransactionOpen refuses a second transaction.
	ErrTransactionOpen = errors.New("another transaction is open")
	// ErrTransactionOver is the cause of every refusal of a transaction that was undone.
	ErrTransactionOver = errors.New("the transaction was undone")
	// ErrOvertaken ends a transaction because the log goes on without it.
	ErrOvertaken = errors.New("other entries of the log were applied")
)

// StepOptions go with a statement of a transaction.
type StepOptions struct {
	// UnixNano and Seed are what it sees in the place of this node's clock and random numbers; they are written down with
	// it. A time that is smaller than that of the statement or entry before is taken for that.
	UnixNano int64
	Seed     uint64
	// ReadOnly refuses the statement with ErrNotRead if it writes.
	ReadOnly bool
}

// Transaction is an interactive transaction: its statements run one by one on the connection that changes the database,
// in an SQLite transaction of their own, and are written down. Nothing of it is ever committed there: Finish undoes it
// and returns what was written down, which is proposed as one entry and executed like any other.
//
// There is at most one, and it sees the database as of the newest entry. Whoever begins it sees to it that no entry
// comes in between; one that does come undoes it. A Transaction is for one goroutine at a time, but for Kill and Done.
type Transaction struct {
	engine *Engine
	// committed is the state before it, and time that of its newest statement.
	committed state
	time      int64
	steps     []*commandpb.Step
	// bytes is how much of an entry the steps take, more or less.
	bytes   int
	scratch []byte

	mu sync.Mutex // guards what follows
	// interrupt ends the statement that runs, or is nil.
	interrupt context.CancelCauseFunc
	// over is why the transaction was undone, or nil.
	over error
	// done is closed when it has ended, in any way.
	done chan struct{}
}

// Begin begins a transaction. It fails with ErrTransactionOpen if there is one; other errors are the environment's.
func (e *Engine) Begin(first StepOptions) (*Transaction, error) {
	e.applying.Lock()
	defer e.applying.Unlock()
	if e.transaction.Load() != nil {
		return nil, ErrTransactionOpen
	}
	if err := errors.Join(e.Quarantined(), e.reopen()); err != nil {
		return nil, err
	}
	w := e.writer
	e.checkpointer.beforeBatch(w)
	t := &Transaction{engine: e, committed: w.state, time: max(first.UnixNano, w.state.time), done: make(chan struct{})}
	err := w.begin()
	if err == nil {
		err = once(w.own.savepoint)
	}
	if err != nil {
		e.abandon()
		return nil, fmt.Errorf("beginning a transaction: %w", err)
	}
	w.setContext(&commandpb.Command{Time: t.time, Seed: first.Seed})
	w.meter.beginEntry()
	w.left = leftovers{}
	e.transaction.Store(t)
	return t, nil
}

// StepResult is what one statement of a transaction came to.
type StepResult struct {
	// Empty says that there was no statement, only comments.
	Empty bool
	// Wrote says that the statement was no pure read.
	Wrote bool
	// RowsAffected and LastInsertID are those of a StatementResult.
	RowsAffected, LastInsertID int64
	// Columns are those of a statement that returns rows, else nil. Rows holds them; the caller closes it.
	Columns []Column
	Rows    *Spool
}

// Run runs the first statement of a text with the arguments that it takes, and returns what is left of both. The error of
// a statement that failed alone leaves the transaction as it was before it; one that wraps ErrTransactionOver is the
// transaction's end. When ctx ends, a statement that writes takes the transaction with it.
func (t *Transaction) Run(ctx context.Context, o StepOptions, text string, args []*commandpb.Argument) (
	r StepResult, rest string, others []*commandpb.Argument, err error,
) {
	err = t.use(ctx, func(ctx context.Context, w *writer) error {
		t.time = max(t.time, o.UnixNano)
		if move, after, is := parseSavepoint(text); is {
			r, rest, others = StepResult{Wrote: true}, after, args
			return t.move(w, move)
		}
		r, rest, others, err = t.run(ctx, w, o, text, args)
		return err
	})
	return r, rest, others, err
}

// Savepoint sets a savepoint of the caller's own, which no statement can name.
func (t *Transaction) Savepoint(ctx context.Context) error { return t.own(ctx, setSavepoint) }

// RollbackTo undoes what was done since the newest savepoint of the caller's own, which stays.
func (t *Transaction) RollbackTo(ctx context.Context) error { return t.own(ctx, rollbackTo) }

// Release removes the newest savepoint of the caller's own.
func (t *Transaction) Release(ctx context.Context) error { return t.own(ctx, releaseSavepoint) }

// ownSavepoint is the name of savepoints that are not the client's.
const ownSavepoint = internalPrefix + "_request"

func (t *Transaction) own(ctx context.Context, verb savepointVerb) error {
	return t.use(ctx, func(_ context.Context, w *writer) error {
		m := savepointMove{verb, ownSavepoint}
		if err := w.moveSavepoint(m); err != nil {
			return err
		}
		t.note(savepointStep(m))
		return nil
	})
}

// Finish ends the transaction here and returns its steps, which have no effect until they are applied as an entry; nil
// if it changed nothing. An error says why it was undone for good.
func (t *Transaction) Finish(ctx context.Context) (steps *commandpb.Transaction, err error) {
	err = t.use(ctx, func(_ context.Context, w *writer) error {
		if err := w.checkForeignKeys(); err != nil {
			return err
		}
		if t.writes() {
			steps = &commandpb.Transaction{Steps: t.steps}
		}
		return nil
	})
	t.Kill(errors.New("it has ended"))
	return steps, err
}

// writes reports whether a step may have changed something.
func (t *Transaction) writes() bool {
	for _, step := range t.steps {
		if step.GetStatement() != nil {
			return true
		}
	}
	return false
}

// Kill undoes the transaction because of why, whatever it does now. A transaction that is over stays as it is.
func (t *Transaction) Kill(why error) {
	t.stop(why)
	t.engine.applying.Lock()
	defer t.engine.applying.Unlock()
	t.engine.undo(t)
}

// Done is closed when the transaction has ended, in any way.
func (t *Transaction) Done() <-chan struct{} { return t.done }

// Err returns why the transaction was undone, wrapping ErrTransactionOver, or nil.
func (t *Transaction) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.over
}

// stop marks the transaction as one to be undone and interrupts its statement.
func (t *Transaction) stop(why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over == nil {
		t.over = fmt.Errorf("%w: %w", ErrTransactionOver, why)
	}
	if t.interrupt != nil {
		t.interrupt(t.over)
	}
}

// undo ends a transaction in the database. It needs e.applying.
func (e *Engine) undo(t *Transaction) {
	if e.transaction.Load() != t {
		return
	}
	e.transaction.Store(nil)
	close(t.done)
	w := e.writer
	if w == nil {
		return // its connection is closed
	}
	var err error
	if !w.conn.Autocommit() {
		err = execInternal(w.conn, "ROLLBACK")
	}
	w.undone(&t.committed)
	if err == nil {
		err = w.forgetSchema()
	}
	if refused := w.conn.TakeRefusal(); err == nil {
		err = refused
	}
	if err != nil {
		e.log.Warn("undoing a transaction", "err", err)
		e.abandon()
	}
}

// evict locks e.applying and makes way for entries: an open transaction ends.
func (e *Engine) evict() {
	if t := e.transaction.Load(); t != nil {
		t.stop(ErrOvertaken) // a statement that runs has the lock
	}
	e.applying.Lock()
	if t := e.transaction.Load(); t != nil {
		t.stop(ErrOvertaken)
		e.undo(t)
	}
}

// settle locks e.applying when no transaction is open.
func (e *Engine) settle() {
	for {
		e.applying.Lock()
		t := e.transaction.Load()
		if t == nil {
			return
		}
		e.applying.Unlock()
		<-t.Done()
	}
}

// use runs a function on the transaction's connection. What the function returns as a *fatalError is the end of the
// transaction, and so is the end of ctx for a statement that writes.
func (t *Transaction) use(ctx context.Context, f func(context.Context, *writer) error) error {
	e := t.engine
	e.applying.Lock()
	defer e.applying.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t.mu.Lock()
	over := t.over
	t.interrupt = cancel
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		t.interrupt = nil
		t.mu.Unlock()
	}()
	if over != nil {
		return over
	}
	if ctx.Err() != nil {
		return cancelled(ctx)
	}
	err := t.interruptible(ctx, func() error { return f(ctx, e.writer) })
	var fatal *fatalError
	var fromSQLite *sqlite.Error
	switch over := t.Err(); {
	case over != nil:
		e.undo(t)
		return over
	case errors.As(err, &fatal):
		if cause := context.Cause(ctx); cause != nil {
			fatal = &fatalError{cause}
		}
		t.stop(fatal.error)
		broken := !deterministic(fatal.error) && context.Cause(ctx) == nil
		e.undo(t)
		if broken && e.writer != nil {
			e.abandon() // what SQLite keeps in memory is not trusted after an error of the environment
		}
		return t.Err()
	case ctx.Err() != nil && errors.As(err, &fromSQLite) && fromSQLite.Code == sqlite.CodeInterrupt:
		return cancelled(ctx) // before it did anything, or in the middle of a read
	}
	return err
}

// cancelled is the error of a statement of which nothing happened because ctx has ended.
func cancelled(ctx context.Context) error {
	return fmt.Errorf("the statement was interrupted: %w", context.Cause(ctx))
}

// interruptible runs f, and interrupts the connection when ctx ends before it.
func (t *Transaction) interruptible(ctx context.Context, f func() error) error {
	conn := t.engine.writer.conn
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		conn.Interrupt()
		close(interrupted)
	})
	err := f()
	if !stop() {
		<-interrupted
		conn.ClearInterrupt()
	}
	return err
}

// run runs one statement that is not about savepoints.
func (t *Transaction) run(ctx context.Context, w *writer, o StepOptions, text string, args []*commandpb.Argument) (
	r StepResult, rest string, others []*commandpb.Argument, err error,
) {
	w.stepContext(t.time, o.Seed)
	stmt, rest, err := w.users.prepare(text)
	if err != nil {
		return r, "", nil, err
	}
	if stmt == nil {
		r.Empty = true
		none := newArguments(args)
		return r, rest, nil, none.finish()
	}
	defer w.users.done(stmt)
	piece := Piece{SQL: text, Class: classOf(text, stmt, &w.users.facts), Parameters: parameters(stmt)}
	if rest != "" {
		piece.SQL = text[:len(text)-len(rest)]
	}
	mine, others := SplitArguments(piece, args, rest != "")
	given := newArguments(mine)
	if err := bind(stmt, &given); err != nil {
		return r, "", nil, w.state.limits.named(err)
	}
	if err := given.finish(); err != nil {
		return r, "", nil, err
	}
	r.Columns, r.Wrote = columns(stmt), piece.Class == Write
	if r.Wrote && o.ReadOnly {
		return r, "", nil, ErrNotRead
	}
	if r.Columns != nil {
		r.Rows = &Spool{dir: t.engine.config.SnapshotDir}
	}
	if r.Wrote {
		err = t.write(w, stmt, piece.SQL, mine, o.Seed, &r)
	} else {
		err = t.read(ctx, w, stmt, &r)
	}
	if err != nil && r.Rows != nil {
		err = errors.Join(err, r.Rows.Close())
		r.Rows = nil
	}
	return r, rest, others, err
}

// read runs a statement that changes nothing, which is not written down.
func (t *Transaction) read(ctx context.Context, w *writer, stmt *sqlite.Stmt, r *StepResult) error {
	if refusal := w.users.facts.refusal; refusal != nil {
		return refusal
	}
	err := drain(stmt, func() (err error) {
		if r.Rows != nil {
			t.scratch, err = r.Rows.keep(stmt, len(r.Columns), t.scratch)
		}
		return err
	})
	var fromSQLite *sqlite.Error
	switch {
	case err == nil:
		return nil
	case w.conn.Autocommit():
		return &fatalError{err}
	case errors.As(err, &fromSQLite) && fromSQLite.Code == sqlite.CodeInterrupt && ctx.Err() != nil:
		return err
	case fromSQLite != nil && !deterministic(err):
		return &fatalError{err}
	}
	return w.state.limits.named(err)
}

// write runs a statement that may change something and writes it down, whatever it comes to.
func (t *Transaction) write(w *writer, stmt *sqlite.Stmt, text string, args []*commandpb.Argument, seed uint64, r *StepResult) error {
	if verdict := w.users.facts.verdict(); verdict != nil {
		return verdict
	}
	step := &commandpb.Step{Kind: &commandpb.Step_Statement{Statement: &commandpb.Statement{Sql: text, Args: args}}, Time: t.time, Seed: seed}
	if err := t.room(step); err != nil {
		return err
	}
	var kept error // a row that cannot be kept stops nothing that is written down
	got, err := w.step(func() error {
		return drain(stmt, func() error {
			if kept == nil && r.Rows != nil {
				t.scratch, kept = r.Rows.keep(stmt, len(r.Columns), t.scratch)
			}
			return nil
		})
	})
	var fatal *fatalError
	if errors.As(err, &fatal) {
		return err
	}
	step.Extended, step.RowsAffected, step.LastInsertId = int32(got.extended), got.rowsAffected, got.lastInsertID
	r.RowsAffected, r.LastInsertID = got.rowsAffected, got.lastInsertID
	t.note(step)
	if err == nil && kept != nil {
		return fmt.Errorf("the statement was executed, and its rows cannot be kept: %w", kept)
	}
	return err
}

// move moves a savepoint of the client.
func (t *Transaction) move(w *writer, m savepointMove) error {
	if err := t.room(savepointStep(m)); err != nil {
		return err
	}
	if err := w.savepoint(m); err != nil {
		if !deterministic(err) {
			return &fatalError{err}
		}
		return err
	}
	t.note(savepointStep(m))
	return nil
}

func savepointStep(m savepointMove) *commandpb.Step {
	switch m.verb {
	case setSavepoint:
		return &commandpb.Step{Kind: &commandpb.Step_Savepoint{Savepoint: m.name}}
	case releaseSavepoint:
		return &commandpb.Step{Kind: &commandpb.Step_Release{Release: m.name}}
	}
	return &commandpb.Step{Kind: &commandpb.Step_RollbackTo{RollbackTo: m.name}}
}

// stepOverhead is more than what the encoding of a step takes beside what is counted before it ran.
const stepOverhead = 64

// room refuses a step that the entry has no room for.
func (t *Transaction) room(step *commandpb.Step) error {
	if t.bytes+proto.Size(step)+stepOverhead > command.MaxBytes-stepOverhead {
		return &LimitError{"log.max_entry", command.MaxBytes, "bytes of statements and arguments in one transaction"}
	}
	if len(t.steps) >= command.MaxStatements {
		return &LimitError{"max_statements", command.MaxStatements, "statements that write in one transaction"}
	}
	return nil
}

// note writes a step down.
func (t *Transaction) note(step *commandpb.Step) {
	t.bytes += proto.Size(step) + stepOverhead
	t.steps = append(t.steps, step)
}
