package engine

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/command/commandpb"
)

const endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select "

// A read that is cancelled ends promptly with the cause, wherever it is, and its reader serves the next read.
func TestQueryCancel(t *testing.T) {
	e := openEngine(t, Config{MaxReaders: 1})
	for _, sql := range []string{endless + "count(*) from n", endless + "i from n"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("the client went away")
		running := make(chan struct{})
		var begun sync.Once
		go func() {
			if strings.Contains(sql, "count") {
				begun.Do(func() { close(running) }) // no row ever comes
			}
			<-running
			cancel(cause)
		}()
		finished := make(chan error, 1)
		go func() {
			s := &rows{onRow: func() error { begun.Do(func() { close(running) }); return nil }}
			_, err := e.Query(ctx, sql, nil, s)
			finished <- err
		}()
		<-running
		select {
		case err := <-finished:
			if !errors.Is(err, cause) {
				t.Errorf("got %v, want %v", err, cause)
			}
		case <-time.After(5 * time.Second): // the bound of a test, not of the engine
			t.Fatal("the read goes on")
		}
		if got := rowsOf(t, e, "select 1"); got != "1" {
			t.Errorf("after a cancelled read: %s", got)
		}
	}
}

// An interrupt that comes too late for its read does not strike the next one on the same reader.
func TestLateInterrupt(t *testing.T) {
	e := openEngine(t, Config{MaxReaders: 1})
	ctx, cancel := context.WithCancel(t.Context())
	s := &rows{onRow: func() error { // nothing steps: the interrupt finds no statement to strike
		cancel()
		for reader := range e.readers.busy {
			for !reader.users.conn.Interrupted() {
				runtime.Gosched()
			}
		}
		return nil
	}}
	if _, err := e.Query(ctx, manyRows, nil, s); !errors.Is(err, context.Canceled) {
		t.Errorf("the read that was cancelled: %v", err)
	}
	if got := rowsOf(t, e, "select 2"); got != "2" {
		t.Errorf("the next read: %s", got)
	}
}

// A read that runs longer than it may ends with an error that names the setting.
func TestReaderTimeout(t *testing.T) {
	e := openEngine(t, Config{ReaderTimeout: time.Millisecond})
	_, err := e.Query(t.Context(), endless+"count(*) from n", nil, new(rows))
	if !errors.Is(err, ErrReaderTimeout) || !strings.Contains(err.Error(), "sql.reader_timeout") {
		t.Errorf("got %v", err)
	}
}

// A client that does not take its rows holds a reader and no turn to step: others read on, as many as there are
// readers, and one more waits and says for what.
func TestSlowClientsDoNotStopOthers(t *testing.T) {
	e := openEngine(t, Config{MaxReaders: 6})
	release := make(chan struct{})
	var slow, inSink sync.WaitGroup
	for range 5 {
		inSink.Add(1)
		slow.Go(func() {
			var once sync.Once
			s := &rows{onRow: func() error { once.Do(inSink.Done); <-release; return nil }}
			if _, err := e.Query(t.Context(), manyRows, nil, s); err != nil {
				t.Error(err)
			}
		})
	}
	inSink.Wait()
	if got := rowsOf(t, e, "select 2"); got != "2" {
		t.Errorf("got %s", got)
	}
	stuck := &rows{onRow: func() error {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("gave up"))
		_, err := e.Query(ctx, "select 3", nil, new(rows))
		if err == nil || !strings.Contains(err.Error(), "waiting for one of 6 readers (sql.max_readers): gave up") {
			t.Errorf("with every reader in use: %v", err)
		}
		return nil
	}}
	if _, err := e.Query(t.Context(), manyRows, nil, stuck); err != nil {
		t.Error(err)
	}
	close(release)
	slow.Wait()
}

// A client that does not take the rows of a short read holds no reader: the read has ended before its rows leave.
func TestShortReadHoldsNoReader(t *testing.T) {
	e := openEngine(t, Config{MaxReaders: 1})
	s := &rows{onRow: func() error {
		if got := rowsOf(t, e, "select 2"); got != "2" {
			t.Errorf("beside it: %s", got)
		}
		return nil
	}}
	if _, err := e.Query(t.Context(), "select 1", nil, s); err != nil || len(s.rows) != 1 {
		t.Errorf("%v, %v", s.rows, err)
	}
}

// lingering is a Sink that counts how often it is told that the read takes its time.
type lingering struct {
	rows
	told int
	on   func()
}

