package engine

import (
	"context"
	"errors"
	"testing"
	"time"
)

func pin(t *testing.T, e *Engine) *Pin {
	t.Helper()
	p, err := e.Pin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Reads on a pinned snapshot see the rows as of its beginning, whatever is written meanwhile, and cannot write.
func TestPin(t *testing.T) {
	e := openEngine(t, Config{MaxReaders: 2})
	l := newLog(t)
	l.bootstrap(nil)
	l.must(e, "create table t(a); insert into t values(1)")
	p := pin(t, e)
	l.must(e, "insert into t values(2); create table u(a)")
	for range 2 {
		var got rows
		done, err := p.Query(t.Context(), "select count(*), (select count(*) from sqlite_schema where name = 'u') from t", nil, &got)
		if err != nil || got.String() != "1|0" || done.Index != p.Index() {
			t.Fatalf("it sees %s at %d: %v", got.String(), done.Index, err)
		}
	}
	if _, err := p.Query(t.Context(), "insert into t values(3)", nil, &rows{}); !errors.Is(err, ErrNotRead) {
		t.Errorf("a write: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Query(ctx, "select a from t", nil, &rows{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled read: %v", err)
	}
	var got rows
	if _, err := p.Query(t.Context(), "select count(*) from t", nil, &got); err != nil || got.String() != "1" {
		t.Errorf("after a cancelled read it sees %s: %v", got.String(), err)
	}
	if got := rowsOf(t, e, "select count(*) from t"); got != "2" {
		t.Errorf("others see %s", got)
	}
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Error(err)
	}
	if _, err := p.Query(t.Context(), "select 1", nil, &rows{}); !errors.Is(err, ErrTransactionOver) {
		t.Errorf("after its end: %v", err)
	}
	for range 3 { // its reader was given back
		if got := rowsOf(t, e, "select count(*) from t"); got != "2" {
			t.Errorf("a reader used again sees %s", got)
		}
	}
}

// A snapshot that is kept too long gives itself up, also in the middle of a read, and says so.
func TestPinEnds(t *testing.T) {
	e := openEngine(t, Config{MaxReaders: 1, ReaderTimeout: 50 * time.Millisecond})
	l := newLog(t)
	l.bootstrap(nil)
	l.must(e, "create table t(a)")
	for _, sql := range []string{"with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n", ""} {
		p := pin(t, e)
		if sql != "" {
			if _, err := p.Query(t.Context(), sql, nil, &rows{}); !errors.Is(err, ErrPinTimeout) {
				t.Errorf("it ended with %v", err)
			}
		}
		next := pin(t, e) // waits for the only reader
		if _, err := p.Query(t.Context(), "select 1", nil, &rows{}); !errors.Is(err, ErrPinTimeout) {
			t.Errorf("it ended with %v", err)
		}
		if err := errors.Join(p.Close(), next.Close()); err != nil {
			t.Error(err)
		}
	}
	p := pin(t, e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Query(t.Context(), "select 1", nil, &rows{}); !errors.Is(err, ErrTransactionOver) {
		t.Errorf("after the engine's end: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
