package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/rsqld/rsqld/shell/repl"
	"github.com/rsqld/rsqld/testcluster"
)

// maxDemoNodes is the largest cluster of a demo, learners included.
const maxDemoNodes = 9

// demoStart bounds how long the cluster of a demo takes to start.
const demoStart = time.Minute

// demoCluster is what a demo needs of a testcluster.Cluster. Nodes are numbered from 1.
type demoCluster interface {
	Size() int
	Address(i int) string
	Credential() string
	Kill(i int) error
	Restart(ctx context.Context, i int) error
	Partition(groups ...[]int) error
	Heal()
	Slow(i int, delay time.Duration) error
	Add(ctx context.Context, learner bool) (int, error)
	State(i int) testcluster.State
	Close() error
}

func startDemo(ctx context.Context, nodes, learners int, dir string, logger *slog.Logger) (demoCluster, error) {
	raiseProcessors()
	return testcluster.Start(ctx, testcluster.Config{Nodes: nodes, Learners: learners, Dir: dir, Logger: logger})
}

func demoCommand() command {
	return command{
		name: "demo", args: "[NODES]", most: 1, summary: "run a cluster of 3 nodes, or NODES, in this process and open a shell on it",
		define: func(flags *pflag.FlagSet) action {
			learners := flags.Int("learners", 0, "nodes that do not vote, `N`")
			return func(ctx context.Context, e *Environment, args []string) error {
				nodes := 3
				if len(args) == 1 {
					var err error
					if nodes, err = strconv.Atoi(args[0]); err != nil {
						return usageError("%q is no number of nodes", args[0])
					}
				}
				if nodes < 1 || *learners < 0 || nodes+*learners > maxDemoNodes {
					return usageError("a demo has 1 to %d nodes, learners included, not %d and %d", maxDemoNodes, nodes, *learners)
				}
				return e.demo(ctx, nodes, *learners)
			}
		},
	}
}

// demo runs a cluster in a temporary directory until the shell, the script or the wait for a signal ends.
func (e *Environment) demo(ctx context.Context, nodes, learners int) (err error) {
	dir, err := os.MkdirTemp("", "rsqld-demo-")
	if err != nil {
		return fmt.Errorf("making a directory for the demo: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	defer func() { err = errors.Join(err, log.Close(), os.RemoveAll(dir)) }()
	interrupts, stop := e.Notify(os.Interrupt)
	defer stop()
	terminated, stopToo := e.Notify(syscall.SIGTERM)
	defer stopToo()

	c, err := e.openDemo(ctx, nodes, learners, dir, log, interrupts, terminated)
	if err != nil {
		return err
	}
	closeOnce := sync.OnceValue(c.Close)
	defer func() { err = errors.Join(err, closeOnce()) }()
	finished := make(chan struct{})
	defer close(finished)
	stdin := e.Stdin
	if !e.StdinTerminal {
		var empty bool
		if empty, stdin = isEmpty(e.Stdin); empty {
			return e.waitDemo(c, interrupts, terminated)
		}
	}
	go func() {
		select {
		case <-terminated:
			// The shell may be reading and cannot be called back: clean up behind it.
			err := errors.Join(closeOnce(), os.RemoveAll(dir))
			if err != nil {
				fmt.Fprintf(e.Stderr, "rsqld demo: %v\n", err)
			}
			e.Exit(exitInterrupted)
		case <-finished:
		}
	}()
	return e.demoShell(ctx, c, dir, stdin, interrupts)
}

// openDemo starts the cluster; a signal meanwhile ends that.
func (e *Environment) openDemo(ctx context.Context, nodes, learners int, dir string, log io.Writer,
	signals ...<-chan os.Signal) (demoCluster, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, demoStart, fmt.Errorf("the cluster did not start within %v", demoStart))
	defer cancel()
	var stopped atomic.Bool
	var watching sync.WaitGroup
	for _, signal := range signals {
		watching.Go(func() {
			select {
			case <-signal:
				stopped.Store(true)
				cancel()
			case <-ctx.Done():
			}
		})
	}
	c, err := e.startDemo(ctx, nodes, learners, dir, newLogger(log, "info", "text"))
	cancel()
	watching.Wait()
	if err == nil && stopped.Load() {
		err = c.Close()
	}
	if stopped.Load() {
		return nil, errors.Join(err, &exit{code: exitInterrupted})
	}
	if err != nil {
		return nil, fmt.Errorf("starting the demo: %w", err)
	}
	return c, nil
}

func demoTarget(c demoCluster) target {
	addresses := make([]string, c.Size())
	for i := range addresses {
		addresses[i] = c.Address(i + 1)
	}
	return target{address: strings.Join(addresses, ","), credential: c.Credential()}
}

// waitDemo keeps the cluster up for others until a signal.
func (e *Environment) waitDemo(c demoCluster, interrupts, terminated <-chan os.Signal) error {
	t := demoTarget(c)
	fmt.Fprintf(e.Stdout, "%s, a demo of %d nodes\nopen a shell: rsqld sql %s --cred %s\n", product(), c.Size(), t.address, t.credential)
	select {
	case <-interrupts:
	case <-terminated:
	}
	return nil
}

func (e *Environment) demoShell(ctx context.Context, c demoCluster, dir string, stdin io.Reader, interrupts <-chan os.Signal) (err error) {
	cluster, client, err := e.dial(ctx, demoTarget(c))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close(), cluster.Close()) }()
	shell, err := e.newShell(client, repl.Options{
		Interrupts: interrupts, Abort: func() { e.Exit(exitInterrupted) },
		Commands: []repl.Command{{
			Name: ".demo", Usage: demoUsage,
			Help: "break, mend and grow the demo's cluster, and tell what Raft does about it", Min: 1, Max: -1,
			Run: func(ctx context.Context, s *repl.Shell, args []string) error {
				tell := io.Discard
				if e.StdinTerminal && e.StdoutTerminal {
					tell = s.Out() // a script gets its rows and nothing else
				}
				err := runDemo(ctx, c, tell, args)
				moveOn(ctx, client)
				return err
			},
		}},
	})
	if err != nil {
		return err
	}
	if e.StdinTerminal && e.StdoutTerminal {
		e.welcome(c, dir)
		return shellExit(shell, e.interact(ctx, shell))
	}
	return shellExit(shell, shell.Script(ctx, "stdin", stdin))
}

