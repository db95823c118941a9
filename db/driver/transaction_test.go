package driver

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// trace is what a node got, one word a frame: a write with its number, and whether it was part of a transaction.
func (n *fakeNode) trace() string {
	n.cluster.mu.Lock()
	defer n.cluster.mu.Unlock()
	var words []string
	for _, frame := range n.requests {
		switch f := frame.Frame.(type) {
		case *sqlpb.ClientFrame_Begin:
			words = append(words, "begin")
		case *sqlpb.ClientFrame_Commit:
			words = append(words, fmt.Sprintf("commit/%d", f.Commit.Seq))
		case *sqlpb.ClientFrame_Rollback:
			words = append(words, "rollback")
		case *sqlpb.ClientFrame_Execute:
			word := fmt.Sprintf("%s/%d", f.Execute.Statements[0].Sql, f.Execute.Seq)
			if f.Execute.InTransaction {
				word += "*"
			}
			words = append(words, word)
		case *sqlpb.ClientFrame_Control:
			words = append(words, f.Control.Verb)
		case *sqlpb.ClientFrame_Cancel:
			words = append(words, "cancel")
		}
	}
	return strings.Join(words, " ")
}

// begun returns a session at the first node in a transaction.
func (f *fakeCluster) begun(t *testing.T, config Config, o TxOptions) *Conn {
	t.Helper()
	c := f.open(t, config)
	if err := c.BeginTransaction(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	return c
}

// wholeTransaction reports whether an error says that the transaction may be run again.
func wholeTransaction(err error) bool {
	var failed *Error
	return errors.As(err, &failed) && failed.Retry == RetryTransaction
}

// TestTransactionIsSent proves which frames a transaction is: its statements have no write numbers, its commit has one, and what
// follows goes on behind it. An answer about the cluster says nothing of the transaction.
func TestTransactionIsSent(t *testing.T) {
	f := newFake(1)
	c := f.begun(t, Config{}, TxOptions{})
	run(t, c, "insert")
	results, err := c.Control(t.Context(), "nodes")
	if err != nil {
		t.Fatal(err)
	}
	for results.NextResult() {
	}
	if results.Err() != nil || c.Transaction() != TxOpen {
		t.Errorf("after control: %v, transaction %d", results.Err(), c.Transaction())
	}
	run(t, c, "select a")
	if err := c.Commit(t.Context()); err != nil || c.Transaction() != TxNone {
		t.Errorf("commit: %v, transaction %d", err, c.Transaction())
	}
	run(t, c, "update")
	run(t, c, "BEGIN immediate;")
	run(t, c, "delete")
	run(t, c, "/* no */ rollback")
	run(t, c, "begin")
	run(t, c, "END")
	if got, want := f.nodes[0].trace(), "begin insert/0* nodes select a/0* commit/1 update/2 begin delete/0* rollback begin commit/3"; got != want {
		t.Errorf("it sends %s,\nwant     %s", got, want)
	}
	for _, text := range []string{"commit", "rollback"} {
		if _, err := c.Execute(t.Context(), Request{SQL: text}); err == nil || !strings.Contains(err.Error(), "no transaction is active") {
			t.Errorf("%s without a transaction: %v", text, err)
		}
	}
}

// TestBegin proves what a Begin says: its kind, the level of its snapshot and what that must have seen, and that the wait for
// the turn is bounded by the busy timeout and the context, whichever is shorter.
func TestBegin(t *testing.T) {
	for _, test := range []struct {
		busy, deadline time.Duration
		want           uint32
	}{{0, 0, 10_000}, {time.Second, 0, 1000}, {time.Second, time.Minute, 1000}, {0, 100 * time.Millisecond, 100}} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(1)
			c := f.open(t, Config{Timeout: time.Hour, BusyTimeout: test.busy, MaxStaleness: time.Second})
			run(t, c, "insert")
			ctx := t.Context()
			if test.deadline > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, test.deadline)
				defer cancel()
			}
			if err := c.BeginTransaction(ctx, TxOptions{ReadOnly: true, Level: LevelLocal}); err != nil {
				t.Fatal(err)
			}
			b := f.nodes[0].requests[1].GetBegin()
			if !b.ReadOnly || b.Level != sqlpb.Level_LEVEL_LOCAL || b.MinIndex != 7 || b.MaxStalenessMs != 1000 || b.TimeoutMs != test.want {
				t.Errorf("busy timeout %v and deadline %v: %v", test.busy, test.deadline, b)
			}
		})
	}
	f := newFake(1)
	if err := f.open(t, Config{}).BeginTransaction(t.Context(), TxOptions{Level: "latest"}); !errors.Is(err, ErrProtocol) {
		t.Errorf("an unknown level: %v", err)
	}
}

