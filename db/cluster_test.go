package db_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// cluster is three nodes in this process.
type cluster struct {
	testing.TB
	root     string
	election time.Duration
	nodes    []*db.Node
}

// startCluster starts a cluster with an election timeout; zero is the default, with which a machine that is short of
// processors may change the leader now and then.
func startCluster(t *testing.T, election time.Duration) *cluster {
	t.Helper()
	c := &cluster{TB: t, root: t.TempDir(), election: election}
	for i := range 3 {
		c.nodes = append(c.nodes, openWith(t, c.config(i)))
	}
	c.awaitVoters(3)
	return c
}

func (c *cluster) dir(i int) string { return filepath.Join(c.root, fmt.Sprintf("n%d", i+1)) }

func (c *cluster) config(i int) db.Config {
	config := db.Config{Data: c.dir(i), Name: fmt.Sprintf("n%d", i+1), ElectionTimeout: c.election, NoLeaderWait: 6 * c.election,
		Logger: slog.New(slog.NewTextHandler(c.Output(), nil)).With("on", i+1)}
	if i > 0 {
		config.Join, config.Token = []string{c.nodes[0].Address()}, "@"+filepath.Join(c.dir(0), "join-token")
	}
	return config
}

func (c *cluster) awaitVoters(count int) {
	c.Helper()
	eventually(c, "waiting for the voters", func() error {
		for _, n := range c.nodes {
			if s := n.Status(); len(s.Raft.Configuration.Voters) != count || s.Raft.Leader == 0 {
				return fmt.Errorf("node %d knows %v and leader %d", n.ID(), s.Raft.Configuration, s.Raft.Leader)
			}
		}
		return nil
	})
}

// leader returns the number of the node that leads.
func (c *cluster) leader() (leader int) {
	c.Helper()
	eventually(c, "waiting for a leader", func() error {
		for i, n := range c.nodes {
			if n.Status().Raft.Role == raft.Leader {
				leader = i
				return nil
			}
		}
		return errors.New("nobody leads")
	})
	return leader
}

func (c *cluster) open(i int) *driver.Conn { return open(c, c.nodes[i], c.dir(0)) }

func (c *cluster) raw(i int) *raw { return greeted(c, c.nodes[i], c.dir(0)) }

// Three nodes that joined are one database: what one writes the others read, at every level and with every role, and
// requests that only the leader can run are relayed to it.
func TestCluster(t *testing.T) {
	c := startCluster(t, 500*time.Millisecond)
	leader := c.leader()
	follower := (leader + 1) % 3
	mustRun(t, c.open(follower), "create table t(x)")
	t.Run("session reads follow from node to node", func(t *testing.T) { c.testSession(t) })
	t.Run("every level", func(t *testing.T) { c.testLevels(t) })
	t.Run("cancel a relayed read", func(t *testing.T) { c.testCancelRelayed(t, follower) })
	t.Run("large relayed result", func(t *testing.T) { c.testLargeRelayed(t, follower) })
	t.Run("roles", func(t *testing.T) {
		as := func(role identity.Role) *driver.Conn {
			return openAs(t, c.nodes[follower], driver.Config{Cred: credential(t, c.dir(0), role)})
		}
		testRoles(t, as(identity.RoleRead), as(identity.RoleWrite))
	})
	t.Run("errors", func(t *testing.T) { c.testErrors(t, follower) })
	t.Run("partly executed", func(t *testing.T) { c.testPartly(t, follower) })
	t.Run("control", func(t *testing.T) { c.testControl(t, follower) })
	t.Run("transfer", func(t *testing.T) { c.testTransfer(t) })
	t.Run("another address", func(t *testing.T) { c.testAddress(t) })
	t.Run("leader closes", func(t *testing.T) { c.testLeaderCloses(t) })
}

func (c *cluster) testSession(t *testing.T) {
	conns := make([]*driver.Conn, 3)
	for i := range conns {
		conns[i] = c.open(i)
	}
	for i := range 30 {
		// The index goes from one node to the next by hand, as one connector would carry it.
		results, err := conns[i%3].Execute(t.Context(), driver.Request{SQL: "insert into t values(?)", Args: []any{i}})
		if err != nil {
			t.Fatal(err)
		}
		var index uint64
		for results.NextResult() {
			index = results.Done().Index
		}
		if index == 0 {
			t.Fatal("the write has no index")
		}
		r := c.raw((i + 1) % 3)
		r.execute(&sqlpb.Execute{MinIndex: index, Level: sqlpb.Level_LEVEL_SESSION}, "select max(x) from t")
		if a := r.answer(); fmt.Sprint(a.rows) != fmt.Sprintf("[[%d]]", i) || a.dones[0].Index < index {
			t.Fatalf("after row %d another node reads %v, %v, %v", i, a.rows, a.dones, a.err)
		}
		r.Close()
	}
}

