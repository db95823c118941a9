package driver

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// TestMovesWhenNodeIsAway proves that a session whose node went away runs its next request on another node, with the same
// session id, and tells that it moved.
func TestMovesWhenNodeIsAway(t *testing.T) {
	f := newFake(3)
	c := f.open(t, Config{})
	run(t, c, "insert")
	if c.Node() != 1 || c.NodeName() != "n1" || c.Address() != "n1:1" || !c.Leads() || c.Product() != "rsqld test" || !c.Connected() {
		t.Errorf("at node %d %q %q, leads %v", c.Node(), c.NodeName(), c.Address(), c.Leads())
	}
	f.nodes[0].kill()
	if c.Connected() {
		t.Error("connected to a dead node")
	}
	run(t, c, "insert")
	if c.Node() != 2 || c.NodeName() != "n2" || c.Leads() || !c.Connected() {
		t.Errorf("now at node %d %q, leads %v", c.Node(), c.NodeName(), c.Leads())
	}
	if first, second := f.nodes[0].executed(), f.nodes[1].executed(); len(first) != 1 || len(second) != 1 || second[0].Seq != 2 {
		t.Errorf("n1 got %v, n2 got %v", first, second)
	}
	if a, b := f.nodes[0].hellos[0].Session, f.nodes[1].hellos[0].Session; len(a) != 0 || string(b) != "session n1:1/1  " {
		t.Errorf("session %q, then %q", a, b)
	}
}

// TestFirstAddressIsSilent proves that an address that does not answer holds a session up for Stagger only, and that one
// that answers and opens no session holds it up for GreetTimeout.
func TestFirstAddressIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(3)
		f.nodes[0].hanging = true
		begun := time.Now()
		c := f.open(t, Config{Addresses: []string{"n1:1", "n2:1"}})
		if took := time.Since(begun); c.Node() != 2 || took != Stagger {
			t.Errorf("at node %d after %v, want n2 after %v", c.Node(), took, Stagger)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		f := newFake(2)
		f.nodes[0].silent = true
		begun := time.Now()
		c := f.open(t, Config{Addresses: []string{"n1:1", "n2:1"}})
		if took := time.Since(begun); c.Node() != 2 || took != GreetTimeout {
			t.Errorf("at node %d after %v, want n2 after %v", c.Node(), took, GreetTimeout)
		}
	})
}

// TestUnreachable proves that the error names each address with its reason, and comes within ConnectTimeout.
func TestUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(3)
		f.nodes[0].down, f.nodes[1].hanging = true, true
		begun := time.Now()
		_, err := f.connector(t, Config{Addresses: []string{"n1", "n2:1", "n1:1"}}).Open(t.Context())
		if !errors.Is(err, ErrUnreachable) || !errors.Is(err, errDown) {
			t.Fatalf("got %v", err)
		}
		for _, want := range []string{"n1:1: no route to host", "n1:4001: no such host", "n2:1: context deadline exceeded"} {
			if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q does not say %q on one line", err, want)
			}
		}
		if took := time.Since(begun); took > ConnectTimeout {
			t.Errorf("took %v", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		f.nodes[0].hanging = true
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		if _, err := f.connector(t, Config{}).Open(ctx); !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != time.Second {
			t.Errorf("with a deadline: %v after %v", err, time.Since(begun))
		}
	})
}

// TestRefusedHello proves that a node's reason for opening no session reaches the caller.
func TestRefusedHello(t *testing.T) {
	f := newFake(1)
	f.nodes[0].refusal = failed(0, sqlpb.Class_CLASS_DENIED, sqlpb.Retry_RETRY_NEVER, "bob was locked out")
	_, err := f.connector(t, Config{}).Open(t.Context())
	if !errors.Is(err, ErrDenied) || !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "bob was locked out") {
		t.Errorf("got %v", err)
	}
}

// TestSharedConnection proves that all sessions at one node share one connection, and that a dead one is replaced.
func TestSharedConnection(t *testing.T) {
	f := newFake(1)
	connector := f.connector(t, Config{})
	for range 5 {
		c, err := connector.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		run(t, c, "select 1")
		defer c.Close()
	}
	if f.nodes[0].dials != 1 || len(f.nodes[0].sessions) != 5 {
		t.Errorf("%d connections with %d streams", f.nodes[0].dials, len(f.nodes[0].sessions))
	}
	f.nodes[0].kill()
	if _, err := connector.Open(t.Context()); !errors.Is(err, errDown) {
		t.Errorf("to a dead node: %v", err)
	}
	f.set(func() { f.nodes[0].down = false })
	c, err := connector.Open(t.Context())
	if err != nil {
		t.Fatalf("after its return: %v", err)
	}
	run(t, c, "select 1")
}

