package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/rsqld/rsqld/shell/repl"
)

// world is an Environment without a world: fake streams, variables, signals and cluster.
type world struct {
	Environment
	out, err  syncBuffer
	variables map[string]string
	signals   map[os.Signal]chan os.Signal
	exits     chan int
	cluster   *fakeCluster
	target    target // of the last connect
}

// syncBuffer is written by one goroutine and read by another.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newWorld(args ...string) *world {
	w := &world{variables: map[string]string{"RSQLD_CRED": "admin.pem"}, exits: make(chan int, 4), cluster: &fakeCluster{}}
	w.signals = map[os.Signal]chan os.Signal{}
	w.Environment = Environment{
		Args: args, Stdin: strings.NewReader(""), Stdout: &w.out, Stderr: &w.err,
		Width:     func() int { return 0 },
		LookupEnv: func(name string) (string, bool) { value, ok := w.variables[name]; return value, ok },
		Exit:      func(code int) { w.exits <- code },
		connect: func(t target) (cluster, error) {
			w.target = t
			if _, err := t.findCredential(); err != nil {
				return nil, err
			}
			return w.cluster, nil
		},
	}
	w.Notify = func(signals ...os.Signal) (<-chan os.Signal, func()) {
		arrived := w.signal(signals[0])
		for _, s := range signals {
			w.signals[s] = arrived
		}
		return arrived, func() {}
	}
	return w
}

// signal is the channel that a signal arrives on.
func (w *world) signal(s os.Signal) chan os.Signal {
	if w.signals[s] == nil {
		w.signals[s] = make(chan os.Signal, 4)
	}
	return w.signals[s]
}

func (w *world) run() int { return Main(w.Environment) }

// expect runs and compares the exit code and all of stdout; stderr must contain says.
func (w *world) expect(t *testing.T, code int, stdout, says string) {
	t.Helper()
	got := w.run()
	if got != code || w.out.String() != stdout || !strings.Contains(w.err.String(), says) || says == "" && w.err.String() != "" {
		t.Errorf("%q exits with %d\nstdout %q\nstderr %q\nwant %d, %q, %q", w.Args, got, w.out.String(), w.err.String(), code, stdout, says)
	}
}

// fakeCluster opens fakeClients.
type fakeCluster struct {
	mu      sync.Mutex
	refuse  error
	open    int
	seen    []repl.Request
	control []string
	pings   int
	// answer returns the rows of a request; nil: none.
	answer func(ctx context.Context, request repl.Request) ([][]any, error)
	// rows are the answers to control verbs; without one the answer is the request.
	rows map[string][][]any
	// transaction is that of all sessions.
	transaction repl.Transaction
}

func (c *fakeCluster) Open(context.Context) (repl.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refuse != nil {
		return nil, c.refuse
	}
	c.open++
	return &fakeClient{c}, nil
}

func (c *fakeCluster) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open != 0 {
		return errors.New("sessions are still open")
	}
	return nil
}

type fakeClient struct{ cluster *fakeCluster }

func (f *fakeClient) Execute(ctx context.Context, request repl.Request) (repl.Results, error) {
	f.cluster.mu.Lock()
	f.cluster.seen = append(f.cluster.seen, request)
	f.cluster.mu.Unlock()
	if f.cluster.answer != nil {
		rows, err := f.cluster.answer(ctx, request)
		return &fakeResults{rows: rows}, err
	}
	if strings.Contains(request.SQL, "bad") {
		return nil, &repl.Error{Class: repl.ClassSQL, Message: "bad things happen", Offset: -1}
	}
	return &fakeResults{rows: [][]any{{request.SQL}}}, nil
}

func (f *fakeClient) Control(ctx context.Context, verb string, args ...string) (repl.Results, error) {
	words := strings.Join(append([]string{verb}, args...), " ")
	f.cluster.control = append(f.cluster.control, words)
	if verb == "health" {
		return nil, &repl.Error{Class: repl.ClassNoQuorum, Message: "no quorum", Offset: -1}
	}
	if rows, known := f.cluster.rows[verb]; known {
		return &fakeResults{rows: rows}, nil
	}
	return &fakeResults{rows: [][]any{{words}}}, nil
}

func (f *fakeClient) Ping(context.Context) error {
	f.cluster.pings++
	return errors.New("nobody is left")
}

func (f *fakeClient) Transaction() repl.Transaction { return f.cluster.transaction }

func (f *fakeClient) Place() repl.Place {
	return repl.Place{Node: 1, Name: "n1", Address: "127.0.0.1:4001", Leader: true}
}

func (f *fakeClient) Close() error {
	f.cluster.mu.Lock()
	defer f.cluster.mu.Unlock()
	f.cluster.open--
	return nil
}

// fakeResults is one result of one column.
type fakeResults struct {
	rows    [][]any
	started bool
	row     []any
}

func (r *fakeResults) NextResult() bool       { first := !r.started; r.started = true; return first }
func (r *fakeResults) Columns() []repl.Column { return []repl.Column{{Name: "x"}} }
func (r *fakeResults) Row() []any             { return r.row }
func (r *fakeResults) Done() repl.Done        { return repl.Done{} }
func (r *fakeResults) Err() error             { return nil }
func (r *fakeResults) Close() error           { return nil }
func (r *fakeResults) Next() bool {
	if len(r.rows) == 0 {
		return false
	}
	r.row, r.rows = r.rows[0], r.rows[1:]
	return true
}
