package testcluster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/testcluster"
)

// tamper changes rows in the file of a node that is down: what no disk and no program of ours would do.
func tamper(t *testing.T, c *testcluster.Cluster, i int, sql string) {
	t.Helper()
	databases, err := filepath.Glob(filepath.Join(dataOf(c, i), "db", "*", "main.sqlite"))
	if err != nil || len(databases) != 1 {
		t.Fatalf("%v, %v", databases, err)
	}
	conn, err := sqlite.Open(databases[0], sqlite.CheckpointOptions())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(conn.Exec(sql), conn.Close()); err != nil {
		t.Fatal(err)
	}
}

func dataOf(c *testcluster.Cluster, i int) string {
	return filepath.Join(filepath.Dir(filepath.Dir(c.Credential())), fmt.Sprintf("n%d", i))
}

// journal is what the nodes of a cluster log.
type journal struct {
	t  *testing.T
	mu sync.Mutex // guards lines
	// lines are those that were written.
	lines []string
}

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, string(line))
	return j.t.Output().Write(line)
}

// says reports whether a line holds a text.
func (j *journal) says(text string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.ContainsFunc(j.lines, func(line string) bool { return strings.Contains(line, text) })
}

// diverged are the nodes that found out that they differ from a majority.
func (j *journal) diverged() (nodes []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, line := range j.lines {
		if _, attributes, is := strings.Cut(line, "this node has diverged"); is {
			_, name, _ := strings.Cut(attributes, " name=")
			nodes = append(nodes, strings.Fields(name)[0])
		}
	}
	return nodes
}

// diverge starts a cluster one of whose nodes holds other rows than the rest, without anybody knowing: a learner if there
// is one, else a voter that does not lead.
func diverge(t *testing.T, nodes, learners int) (c *testcluster.Cluster, logged *journal, leader, other int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	logged = &journal{t: t}
	c, err := testcluster.Start(ctx, testcluster.Config{Nodes: nodes, Learners: learners, Dir: t.TempDir(), Seed: 1,
		Logger: slog.New(slog.NewTextHandler(logged, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	if leader, err = c.Leader(ctx); err != nil {
		t.Fatal(err)
	}
	mustAsk(t, ctx, c, leader, "create table t(id integer primary key, b)")
	mustAsk(t, ctx, c, leader, "insert into t(b) values('a'), ('b'), ('c')")
	if other = leader%nodes + 1; learners > 0 {
		other = nodes + learners
	}
	eventually(t, "the node to have the rows", func(ctx context.Context) error {
		return want(ctx, c, other, "select count(*) from t", "3")
	})
	if err := c.Stop(ctx, other); err != nil {
		t.Fatal(err)
	}
	tamper(t, c, other, "delete from t where b = 'b'")
	if err := c.Restart(ctx, other); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the node to follow", func(ctx context.Context) error {
		return want(ctx, c, other, "select count(*) from t", "2")
	})
	return c, logged, leader, other
}

// quarantined waits until a node has stopped, and returns what it says.
func quarantined(t *testing.T, c *testcluster.Cluster, i int) (why string) {
	t.Helper()
	began := time.Now()
	eventually(t, "the node to stop", func(context.Context) error {
		if _, err := os.Stat(filepath.Join(dataOf(c, i), "quarantine")); err != nil {
			return err
		}
		return nil
	})
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	if unfit := c.Node(i).Status().Unfit; unfit != nil {
		return unfit.Error()
	}
	return ""
}

// A follower or learner whose rows are others than those of the majority stops as soon as a statement has another result
// there, it alone, and gets the rows of the majority; clients of the others do not notice.
func TestDivergedFollowerHeals(t *testing.T) {
	for name, learners := range map[string]int{"voter": 0, "learner": 1} {
		t.Run(name, func(t *testing.T) {
			c, logged, leader, other := diverge(t, 3, learners)
			stop := make(chan struct{})
			written := writeBeside(c, leader, stop)
			eventually(t, "the node to find out", func(context.Context) error {
				if len(logged.diverged()) == 0 {
					return errors.New("nobody did")
				}
				return nil
			})
			eventually(t, "the node to hold what the others do", func(ctx context.Context) error {
				return want(ctx, c, other, "select count(*) from t", "3")
			})
			close(stop)
			if err := <-written; err != nil {
				t.Errorf("a write beside it failed: %v", err)
			}
			for i := 1; i <= c.Size(); i++ {
				sameContent(t, c, leader, i)
			}
			eventually(t, "the node to be ready", func(context.Context) error {
				if _, err := os.Stat(filepath.Join(dataOf(c, other), "quarantine")); err == nil {
					return errors.New("it is noted as quarantined")
				}
				return c.Node(other).Status().Unfit
			})
			if stopped := logged.diverged(); len(stopped) != 1 || stopped[0] != fmt.Sprintf("n%d", other) {
				t.Errorf("%v were quarantined, node %d differed", stopped, other)
			}
		})
	}
}

// writeBeside writes through one node, a statement behind the other, until stop closes, and then tells the first failure.
// Each statement has another result where a row of t is missing.
func writeBeside(c *testcluster.Cluster, node int, stop <-chan struct{}) <-chan error {
	done := make(chan error, 1)
	config := driver.Config{Addresses: []string{c.Address(node)}, Credential: c.Credential()}
	go func() {
		done <- withConn(context.Background(), config, func(conn *driver.Conn) error {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return nil
				default:
				}
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				_, err := query(ctx, conn, driver.LevelSession, "update t set b = ?", i)
				cancel()
				if err != nil {
					return err
				}
			}
		})
	}()
	return done
}