func (c *cluster) testLevels(t *testing.T) {
	before := mustRun(t, c.open(0), "insert into t values('levels') returning (select count(*) from t)")
	for i := range 3 {
		for _, level := range []driver.Level{driver.LevelLinearizable, driver.LevelStrong} {
			expect(t, c.open(i), driver.Request{SQL: "select count(*) from t", Level: level}, fmt.Sprint(before))
		}
		for _, staleness := range []time.Duration{0, patience} {
			conn := openAs(t, c.nodes[i], driver.Config{Credential: filepath.Join(c.dir(0), "admin.pem"), MaxStaleness: staleness})
			if _, err := run(t, conn, driver.Request{SQL: "select count(*) from t", Level: driver.LevelLocal}); err != nil {
				t.Errorf("a local read at node %d with max_staleness %v: %v", i+1, staleness, err)
			}
		}
	}
}

func (c *cluster) testCancelRelayed(t *testing.T, follower int) {
	r := c.raw(follower)
	for range 5 {
		id := r.execute(&sqlpb.Execute{Level: sqlpb.Level_LEVEL_STRONG}, endless)
		awaitRunning(r)
		begun := time.Now()
		r.cancel(id)
		a := r.answer()
		if a.err.GetClass() != sqlpb.Class_CLASS_CANCELLED || a.err.Message != "cancelled by the client; nothing was changed" {
			t.Fatalf("it ends with %v", a.err)
		}
		t.Logf("cancelled after %v", time.Since(begun))
		r.execute(&sqlpb.Execute{Level: sqlpb.Level_LEVEL_STRONG}, "select 'alive'")
		if a := r.answer(); fmt.Sprint(a.rows) != "[[alive]]" {
			t.Fatalf("the next request answers %v, %v", a.rows, a.err)
		}
	}
	r.execute(&sqlpb.Execute{Level: sqlpb.Level_LEVEL_STRONG, TimeoutMs: 50}, endless)
	if a := r.answer(); a.err.GetClass() != sqlpb.Class_CLASS_CANCELLED || !strings.HasPrefix(a.err.Message, "the deadline passed") {
		t.Errorf("a deadline at the follower ends with %v", a.err)
	}
	r.execute(&sqlpb.Execute{Level: sqlpb.Level_LEVEL_STRONG}, endless)
	awaitRunning(r)
	r.Close() // and the leader's part of it ends too, or the next test finds its readers taken
}

func (c *cluster) testLargeRelayed(t *testing.T, follower int) {
	r := c.raw(follower)
	r.execute(&sqlpb.Execute{Level: sqlpb.Level_LEVEL_STRONG},
		"with recursive c(x) as (select 1 union all select x + 1 from c) select x, 'a text of some length' from c limit 100000")
	a := r.answer()
	if a.err != nil || len(a.rows) != 100000 || fmt.Sprint(a.rows[99999]) != "[100000 a text of some length]" {
		t.Errorf("it has %d rows, %v", len(a.rows), a.err)
	}
}

// testErrors proves that what does not prepare on a follower is the leader's to judge, and its error arrives whole.
func (c *cluster) testErrors(t *testing.T, follower int) {
	r := c.raw(follower)
	r.execute(&sqlpb.Execute{Seq: 1}, "select 1", "insert into t values(1); select nope from t")
	e := r.answer().err
	if e.GetStatement() != 1 || e.Class != sqlpb.Class_CLASS_SQL || !strings.HasPrefix(e.Sql[e.Offset:], "nope") {
		t.Errorf("the error is %v", e)
	}
	for _, level := range []sqlpb.Level{sqlpb.Level_LEVEL_LOCAL, sqlpb.Level_LEVEL_SESSION, sqlpb.Level_LEVEL_STRONG} {
		r.execute(&sqlpb.Execute{Seq: 5, Level: level, ReadOnly: true}, "selec 1")
		if e := r.answer().err; e.GetClass() != sqlpb.Class_CLASS_SQL || !strings.Contains(e.Message, "syntax error") {
			t.Errorf("a syntax error at %v ends with %v", level, e)
		}
	}
}

