package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rsqld/rsqld/testcluster"
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
func (f *fakeDemo) Add(_ context.Context, learner bool) (int, error) {
	f.nodes++
	return f.nodes, f.note("add %v", learner)
}

// State is that of a cluster in which node 1 leads and the others follow, as long as they were not killed.
func (f *fakeDemo) State(i int) testcluster.State {
	for k := len(f.done) - 1; k >= 0; k-- {
		switch f.done[k] {
		case fmt.Sprintf("kill %d", i):
			return testcluster.State{}
		case fmt.Sprintf("restart %d", i):
			k = 0
		}
	}
	role := map[bool]string{true: "leader", false: "follower"}[i == 1]
	return testcluster.State{Role: role, Term: 2, Voters: f.nodes, Last: 9, Applied: 9}
}

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
	w.Stdin = strings.NewReader("select 1;\n.demo kill 2\n.demo restart n2\n.demo partition 1 2,3\n.demo heal\n.demo slow 3 200ms\n.demo add\n.demo learner\nselect 2;")
	w.expect(t, 0, "x\nselect 1;\nx\nselect 2;\n", "")
	if got, want := strings.Join(f.done, ", "), "kill 2, restart 2, partition [[1] [2 3]], heal, slow 3 200ms, add false, add true"; got != want {
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

// TestDemoNarration proves: a person is told what Raft does about each .demo, by what is seen of the nodes.
func TestDemoNarration(t *testing.T) {
	for _, test := range []struct{ line, says string }{
		{"kill 2", "-- n2 followed and is dead. n1 leads on and keeps the log for it; a write needs 2 of 3 voters, not all.\n"},
		{"partition 1,2 3", "the network is cut: 1,2 | 3. Only where a majority of the 3 voters is"},
		{"partition 1,2 3", "n1 leads on: it is on the side of the majority"},
		{"heal", "all that run follow n1 in term 2 and have entry 9"},
		{"slow 1 20ms", "n1 leads, and everything that it sends takes 20ms more"},
		{"slow 3 20ms", "A write waits for 2 of 3 voters, the fastest: it does not wait for n3."},
		{"slow 3 0s", "n3 sends without delay"},
		{"add", "n4 had caught up 0s later, and was made a voter by a joint configuration"},
		{"learner", "n4 joined as a learner: it gets the log and answers reads, has no vote"},
	} {
		var out strings.Builder
		f := &fakeDemo{nodes: 3}
		if err := runDemo(t.Context(), f, &out, strings.Fields(test.line)); err != nil || !strings.Contains(out.String(), test.says) {
			t.Errorf("%s: %v, and says %q; want %q", test.line, err, out.String(), test.says)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		f := &fakeDemo{nodes: 3}
		for _, line := range []string{"kill 1", "restart 1"} {
			if err := runDemo(t.Context(), f, &out, strings.Fields(line)); err != nil {
				t.Fatal(err)
			}
		}
		for _, says := range []string{"n1 led and is dead without a word", "nobody can lead: there is no majority", "n1 is back with its log"} {
			if !strings.Contains(out.String(), says) {
				t.Errorf("it says %q, not %q", out.String(), says)
			}
		}
	})
	f := &fakeDemo{nodes: maxDemoNodes}
	if err := runDemo(t.Context(), f, io.Discard, []string{"add"}); err == nil || !strings.Contains(err.Error(), "9 nodes at most") {
		t.Errorf("one node too many is added with %v", err)
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
		".demo add 1":             "usage: .demo kill N",
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
