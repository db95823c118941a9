package db_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/transport"
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what a test waits for. It is far above what any of it takes.
const patience = 20 * time.Second

// eventually waits until try works.
func eventually(t testing.TB, what string, try func() error) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	over := time.After(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-over:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// lines is what a node logged.
type lines struct {
	mu  sync.Mutex
	log bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Write(p)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.log.Bytes(), []byte(text))
}

// openNode founds a cluster of one in a directory of the test's, and returns when it has settled.
func openNode(t testing.TB, dir string) *db.Node {
	t.Helper()
	n := openWith(t, db.Config{Data: dir})
	eventually(t, "waiting for the founding entries", func() error {
		if s := n.Status().Raft; s.Leader != n.ID() || s.Applied < s.Last.Index {
			return fmt.Errorf("it has applied %d of %v", s.Applied, s.Last)
		}
		return nil
	})
	return n
}

// openWith opens a node on a free port of this machine, if config names none, and closes it with the test.
func openWith(t testing.TB, config db.Config) *db.Node {
	t.Helper()
	if config.Listen == "" {
		config.Listen = "127.0.0.1:0"
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	n, err := db.Open(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeNode(t, n) })
	return n
}

func closeNode(t testing.TB, n *db.Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		t.Errorf("closing node %d: %v", n.ID(), err)
	}
}

// credential makes a credential of a role with the authority of a founder's directory.
func credential(t testing.TB, dir string, role identity.Role) *identity.Credential {
	t.Helper()
	id, err := identity.Load(filepath.Join(dir, "tls"))
	if err != nil {
		t.Fatal(err)
	}
	authority, err := id.LoadAuthority(filepath.Join(dir, "tls"))
	if err != nil {
		t.Fatal(err)
	}
	made, err := authority.NewCredential("tester", role)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// open opens a session as the administrator.
func open(t testing.TB, n *db.Node, dir string) *driver.Conn {
	t.Helper()
	return openAs(t, n, driver.Config{Credential: filepath.Join(dir, "admin.pem")})
}

// openAs opens a session with a connector of its own.
func openAs(t testing.TB, n *db.Node, config driver.Config) *driver.Conn {
	t.Helper()
	config.Addresses = []string{n.Address()}
	connector, err := driver.NewConnector(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connector.Close() })
	conn, err := connector.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return conn
}

// run executes SQL and returns all rows of all its statements, one line each.
func run(t testing.TB, conn *driver.Conn, request driver.Request) (lines []string, err error) {
	t.Helper()
	results, err := conn.Execute(t.Context(), request)
	if err != nil {
		return nil, err
	}
	return drain(results)
}

// control runs a control verb and returns its rows, one line each.
func control(t testing.TB, conn *driver.Conn, verb string, args ...string) ([]string, error) {
	t.Helper()
	results, err := conn.Control(t.Context(), verb, args...)
	if err != nil {
		return nil, err
	}
	return drain(results)
}

func drain(results *driver.Results) (lines []string, err error) {
	for results.NextResult() {
		for results.Next() {
			lines = append(lines, fmt.Sprint(results.Row()))
		}
	}
	if err := results.Err(); err != nil {
		return lines, err
	}
	return lines, results.Close()
}

func mustRun(t testing.TB, conn *driver.Conn, sql string, args ...any) []string {
	t.Helper()
	got, err := run(t, conn, driver.Request{SQL: sql, Args: args})
	if err != nil {
		t.Fatalf("%.100s: %v", sql, err)
	}
	return got
}

// expect compares the answer to a request.
func expect(t testing.TB, conn *driver.Conn, request driver.Request, want string) {
	t.Helper()
	if got, err := run(t, conn, request); err != nil || fmt.Sprint(got) != want {
		t.Errorf("%.100q answers %v, %v; want %s", request.SQL, got, err, want)
	}
}

// raw is a session that speaks the protocol by hand.
type raw struct {
	testing.TB
	*transport.Stream
	id uint64
	// session is the session's id.
	session []byte
}