// testPartly proves that a relayed request that ends in its middle is not sent again.
func (c *cluster) testPartly(t *testing.T, follower int) {
	r := c.raw(follower)
	r.execute(&sqlpb.Execute{Seq: 1, TimeoutMs: 300}, "insert into t values('once')", endless)
	a := r.answer()
	if a.err.GetRetry() != sqlpb.Retry_RETRY_NEVER || len(a.dones) != 1 {
		t.Errorf("it ends with %v after %v", a.err, a.dones)
	}
	expect(t, c.open(follower), driver.Request{SQL: "select count(*) from t where x = 'once'", Level: driver.LevelStrong}, "[[1]]")
}

func (c *cluster) testControl(t *testing.T, follower int) {
	conn := c.open(follower)
	rows, err := control(t, conn, "nodes")
	if err != nil || len(rows) != 3 || strings.Contains(fmt.Sprint(rows), "unreachable") {
		t.Errorf("nodes answers %v, %v", rows, err)
	}
	if rows, err := control(t, conn, "token", "learner"); err != nil || len(rows) != 1 || !strings.HasPrefix(rows[0], "[rsqld1-") {
		t.Errorf("token answers %v, %v", rows, err)
	}
	for verb, says := range map[string]string{"promote": "is a voter already", "remove": "there is no node", "dance": "no command"} {
		arg := map[string]string{"promote": "n1", "remove": "n9", "dance": "n1"}[verb]
		if _, err := control(t, conn, verb, arg); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s %s is answered by %v", verb, arg, err)
		}
	}
	if _, err := control(t, conn, "promote"); err == nil || !strings.Contains(err.Error(), "takes 1 to 1 arguments, not 0") {
		t.Errorf("promote without an argument is answered by %v", err)
	}
}

// testTransfer proves that leadership goes where it is sent to, once, that clients hear of it, and that a client that
// takes nothing keeps nobody else from hearing.
func (c *cluster) testTransfer(t *testing.T) {
	leader := c.leader()
	target, other := (leader+1)%3, (leader+2)%3
	deaf := c.raw(other)
	deaf.execute(&sqlpb.Execute{}, "with recursive c(x) as (select 1 union all select x + 1 from c) select hex(zeroblob(10000)) from c")
	listener := c.raw(other)
	rows, err := control(t, c.open(other), "transfer", c.nodes[target].Name())
	if err != nil || len(rows) != 1 || !strings.Contains(rows[0], c.nodes[target].Name()) {
		t.Fatalf("transfer answers %v, %v", rows, err)
	}
	if now := c.leader(); now != target {
		t.Errorf("node %d leads, not %d", now+1, target+1)
	}
	watch := time.AfterFunc(patience, func() { listener.Close() })
	defer watch.Stop()
	for {
		var frame sqlpb.ServerFrame
		if err := listener.Recv(&frame); err != nil {
			t.Fatalf("waiting to be told of the new leader: %v", err)
		}
		if moved := frame.GetMoved(); moved.GetLeader() == uint64(c.nodes[target].ID()) && len(moved.Members) == 3 {
			break
		}
	}
	deaf.Close()
	if rows, err := control(t, c.open(other), "transfer"); err != nil || len(rows) != 1 {
		t.Errorf("transfer to anybody answers %v, %v", rows, err)
	}
	if now := c.leader(); now == target {
		t.Errorf("node %d leads still", now+1)
	}
}

