package driver

import (
	"context"
	"database/sql"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rsqld/rsqld/transport/wire"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// TestWriteIsSentAgain proves that one write whose node was lost before its answer is sent to another node under the same
// session and number, whatever that node has to say at first, and that what it says in the end is all that the caller sees.
func TestWriteIsSentAgain(t *testing.T) {
	for _, r := range []Request{{SQL: "insert"}, {SQL: "insert; insert", Atomic: true}} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(2)
			f.nodes[0].serve = func(s *fakeSession, _ *sqlpb.ClientFrame) { s.node.kill() }
			refusals := []sqlpb.Class{sqlpb.Class_CLASS_NO_QUORUM, sqlpb.Class_CLASS_OUTCOME_UNKNOWN, sqlpb.Class_CLASS_BUSY}
			f.nodes[1].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
				if refusal, any := f.shift(&refusals); any {
					s.send(failed(frame.GetExecute().Id, refusal, sqlpb.Retry_RETRY_SAME, "not yet"))
					return
				}
				s.answer(frame)
			}
			c := f.open(t, Config{})
			session := string(c.session)
			if _, err := all(t.Context(), c, r); err != nil {
				t.Fatal(err)
			}
			run(t, c, "update")
			first, second := f.nodes[0].executed(), f.nodes[1].executed()
			if len(first) != 1 || len(second) != 5 || second[3].Seq != first[0].Seq || second[0].Seq != 1 || second[4].Seq != 2 {
				t.Errorf("%s: n1 got %v, n2 got %v", r.SQL, first, second)
			}
			if string(c.session) != session {
				t.Error("the session has another id")
			}
		})
	}
}

// TestWriteStaysUnknown proves that a write that is never answered is given up in time, as unknown, whatever the newest
// refusal says; and that an answer which tells its fate ends the attempts.
func TestWriteStaysUnknown(t *testing.T) {
	for _, test := range []struct {
		class sqlpb.Class
		want  error
		soon  bool
	}{
		{sqlpb.Class_CLASS_NO_QUORUM, ErrOutcomeUnknown, false},
		{sqlpb.Class_CLASS_OUTCOME_UNKNOWN, ErrOutcomeUnknown, false},
		{sqlpb.Class_CLASS_SQL, ErrUnique, true},
		{sqlpb.Class_CLASS_TOO_LARGE, ErrTooLarge, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(2)
			f.nodes[0].serve = func(s *fakeSession, _ *sqlpb.ClientFrame) { s.node.kill() }
			f.nodes[1].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
				refusal := failed(frame.GetExecute().Id, test.class, sqlpb.Retry_RETRY_SAME, "because")
				refusal.GetError().Code, refusal.GetError().ExtendedCode = 19, 2067
				s.send(refusal)
			}
			c := f.open(t, Config{})
			begun := time.Now()
			_, err := c.Execute(t.Context(), Request{SQL: "insert"})
			if took := time.Since(begun); !errors.Is(err, test.want) || test.soon != (took < time.Second) || took > RepeatPatience+time.Second {
				t.Errorf("%v: %v after %v", test.class, err, took)
			}
			f.set(func() { f.nodes[1].serve = nil })
			run(t, c, "insert")
			if got := f.nodes[1].executed(); got[len(got)-1].Seq != 2 {
				t.Errorf("%v: the next write has number %d", test.class, got[len(got)-1].Seq)
			}
		})
	}
}

// TestOutcomeUnknown proves that writes that are not one, whose node was lost before its answer, are reported as unknown, are
// not sent again anywhere, and that their numbers are not used again.
func TestOutcomeUnknown(t *testing.T) {
	f := newFake(2)
	f.nodes[0].serve = func(s *fakeSession, _ *sqlpb.ClientFrame) { s.node.kill() }
	c := f.open(t, Config{})
	_, err := c.Execute(t.Context(), Request{SQL: "insert; insert"})
	var unknown *Error
	if !errors.Is(err, ErrOutcomeUnknown) || !errors.As(err, &unknown) || unknown.Retry != RetryNever || !strings.Contains(err.Error(), "lost n1") {
		t.Fatalf("got %v", err)
	}
	run(t, c, "update")
	if first, second := f.nodes[0].executed(), f.nodes[1].executed(); len(first) != 1 || len(second) != 1 ||
		second[0].Statements[0].Sql != "update" || second[0].Seq != 2 {
		t.Errorf("n1 got %v, n2 got %v", first, second)
	}
}