// TestTarget proves that a session goes to the sort of node that is asked for, and stays where it is if there is none.
func TestTarget(t *testing.T) {
	f := newFake(3)
	f.nodes[2].learner = true
	f.leader = 2
	tests := []struct {
		target Target
		want   uint64
	}{{TargetAny, 1}, {TargetLeader, 2}, {TargetLearner, 3}}
	for _, test := range tests {
		if c := f.open(t, Config{Target: test.target}); c.Node() != test.want {
			t.Errorf("target %s: at node %d, want %d", test.target, c.Node(), test.want)
		}
	}
	f.nodes[1].kill()
	if c := f.open(t, Config{Target: TargetLeader}); c.Node() != 1 {
		t.Errorf("with a dead leader: at node %d, want 1", c.Node())
	}
}

// TestFollowsLeader proves that a session for the leader moves when it hears of another one, before its next request, and
// that one for any node stays.
func TestFollowsLeader(t *testing.T) {
	for target, want := range map[Target]uint64{TargetLeader: 3, TargetAny: 1} {
		f := newFake(3)
		f.nodes[0].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
			f.set(func() { f.leader = 3 })
			s.send(&sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Moved{Moved: &sqlpb.Moved{Leader: 3, Members: f.members()}}})
			s.answer(frame)
		}
		c := f.open(t, Config{Target: target})
		run(t, c, "insert")
		run(t, c, "insert")
		if c.Node() != want || c.Leader() != 3 {
			t.Errorf("target %s: at node %d, want %d; leader %d", target, c.Node(), want, c.Leader())
		}
	}
}

// TestLeaderOutOfReach proves that a session stays where it works when it cannot reach the leader, and tries only once.
func TestLeaderOutOfReach(t *testing.T) {
	f := newFake(3)
	c := f.open(t, Config{Target: TargetLeader})
	f.nodes[2].kill()
	f.set(func() {
		f.nodes[0].serve = func(s *fakeSession, frame *sqlpb.ClientFrame) {
			s.send(&sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Moved{Moved: &sqlpb.Moved{Leader: 3, Members: f.members()}}})
			s.answer(frame)
		}
	})
	for range 3 {
		run(t, c, "insert")
	}
	if c.Node() != 1 || f.nodes[2].dials != 1 || len(f.nodes[0].executed()) != 3 {
		t.Errorf("at node %d after %d attempts to reach n3", c.Node(), f.nodes[2].dials)
	}
}

// TestForgottenSession proves that a session that rested for half its lifetime begins anew, so that nothing it writes can
// be taken for something older.
func TestForgottenSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(1)
		c := f.open(t, Config{})
		run(t, c, "insert")
		run(t, c, "insert")
		<-time.After(SessionLifetime/2 - time.Second)
		run(t, c, "insert")
		<-time.After(SessionLifetime/2 + time.Second)
		run(t, c, "insert")
		var got []uint64
		for _, x := range f.nodes[0].executed() {
			got = append(got, x.Seq)
		}
		if len(got) != 4 || got[2] != 3 || got[3] != 1 {
			t.Errorf("write numbers %v, want 1 2 3 1", got)
		}
		if hellos := f.nodes[0].hellos; len(hellos) != 2 || len(hellos[1].Session) != 0 {
			t.Errorf("hellos %v, want two without a session", hellos)
		}
	})
}

// TestPing proves that a ping finds another node when the session's is gone, and fails with a reason when all are.
func TestPing(t *testing.T) {
	f := newFake(2)
	c := f.open(t, Config{})
	if err := c.Ping(t.Context()); err != nil || c.Node() != 1 {
		t.Errorf("ping: %v at node %d", err, c.Node())
	}
	f.nodes[0].kill()
	if err := c.Ping(t.Context()); err != nil || c.Node() != 2 {
		t.Errorf("after a loss: %v at node %d", err, c.Node())
	}
	f.nodes[1].kill()
	if err := c.Ping(t.Context()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("after all losses: %v", err)
	}
	f.set(func() {
		f.nodes[0].down = false
		f.nodes[0].serve = func(*fakeSession, *sqlpb.ClientFrame) {}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := c.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without an answer: %v", err)
	}
}

// TestClosed proves that a closed session and a closed Connector say so.
func TestClosed(t *testing.T) {
	f := newFake(1)
	connector := f.connector(t, Config{})
	c, err := connector.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	results, err := c.Execute(t.Context(), Request{SQL: "select 1"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Close() != nil || c.Close() != nil {
		t.Error("closing failed")
	}
	if results.NextResult() || !errors.Is(results.Err(), ErrClosed) {
		t.Errorf("results of a closed session: %v", results.Err())
	}
	if _, err := c.Execute(t.Context(), Request{SQL: "select 1"}); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed session: %v", err)
	}
	if err := c.Ping(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("pinging a closed session: %v", err)
	}
	if err := connector.Close(); err != nil {
		t.Error(err)
	}
	if _, err := connector.Open(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed connector: %v", err)
	}
}