// testAddress proves that a node that comes back at another address tells the cluster, which finds it there; a leader
// too, and a founder.
func (c *cluster) testAddress(t *testing.T) {
	for i := range c.nodes {
		old := c.nodes[i].Address()
		closeNode(t, c.nodes[i])
		config := c.config(i)
		config.Join, config.Token = nil, ""
		config.Listen = "127.0.0.2:0" // another port might be the same by chance
		c.nodes[i] = openWith(c, config)
		if c.nodes[i].Address() == old {
			t.Fatalf("the node is back at %s", old)
		}
		eventually(t, "waiting for the cluster to follow", func() error {
			for j := range c.nodes {
				rows, err := control(t, c.open(j), "nodes")
				if err != nil {
					return err
				}
				if all := fmt.Sprint(rows); !strings.Contains(all, c.nodes[i].Address()) || strings.Contains(all, "unreachable") {
					return fmt.Errorf("node %d knows %v", j+1, all)
				}
			}
			return nil
		})
		mustRun(t, c.open(i), "insert into t values(?)", i)
	}
	c.awaitVoters(3)
	// One that joins now replays a past in which the others were elsewhere.
	learner := openWith(c, db.Config{Data: c.dir(3), Learner: true, ElectionTimeout: c.election,
		Join: []string{c.nodes[2].Address()}, Token: "@" + filepath.Join(c.dir(0), "join-token")})
	expect(t, open(t, learner, c.dir(0)), driver.Request{SQL: "select count(*) > 0 from t", Level: driver.LevelLinearizable}, "[[1]]")
	rows, err := control(t, open(t, learner, c.dir(0)), "nodes")
	if err != nil || len(rows) != 4 {
		t.Errorf("at the new learner nodes answers %v, %v", rows, err)
	}
}

// testLeaderCloses proves that writes at a follower go on while the leader closes in good order: each is done once, or
// certainly not.
func (c *cluster) testLeaderCloses(t *testing.T) {
	leader := c.leader()
	conn := c.open((leader + 1) % 3)
	mustRun(t, conn, "create table w(k integer primary key)")
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		closeNode(c, c.nodes[leader])
	}()
	done := false
	for k := 1; !done; k++ {
		select {
		case <-closed:
			done = true
		default:
		}
		if _, err := run(t, conn, driver.Request{SQL: "insert into w values(?)", Args: []any{k}}); err != nil {
			t.Fatalf("write %d: %v", k, err)
		}
	}
	mustRun(t, conn, "insert into w values(0)")
}

// A session of a minority hears soon that writes are refused, and reads what the node has.
func TestNoQuorum(t *testing.T) {
	c := startCluster(t, 0)
	mustRun(t, c.open(0), "create table t(x)")
	eventually(t, "waiting for the table everywhere", func() error {
		for i := range c.nodes {
			if _, err := run(t, c.open(i), driver.Request{SQL: "select * from t", Level: driver.LevelLocal}); err != nil {
				return err
			}
		}
		return nil
	})
	leader := c.leader()
	for i := range c.nodes {
		if i != leader {
			if err := c.nodes[i].Abort(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := c.raw(leader)
	r.execute(&sqlpb.Execute{Seq: 1, TimeoutMs: 5000}, "insert into t values(1)")
	if e := r.answer().err; e.GetClass() != sqlpb.Class_CLASS_OUTCOME_UNKNOWN && e.GetClass() != sqlpb.Class_CLASS_NO_QUORUM {
		t.Errorf("the write ends with %v", e)
	}
	for _, x := range []*sqlpb.Execute{
		{Seq: 2}, {Level: sqlpb.Level_LEVEL_LINEARIZABLE}, {Level: sqlpb.Level_LEVEL_STRONG},
	} {
		sql := "select * from t"
		if x.Seq != 0 {
			sql = "insert into t values(2)"
		}
		r.execute(x, sql)
		if e := r.answer().err; e.GetClass() != sqlpb.Class_CLASS_NO_QUORUM || e.Retry != sqlpb.Retry_RETRY_SAME ||
			e.Message != "no quorum: this node can reach 1 of 3 voters; reads at level local still work" {
			t.Errorf("%s at %v ends with %v", sql, x.Level, e)
		}
	}
	r.execute(&sqlpb.Execute{Level: sqlpb.Level_LEVEL_LOCAL}, "select count(*) from t")
	if a := r.answer(); a.err != nil {
		t.Errorf("a local read ends with %v", a.err)
	}
	r.execute(&sqlpb.Execute{Level: sqlpb.Level_LEVEL_LOCAL, Seq: 3}, "selec 1")
	if e := r.answer().err; e.GetClass() != sqlpb.Class_CLASS_SQL {
		t.Errorf("a mistake at level local ends with %v", e)
	}
	eventually(t, "waiting for staleness", func() error {
		r.execute(&sqlpb.Execute{Level: sqlpb.Level_LEVEL_LOCAL, MaxStalenessMs: 100}, "select count(*) from t")
		if e := r.answer().err; e.GetClass() != sqlpb.Class_CLASS_STALE {
			return fmt.Errorf("a local read with max_staleness ends with %v", e)
		}
		return nil
	})
}