// TestFailedTransaction proves that a failing statement leaves a transaction open unless the node says otherwise, that only the node
// judges what may be done in one that has failed, and that Rollback ends it.
func TestFailedTransaction(t *testing.T) {
	f := newFake(1)
	after := sqlpb.Transaction_TRANSACTION_OPEN
	f.nodes[0].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
		if x := frame.GetExecute(); x != nil {
			refusal := failed(x.Id, sqlpb.Class_CLASS_SQL, sqlpb.Retry_RETRY_NEVER, "no")
			refusal.GetError().Transaction = after
			s.send(refusal)
			return
		}
		s.answer(frame)
	}
	c := f.begun(t, Config{}, TxOptions{})
	if _, err := c.Execute(t.Context(), Request{SQL: "bad"}); err == nil || c.Transaction() != TxOpen {
		t.Errorf("%v leaves it %d, want open", err, c.Transaction())
	}
	after = sqlpb.Transaction_TRANSACTION_FAILED
	if _, err := c.Execute(t.Context(), Request{SQL: "killed"}); err == nil || c.Transaction() != TxFailed {
		t.Errorf("%v leaves it %d, want failed", err, c.Transaction())
	}
	if _, err := c.Execute(t.Context(), Request{SQL: "more"}); err == nil || c.Transaction() != TxFailed {
		t.Errorf("%v leaves it %d, want failed", err, c.Transaction())
	}
	if err := c.Rollback(t.Context()); err != nil || c.Transaction() != TxNone {
		t.Errorf("rollback: %v, transaction %d", err, c.Transaction())
	}
	if got, want := f.nodes[0].trace(), "begin bad/0* killed/0* more/0* rollback"; got != want {
		t.Errorf("it sends %s, want %s", got, want)
	}
}

// TestLostTransaction proves that nothing is executed on another node as if the transaction had not been lost, until Rollback or Commit
// has ended it: Rollback succeeds, Commit says that it may be run again, and both send nothing.
func TestLostTransaction(t *testing.T) {
	for _, end := range []string{"rollback", "commit", "in the middle"} {
		f := newFake(2)
		c := f.begun(t, Config{}, TxOptions{})
		run(t, c, "insert")
		if end == "in the middle" {
			f.set(func() { f.nodes[0].serve = func(s *fakeSession, _ *sqlpb.ClientFrame) { s.node.kill() } })
		} else {
			f.nodes[0].kill()
		}
		for range 2 {
			if _, err := c.Execute(t.Context(), Request{SQL: "select a"}); !wholeTransaction(err) || errors.Is(err, driver.ErrBadConn) ||
				!strings.Contains(err.Error(), "lost n1") {
				t.Errorf("%s: a statement: %v", end, err)
			}
			if c.Transaction() != TxFailed {
				t.Errorf("%s: the transaction is %d", end, c.Transaction())
			}
		}
		if err := c.BeginTransaction(t.Context(), TxOptions{}); !wholeTransaction(err) {
			t.Errorf("%s: begin: %v", end, err)
		}
		if end == "commit" {
			if err := c.Commit(t.Context()); !wholeTransaction(err) {
				t.Errorf("commit: %v", err)
			}
		} else if err := c.Rollback(t.Context()); err != nil {
			t.Errorf("rollback: %v", err)
		}
		if got := f.nodes[1].trace(); got != "" || c.Transaction() != TxNone {
			t.Errorf("%s: n2 got %s, the transaction is %d", end, got, c.Transaction())
		}
		run(t, c, "update")
		if got := f.nodes[1].trace(); got != "update/1" {
			t.Errorf("%s: n2 got %s", end, got)
		}
	}
}

