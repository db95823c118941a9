package testcluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/driver"
)

// binary is the program under test, built once by TestMain.
var binary string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "rsqld-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "rsqld")
	build := exec.Command("go", "build", "-o", binary, module)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the program: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// process is one rsqld of its own, on a fixed address, that can be killed and started again.
type process struct {
	t       *testing.T
	name    string
	data    string
	address string
	args    []string
	// wrapper is put before the command.
	wrapper []string

	command *exec.Cmd
	exited  chan struct{} // closed when the running command has exited
	logs    *syncBuffer
}

// syncBuffer collects what a process prints.
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

// freeAddress returns a loopback address whose UDP port was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().String()
}

// newProcess describes a node; start runs it. Further flags go into args.
func newProcess(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, data: filepath.Join(t.TempDir(), name), address: freeAddress(t), args: args, logs: &syncBuffer{}}
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("--- log of %s\n%s", name, tail(p.logs.String(), 60))
		}
	})
	return p
}

func tail(text string, lines int) string {
	all := strings.Split(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// start runs the node and returns when it answers.
func (p *process) start() *process {
	p.t.Helper()
	p.launch()
	p.await()
	return p
}

// launch runs the node without waiting for anything.
func (p *process) launch() {
	p.t.Helper()
	args := append([]string{"--data", p.data, "--listen", p.address, "--name", p.name, "--http", "off"}, p.args...)
	whole := slices.Concat(p.wrapper, []string{binary}, args)
	p.command = exec.Command(whole[0], whole[1:]...)
	p.command.Stdout, p.command.Stderr = p.logs, p.logs
	if err := p.command.Start(); err != nil {
		p.t.Fatal(err)
	}
	command, exited := p.command, make(chan struct{})
	p.exited = exited
	go func() {
		command.Wait()
		close(exited)
	}()
}

// await waits until the node is healthy: it knows a leader and applies.
func (p *process) await() {
	p.t.Helper()
	p.eventually("to be healthy", func(ctx context.Context) error {
		select {
		case <-p.exited:
			p.t.Fatalf("%s ended before it was healthy:\n%s", p.name, p.logs)
		default:
		}
		return withConn(ctx, p.config(), func(c *driver.Conn) error {
			_, err := control(ctx, c, "health")
			return err
		})
	})
}

// kill is kill -9. It returns when the process is gone.
func (p *process) kill() {
	if p.command == nil {
		return
	}
	p.command.Process.Kill()
	<-p.exited
	p.command = nil
}

// stop is SIGTERM. It returns the exit code.
func (p *process) stop() int {
	p.t.Helper()
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	<-p.exited
	code := p.command.ProcessState.ExitCode()
	p.command = nil
	return code
}

// config connects to this node alone, as the cluster's administrator.
func (p *process) config() driver.Config {
	return driver.Config{Addresses: []string{p.address}, Credential: adminOf(p)}
}

// founders maps a node's process to the founder of its cluster, whose directory has the administrator's credential.
var founders sync.Map

func adminOf(p *process) string {
	if founder, ok := founders.Load(p); ok {
		p = founder.(*process)
	}
	return filepath.Join(p.data, "admin.pem")
}

// joins makes p a node that joins founder's cluster.
func (p *process) joins(founder *process, through *process) *process {
	founders.Store(p, founder)
	p.t.Cleanup(func() { founders.Delete(p) })
	p.args = append(p.args, "--join", through.address, "--token", "@"+filepath.Join(founder.data, "join-token"))
	return p
}

// patience bounds every wait of these tests. It is no expectation: what must be fast is measured elsewhere.
const patience = 30 * time.Second

// eventually tries until it works.
func (p *process) eventually(what string, try func(context.Context) error) {
	p.t.Helper()
	eventually(p.t, p.name+" "+what, try)
}

func eventually(t *testing.T, what string, try func(context.Context) error) {
	t.Helper()
	eventuallyWithin(t, patience, what, try)
}

// eventuallyWithin is eventually for what takes its time.
func eventuallyWithin(t *testing.T, patience time.Duration, what string, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		once, stop := context.WithTimeout(ctx, 3*time.Second)
		err := try(once)
		stop()
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("waited %v for %s: %v", patience, what, err)
		}
	}
}

// withConn runs use on a session of its own.
func withConn(ctx context.Context, config driver.Config, use func(*driver.Conn) error) error {
	connector, err := driver.NewConnector(config)
	if err != nil {
		return err
	}
	defer connector.Close()
	conn, err := connector.Open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(use(conn), conn.Close())
}

// query returns all rows of one statement.
func query(ctx context.Context, c *driver.Conn, level driver.Level, sql string, args ...any) ([][]any, error) {
	results, err := c.Execute(ctx, driver.Request{SQL: sql, Args: args, Level: level})
	if err != nil {
		return nil, err
	}
	return collect(results)
}