// The leader is no exception: if it is the one that differs from the majority, it stops and another one leads.
func TestDivergedLeaderStops(t *testing.T) {
	c, logged, leader, other := diverge(t, 3, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	third := 6 - leader - other
	eventually(t, "the other node to lead", func(ctx context.Context) error {
		if now, err := c.Leader(ctx); err != nil || now == other {
			return err
		}
		_, err := askControl(ctx, c, leader, "transfer", fmt.Sprint(c.Node(other).ID()))
		return errors.Join(err, errors.New("it does not lead yet"))
	})
	mustAsk(t, ctx, c, third, "update t set b = 'x'")
	eventually(t, "another node to lead, and the rows of the majority to be everywhere", func(ctx context.Context) error {
		if _, err := ask(ctx, c, third, driver.LevelSession, "update t set b = 'again'"); err != nil {
			return err
		}
		for i := 1; i <= 3; i++ {
			if err := want(ctx, c, i, "select count(*) from t", "3"); err != nil {
				return err
			}
		}
		return nil
	})
	sameContent(t, c, third, 1, 2, 3)
	if stopped := logged.diverged(); len(stopped) != 1 || stopped[0] != fmt.Sprintf("n%d", other) {
		t.Errorf("%v were quarantined, node %d differed", stopped, other)
	}
}

// Of two voters that differ nobody can say which is right: both stop and say so, also after a restart.
func TestTwoThatDifferStop(t *testing.T) {
	c, _, leader, other := diverge(t, 2, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	mustAsk(t, ctx, c, leader, "update t set b = 'x'")
	for _, i := range []int{leader, other} {
		quarantined(t, c, i)
		eventually(t, "the node to say why", func(ctx context.Context) error {
			_, err := ask(ctx, c, i, driver.LevelLocal, "select count(*) from t")
			if err == nil || !strings.Contains(err.Error(), "nobody can say which node is right") {
				return fmt.Errorf("it says %w", err)
			}
			return nil
		})
	}
	if err := errors.Join(c.Kill(other), c.Restart(ctx, other)); err != nil {
		t.Fatal(err)
	}
	if unfit := c.Node(other).Status().Unfit; unfit == nil || !strings.Contains(unfit.Error(), "quarantined") {
		t.Errorf("after a restart: %v", unfit)
	}
}

// A node whose note of its quarantine was damaged starts, serves nothing, says why, and gets its database from the others.
func TestUnreadableQuarantineHeals(t *testing.T) {
	c, logged, leader, other := diverge(t, 3, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	if err := c.Kill(other); err != nil {
		t.Fatal(err)
	}
	note := filepath.Join(dataOf(c, other), "quarantine")
	if err := os.WriteFile(note, []byte(`{"index":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(ctx, other); err != nil {
		t.Fatalf("it does not start: %v", err)
	}
	eventually(t, "the node to hold what the others do", func(ctx context.Context) error {
		if _, err := os.Stat(note); err == nil {
			return errors.New("it is noted as quarantined")
		}
		return errors.Join(c.Node(other).Status().Unfit, want(ctx, c, other, "select count(*) from t", "3"))
	})
	sameContent(t, c, leader, 1, 2, 3)
	if !logged.says("cannot be read") || len(logged.diverged()) > 0 {
		t.Errorf("it was not quarantined because of the note alone; nodes that found out by themselves: %v", logged.diverged())
	}
}

// A verification ends although one member is quarantined and another is cut off, and says of both why they have no hash.
func TestVerifySaysWhoHasNoHash(t *testing.T) {
	c := startCluster(t, 5)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	leader, err := c.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	mustAsk(t, ctx, c, leader, "create table t(a)")
	apart, away := leader%5+1, (leader+1)%5+1
	if err := c.Kill(apart); err != nil {
		t.Fatal(err)
	}
	// Without the chain of a majority nobody replaces the database.
	if err := os.WriteFile(filepath.Join(dataOf(c, apart), "quarantine"), []byte(`{"index":1,"mine":"0a"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(ctx, apart); err != nil {
		t.Fatal(err)
	}
	rest := slices.DeleteFunc([]int{1, 2, 3, 4, 5}, func(i int) bool { return i == away })
	if err := c.Partition([]int{away}, rest); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a verification that tells of both", func(ctx context.Context) error {
		rows, err := askControl(ctx, c, leader, "verify")
		if err != nil {
			return err
		}
		equal := 0
		for i, row := range rows {
			state, hash := fmt.Sprint(row[6]), row[3]
			switch i + 1 {
			case apart:
				if hash != nil || !strings.Contains(state, "quarantined") {
					return fmt.Errorf("the one that is quarantined: %v", row)
				}
			case away:
				if hash != nil || !strings.Contains(state, "not connected") {
					return fmt.Errorf("the one that is away: %v", row)
				}
			default:
				if state != "equal" || hash == nil {
					return fmt.Errorf("%v", row)
				}
				equal++
			}
		}
		if equal != 3 {
			return fmt.Errorf("%v", rows)
		}
		return nil
	})
}
