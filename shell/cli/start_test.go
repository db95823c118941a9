package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/raft"
)

// fakeNode is a node that does nothing.
type fakeNode struct {
	done   chan struct{}
	err    error
	closed chan context.Context // each Close; it returns when release is closed
	free   chan struct{}
}

func newFakeNode() *fakeNode {
	n := &fakeNode{done: make(chan struct{}), closed: make(chan context.Context, 1), free: make(chan struct{})}
	return n
}

func (n *fakeNode) ID() raft.ID           { return 1 }
func (n *fakeNode) Name() string          { return "n1" }
func (n *fakeNode) Address() string       { return "127.0.0.1:4001" }
func (n *fakeNode) Cluster() [16]byte     { return [16]byte{0xab} }
func (n *fakeNode) Done() <-chan struct{} { return n.done }
func (n *fakeNode) Err() error            { return n.err }
func (n *fakeNode) Close(ctx context.Context) error {
	n.closed <- ctx
	<-n.free
	return nil
}

// starting runs start in a bubble and returns when it waits.
func starting(n node, err error) (w *world, code chan int) {
	w, code = newWorld("--data", "d"), make(chan int, 1)
	w.open = func(context.Context, db.Config) (node, error) { return n, err }
	go func() { code <- w.run() }()
	synctest.Wait()
	return w, code
}

// TestStartStop proves: start says what a person needs to know, and the first signal closes the node in good order.
func TestStartStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode()
		close(n.free)
		w, code := starting(n, nil)
		out := w.out.String()
		for _, want := range []string{
			"rsqld " + db.Version, "node n1 (id 1) of cluster ab00", "listening on 127.0.0.1:4001, data in d",
			"rsqld sql 127.0.0.1:4001 --cred admin.pem",
			"rsqld --data n2 --listen 127.0.0.1:4002 --join 127.0.0.1:4001 --token $(rsqld token --addr 127.0.0.1:4001 --cred admin.pem)",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("%q is not in\n%s", want, out)
			}
		}
		w.signal(os.Interrupt) <- os.Interrupt
		if got := <-code; got != 0 {
			t.Errorf("a signal ends it with %d", got)
		}
		if ctx := <-n.closed; ctx.Err() == nil {
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("closing has no deadline")
			}
		}
		if said := w.err.String(); strings.Contains(said, "WARN") || strings.Contains(said, "ERROR") {
			t.Errorf("a good run says\n%s", said)
		}
	})
}

// TestStartSecondSignal proves that a second signal does not wait for the first to take effect.
func TestStartSecondSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode()
		w, code := starting(n, nil)
		w.signal(os.Interrupt) <- os.Interrupt
		<-n.closed
		w.signal(os.Interrupt) <- os.Interrupt
		if got := <-w.exits; got != 130 {
			t.Errorf("the program exits with %d", got)
		}
		<-code
		close(n.free)
	})
}

// TestStartFails proves that a node that stops by itself is an error, with its reason.
func TestStartFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode()
		close(n.free)
		w, code := starting(n, nil)
		n.err = errors.New("the disk is gone")
		close(n.done)
		if got := <-code; got != 1 || !strings.Contains(w.err.String(), "rsqld: the disk is gone") {
			t.Errorf("it ends with %d and says %q", got, w.err.String())
		}
	})
}

// TestStartRefused proves the exit codes of a node that does not open.
func TestStartRefused(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		says string
	}{
		{fmt.Errorf("%w: no token", db.ErrUsage), 2, "rsqld: no token\n"},
		{errors.New("the port is in use"), 1, "rsqld: the port is in use\n"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w, code := starting(nil, c.err)
			if got := <-code; got != c.code || w.err.String() != c.says {
				t.Errorf("it ends with %d and says %q, want %d and %q", got, w.err.String(), c.code, c.says)
			}
		})
	}
}

// TestStartInterrupted proves that a signal ends a start that takes long.
func TestStartInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, code := newWorld(), make(chan int, 1)
		w.open = func(ctx context.Context, _ db.Config) (node, error) { <-ctx.Done(); return nil, ctx.Err() }
		go func() { code <- w.run() }()
		synctest.Wait()
		w.signal(os.Interrupt) <- os.Interrupt
		if got := <-code; got != 130 {
			t.Errorf("it ends with %d", got)
		}
	})
}

// TestAnnounceFiles proves that the printed commands name files that are there.
func TestAnnounceFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"admin.pem", "join-token"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	announce(&out, newFakeNode(), db.Config{Data: dir})
	for _, want := range []string{"--cred " + filepath.Join(dir, "admin.pem"), "--token @" + filepath.Join(dir, "join-token")} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
}

// TestNextAddress proves where a further node is told to listen.
func TestNextAddress(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1:4001": "127.0.0.1:4002", "localhost:65535": "localhost:1", "[::1]:4001": "[::1]:4002",
		"db1.example.com:4001": "HOST:4001", "10.0.0.1:7": "HOST:7", "nonsense": "HOST:PORT",
	} {
		if got := nextAddress(in); got != want {
			t.Errorf("beside %s it is %s, want %s", in, got, want)
		}
	}
}
