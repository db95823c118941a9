package driver

import (
	"errors"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// TestResults proves that the results of all statements come in order with their rows, columns and ends.
func TestResults(t *testing.T) {
	f := newFake(1)
	f.nodes[0].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
		id := frame.GetExecute().Id
		s.send(columns(id, "a INTEGER", "b"), rowsFrame(id, []any{int64(1), "x"}, []any{nil, 1.5}), rowsFrame(id, []any{[]byte{0xff}, ""}),
			done(id, &sqlpb.Done{Index: 5, More: true}),
			done(id, &sqlpb.Done{Index: 6, RowsAffected: 2, LastInsertId: 9, Wrote: true, More: true}),
			columns(id, "empty"), done(id, &sqlpb.Done{Index: 6}))
	}
	c := f.open(t, Config{})
	results, err := c.Execute(t.Context(), Request{SQL: "three"})
	if err != nil {
		t.Fatal(err)
	}
	if !results.NextResult() || !reflect.DeepEqual(results.Columns(), []Column{{"a", "INTEGER"}, {"b", ""}}) {
		t.Errorf("columns %v", results.Columns())
	}
	for _, want := range [][]any{{int64(1), "x"}, {nil, 1.5}, {[]byte{0xff}, ""}} {
		if !results.Next() || !reflect.DeepEqual(results.Row(), want) {
			t.Errorf("row %v, want %v", results.Row(), want)
		}
	}
	if results.Next() || results.Done() != (Done{Index: 5}) {
		t.Errorf("end of the first: %v", results.Done())
	}
	if !results.NextResult() || len(results.Columns()) != 0 || results.Next() || results.Done() != (Done{2, 9, 6, true}) {
		t.Errorf("second: %v, %v", results.Columns(), results.Done())
	}
	if !results.NextResult() || results.Next() || results.NextResult() || results.NextResult() || results.Err() != nil {
		t.Errorf("third: %v", results.Err())
	}
	if results.Close() != nil || c.connector.Index() != 6 {
		t.Errorf("seen index %d, want 6", c.connector.Index())
	}
}

// TestStreaming proves that rows are fetched as they are read: a result does not have to fit into memory.
func TestStreaming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const frames = 1000
		var sent atomic.Int64
		f := newFake(1)
		f.nodes[0].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
			if x := frame.GetExecute(); x != nil {
				s.send(columns(x.Id, "n"))
				for i := range int64(frames) {
					s.send(rowsFrame(x.Id, []any{i}, []any{-i}))
					sent.Add(1)
				}
				s.send(done(x.Id, &sqlpb.Done{}))
			}
		}
		c := f.open(t, Config{})
		results, err := c.Execute(t.Context(), Request{SQL: "select n"})
		if err != nil {
			t.Fatal(err)
		}
		results.NextResult()
		for i := int64(0); i < frames; i++ {
			if !results.Next() || results.Row()[0] != i || !results.Next() || results.Row()[0] != -i {
				t.Fatalf("row %d is %v: %v", i, results.Row(), results.Err())
			}
			synctest.Wait()
			if ahead := sent.Load() - i; ahead > 10 {
				t.Fatalf("%d frames were fetched before they were read", ahead)
			}
		}
		if results.Next() || results.Err() != nil {
			t.Errorf("at the end: %v", results.Err())
		}
	})
}

// TestDrain proves that a request may be sent while the results of another are being read, and that those are then read
// on as if nothing had happened, their error included.
func TestDrain(t *testing.T) {
	f := newFake(1)
	f.nodes[0].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
		x := frame.GetExecute()
		if x.Statements[0].Sql != "outer" {
			s.answer(frame)
			return
		}
		s.send(columns(x.Id, "n"), rowsFrame(x.Id, []any{int64(1)}), rowsFrame(x.Id, []any{int64(2)}), done(x.Id, &sqlpb.Done{Wrote: true, More: true}),
			columns(x.Id, "m"), rowsFrame(x.Id, []any{int64(3)}), failed(x.Id, sqlpb.Class_CLASS_SQL, sqlpb.Retry_RETRY_NEVER, "third"))
	}
	c := f.open(t, Config{})
	for unread := range 4 {
		results, err := c.Execute(t.Context(), Request{SQL: "outer"})
		if err != nil {
			t.Fatal(err)
		}
		var got []any
		step := 0
		for results.NextResult() {
			for results.Next() {
				got = append(got, results.Row()[0])
				if step++; step == unread {
					run(t, c, "insert")
				}
			}
		}
		if unread == 0 {
			run(t, c, "insert")
		}
		if want := []any{int64(1), int64(2), int64(3)}; !reflect.DeepEqual(got, want) || results.Err() == nil || results.Err().Error() != "third" {
			t.Errorf("a request after row %d: %v, %v", unread, got, results.Err())
		}
	}
	results, err := c.Execute(t.Context(), Request{SQL: "outer"})
	if err != nil {
		t.Fatal(err)
	}
	run(t, c, "insert")
	if !results.NextResult() || !results.Next() || results.Row()[0] != int64(1) || results.Close() != nil || results.Next() || results.NextResult() {
		t.Errorf("closing what was drained: %v", results.Err())
	}
}