// TestReadIsSentAgain proves that a request that cannot write is sent to another node when its node is lost before the
// answer, however it is known that it cannot write.
func TestReadIsSentAgain(t *testing.T) {
	for _, r := range []Request{{SQL: "select 1"}, {SQL: " Values (1) ; "}, {SQL: "with t as (select 1) select * from t", ReadOnly: true}} {
		f := newFake(2)
		f.nodes[0].serve = func(s *fakeSession, _ *sqlpb.ClientFrame) { s.node.kill() }
		c := f.open(t, Config{})
		if _, err := all(t.Context(), c, r); err != nil {
			t.Errorf("%s: %v", r.SQL, err)
		}
		if len(f.nodes[0].executed()) != 1 || len(f.nodes[1].executed()) != 1 {
			t.Errorf("%s: sent %d times to n1, %d times to n2", r.SQL, len(f.nodes[0].executed()), len(f.nodes[1].executed()))
		}
	}
	f := newFake(2)
	f.nodes[0].serve = func(s *fakeSession, _ *sqlpb.ClientFrame) { s.node.kill() }
	c := f.open(t, Config{})
	if results, err := c.Control(t.Context(), "nodes"); err != nil || results.Close() != nil || c.Node() != 2 {
		t.Errorf("control that reads: %v", err)
	}
	f.set(func() { f.nodes[1].serve = f.nodes[0].serve })
	if _, err := c.Control(t.Context(), "promote", "3"); !errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("control that changes: %v", err)
	}
}

// TestShuttingDown proves that a node that refuses because it stops is left for another one, also for writes: nothing
// was executed.
func TestShuttingDown(t *testing.T) {
	f := newFake(2)
	f.nodes[0].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
		s.send(failed(frame.GetExecute().Id, sqlpb.Class_CLASS_SHUTTING_DOWN, sqlpb.Retry_RETRY_SAME, "shutting down"))
	}
	c := f.open(t, Config{})
	run(t, c, "insert")
	if got := f.nodes[1].executed(); c.Node() != 2 || len(got) != 1 || got[0].Seq != 1 {
		t.Errorf("at node %d, which got %v", c.Node(), got)
	}
	f.set(func() {
		for _, n := range f.nodes {
			n.serve = func(s *fakeSession, _ *sqlpb.ClientFrame) {
				s.send(failed(0, sqlpb.Class_CLASS_SHUTTING_DOWN, sqlpb.Retry_RETRY_NEVER, "shutting down"))
			}
		}
	})
	if _, err := c.Execute(t.Context(), Request{SQL: "insert; insert"}); !errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("a session that ends without a word about its write: %v", err)
	}
}