// TestCommitIsAskedFor proves that a commit whose answer is lost is asked for at another node, under the same session and number, until
// one tells, and that what it tells is the result.
func TestCommitIsAskedFor(t *testing.T) {
	notDone := failed(0, sqlpb.Class_CLASS_NO_QUORUM, sqlpb.Retry_RETRY_TRANSACTION, "it did not happen")
	broken := failed(0, sqlpb.Class_CLASS_SQL, sqlpb.Retry_RETRY_NEVER, "foreign key")
	for _, test := range []struct {
		answer *sqlpb.ServerFrame
		want   string
		again  bool
	}{{done(0, &sqlpb.Done{Index: 9}), "<nil>", false}, {notDone, "it did not happen", true}, {broken, "foreign key", false}} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(2)
			c := f.begun(t, Config{}, TxOptions{})
			run(t, c, "insert")
			f.set(func() { f.nodes[0].serve = func(s *fakeSession, _ *sqlpb.ClientFrame) { s.node.kill() } })
			vague := []sqlpb.Class{sqlpb.Class_CLASS_NO_QUORUM, sqlpb.Class_CLASS_OUTCOME_UNKNOWN, sqlpb.Class_CLASS_BUSY}
			f.nodes[1].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
				commit := frame.GetCommit()
				if commit == nil {
					s.answer(frame)
					return
				}
				if class, any := f.shift(&vague); any {
					s.send(failed(commit.Id, class, sqlpb.Retry_RETRY_SAME, "not yet"))
					return
				}
				if d := test.answer.GetDone(); d != nil {
					s.send(done(commit.Id, d))
				} else {
					test.answer.GetError().Id = commit.Id
					s.send(test.answer)
				}
			}
			session := string(c.session)
			if err := c.Commit(t.Context()); fmt.Sprint(err) != test.want || wholeTransaction(err) != test.again {
				t.Errorf("it ends with %v, want %s", err, test.want)
			}
			if got := f.nodes[1].trace(); got != "commit/1 commit/1 commit/1 commit/1" || string(c.session) != session {
				t.Errorf("n2 got %s", got)
			}
			run(t, c, "update")
			if got := f.nodes[1].trace(); !strings.HasSuffix(got, "update/2") {
				t.Errorf("n2 got %s", got)
			}
		})
	}
}

// TestCommitStaysUnknown proves that a commit that was sent and of which no node tells ends as unknown, an error that
// database/sql and RunTx run nothing again for.
func TestCommitStaysUnknown(t *testing.T) {
	for _, away := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(2)
			f.nodes[0].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
				if frame.GetCommit() != nil {
					s.node.kill()
				} else {
					s.answer(frame)
				}
			}
			f.nodes[1].down = away
			f.nodes[1].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
				s.send(failed(frame.GetCommit().Id, sqlpb.Class_CLASS_NO_QUORUM, sqlpb.Retry_RETRY_SAME, "no quorum"))
			}
			db := sql.OpenDB(f.connector(t, Config{CommitTimeout: 20 * time.Second}))
			defer db.Close()
			runs := 0
			err := RunTx(t.Context(), db, nil, func(*sql.Tx) error {
				runs++
				return nil
			})
			if !errors.Is(err, ErrOutcomeUnknown) || errors.Is(err, driver.ErrBadConn) || runs != 1 {
				t.Errorf("with the other node away (%v): %v after %d runs", away, err, runs)
			}
		})
	}
}

// TestCommitBounds proves when a commit is given up: at the commit timeout without a deadline, else at the deadline.
func TestCommitBounds(t *testing.T) {
	for _, deadline := range []time.Duration{0, 15 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(2)
			c := f.begun(t, Config{CommitTimeout: 25 * time.Second}, TxOptions{})
			f.set(func() {
				f.nodes[0].serve = func(s *fakeSession, _ *sqlpb.ClientFrame) { s.node.kill() }
				f.nodes[1].down = true
			})
			ctx, want := t.Context(), 25*time.Second
			if deadline > 0 {
				want = deadline
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, deadline)
				defer cancel()
			}
			begun := time.Now()
			err := c.Commit(ctx)
			if took := time.Since(begun); !errors.Is(err, ErrOutcomeUnknown) || took < want-2*NoQuorumPause || took > want+CancelGrace {
				t.Errorf("%v after %v, want it after %v", err, took, want)
			}
		})
	}
}

// TestCommitNotSent proves that a commit that no node ever got certainly did not happen, that it says so, and that the node has no
// transaction after it either.
func TestCommitNotSent(t *testing.T) {
	f := newFake(1)
	c := f.begun(t, Config{}, TxOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Commit(ctx); !wholeTransaction(err) || !errors.Is(err, context.Canceled) || c.Transaction() != TxNone || c.Connected() {
		t.Errorf("cancelled before: %v, transaction %d, connected %v", err, c.Transaction(), c.Connected())
	}
	run(t, c, "update")
	if got := f.nodes[0].trace(); got != "begin update/1" {
		t.Errorf("it sends %s", got)
	}
}

// TestRefusedCommit proves that a commit which a node refuses to try, as one that can be sent again, is an error of the whole
// transaction: of the one that it was there is nothing left.
func TestRefusedCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		f.nodes[0].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
			if commit := frame.GetCommit(); commit != nil {
				s.send(failed(commit.Id, sqlpb.Class_CLASS_NO_QUORUM, sqlpb.Retry_RETRY_SAME, "no quorum"))
			} else {
				s.answer(frame)
			}
		}
		c := f.begun(t, Config{}, TxOptions{})
		if err := c.Commit(t.Context()); !wholeTransaction(err) || !errors.Is(err, ErrNoQuorum) {
			t.Errorf("got %v", err)
		}
	})
}