// TestDrainLoss proves that results that are drained when their node is lost end with the reason, and that the request
// that drained them finds another node.
func TestDrainLoss(t *testing.T) {
	f := newFake(2)
	f.nodes[0].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
		s.send(columns(frame.GetExecute().Id, "n"), rowsFrame(frame.GetExecute().Id, []any{int64(1)}))
		s.node.kill()
	}
	c := f.open(t, Config{})
	results, err := c.Execute(t.Context(), Request{SQL: "select n"})
	if err != nil {
		t.Fatal(err)
	}
	run(t, c, "insert")
	if !results.NextResult() || !results.Next() || results.Next() {
		t.Error("the row that had arrived is lost")
	}
	var lost *Error
	if !errors.As(results.Err(), &lost) || lost.Retry != RetrySame || !strings.Contains(lost.Message, "lost n1") {
		t.Errorf("got %v", results.Err())
	}
}

// TestDrainLimit proves that results are not kept in memory without bound, and that the request goes on all the same.
func TestDrainLimit(t *testing.T) {
	f := newFake(1)
	f.nodes[0].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
		x := frame.GetExecute()
		if x == nil || x.Statements[0].Sql != "select large" {
			s.answer(frame)
			return
		}
		s.send(columns(x.Id, "blob"))
		for large := make([]byte, 30<<20); s.send(rowsFrame(x.Id, []any{large})); {
			select {
			case b := <-s.in: // the cancel that gives up the rest
				s.send(failed(x.Id, sqlpb.Class_CLASS_CANCELLED, sqlpb.Retry_RETRY_SAME, "cancelled"))
				_ = b
				return
			default:
			}
		}
	}
	c := f.open(t, Config{})
	results, err := c.Execute(t.Context(), Request{SQL: "select large"})
	if err != nil {
		t.Fatal(err)
	}
	run(t, c, "insert")
	rows := 0
	for results.NextResult() {
		for results.Next() {
			rows++
		}
	}
	if rows != 2 || !errors.Is(results.Err(), ErrTooLarge) {
		t.Errorf("%d rows, %v", rows, results.Err())
	}
}

// TestClose proves that closing results early cancels a single statement of which more rows are to come, lets a script run to
// its end, and leaves the session usable.
func TestClose(t *testing.T) {
	for text, cancels := range map[string]int{"select a": 1, "with t as (select 1) select a": 1, "select a; insert": 0} {
		synctest.Test(t, func(t *testing.T) {
			executed := false
			f := newFake(1)
			f.nodes[0].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
				x := frame.GetExecute()
				switch {
				case frame.GetCancel() != nil:
					s.send(failed(frame.GetCancel().Id, sqlpb.Class_CLASS_CANCELLED, sqlpb.Retry_RETRY_SAME, "cancelled"))
				case x.Statements[0].Sql != text:
					s.answer(frame)
				case cancels == 1:
					s.send(columns(x.Id, "a"), rowsFrame(x.Id, []any{make([]byte, fullFrame)}))
				default:
					s.send(columns(x.Id, "a"))
					for range 100 {
						s.send(rowsFrame(x.Id, []any{nil}))
					}
					s.send(done(x.Id, &sqlpb.Done{More: true}))
					executed = s.send(done(x.Id, &sqlpb.Done{Wrote: true}))
				}
			}
			c := f.open(t, Config{})
			results, err := c.Execute(t.Context(), Request{SQL: text})
			if err != nil {
				t.Fatal(err)
			}
			results.NextResult()
			results.Next()
			if results.Close() != nil || results.Close() != nil || results.Next() || results.NextResult() || results.Err() != nil {
				t.Errorf("%s: closing: %v", text, results.Err())
			}
			run(t, c, "insert")
			if got := f.nodes[0].cancels(); got != cancels || executed != (cancels == 0) || len(f.nodes[0].hellos) != 1 {
				t.Errorf("%s: %d cancels, executed %v, %d sessions", text, got, executed, len(f.nodes[0].hellos))
			}
		})
	}
}

// TestCloseAtTheEnd proves that nothing is cancelled whose last rows have come: database/sql closes each QueryRow so.
func TestCloseAtTheEnd(t *testing.T) {
	f := newFake(1)
	c := f.open(t, Config{})
	for range 2 {
		results, err := c.Execute(t.Context(), Request{SQL: "select a"})
		if err != nil || !results.NextResult() || !results.Next() || results.Close() != nil {
			t.Fatal(err)
		}
	}
	if got := f.nodes[0].trace(); got != "select a/0 select a/0" {
		t.Errorf("it sends %s", got)
	}
}

// TestCloseScriptError proves that an error of a statement behind the results that were closed is not lost.
func TestCloseScriptError(t *testing.T) {
	f := newFake(1)
	f.nodes[0].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
		id := frame.GetExecute().Id
		s.send(done(id, &sqlpb.Done{Wrote: true, More: true}), failed(id, sqlpb.Class_CLASS_SQL, sqlpb.Retry_RETRY_NEVER, "second"))
	}
	results, err := f.open(t, Config{}).Execute(t.Context(), Request{SQL: "insert; insert"})
	if err != nil {
		t.Fatal(err)
	}
	if err := results.Close(); err == nil || err.Error() != "second" {
		t.Errorf("got %v", err)
	}
}