// TestNoQuorum proves that a write that was refused for want of a quorum is sent again with the same number for about a
// second, that its success is then all that the caller sees, and that its last refusal is returned otherwise.
func TestNoQuorum(t *testing.T) {
	refusals := 3
	serve := func(s *fakeSession, frame *sqlpb.ClientFrame) {
		if refusals--; refusals >= 0 {
			s.send(failed(frame.GetExecute().Id, sqlpb.Class_CLASS_NO_QUORUM, sqlpb.Retry_RETRY_SAME, "no quorum: 1 of 3"))
			return
		}
		s.answer(frame)
	}
	synctest.Test(t, func(t *testing.T) {
		f := newFake(3)
		f.nodes[0].serve = serve
		c := f.open(t, Config{})
		run(t, c, "insert")
		got := f.nodes[0].executed()
		if len(got) != 4 || got[3].Seq != 1 || got[0].Seq != 1 || got[3].Id == got[0].Id {
			t.Errorf("the node got %v", got)
		}
		refusals = 1 << 30
		begun := time.Now()
		_, err := c.Execute(t.Context(), Request{SQL: "insert"})
		if took := time.Since(begun); !errors.Is(err, ErrNoQuorum) || took < NoQuorumPatience*9/10 || took > NoQuorumPatience {
			t.Errorf("got %v after %v", err, took)
		}
		refusals = 0
		run(t, c, "insert")
		if got := f.nodes[0].executed(); got[len(got)-1].Seq != 2 {
			t.Errorf("the next write has number %d, want 2: nothing was executed under it", got[len(got)-1].Seq)
		}
		if len(f.nodes[1].executed())+len(f.nodes[2].executed()) != 0 {
			t.Error("the write was sent to other nodes")
		}
	})
}

// TestOtherRefusals proves that no other error is tried again, and that each reaches the caller as it is.
func TestOtherRefusals(t *testing.T) {
	tests := []struct {
		class sqlpb.Class
		retry sqlpb.Retry
		want  error
	}{
		{sqlpb.Class_CLASS_NO_QUORUM, sqlpb.Retry_RETRY_NEVER, ErrNoQuorum},
		{sqlpb.Class_CLASS_BUSY, sqlpb.Retry_RETRY_SAME, ErrBusy},
		{sqlpb.Class_CLASS_STALE, sqlpb.Retry_RETRY_SAME, ErrStale},
		{sqlpb.Class_CLASS_OUTCOME_UNKNOWN, sqlpb.Retry_RETRY_NEVER, ErrOutcomeUnknown},
		{sqlpb.Class_CLASS_DENIED, sqlpb.Retry_RETRY_NEVER, ErrDenied},
		{sqlpb.Class_CLASS_TOO_LARGE, sqlpb.Retry_RETRY_NEVER, ErrTooLarge},
		{sqlpb.Class_CLASS_UNSPECIFIED, sqlpb.Retry(99), ErrProtocol},
	}
	for _, test := range tests {
		f := newFake(2)
		f.nodes[0].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
			s.send(failed(frame.GetExecute().Id, test.class, test.retry, "because"))
		}
		c := f.open(t, Config{})
		_, err := c.Execute(t.Context(), Request{SQL: "insert"})
		if !errors.Is(err, test.want) || err.Error() != "because" || len(f.nodes[0].executed()) != 1 || !c.Connected() {
			t.Errorf("%v: %v after %d attempts", test.class, err, len(f.nodes[0].executed()))
		}
	}
}

// TestWriteNumbers proves that writes are numbered from 1 without a gap, that a script uses one number a statement, and
// that only what surely wrote nothing gives its number back.
func TestWriteNumbers(t *testing.T) {
	f := newFake(1)
	f.nodes[0].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
		x := frame.GetExecute()
		switch x.Statements[0].Sql {
		case "three":
			s.send(done(x.Id, &sqlpb.Done{Wrote: true, More: true}), done(x.Id, &sqlpb.Done{Wrote: true, More: true}), done(x.Id, &sqlpb.Done{Wrote: true}))
		case "pragma read":
			s.send(done(x.Id, &sqlpb.Done{}))
		case "wrong":
			s.send(failed(x.Id, sqlpb.Class_CLASS_SQL, sqlpb.Retry_RETRY_NEVER, "no such table"))
		case "busy":
			s.send(failed(x.Id, sqlpb.Class_CLASS_BUSY, sqlpb.Retry_RETRY_SAME, "busy"))
		case "second is wrong":
			s.send(done(x.Id, &sqlpb.Done{Wrote: true, More: true}), failed(x.Id, sqlpb.Class_CLASS_SQL, sqlpb.Retry_RETRY_NEVER, "no such table"))
		default:
			s.answer(frame)
		}
	}
	c := f.open(t, Config{})
	steps := []struct {
		r    Request
		want uint64 // the number it is sent with
	}{
		{Request{SQL: "insert"}, 1}, {Request{SQL: "select 1"}, 0}, {Request{SQL: "pragma read"}, 2}, {Request{SQL: "insert"}, 2},
		{Request{SQL: "three"}, 3}, {Request{SQL: "insert"}, 6}, {Request{SQL: "three", Atomic: true}, 7}, {Request{SQL: "wrong"}, 8},
		{Request{SQL: "busy"}, 9}, {Request{SQL: "second is wrong"}, 9}, {Request{SQL: "insert"}, 11}, {Request{SQL: "insert", ReadOnly: true}, 0},
	}
	for _, step := range steps {
		all(t.Context(), c, step.r)
		got := f.nodes[0].executed()
		if last := got[len(got)-1]; last.Seq != step.want || last.Statements[0].Sql != step.r.SQL {
			t.Errorf("%q has number %d, want %d", last.Statements[0].Sql, last.Seq, step.want)
		}
	}
}