// pinger is a session that can look whether its node is still there, and move if it is not.
type pinger interface{ Ping(context.Context) error }

// moveOn lets a session notice that its own node was just killed. Otherwise its next write would be sent to nobody, and
// nobody could say what became of it. If no node is left, the next statement says so.
func moveOn(ctx context.Context, client repl.Client) {
	if p, ok := client.(pinger); ok {
		ctx, cancel := context.WithTimeout(ctx, connectTimeout)
		defer cancel()
		_ = p.Ping(ctx)
	}
}

// welcome tells a newcomer what to try.
func (e *Environment) welcome(c demoCluster, dir string) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "A cluster of %d nodes runs in this process; its data and log are in %s until you leave. Try:\n", c.Size(), dir)
	for _, line := range [][2]string{
		{"create table t(x); insert into t values(1);", "a write, on every node"},
		{".nodes", "who leads, who follows"},
		{".demo kill 2", "a node dies"},
		{".demo restart 2", "and comes back"},
		{".demo partition 1 2,3", "cut the network"},
		{".demo heal", "and mend it"},
		{".demo slow 3 200ms", "a bad line"},
		{".demo add", "one more voter; .demo learner: one without a vote"},
		{".watch .nodes", "look on, until Ctrl-C"},
	} {
		fmt.Fprintf(&b, "  %-45s %s\n", line[0], line[1])
	}
	fmt.Fprintln(e.Stdout, b.String())
}

// demoUsage are the arguments of .demo.
const demoUsage = "kill N | restart N | partition A,B C | heal | slow N DURATION | add | learner"

// runDemo does what .demo says, and tells what comes of it.
func runDemo(ctx context.Context, c demoCluster, tell io.Writer, args []string) error {
	n := &narrator{cluster: c, out: tell}
	verbs := map[string]struct {
		min, max int
		run      func() error
	}{
		"kill":      {1, 1, func() error { return withNode(c, args[1], func(i int) error { return n.kill(ctx, i) }) }},
		"restart":   {1, 1, func() error { return withNode(c, args[1], func(i int) error { return n.restart(ctx, i) }) }},
		"partition": {2, maxDemoNodes, func() error { return n.partition(ctx, args[1:]) }},
		"heal":      {0, 0, func() error { return n.heal(ctx) }},
		"slow":      {2, 2, func() error { return n.slow(args[1], args[2]) }},
		"add":       {0, 0, func() error { return n.add(ctx, false) }},
		"learner":   {0, 0, func() error { return n.add(ctx, true) }},
	}
	verb, known := verbs[args[0]]
	if !known {
		names := []string{"kill", "restart", "partition", "heal", "slow", "add", "learner"}
		if near := repl.Nearest(args[0], names); near != "" {
			return fmt.Errorf("unknown .demo %q; did you mean %s?", args[0], near)
		}
		return fmt.Errorf("unknown .demo %q; there are %s", args[0], strings.Join(names, ", "))
	}
	if n := len(args) - 1; n < verb.min || n > verb.max {
		return errors.New("usage: .demo " + demoUsage)
	}
	return verb.run()
}

func withNode(c demoCluster, text string, run func(int) error) error {
	i, err := demoNode(c, text)
	if err != nil {
		return err
	}
	return run(i)
}

// demoNode reads the number of a node; n2 is 2.
func demoNode(c demoCluster, text string) (int, error) {
	i, err := strconv.Atoi(strings.TrimPrefix(text, "n"))
	if err != nil || i < 1 || i > c.Size() {
		return 0, fmt.Errorf("there is no node %q: the nodes are 1 to %d", text, c.Size())
	}
	return i, nil
}

// demoGroups reads groups like 1,2 3: nodes that no group names are alone.
func demoGroups(c demoCluster, texts []string) ([][]int, error) {
	groups := make([][]int, len(texts))
	for g, text := range texts {
		for word := range strings.SplitSeq(text, ",") {
			i, err := demoNode(c, word)
			if err != nil {
				return nil, err
			}
			groups[g] = append(groups[g], i)
		}
	}
	return groups, nil
}
