package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/testcluster"
)

const (
	// moveInterval is the time between two moves of the leader.
	moveInterval = time.Second
	// leastEntries is how many entries a suite writes at least: there are tests that pass without a database.
	leastEntries = 20
)

func main() {
	flag.Parse()
	if err := run(context.Background(), flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "suites:", err)
		os.Exit(1)
	}
}

// suite is one tool's tests.
type suite struct {
	name string
	dir  string
	// args are those of go test.
	args []string
}

var suites = []suite{
	{name: "sqlx", args: []string{"github.com/jmoiron/sqlx"}},
	{name: "xorm", args: []string{"xorm.io/xorm/tests", "-args", "-db=sqlite3", "-conn_str=rsqld", "-ignore_update_limit=true"}},
	{name: "gorm", args: []string{"."}},
	{name: "migrate", args: []string{"."}},
	{name: "goose", args: []string{"."}},
	// Its files are all one database here, which has had a table with AUTOINCREMENT, and the words of its errors are ours.
	{name: "goosetests", args: []string{"-parallel=1", "-run=^(TestProvider|TestEmbed|TestGlobals|TestMigrat)",
		"-skip=^TestProviderRun$/^apply$/^no_versioning$|^TestProviderRun$/^tx_partial_errors$", "github.com/pressly/goose/v3"}},
}

func run(ctx context.Context, names []string) error {
	passed, expected, failed, moves := 0, 0, 0, 0
	for _, s := range suites {
		if len(names) > 0 && !slices.Contains(names, s.name) {
			continue
		}
		s.dir = filepath.Join("testcluster", "suites", s.name)
		o, moved, err := s.alone(ctx)
		if err != nil {
			failed++
			fmt.Printf("suite=%s error: %v\n", s.name, err)
		}
		fmt.Printf("suite=%s passed=%d explained=%d failed=%d\n", s.name, o.passed, o.explained, len(o.failed))
		passed, expected, failed, moves = passed+o.passed, expected+o.explained, failed+len(o.failed), moves+moved
	}
	fmt.Printf("suites passed=%d explained=%d failed=%d leader_moves=%d\n", passed, expected, failed, moves)
	if failed > 0 {
		return fmt.Errorf("%d tests failed that should not", failed)
	}
	return nil
}

// alone runs the suite against a cluster of its own: what the tests of another one leave behind would be in its way.
func (s *suite) alone(ctx context.Context) (o outcome, moves int, err error) {
	root, err := os.MkdirTemp("", "rsqld-suites-")
	if err != nil {
		return o, 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	cluster, err := testcluster.Start(ctx, testcluster.Config{Nodes: 3, Dir: root, Seed: 1})
	if err != nil {
		return o, 0, err
	}
	defer func() { err = errors.Join(err, cluster.Close()) }()
	moved, stop := move(ctx, cluster)
	o, err = s.run(ctx, cluster)
	stop()
	return o, int(moved.Load()), err
}

// dsn is the data source name of all nodes.
func dsn(c *testcluster.Cluster) string {
	var addresses []string
	for i := 1; i <= c.Size(); i++ {
		addresses = append(addresses, c.Address(i))
	}
	return "rsqld://" + strings.Join(addresses, ",") + "/?spread=true&cred=" + c.Credential()
}

// move hands leadership on, again and again, until stop is called.
func move(ctx context.Context, c *testcluster.Cluster) (moved *atomic.Int64, stop func()) {
	moved, ended := new(atomic.Int64), make(chan struct{})
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer close(ended)
		ticker := time.NewTicker(moveInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if handOver(ctx, c) == nil { // it may fail while the cluster finds itself
				moved.Add(1)
			}
		}
	}()
	return moved, func() { cancel(); <-ended }
}

