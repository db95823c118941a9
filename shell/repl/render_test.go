package repl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// countedRows makes rows as they are asked for.
type countedRows struct {
	fakeResults
	n, total int
	next     func(n int)
}

func (c *countedRows) Next() bool {
	if c.n >= c.total {
		return false
	}
	c.n++
	c.next(c.n)
	return true
}
func (c *countedRows) Row() []any { return []any{int64(c.n), "text"} }
func (c *countedRows) Err() error { return nil }

type rowsClient struct {
	*fakeClient
	results Results
}

func (r *rowsClient) Control(ctx context.Context, verb string, args ...string) (Results, error) {
	return r.results, nil
}

// TestStreaming proves that the modes that need no widths print each row before they ask for the next, and the others
// after at most chunkRows.
func TestStreaming(t *testing.T) {
	for _, mode := range Modes {
		var out bytes.Buffer
		lag := 0
		rows := &countedRows{total: 2*chunkRows + 10, next: func(n int) {
			if n > 1 && !strings.Contains(out.String(), fmt.Sprint(n-1)) {
				lag++
			}
		}}
		rows.fakeResults.answer = &answer{columns: []Column{{Name: "n"}, {Name: "t"}}}
		shell, err := New(Options{Client: &rowsClient{newFake(), rows}, Stdout: &out, Stderr: io.Discard, Mode: mode})
		if err != nil {
			t.Fatal(err)
		}
		rows.total = min(rows.total, 50) // looking through all output for each row
		if shell.tabular() {
			rows.total, rows.next = 2*chunkRows+10, func(int) {}
		}
		if err := shell.Script(t.Context(), "", strings.NewReader(".nodes")); err != nil {
			t.Fatal(err)
		}
		if lag > 0 {
			t.Errorf("mode %s held back %d rows", mode, lag)
		}
		if shell.tabular() && strings.Count(out.String(), "n") < 3 {
			t.Errorf("mode %s printed %d rows as one table", mode, rows.total)
		}
	}
}

// TestOutputFails proves that a full disk or a closed pipe ends a statement with an error.
func TestOutputFails(t *testing.T) {
	fake := newFake()
	fake.answers["select 1"] = &answer{columns: []Column{{Name: "x"}}, rows: [][]any{{int64(1)}}}
	var said bytes.Buffer
	shell, err := New(Options{Client: fake, Stdout: brokenWriter{}, Stderr: &said})
	if err != nil {
		t.Fatal(err)
	}
	err = shell.Script(t.Context(), "", strings.NewReader("select 1;"))
	if exit := (*Exit)(nil); !errors.As(err, &exit) || exit.Code != 1 || !strings.Contains(said.String(), "writing to stdout: the pipe is broken") {
		t.Errorf("%v, %q", err, said.String())
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("the pipe is broken") }

// TestProgress proves what is shown of long work, on a terminal and elsewhere.
func TestProgress(t *testing.T) {
	for live, want := range map[bool]string{
		true: "\rimporting t: 1,000 rows, 1.0 MiB of 10.0 MiB, 1.0 MiB/s, 9s left\x1b[K" +
			"\rimporting t: 6,000 rows, 6.0 MiB of 10.0 MiB, 1.0 MiB/s, 4s left\x1b[K" +
			"\r\x1b[Kimported 10,000 rows into t in 10.00 s (1,000 rows/s)\n",
		false: "importing t: 6,000 rows, 6.0 MiB of 10.0 MiB, 1.0 MiB/s, 4s left\n" +
			"imported 10,000 rows into t in 10.00 s (1,000 rows/s)\n",
	} {
		var out bytes.Buffer
		now := time.Unix(100, 0)
		p := newProgress(&out, live, func() time.Time { return now }, "importing t", 10<<20)
		for _, second := range []int64{1, 6} {
			now = time.Unix(100+second, 0)
			p.update(second<<20, second*1000)
			p.update(second<<20, second*1000)
		}
		now = time.Unix(110, 0)
		p.close("imported", 10_000, "into t")
		if out.String() != want {
			t.Errorf("live %t: %q, want %q", live, out.String(), want)
		}
	}
}