// TestMinIndex proves that what one session has seen, all sessions of its Connector ask for at level session, and at no
// other level.
func TestMinIndex(t *testing.T) {
	f := newFake(2)
	connector := f.connector(t, Config{Addresses: []string{"n1:1"}})
	a, err := connector.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	run(t, a, "insert")
	f.nodes[0].kill()
	b, err := connector.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, level := range []Level{"", LevelSession, LevelLocal, LevelLinearizable, LevelStrong} {
		if _, err := all(t.Context(), b, Request{SQL: "select 1", Level: level}); err != nil {
			t.Fatal(err)
		}
	}
	var got []uint64
	for _, x := range f.nodes[1].executed() {
		got = append(got, x.MinIndex)
	}
	if want := []uint64{7, 7, 0, 0, 0}; !reflect.DeepEqual(got, want) || connector.Index() != 7 {
		t.Errorf("asked for indexes %v, want %v", got, want)
	}
	if _, err := b.Execute(t.Context(), Request{SQL: "select 1", Level: "eventual"}); err == nil || !strings.Contains(err.Error(), "eventual") {
		t.Errorf("an unknown level: %v", err)
	}
}

// TestFrames proves what of a request and of the configuration is sent.
func TestFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		c := f.open(t, Config{Level: LevelStrong, Timeout: 3 * time.Second, MaxStaleness: 2 * time.Second, Client: "test"})
		if h := f.nodes[0].hellos[0]; h.Level != sqlpb.Level_LEVEL_STRONG || h.Client != "test" || h.Version != 1 {
			t.Errorf("hello %v", h)
		}
		at := time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)
		_, err := all(t.Context(), c, Request{SQL: "x", Args: []any{1, nil, sql.Named("$a", at), []byte("b")}, Atomic: true})
		if err != nil {
			t.Fatal(err)
		}
		x := f.nodes[0].executed()[0]
		if x.TimeoutMs != 3000 || x.MaxStalenessMs != 2000 || !x.Atomic || x.ReadOnly || x.MinIndex != 0 {
			t.Errorf("sent %v", x)
		}
		args := x.Statements[0].Args
		if len(args) != 4 || args[2].Name != "a" || wire.FromValue(args[2].Value) != "2024-01-02 03:04:05+00:00" || wire.FromValue(args[0].Value) != int64(1) {
			t.Errorf("arguments %v", args)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if _, err := all(ctx, c, Request{SQL: "x"}); err != nil {
			t.Fatal(err)
		}
		if x := f.nodes[0].executed()[1]; x.TimeoutMs != 500 {
			t.Errorf("with a deadline: %d ms", x.TimeoutMs)
		}
		if _, err := c.Execute(t.Context(), Request{SQL: "x", Args: []any{1, struct{}{}}}); !errors.Is(err, wire.ErrValue) || !strings.Contains(err.Error(), "argument 2") {
			t.Errorf("an argument without a type: %v", err)
		}
		if _, err := c.Execute(t.Context(), Request{SQL: "x", Args: []any{sql.Named(":", 1)}}); !errors.Is(err, ErrProtocol) {
			t.Errorf("an argument without a name: %v", err)
		}
	})
}