// TestReadOnlyCommit proves that the end of a read-only transaction takes no write number and asks no other node.
func TestReadOnlyCommit(t *testing.T) {
	f := newFake(2)
	c := f.begun(t, Config{}, TxOptions{ReadOnly: true})
	run(t, c, "select a")
	if err := c.Commit(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.BeginTransaction(t.Context(), TxOptions{ReadOnly: true}); err != nil {
		t.Fatal(err)
	}
	f.set(func() { f.nodes[0].serve = func(s *fakeSession, _ *sqlpb.ClientFrame) { s.node.kill() } })
	if err := c.Commit(t.Context()); !wholeTransaction(err) {
		t.Errorf("a lost one: %v", err)
	}
	if first, second := f.nodes[0].trace(), f.nodes[1].trace(); first != "begin select a/0* commit/0 begin commit/0" || second != "" {
		t.Errorf("n1 got %s, n2 got %s", first, second)
	}
}

// TestCommitStaysAtItsNode proves that a session which follows the leader does not leave its transaction behind for it.
func TestCommitStaysAtItsNode(t *testing.T) {
	f := newFake(2)
	c := f.begun(t, Config{Target: TargetLeader}, TxOptions{})
	c.connector.learn(2, f.members())
	if err := c.Commit(t.Context()); err != nil || f.nodes[0].trace() != "begin commit/1" {
		t.Errorf("%v; n1 got %s", err, f.nodes[0].trace())
	}
	run(t, c, "update")
	if got := f.nodes[1].trace(); got != "update/2" {
		t.Errorf("afterwards n2 got %s", got)
	}
}

// TestRowsLeftInTransaction proves that rows which nobody wants any more are not cancelled in a transaction that writes, where that could
// end it, and are in one that only reads.
func TestRowsLeftInTransaction(t *testing.T) {
	for readOnly, want := range map[bool]int{false: 0, true: 1} {
		f := newFake(1)
		f.nodes[0].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
			x := frame.GetExecute()
			if x == nil {
				s.answer(frame)
				return
			}
			s.send(columns(x.Id, "a"), rowsFrame(x.Id, []any{make([]byte, fullFrame)}))
			if readOnly {
				f.set(func() { s.node.requests = append(s.node.requests, s.recv()) }) // the cancel
			}
			s.send(rowsFrame(x.Id, []any{int64(2)}), done(x.Id, &sqlpb.Done{Transaction: s.tx}))
		}
		c := f.begun(t, Config{}, TxOptions{ReadOnly: readOnly})
		results, err := c.Execute(t.Context(), Request{SQL: "select a"})
		if err != nil || !results.NextResult() || !results.Next() || results.Close() != nil || c.Transaction() != TxOpen {
			t.Errorf("read-only %v: %v, transaction %d", readOnly, err, c.Transaction())
		}
		if got := f.nodes[0].cancels(); got != want {
			t.Errorf("read-only %v: %d cancels, want %d", readOnly, got, want)
		}
	}
}