// dialRaw connects and opens a stream, on which nothing has been said.
func dialRaw(t testing.TB, n *db.Node, credential *identity.Credential) *raw {
	t.Helper()
	conn, err := transport.DialSQL(t.Context(), n.Address(), credential, transport.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return streamOf(t, conn)
}

func streamOf(t testing.TB, conn *transport.ClientConn) *raw {
	t.Helper()
	stream, err := conn.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &raw{TB: t, Stream: stream}
}

// greeted is a session that was opened by hand.
func greeted(t testing.TB, n *db.Node, dir string) *raw {
	t.Helper()
	r := dialRaw(t, n, credential(t, dir, identity.RoleAdmin))
	r.hello(&sqlpb.Hello{Version: 1})
	if frame := r.next(); frame.GetWelcome() == nil {
		t.Fatalf("hello is answered by %v", frame)
	}
	return r
}

func (r *raw) send(frame *sqlpb.ClientFrame) {
	r.Helper()
	if err := errors.Join(r.Send(frame), r.Flush()); err != nil {
		r.Fatalf("sending %v: %v", frame, err)
	}
}

func (r *raw) hello(hello *sqlpb.Hello) {
	r.Helper()
	r.session = hello.Session
	r.send(&sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Hello{Hello: hello}})
}

// execute sends an Execute of one text and returns its id.
func (r *raw) execute(x *sqlpb.Execute, sql ...string) uint64 {
	r.Helper()
	for _, text := range sql {
		x.Statements = append(x.Statements, &sqlpb.Statement{Sql: text})
	}
	r.id++
	x.Id = r.id
	r.send(&sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Execute{Execute: x}})
	return r.id
}

func (r *raw) cancel(id uint64) {
	r.Helper()
	r.send(&sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Cancel{Cancel: &sqlpb.Cancel{Id: id}}})
}

func (r *raw) ping(id uint64) {
	r.Helper()
	r.send(&sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Ping{Ping: &sqlpb.Ping{Id: id}}})
}

// receive returns the next frame but Moved, or why none will come.
func (r *raw) receive() (*sqlpb.ServerFrame, error) {
	watch := time.AfterFunc(patience, func() { r.Close() })
	defer watch.Stop()
	for {
		frame := new(sqlpb.ServerFrame)
		if err := r.Recv(frame); err != nil {
			return nil, err
		}
		if frame.GetMoved() == nil {
			if welcome := frame.GetWelcome(); welcome != nil {
				r.session = welcome.Session
			}
			return frame, nil
		}
	}
}

func (r *raw) next() *sqlpb.ServerFrame {
	r.Helper()
	frame, err := r.receive()
	if err != nil {
		r.Fatalf("waiting for a frame: %v", err)
	}
	return frame
}

// answer is a whole answer to one request.
type answer struct {
	rows   [][]any
	frames []int // sizes of the frames of rows
	dones  []*sqlpb.Done
	err    *sqlpb.Error
	pongs  int
}

// answer reads frames up to the request's last.
func (r *raw) answer() (a answer) {
	r.Helper()
	columns := 0
	for {
		switch f := r.next().Frame.(type) {
		case *sqlpb.ServerFrame_Columns:
			columns = len(f.Columns.Columns)
		case *sqlpb.ServerFrame_Rows:
			rows, err := wire.DecodeRows(f.Rows.Packed, columns, int(f.Rows.Count))
			if err != nil {
				r.Fatal(err)
			}
			a.rows, a.frames = append(a.rows, rows...), append(a.frames, len(f.Rows.Packed))
		case *sqlpb.ServerFrame_Pong:
			a.pongs++
		case *sqlpb.ServerFrame_Error:
			a.err = f.Error
			return a
		case *sqlpb.ServerFrame_Done:
			if a.dones = append(a.dones, f.Done); !f.Done.More {
				return a
			}
		default:
			r.Fatalf("%v does not belong into an answer", f)
		}
	}
}

func isDenied(err error) bool { return errors.Is(err, driver.ErrDenied) }