// TestTooLarge proves that a request above the limit of a frame is refused as such, with its number given back: nothing of
// it was sent.
func TestTooLarge(t *testing.T) {
	f := newFake(1)
	c := f.open(t, Config{})
	_, err := c.Execute(t.Context(), Request{SQL: "insert", Args: []any{make([]byte, wire.MaxClientFrame)}})
	if !errors.Is(err, ErrTooLarge) || !errors.Is(err, wire.ErrFrameTooLarge) {
		t.Errorf("got %v", err)
	}
	run(t, c, "insert")
	if got := f.nodes[0].executed(); len(got) != 1 || got[0].Seq != 1 || len(f.nodes[0].hellos) != 1 {
		t.Errorf("the node got %v in %d sessions", got, len(f.nodes[0].hellos))
	}
}

// awaitCancel answers a request only once it was cancelled.
func awaitCancel(answer func(s *fakeSession, id uint64)) func(*fakeSession, *sqlpb.ClientFrame) {
	return func(s *fakeSession, frame *sqlpb.ClientFrame) {
		if id := frame.GetCancel().GetId(); id != 0 {
			answer(s, id)
		} else if x := frame.GetExecute(); x.Statements[0].Sql == "quick" {
			s.answer(frame)
		}
	}
}

// TestCancel proves that the end of a context cancels the request on the node, that the node's word about it is what
// counts, and that the session lives on.
func TestCancel(t *testing.T) {
	tests := map[string]struct {
		answer func(s *fakeSession, id uint64)
		want   error // nil: success
	}{
		"cancelled": {func(s *fakeSession, id uint64) {
			s.send(failed(id, sqlpb.Class_CLASS_CANCELLED, sqlpb.Retry_RETRY_SAME, "cancelled"))
		}, ErrCancelled},
		"unknown": {func(s *fakeSession, id uint64) {
			s.send(failed(id, sqlpb.Class_CLASS_OUTCOME_UNKNOWN, sqlpb.Retry_RETRY_NEVER, "outcome unknown"))
		}, ErrOutcomeUnknown},
		"too late": {func(s *fakeSession, id uint64) { s.send(done(id, &sqlpb.Done{Wrote: true, Index: 9})) }, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(2)
				f.nodes[0].serve = awaitCancel(test.answer)
				c := f.open(t, Config{})
				ctx, cancel := context.WithCancelCause(t.Context())
				reason := errors.New("the user pressed a key")
				time.AfterFunc(time.Second, func() { cancel(reason) })
				_, err := all(ctx, c, Request{SQL: "insert"})
				if !errors.Is(err, test.want) || test.want != nil && !errors.Is(err, reason) {
					t.Errorf("got %v, want %v because of %v", err, test.want, reason)
				}
				run(t, c, "quick")
				if c.Node() != 1 || len(f.nodes[0].hellos) != 1 || f.nodes[0].cancels() != 1 {
					t.Errorf("at node %d, %d sessions, %d cancels", c.Node(), len(f.nodes[0].hellos), f.nodes[0].cancels())
				}
			})
		})
	}
}

// TestCancelGrace proves that a node that does not react to a cancel is left after CancelGrace: the fate of a write is
// then unknown, a read is cancelled, and the next request finds another node.
func TestCancelGrace(t *testing.T) {
	for text, want := range map[string]error{"insert": ErrOutcomeUnknown, "select 1": ErrCancelled} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(2)
			f.nodes[0].serve = func(*fakeSession, *sqlpb.ClientFrame) {}
			c := f.open(t, Config{})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			begun := time.Now()
			_, err := all(ctx, c, Request{SQL: text})
			if took := time.Since(begun); !errors.Is(err, want) || !errors.Is(err, context.DeadlineExceeded) || took != time.Second+CancelGrace {
				t.Errorf("%s: %v after %v", text, err, took)
			}
			run(t, c, "insert")
			if c.Node() != 2 || len(f.nodes[0].executed()) != 1 {
				t.Errorf("%s: at node %d; sent %d times to n1", text, c.Node(), len(f.nodes[0].executed()))
			}
		})
	}
}