// TestPoolAndTransactions proves that database/sql's transactions are ours, at every isolation level, and that a connection which was left
// in one is closed when it goes back to its pool: others wait for it.
func TestPoolAndTransactions(t *testing.T) {
	f := newFake(1)
	db := openDB(t, f)
	for level := sql.LevelDefault; level <= sql.LevelLinearizable; level++ {
		tx, err := db.BeginTx(WithLevel(t.Context(), LevelStrong), &sql.TxOptions{Isolation: level, ReadOnly: level%2 == 1})
		if err != nil {
			t.Fatalf("level %v: %v", level, err)
		}
		if err := tx.Commit(); err != nil {
			t.Errorf("level %v: %v", level, err)
		}
	}
	f.set(func() {
		for level, frame := range []int{0, 2, 4} {
			if b := f.nodes[0].requests[frame].GetBegin(); b.ReadOnly != (level%2 == 1) || b.Level != sqlpb.Level_LEVEL_STRONG {
				t.Errorf("level %d begins with %v", level, b)
			}
		}
	})
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "begin"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.BeginTx(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "within a transaction") {
		t.Errorf("a transaction in one from BEGIN: %v", err)
	}
	if err := conn.Raw(func(c any) error { return c.(*Conn).ResetSession(t.Context()) }); err != nil {
		t.Error(err)
	}
	if _, err := conn.ExecContext(t.Context(), "begin"); err != nil {
		t.Errorf("after a reset: %v", err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if n := db.Stats().OpenConnections; n != 0 {
		t.Errorf("%d connections are left of one in a transaction", n)
	}
	if got := f.nodes[0].trace(); !strings.HasSuffix(got, "begin rollback begin") {
		t.Errorf("it sends %s", got)
	}
}

// TestRunTx proves which errors a transaction is run again for: those that say that nothing of it was done, wherever they come from; and that
// it ends with its context, with its patience, and with what it cannot know.
func TestRunTx(t *testing.T) {
	again := &Error{Class: ClassNoQuorum, Retry: RetryTransaction, Message: "again"}
	busy := &Error{Class: ClassBusy, Retry: RetrySame, Message: "busy"}
	unknown := &Error{Class: ClassOutcomeUnknown, Retry: RetrySame, Message: "unknown"}
	for _, test := range []struct {
		name    string
		begin   []*sqlpb.ServerFrame // refusals of Begin, then of Commit, one a run
		commit  []*sqlpb.ServerFrame
		body    []error
		runs    int
		want    string
		endless bool
	}{
		{name: "good", runs: 1, want: "<nil>"},
		{name: "of its own", body: []error{errors.New("mine")}, runs: 1, want: "mine"},
		{name: "says again", body: []error{again, fmt.Errorf("wrapped: %w", again)}, runs: 3, want: "<nil>"},
		{name: "busy", body: []error{busy}, runs: 2, want: "<nil>"},
		{name: "unknown", body: []error{unknown}, runs: 1, want: "unknown"},
		{name: "begin is refused", begin: []*sqlpb.ServerFrame{failed(0, sqlpb.Class_CLASS_BUSY, sqlpb.Retry_RETRY_SAME, "held by x")}, runs: 1, want: "<nil>"},
		{name: "begin is denied", begin: []*sqlpb.ServerFrame{failed(0, sqlpb.Class_CLASS_DENIED, sqlpb.Retry_RETRY_NEVER, "role")}, runs: 0, want: "role"},
		{name: "commit did not happen", commit: []*sqlpb.ServerFrame{failed(0, sqlpb.Class_CLASS_NO_QUORUM, sqlpb.Retry_RETRY_TRANSACTION, "deposed")}, runs: 2, want: "<nil>"},
		{name: "commit fails", commit: []*sqlpb.ServerFrame{failed(0, sqlpb.Class_CLASS_SQL, sqlpb.Retry_RETRY_NEVER, "foreign key")}, runs: 1, want: "foreign key"},
		{name: "patience ends", body: []error{again}, endless: true, want: "again"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(1)
			refuse := func(list *[]*sqlpb.ServerFrame, s *fakeSession, id uint64) bool {
				if len(*list) == 0 {
					return false
				}
				(*list)[0].GetError().Id = id
				s.send((*list)[0])
				*list = (*list)[1:]
				return true
			}
			f.nodes[0].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
				begin, commit := frame.GetBegin(), frame.GetCommit()
				if begin != nil && refuse(&test.begin, s, begin.Id) || commit != nil && refuse(&test.commit, s, commit.Id) {
					return
				}
				s.answer(frame)
			}
			db := sql.OpenDB(f.connector(t, Config{}))
			runs, begun := 0, time.Now()
			err := RunTx(t.Context(), db, nil, func(tx *sql.Tx) error {
				runs++
				if len(test.body) >= runs || test.endless {
					return test.body[(runs-1)%len(test.body)]
				}
				_, err := tx.ExecContext(t.Context(), "insert")
				return err
			})
			if fmt.Sprint(err) != test.want && !strings.HasSuffix(fmt.Sprint(err), test.want) || !test.endless && runs != test.runs {
				t.Errorf("%s: %v after %d runs, want %s after %d", test.name, err, runs, test.want, test.runs)
			}
			if took := time.Since(begun); test.endless && (runs < 20 || took < RunTxPatience || took > RunTxPatience+2*time.Second) {
				t.Errorf("%s: %d runs in %v", test.name, runs, took)
			}
			if stats := db.Stats(); stats.InUse != 0 {
				t.Errorf("%s: %d connections are in use", test.name, stats.InUse)
			}
			db.Close()
		})
	}
}

// TestRunTxEndsWithItsContext proves that the pause between two runs ends with the context, and that the error tells of both.
func TestRunTxEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := sql.OpenDB(newFake(1).connector(t, Config{}))
		defer db.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begun := time.Now()
		err := RunTx(ctx, db, nil, func(*sql.Tx) error { return &Error{Class: ClassBusy, Retry: RetryTransaction, Message: "again"} })
		if !errors.Is(err, ErrBusy) || !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}
