package engine

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/sqlite"
)

// An interactive transaction runs twice: statement by statement for its client, on the leader alone (type Transaction),
// and then, at its commit, as the steps of one entry, on every replica. Both run a step by the functions of this file, under
// a savepoint that is set and left the same way, so that they cannot differ; each step says what it came to the
// first time, and an entry one of whose steps comes to something else is undone.

var (
	// ErrStepDiffers undoes an entry of a transaction that does not do what it did for its client.
	ErrStepDiffers = errors.New("a statement of the transaction came to something else when it was committed")
	// ErrAbandoned is what an abandoned write came to: it was not executed and never will be.
	ErrAbandoned = errors.New("the transaction was not committed")
)

// stepOutcome is what a step came to.
type stepOutcome struct {
	// extended is SQLite's extended result code; if it is not zero the rest is.
	extended                   int
	rowsAffected, lastInsertID int64
}

// fatalError ends a transaction: what the step did cannot be told from what the steps before it did, or is not what
// every replica would do.
type fatalError struct{ error }

func (e *fatalError) Unwrap() error { return e.error }

// stepContext sets the time and the random numbers of one step. What else a statement sees of its connection it has from
// the steps before it.
func (w *writer) stepContext(unixNano int64, seed uint64) {
	if w.has(ingredientClock) {
		w.clock.SetUnixNano(unixNano)
	}
	if w.has(ingredientSeed) {
		w.conn.SeedRandom(seed)
	}
}

// step runs a prepared statement as a step. Errors are a *fatalError, or SQLite's own about a statement that it has
// undone: that is an outcome like any other.
func (w *writer) step(steps func() error) (o stepOutcome, err error) {
	o.rowsAffected, err = w.execute(steps)
	f := w.users.facts
	w.left.add(&f)
	switch {
	case err == nil:
		if err := w.inspect(); err != nil { // the statement is done and cannot be undone alone
			return stepOutcome{}, &fatalError{err}
		}
		o.lastInsertID = w.conn.LastInsertRowID()
		return o, nil
	case w.conn.Autocommit(), w.meter.breach != nil, f.refusal != nil, f.createsVirtual, !deterministic(err):
		return stepOutcome{}, &fatalError{err}
	}
	if f.schema {
		if err := w.forgetSchema(); err != nil {
			return stepOutcome{}, &fatalError{err}
		}
	}
	_, o.extended = codes(err)
	return o, err
}

// savepoint moves a savepoint as a step.
func (w *writer) savepoint(m savepointMove) error {
	if isInternal(m.name) {
		return &PolicyError{"the savepoint " + m.name, "names that begin with " + internalPrefix + " belong to rsqld itself; choose another name"}
	}
	return w.moveSavepoint(m)
}

// moveSavepoint is savepoint for any name.
func (w *writer) moveSavepoint(m savepointMove) error {
	if m.verb == rollbackTo && w.left.virtual {
		return &PolicyError{"rollback to a savepoint after create virtual table",
			"SQLite does not tell the virtual table; roll the whole transaction back, or create the table before it"}
	}
	if err := execInternal(w.conn, string(m.verb)+` "`+strings.ReplaceAll(m.name, `"`, `""`)+`"`); err != nil {
		return err
	}
	if m.verb == rollbackTo && w.left.schema {
		return w.forgetSchema()
	}
	return nil
}

// transaction executes the steps of an interactive transaction.
func (w *writer) transaction(t *commandpb.Transaction, r *Result) error {
	for i, step := range t.Steps {
		r.Statement = i
		if err := w.repeat(step); err != nil {
			r.SQL = step.GetStatement().GetSql()
			return err
		}
	}
	r.Statement = 0
	return nil
}

// repeat runs one recorded step and holds it against what it came to the first time.
func (w *writer) repeat(step *commandpb.Step) error {
	var got stepOutcome
	var err error
	switch kind := step.Kind.(type) {
	case *commandpb.Step_Statement:
		w.stepContext(step.Time, step.Seed)
		got, err = w.repeatStatement(kind.Statement)
	case *commandpb.Step_Savepoint:
		err = w.moveSavepoint(savepointMove{setSavepoint, kind.Savepoint})
	case *commandpb.Step_Release:
		err = w.moveSavepoint(savepointMove{releaseSavepoint, kind.Release})
	case *commandpb.Step_RollbackTo:
		err = w.moveSavepoint(savepointMove{rollbackTo, kind.RollbackTo})
	}
	var fatal *fatalError
	if err != nil && (errors.As(err, &fatal) || !deterministic(err)) {
		return err
	}
	want := stepOutcome{int(step.Extended), step.RowsAffected, step.LastInsertId}
	if err != nil && got.extended == 0 {
		_, got.extended = codes(err)
	}
	if got != want {
		return fmt.Errorf("%w: code %d, %d rows, id %d instead of code %d, %d rows, id %d", ErrStepDiffers,
			got.extended, got.rowsAffected, got.lastInsertID, want.extended, want.rowsAffected, want.lastInsertID)
	}
	return nil
}

func (w *writer) repeatStatement(s *commandpb.Statement) (stepOutcome, error) {
	if w.sequence.on {
		if err := w.sequence.look(w.conn); err != nil {
			return stepOutcome{}, err
		}
	}
	stmt, rest, err := w.users.prepare(s.Sql)
	if err != nil {
		return stepOutcome{}, err
	}
	if stmt == nil || rest != "" {
		if stmt != nil {
			w.users.done(stmt)
		}
		return stepOutcome{}, &refusal{errors.New("a step of a transaction is not one statement")}
	}
	defer w.users.done(stmt)
	if verdict := w.users.facts.verdict(); verdict != nil {
		return stepOutcome{}, verdict
	}
	args := newArguments(s.Args)
	if err := bind(stmt, &args); err != nil {
		return stepOutcome{}, w.state.limits.named(err)
	}
	return w.step(func() error { return drain(stmt, func() error { return nil }) })
}

// drain steps a statement to its end and calls row at each row.
func drain(stmt *sqlite.Stmt, row func() error) error {
	for {
		more, err := stmt.Step()
		if err != nil || !more {
			return err
		}
		if err := row(); err != nil {
			return err
		}
	}
}