func handOver(ctx context.Context, c *testcluster.Cluster) error {
	leader, err := c.Leader(ctx)
	if err != nil {
		return err
	}
	connector, err := driver.NewConnector(driver.Config{Addresses: []string{c.Address(leader)}, Credential: c.Credential()})
	if err != nil {
		return err
	}
	defer connector.Close()
	conn, err := connector.Open(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	results, err := conn.Control(ctx, "transfer")
	if err != nil {
		return err
	}
	return results.Close()
}

// outcome is what a suite came to.
type outcome struct {
	passed, explained int
	failed            []string
	// said is what was printed outside of tests.
	said string
}

// run runs the suite and compares what failed with what is expected to.
func (s *suite) run(ctx context.Context, c *testcluster.Cluster) (o outcome, err error) {
	known, err := s.expected()
	if err != nil {
		return o, err
	}
	command := exec.CommandContext(ctx, "go", append([]string{"test", "-count=1", "-json", "-p=1", "-timeout=15m"}, s.args...)...)
	command.Dir = s.dir
	command.Env = append(os.Environ(), "RSQLD_DSN="+dsn(c), "SQLX_SQLITE_DSN=rsqld", "SQLX_POSTGRES_DSN=skip", "SQLX_MYSQL_DSN=skip", "GOFLAGS=-mod=mod", "CGO_ENABLED=0")
	var complaints bytes.Buffer
	command.Stderr = &complaints
	out, err := command.StdoutPipe()
	if err != nil {
		return o, err
	}
	before := committed(c)
	if err := command.Start(); err != nil {
		return o, err
	}
	o = read(bufio.NewScanner(out), known)
	// Its exit code says that tests failed, which is judged here.
	var exit *exec.ExitError
	if err := command.Wait(); err != nil && !errors.As(err, &exit) {
		return o, err
	}
	for name := range known {
		o.failed = append(o.failed, name+" (expected to fail, and passed or was not run)")
	}
	if entries := committed(c) - before; entries < leastEntries {
		o.failed = append(o.failed, fmt.Sprintf("%d entries were written, fewer than %d: it did not use the cluster", entries, leastEntries))
	}
	if o.passed+o.explained == 0 {
		return o, fmt.Errorf("no test ran: %s%s", complaints.String(), tail(o.said, 20))
	}
	for _, name := range o.failed {
		fmt.Printf("suite=%s failed: %s\n", s.name, name)
	}
	return o, nil
}

// committed is how many entries the cluster has committed, as far as its first node knows.
func committed(c *testcluster.Cluster) int { return int(c.Node(1).Status().Raft.Commit) }

// event is a line of go test -json.
type event struct {
	Action, Test, Output string
}

// read counts what go test reports. Tests that fail as expected are taken out of known.
func read(lines *bufio.Scanner, known map[string]bool) (o outcome) {
	lines.Buffer(nil, 16<<20)
	output := map[string]*strings.Builder{}
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		test, _, within := strings.Cut(e.Test, "/")
		if within && e.Action != "output" {
			continue
		}
		e.Test = test // what a test within says is the whole test's
		if e.Test == "" {
			o.said += e.Output
			continue
		}
		switch e.Action {
		case "output":
			if output[e.Test] == nil {
				output[e.Test] = new(strings.Builder)
			}
			output[e.Test].WriteString(e.Output)
		case "pass", "skip":
			o.passed++
		case "fail":
			if known[e.Test] {
				delete(known, e.Test)
				o.explained++
				continue
			}
			o.failed = append(o.failed, e.Test)
			if b := output[e.Test]; b != nil {
				fmt.Print(tail(b.String(), 40))
			}
		}
	}
	return o
}

func tail(text string, lines int) string {
	all := strings.SplitAfter(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}

// expected reads the tests that fail for a reason.
func (s *suite) expected() (map[string]bool, error) {
	text, err := os.ReadFile(filepath.Join(s.dir, "expected.txt"))
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]bool{}, nil
	}
	known := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if name, _, _ := strings.Cut(strings.TrimSpace(line), " "); name != "" && name[0] != '#' {
			known[name] = true
		}
	}
	return known, err
}
