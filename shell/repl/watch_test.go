package repl

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// countingClient counts control verbs: leader is answered, everything else fails.
type countingClient struct {
	*fakeClient
	runs int
}

func newCounting() *countingClient {
	c := &countingClient{fakeClient: newFake()}
	c.answers["control leader"] = &answer{columns: []Column{{Name: "id"}}, rows: [][]any{{int64(1)}}}
	c.answers["control nodes"] = c.answers["control leader"]
	return c
}

func (c *countingClient) Control(ctx context.Context, verb string, args ...string) (Results, error) {
	c.runs++
	return c.fakeClient.Control(ctx, verb, args...)
}

// TestWatch proves: a command is run so many times with the pause between, or until Ctrl-C; a failure ends a script's watch
// and not a person's.
func TestWatch(t *testing.T) {
	for _, test := range []struct {
		line     string
		terminal bool
		runs     int
		took     time.Duration
		says     string
	}{
		{".watch 0.5 3 .leader", false, 3, time.Second, ""},
		{".watch 2 2", true, 2, 2 * time.Second, ""},
		{".watch .leader", false, 0, 0, "say how many times"},
		{".watch 0.01 3 .leader", false, 0, 0, "no number of seconds"},
		{".watch 1 x .leader", false, 0, 0, "no number of times"},
		{".watch 1 2 .watch", false, 0, 0, "nothing to watch"},
		{".watch 1 2 .laeder", false, 0, 0, "did you mean .leader?"},
		{".watch 1 2 .leader x", false, 0, 0, "usage: .leader"},
		{".watch 1 3 .remove 9", false, 1, 0, "has no answer to"},
		{".watch 1 3 .remove 9", true, 3, 2 * time.Second, "has no answer to"},
	} {
		synctest.Test(t, func(t *testing.T) {
			fake := newCounting()
			var out bytes.Buffer
			shell, err := New(Options{Client: fake, Stdout: &out, Stderr: &out, Terminal: test.terminal})
			if err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			err = shell.Script(t.Context(), "", strings.NewReader(test.line))
			if fake.runs != test.runs || time.Since(begun) != test.took {
				t.Errorf("%q ran %d times in %v; want %d runs in %v", test.line, fake.runs, time.Since(begun), test.runs, test.took)
			}
			if test.says != "" && !strings.Contains(out.String(), test.says) || (test.says == "") != (err == nil) && !test.terminal {
				t.Errorf("%q: %v, and says %q, want %q", test.line, err, out.String(), test.says)
			}
		})
	}
}

// TestWatchInterrupted proves that Ctrl-C ends a watch without end.
func TestWatchInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, interrupts := newCounting(), make(chan os.Signal, 1)
		var out bytes.Buffer
		shell, err := New(Options{Client: fake, Stdout: &out, Stderr: &out, Terminal: true, Interrupts: interrupts})
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(3500*time.Millisecond, func() { interrupts <- os.Interrupt })
		begun := time.Now()
		err = shell.Script(t.Context(), "", strings.NewReader(".watch .leader"))
		if exit := (*Exit)(nil); !errors.As(err, &exit) || exit.Code != 130 || fake.runs != 4 || time.Since(begun) != 3500*time.Millisecond {
			t.Errorf("it ended with %v after %v and %d runs", err, time.Since(begun), fake.runs)
		}
	})
}
