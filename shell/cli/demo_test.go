package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// fakeDemo writes down what is done to it.
type fakeDemo struct {
	nodes  int
	done   []string
	dir    string
	closed bool
}

func (f *fakeDemo) Size() int            { return f.nodes }
func (f *fakeDemo) Address(i int) string { return fmt.Sprintf("127.0.0.1:%d", 5000+i) }
func (f *fakeDemo) Credential() string   { return "demo.pem" }
func (f *fakeDemo) note(format string, args ...any) error {
	f.done = append(f.done, fmt.Sprintf(format, args...))
	return nil
}
func (f *fakeDemo) Kill(i int) error                       { return f.note("kill %d", i) }
func (f *fakeDemo) Restart(_ context.Context, i int) error { return f.note("restart %d", i) }
func (f *fakeDemo) Partition(groups ...[]int) error        { return f.note("partition %v", groups) }
func (f *fakeDemo) Heal()                                  { f.done = append(f.done, "heal") }
func (f *fakeDemo) Slow(i int, d time.Duration) error      { return f.note("slow %d %v", i, d) }
func (f *fakeDemo) Close() error                           { f.closed = true; return nil }

func newDemo(args ...string) (*world, *fakeDemo) {
	w, f := newWorld(append([]string{"demo"}, args...)...), &fakeDemo{}
	w.startDemo = func(_ context.Context, nodes, learners int, dir string, logger *slog.Logger) (demoCluster, error) {
		logger.Info("a state change")
		f.nodes, f.dir = nodes+learners, dir
		return f, nil
	}
	return w, f
}

func (f *fakeDemo) gone(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(f.dir); !f.closed || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the demo is closed: %t, its directory: %v", f.closed, err)
	}
}

// TestDemoScript proves: piped SQL runs as a script, and nothing but its rows is on stdout.
func TestDemoScript(t *testing.T) {
	w, f := newDemo("2", "--learners", "1")
	w.Stdin = strings.NewReader("select 1;\n.demo kill 2\n.demo restart n2\n.demo partition 1 2,3\n.demo heal\n.demo slow 3 200ms\nselect 2;")
	w.expect(t, 0, "x\nselect 1;\nx\nselect 2;\n", "")
	if got, want := strings.Join(f.done, ", "), "kill 2, restart 2, partition [[1] [2 3]], heal, slow 3 200ms"; got != want {
		t.Errorf("done is %s, want %s", got, want)
	}
	if want := (target{"127.0.0.1:5001,127.0.0.1:5002,127.0.0.1:5003", "demo.pem", ""}); w.target != want {
		t.Errorf("it connects to %+v", w.target)
	}
	f.gone(t)
	w, f = newDemo()
	w.Stdin = strings.NewReader("select bad;\nselect 2;")
	w.expect(t, 1, "", "error: bad things happen\n")
	f.gone(t)
}

// TestDemoKillMovesOn proves: after a node was killed, the session looks whether it was its own before the next statement
// is sent there, and that nobody being left is not the failure of .demo.
func TestDemoKillMovesOn(t *testing.T) {
	w, _ := newDemo()
	w.Stdin = strings.NewReader(".demo kill 1\n")
	w.expect(t, 0, "", "")
	if w.cluster.pings != 1 {
		t.Errorf("the session was asked %d times", w.cluster.pings)
	}
}

// TestDemoMistakes proves that each wrong .demo is explained.
func TestDemoMistakes(t *testing.T) {
	for line, want := range map[string]string{
		".demo":                   "usage: .demo kill N",
		".demo kil 1":             `unknown .demo "kil"; did you mean kill?`,
		".demo explode 1":         `unknown .demo "explode"; there are kill, restart`,
		".demo kill":              "usage: .demo kill N",
		".demo kill 4":            `there is no node "4": the nodes are 1 to 3`,
		".demo kill x":            `there is no node "x"`,
		".demo partition 1,2,7 3": `there is no node "7"`,
		".demo partition 1":       "usage: .demo kill N",
		".demo slow 1 quickly":    `"quickly" is no duration`,
		".demo slow 1 -5ms":       `"-5ms" is no duration`,
		".demo heal 1":            "usage: .demo kill N",
	} {
		w, f := newDemo()
		w.Stdin = strings.NewReader(line)
		w.expect(t, 1, "", want)
		if len(f.done) > 0 {
			t.Errorf("%q did %q", line, f.done)
		}
	}
}

// TestDemoWaits proves: with nothing to read, the demo stays up until a signal, and says how to reach it.
func TestDemoWaits(t *testing.T) {
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		synctest.Test(t, func(t *testing.T) {
			w, f := newDemo()
			code := make(chan int, 1)
			go func() { code <- w.run() }()
			synctest.Wait()
			if f.closed || !strings.Contains(w.out.String(), "rsqld sql 127.0.0.1:5001,127.0.0.1:5002,127.0.0.1:5003 --cred demo.pem") {
				t.Errorf("closed %t, stdout %q", f.closed, w.out.String())
			}
			w.signal(signal) <- signal
			if got := <-code; got != 0 {
				t.Errorf("%v ends it with %d", signal, got)
			}
			f.gone(t)
		})
	}
}

// TestDemoInterrupted proves that a signal ends a demo that is still starting.
func TestDemoInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := newDemo()
		w.startDemo = func(ctx context.Context, _, _ int, _ string, _ *slog.Logger) (demoCluster, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		code := make(chan int, 1)
		go func() { code <- w.run() }()
		synctest.Wait()
		w.signal(os.Interrupt) <- os.Interrupt
		if got := <-code; got != 130 {
			t.Errorf("it ends with %d", got)
		}
	})
}

// TestDemoTerminated proves that SIGTERM during a script that waits for input leaves nothing behind.
func TestDemoTerminated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, f := newDemo()
		more := make(chan string)
		w.Stdin = &lineReader{lines: more}
		code := make(chan int, 1)
		go func() { code <- w.run() }()
		more <- "select 1;\n"
		synctest.Wait()
		w.signal(syscall.SIGTERM) <- syscall.SIGTERM
		if got := <-w.exits; got != 130 {
			t.Errorf("the program exits with %d", got)
		}
		f.gone(t)
		close(more)
		<-code
	})
}

// lineReader is a pipe that somebody writes lines to.
type lineReader struct {
	lines <-chan string
	rest  string
}

func (r *lineReader) Read(p []byte) (int, error) {
	if r.rest == "" {
		line, ok := <-r.lines
		if !ok {
			return 0, errors.New("the pipe is closed")
		}
		r.rest = line
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// TestDemoStartFails proves that a cluster that does not start is an error and leaves nothing behind.
func TestDemoStartFails(t *testing.T) {
	w, _ := newDemo()
	var dir string
	w.startDemo = func(_ context.Context, _, _ int, d string, _ *slog.Logger) (demoCluster, error) {
		dir = d
		return nil, errors.New("no sockets left")
	}
	w.expect(t, 1, "", "rsqld demo: starting the demo: no sockets left\n")
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is left behind: %v", err)
	}
}
