package repl

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// run runs a statement and tells the person of its failure.
func (s *Shell) run(ctx context.Context, name string, statement Statement) error {
	began := s.Now()
	once := s.once
	err := s.interruptible(ctx, func(ctx context.Context) error {
		return s.execute(ctx, Request{SQL: statement.Text, Level: s.level})
	})
	if once != nil {
		err = errors.Join(err, s.closeOnce())
	}
	if changesSchema(statement.Text) {
		s.schema.stale = true
	}
	if s.timer {
		fmt.Fprintf(s.Stdout, "run time: %s\n", s.Now().Sub(began).Round(10*time.Microsecond))
	}
	return s.fail(statement, name, err)
}

// execute runs a request and prints its results.
func (s *Shell) execute(ctx context.Context, request Request) error {
	results, err := s.Client.Execute(ctx, request)
	if err == nil {
		err = s.print(results)
	}
	var failed *Error
	s.unknown = errors.As(err, &failed) && failed.Class == ClassOutcomeUnknown
	s.sayMoved()
	return err
}

// control asks the node and prints its answer.
func (s *Shell) control(ctx context.Context, verb string, args ...string) error {
	results, err := s.Client.Control(ctx, verb, args...)
	if err != nil {
		return err
	}
	return s.print(results)
}

// sayMoved tells of a session that had to go to another node.
func (s *Shell) sayMoved() {
	before, now := s.place, s.Client.Place()
	if now.Node == 0 {
		return
	}
	s.place = now
	if before.Node != now.Node {
		fmt.Fprintf(s.Stderr, "-- %s went away; now on %s\n", before.name(), now)
	}
}

// print prints results in the present mode and closes them.
func (s *Shell) print(results Results) (err error) {
	defer func() { err = errors.Join(err, results.Close()) }()
	for results.NextResult() {
		if err := s.printOne(results); err != nil {
			return err
		}
	}
	return results.Err()
}

// printOne prints a result row by row. Nothing is printed of one that fails before its first row. A table that
// has passed the limit of .maxbytes ends where another row comes.
func (s *Shell) printOne(results Results) error {
	out := s.sink()
	layout := s.layout
	if s.Width != nil && out.file == nil {
		layout.width = s.Width()
	}
	layout.color = s.Color && layout.width > 0
	renderer, begun := layout.renderer(out.Writer), false
	for results.Next() {
		if !begun {
			renderer.begin(results.Columns())
			begun = true
		}
		if table, is := renderer.(*tableRows); is && s.maxBytes > 0 && table.total > s.maxBytes {
			table.end()
			return errors.Join(answerTooLong(s.mode, s.maxBytes), out.Flush())
		}
		renderer.row(results.Row())
		if err := out.Flush(); err != nil {
			return fmt.Errorf("writing to %s: %w", out.name, err)
		}
	}
	if !begun && results.Err() == nil && len(results.Columns()) > 0 {
		renderer.begin(results.Columns())
		begun = true
	}
	if begun {
		renderer.end()
	}
	s.count(results)
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing to %s: %w", out.name, err)
	}
	return nil
}

// count keeps the figures of .changes.
func (s *Shell) count(results Results) {
	if results.Err() != nil {
		return
	}
	done := results.Done()
	s.total += done.RowsAffected
	if s.changes {
		fmt.Fprintf(s.sink(), "changes: %d   total_changes: %d\n", done.RowsAffected, s.total)
	}
}

// query runs a read for the shell itself and hands each row to visit.
func (s *Shell) query(ctx context.Context, level string, visit func([]any), sql string, args ...any) (err error) {
	results, err := s.Client.Execute(ctx, Request{SQL: sql, Args: args, Level: level, ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, results.Close()) }()
	for results.NextResult() {
		for results.Next() {
			visit(results.Row())
		}
	}
	return results.Err()
}

// write runs statements for the shell itself, all or none.
func (s *Shell) write(ctx context.Context, sql string, args []any) (err error) {
	results, err := s.Client.Execute(ctx, Request{SQL: sql, Args: args, Atomic: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, results.Close()) }()
	for results.NextResult() {
		for results.Next() {
		}
	}
	return results.Err()
}

// interruptible runs f with a context that the person's Ctrl-C ends, and returns errInterrupted if it did.
func (s *Shell) interruptible(ctx context.Context, f func(context.Context) error) error {
	if s.catching {
		return interruption(ctx, f(ctx))
	}
	s.catching = true
	defer func() { s.catching = false }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		s.watch(cancel, done)
	}()
	err := f(ctx)
	close(done)
	<-watched
	return interruption(ctx, err)
}

// interruption is err, or errInterrupted if that ended ctx, with what the person must know of it.
func interruption(ctx context.Context, err error) error {
	if !errors.Is(context.Cause(ctx), errInterrupted) {
		return err
	}
	var reported *Error
	if errors.As(err, &reported) && reported.Class != ClassCancelled {
		return errors.Join(errInterrupted, reported)
	}
	return errInterrupted
}

// watch cancels on the first interrupt and aborts on the second, until done.
func (s *Shell) watch(cancel context.CancelCauseFunc, done <-chan struct{}) {
	for presses := 0; ; {
		select {
		case <-done:
			return
		case <-s.Interrupts:
			presses++
			if presses == 1 {
				cancel(errInterrupted)
			} else if s.Abort != nil {
				s.Abort()
			}
		}
	}
}