// TestEndedContext proves that a context that has ended before sends nothing.
func TestEndedContext(t *testing.T) {
	f := newFake(1)
	c := f.open(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Execute(ctx, Request{SQL: "insert"}); !errors.Is(err, ErrCancelled) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if len(f.nodes[0].executed()) != 0 {
		t.Error("the request was sent")
	}
}

// TestCancelWhileReading proves that the end of a context while rows are read ends them with that reason.
func TestCancelWhileReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		f.nodes[0].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
			if id := frame.GetCancel().GetId(); id != 0 {
				s.send(failed(id, sqlpb.Class_CLASS_CANCELLED, sqlpb.Retry_RETRY_SAME, "cancelled"))
			} else if x := frame.GetExecute(); x != nil {
				s.send(columns(x.Id, "a"), rowsFrame(x.Id, []any{int64(1)}))
			}
		}
		c := f.open(t, Config{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		results, err := c.Execute(ctx, Request{SQL: "select a"})
		if err != nil {
			t.Fatal(err)
		}
		if !results.NextResult() || !results.Next() || results.Row()[0] != int64(1) {
			t.Fatalf("no first row: %v", results.Err())
		}
		if results.Next() || !errors.Is(results.Err(), context.DeadlineExceeded) || !errors.Is(results.Err(), ErrCancelled) {
			t.Errorf("after the deadline: %v", results.Err())
		}
		if err := results.Close(); err != nil || !c.Connected() {
			t.Errorf("closing: %v", err)
		}
	})
}

// TestGarbledAnswers proves that answers that make no sense are errors that say so, and that the session recovers.
func TestGarbledAnswers(t *testing.T) {
	tests := map[string]func(s *fakeSession, id uint64){
		"rows without columns":    func(s *fakeSession, id uint64) { s.send(rowsFrame(id, []any{nil})) },
		"a request of the future": func(s *fakeSession, id uint64) { s.send(done(id+1, &sqlpb.Done{})) },
		"rows of another width":   func(s *fakeSession, id uint64) { s.send(columns(id, "a", "b"), rowsFrame(id, []any{nil})) },
		"columns twice":           func(s *fakeSession, id uint64) { s.send(columns(id, "a"), columns(id, "a")) },
		"a pong": func(s *fakeSession, id uint64) {
			s.send(&sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Pong{Pong: &sqlpb.Pong{Id: id}}})
		},
	}
	for name, garble := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFake(1)
			f.nodes[0].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
				if x := frame.GetExecute(); x.GetId() == 1 {
					garble(s, x.Id)
				} else {
					s.answer(frame)
				}
			}
			c := f.open(t, Config{})
			if rows, err := all(t.Context(), c, Request{SQL: "select 1"}); !errors.Is(err, ErrProtocol) {
				t.Errorf("got %v, %v", rows, err)
			}
			run(t, c, "insert")
		})
	}
}

// TestIsSelect proves that only what surely reads is taken for a read.
func TestIsSelect(t *testing.T) {
	for text, want := range map[string]bool{
		"select 1": true, "\n SELECT 1;\n": true, "select(1)": true, "values(1)": true, "explain insert into t values(1)": true, "select": true,
		"": false, "selectx": false, "select 1; delete from t": false, "with a as (select 1) select 1": false, "pragma user_version=1": false,
		"insert into t select 1": false, "-- select\ndelete from t": false, "/* */ select 1": false, "select ';'": false, "select_1": false,
	} {
		if got := isSelect(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
