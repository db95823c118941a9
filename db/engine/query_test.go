package engine

import (
	"context"
	"errors"
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
	s := &rows{onRow: func() error { // the statement has ended, its last row is delivered
		cancel()
		for reader := range e.readers.busy {
			for !reader.users.conn.Interrupted() {
				runtime.Gosched()
			}
		}
		return nil
	}}
	if _, err := e.Query(ctx, "select 1", nil, s); err != nil {
		t.Errorf("the read that was done: %v", err)
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
			if _, err := e.Query(t.Context(), "select 1", nil, s); err != nil {
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
	if _, err := e.Query(t.Context(), "select 2", nil, stuck); err != nil {
		t.Error(err)
	}
	close(release)
	slow.Wait()
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