func (s *lingering) Lingers() {
	if s.told++; s.told == 1 && s.on != nil {
		s.on()
	}
}

// A sink hears of a read that is not over in a moment, and of no other.
func TestLingers(t *testing.T) {
	e := openEngine(t, Config{MaxReaders: 2})
	for sql, lingers := range map[string]bool{"select 1": false, manyRows: true, counting(20_000): true} {
		s := new(lingering)
		if _, err := e.Query(t.Context(), sql, nil, s); err != nil || (s.told > 0) != lingers {
			t.Errorf("%q: told %d times, %v", sql, s.told, err)
		}
	}
	for range cap(e.readers.turns) {
		e.readers.turns <- struct{}{}
	}
	waits := &lingering{on: e.readers.stepped} // the turn that it waits for
	if _, err := e.Query(t.Context(), "select 1", nil, waits); err != nil || waits.told == 0 {
		t.Errorf("waiting for a turn: told %d times, %v", waits.told, err)
	}
}

// Quick answers as Query does what is over in a moment. Of anything else it leaves no trace: neither at the sink nor on the
// reader.
func TestQuick(t *testing.T) {
	e := openEngine(t, Config{MaxReaders: 1})
	newLog(t).must(e, "create table t(a)", "insert into t values(1), (2)")
	for _, sql := range []string{"select a from t", "select a from t where a = ?", "select 1 where 0", "pragma table_info(t)", "explain select 1"} {
		var args []*commandpb.Argument
		if strings.Contains(sql, "?") {
			args = append(args, integer(2))
		}
		var want, got rows
		if _, err := e.Query(t.Context(), sql, args, &want); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Quick(sql, args, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, %v; Query says %v", sql, got, err, want)
		}
	}
	refused := func(what, sql string, cause error) {
		t.Helper()
		var s rows
		if _, err := e.Quick(sql, nil, &s); !errors.Is(err, cause) {
			t.Errorf("%s: %v, want %v", what, err, cause)
		}
		if s.columns != nil || s.rows != nil {
			t.Errorf("%s: the sink got %v", what, s)
		}
		if got := rowsOf(t, e, "select count(*) from t"); got != "2" {
			t.Errorf("after %s: %s", what, got)
		}
	}
	for range 3 {
		refused("a long read", counting(1000), ErrLingers)
		refused("many rows", manyRows, ErrLingers)
		refused("a write", "insert into t values(3)", ErrNotRead)
		refused("two statements", "select 1; select 2", ErrSeveral)
	}
	inUse := &rows{onRow: func() error {
		if _, err := e.Quick("select 1", nil, new(rows)); err != ErrLingers {
			t.Errorf("with every reader in use: %v", err)
		}
		return nil
	}}
	if _, err := e.Query(t.Context(), manyRows, nil, inUse); err != nil {
		t.Error(err)
	}
	_, resume := e.readers.hold(true)
	if _, err := e.Quick("select 1", nil, new(rows)); err != ErrLingers {
		t.Errorf("while reads are held up: %v", err)
	}
	resume()
	gone := errors.New("gone")
	if _, err := e.Quick("select 1", nil, &rows{onRow: func() error { return gone }}); err != gone {
		t.Errorf("the sink's error: %v", err)
	}
}

// manyRows has two rows that come one by one, because each fills a buffer.
const manyRows = "select zeroblob(40000) from (values(1), (2))"

// counting is a read of one row that takes so many turns of a loop.
func counting(n int) string {
	return fmt.Sprintf("with recursive n(i) as (select 1 union all select i + 1 from n where i < %d) select count(*) from n", n)
}

// Query runs one read and nothing else, and returns its sink's errors as they are.
func TestQueryRefuses(t *testing.T) {
	e := openEngine(t, Config{})
	newLog(t).must(e, "create table t(a)")
	for _, sql := range []string{"insert into t values(1)", "insert into t values(1) returning a", "drop table if exists absent", "pragma user_version=1"} {
		if _, err := e.Query(t.Context(), sql, nil, new(rows)); !errors.Is(err, ErrNotRead) {
			t.Errorf("%q: %v", sql, err)
		}
	}
	if _, err := e.Query(t.Context(), "select 1; select 2", nil, new(rows)); !errors.Is(err, ErrSeveral) {
		t.Errorf("two statements: %v", err)
	}
	if _, err := e.Query(t.Context(), "select ?", []*commandpb.Argument{integer(1), integer(2)}, new(rows)); !errors.As(err, new(*ArgumentError)) {
		t.Errorf("too many arguments: %v", err)
	}
	gone := errors.New("gone")
	if _, err := e.Query(t.Context(), "select 1", nil, &rows{onRow: func() error { return gone }}); err != gone {
		t.Errorf("the sink's error: %v", err)
	}
}