func control(ctx context.Context, c *driver.Conn, verb string, args ...string) ([][]any, error) {
	results, err := c.Control(ctx, verb, args...)
	if err != nil {
		return nil, err
	}
	return collect(results)
}

func collect(results *driver.Results) (rows [][]any, err error) {
	for results.NextResult() {
		for results.Next() {
			rows = append(rows, append([]any(nil), results.Row()...))
		}
	}
	return rows, errors.Join(results.Err(), results.Close())
}

// exec runs statements on the node and fails the test if one fails.
func (p *process) exec(statements ...string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := withConn(ctx, p.config(), func(c *driver.Conn) error {
		for _, sql := range statements {
			if _, err := query(ctx, c, driver.LevelSession, sql); err != nil {
				return fmt.Errorf("%s: %w", sql, err)
			}
		}
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// value returns the single value of a query at level local.
func (p *process) value(sql string) any {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	rows, err := p.local(ctx, sql)
	if err != nil || len(rows) != 1 || len(rows[0]) != 1 {
		p.t.Fatalf("%s on %s: %v, %v", sql, p.name, rows, err)
	}
	return rows[0][0]
}

func (p *process) local(ctx context.Context, sql string) (rows [][]any, err error) {
	err = withConn(ctx, p.config(), func(c *driver.Conn) (err error) {
		rows, err = query(ctx, c, driver.LevelLocal, sql)
		return err
	})
	return rows, err
}

// eventuallyValue waits until the node's local answer is want.
func (p *process) eventuallyValue(want any, sql string) {
	p.t.Helper()
	p.eventually(fmt.Sprintf("to answer %v to %s", want, sql), func(ctx context.Context) error {
		rows, err := p.local(ctx, sql)
		if err != nil {
			return err
		}
		if len(rows) != 1 || fmt.Sprint(rows[0]) != fmt.Sprint([]any{want}) {
			return fmt.Errorf("it answers %v", rows)
		}
		return nil
	})
}

// status asks a node for one line of its status.
func (p *process) status(ctx context.Context, key string) (value string, err error) {
	err = withConn(ctx, p.config(), func(c *driver.Conn) error {
		rows, err := control(ctx, c, "status")
		for _, row := range rows {
			if row[0] == key {
				value = row[1].(string)
			}
		}
		return err
	})
	return value, err
}

// role asks a node what it is.
func (p *process) role(ctx context.Context) (string, error) { return p.status(ctx, "role") }

// applied asks a node how far it has come.
func (p *process) applied(ctx context.Context) int64 {
	p.t.Helper()
	text, err := p.status(ctx, "applied")
	if err != nil {
		p.t.Fatal(err)
	}
	index, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return index
}

// termOf asks a node for its term.
func termOf(t *testing.T, p *process) (term uint64) {
	t.Helper()
	p.eventually("to tell its term", func(ctx context.Context) error {
		text, err := p.status(ctx, "term")
		if err == nil {
			term, err = strconv.ParseUint(text, 10, 64)
		}
		if err == nil && term == 0 {
			err = errors.New("its term is zero")
		}
		return err
	})
	return term
}

// leaderOf waits until one of the nodes leads.
func leaderOf(t *testing.T, nodes ...*process) (leader *process) {
	t.Helper()
	eventually(t, "a leader", func(ctx context.Context) error {
		for _, p := range nodes {
			if p.command == nil {
				continue
			}
			if role, err := p.role(ctx); err == nil && role == "leader" {
				leader = p
				return nil
			}
		}
		return errors.New("nobody leads")
	})
	return leader
}

// trio starts a founder and two nodes that join through each other, and waits until all three vote.
func trio(t *testing.T) []*process {
	t.Helper()
	n1 := newProcess(t, "n1").start()
	n2 := newProcess(t, "n2").joins(n1, n1).start()
	n3 := newProcess(t, "n3").joins(n1, n2).start()
	nodes := []*process{n1, n2, n3}
	awaitVoters(t, 3, nodes...)
	return nodes
}

// except are the nodes but one.
func except(nodes []*process, one *process) (others []*process) {
	for _, p := range nodes {
		if p != one {
			others = append(others, p)
		}
	}
	return others
}

// awaitVoters waits until each node knows of so many voters.
func awaitVoters(t *testing.T, voters int, nodes ...*process) {
	t.Helper()
	for _, p := range nodes {
		p.eventually(fmt.Sprintf("to know of %d voters", voters), func(ctx context.Context) error {
			return withConn(ctx, p.config(), func(c *driver.Conn) error {
				rows, err := control(ctx, c, "status")
				for _, row := range rows {
					if row[0] == "voters" && row[1] == fmt.Sprint(voters) {
						return nil
					}
				}
				return errors.Join(err, fmt.Errorf("status is %v", rows))
			})
		})
	}
}