// Reads beside Apply each see the rows of some whole batch, and never go back; accessors may be called all the while.
func TestReadersBesideApply(t *testing.T) {
	e := openEngine(t, Config{})
	l := newLog(t)
	l.bootstrap(nil)
	l.script("create table t(i integer primary key); create table n(c); insert into n values(0)")
	l.apply(e)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			last := ""
			for {
				select {
				case <-stop:
					return
				default:
				}
				got := rowsOf(t, e, "select (select count(*) from t) = (select c from n), (select printf('%09d', c) from n)")
				if count, whole := strings.CutPrefix(got, "1|"); !whole || count < last {
					t.Errorf("read %s after %s", got, last)
					return
				} else {
					last = count
				}
				if _, err := e.Classify("insert into t values(1)"); err != nil {
					t.Error(err)
				}
				_, _, _, _ = e.Members(), e.Settings(), e.Chain(), e.Size()
			}
		})
	}
	for round := range 40 {
		for range 1 + round%7 {
			l.script("insert into t default values", "update n set c = c + 1")
		}
		l.apply(e)
	}
	close(stop)
	readers.Wait()
}

// Closing ends a read that runs, with an error that says so.
func TestCloseEndsReads(t *testing.T) {
	e := openEngine(t, Config{})
	finished, running := make(chan error, 1), make(chan struct{})
	var once sync.Once
	go func() {
		_, err := e.Query(context.Background(), endless+"i from n", nil, &rows{onRow: func() error { once.Do(func() { close(running) }); return nil }})
		finished <- err
	}()
	<-running
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-finished; !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// Statements that compute for long share the turns to step with others: a short read is answered beside as many of them
// as there are turns.
func TestLongReadsShareTheirTurns(t *testing.T) {
	e := openEngine(t, Config{MaxReaders: 10})
	var long sync.WaitGroup
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	for range 2 * cap(e.readers.turns) {
		long.Go(func() {
			if _, err := e.Query(ctx, endless+"count(*) from n", nil, new(rows)); !errors.Is(err, stopped) {
				t.Errorf("the long read: %v", err)
			}
		})
	}
	for len(e.readers.turns) < cap(e.readers.turns) {
		runtime.Gosched()
	}
	short, end := context.WithTimeout(t.Context(), 20*time.Second) // the bound of a test
	defer end()
	for range 3 {
		if _, err := e.Query(short, "select 1", nil, new(rows)); err != nil {
			t.Errorf("the short read: %v", err)
		}
	}
	cancel(stopped)
	long.Wait()
}

// A read whose client does not take its rows gives up its snapshot when its time is over: the write-ahead log is not held
// back by it. The read ends with that error when the sink returns.
func TestSnapshotOfASlowClient(t *testing.T) {
	e := openEngine(t, Config{ReaderTimeout: 50 * time.Millisecond})
	l := newLog(t)
	l.must(e, "create table t(a)", "insert into t values(zeroblob(40000)), (zeroblob(40000)), (1)")
	inSink, wait, finished := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	release := sync.OnceFunc(func() { close(wait) })
	defer release()
	go func() {
		var once sync.Once
		s := &rows{onRow: func() error { once.Do(func() { close(inSink) }); <-wait; return nil }}
		_, err := e.Query(t.Context(), "select a from t", nil, s)
		finished <- err
	}()
	<-inSink
	l.must(e, "update t set a = zeroblob(50000)")
	for deadline := time.Now().Add(20 * time.Second); ; runtime.Gosched() {
		// A checkpoint is complete as soon as no read needs what was there before.
		if frames, done, err := e.writer.conn.WALCheckpointPassive(); err != nil || time.Now().After(deadline) {
			t.Fatalf("%d of %d frames are in the database: %v", done, frames, err)
		} else if done == frames {
			break
		}
	}
	release()
	if err := <-finished; !errors.Is(err, ErrReaderTimeout) {
		t.Errorf("the read ends with %v", err)
	}
	if got := rowsOf(t, e, "select count(*) from t"); got != "3" {
		t.Errorf("the next read: %s", got)
	}
}
