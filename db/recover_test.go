package db_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/raft"
)

// surveys reads the copies of stopped nodes.
func surveys(t *testing.T, dirs ...string) (copies []db.Copy) {
	t.Helper()
	for _, dir := range dirs {
		c, err := db.Survey(dir)
		if err != nil {
			t.Fatal(err)
		}
		copies = append(copies, c)
	}
	return copies
}

// Of three nodes one is left. Recovered from, it leads alone with all that it has, what nobody had committed too; the others'
// disks are refused for good with a sentence that says what to do, and nodes that join anew are of the new epoch.
func TestRecover(t *testing.T) {
	c := startCluster(t, 500*time.Millisecond)
	mustRun(t, c.open(0), "create table t(x)")
	mustRun(t, c.open(0), "insert into t values('acknowledged')")
	leader := c.leader()
	others := []int{(leader + 1) % 3, (leader + 2) % 3}
	if _, err := db.Survey(c.dir(leader)); !errors.Is(err, db.ErrInUse) {
		t.Errorf("a running node was surveyed: %v", err)
	}
	conn, address := c.open(leader), c.nodes[leader].Address()
	for _, i := range others {
		if err := c.nodes[i].Abort(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// The status is as old as a tick: it may still show an entry as uncommitted that has been acknowledged since.
	eventually(t, "waiting for the leader to say that all is committed", func() error {
		if s := c.nodes[leader].Status().Raft; s.Last.Index != s.Commit {
			return fmt.Errorf("the log ends at %v, and %d is committed", s.Last, s.Commit)
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	written := make(chan error, 1)
	go func() {
		results, err := conn.Execute(ctx, driver.Request{SQL: "insert into t values('uncommitted')"})
		if err == nil {
			_, err = drain(results)
		}
		written <- err
	}()
	eventually(t, "waiting for an entry that cannot be committed", func() error {
		if s := c.nodes[leader].Status().Raft; s.Last.Index <= s.Commit {
			return fmt.Errorf("the log ends at %v, and %d is committed", s.Last, s.Commit)
		}
		return nil
	})
	cancel()
	if err := <-written; err == nil {
		t.Fatal("one of three nodes acknowledged a write")
	}
	closeNode(t, c.nodes[leader])

	copies := surveys(t, c.dir(0), c.dir(1), c.dir(2))
	best, why, err := db.MostAdvanced(copies)
	if err != nil || best != leader || !strings.Contains(why, "up to entry") {
		t.Fatalf("the most advanced is %d because %s, %v; want %d", best, why, err, leader)
	}
	if present, voters, majority := db.Reach(copies[best], copies[best:best+1]); present != 1 || voters != 3 || majority {
		t.Errorf("one copy is of %d of %d voters, a majority: %v", present, voters, majority)
	}
	if present, _, majority := db.Reach(copies[best], copies); present != 3 || !majority {
		t.Errorf("three copies are of %d voters, a majority: %v", present, majority)
	}
	done, err := db.Recover(copies[best])
	if err != nil || done.Epoch.Number != 1 || done.Kept != copies[best].Last.Index {
		t.Fatalf("recovering: %+v, %v", done, err)
	}
	if _, err := db.Recover(copies[best]); err == nil || !strings.Contains(err.Error(), "has changed") {
		t.Errorf("recovering from what was there before: %v", err)
	}

	survivor := openWith(t, db.Config{Data: c.dir(leader), Listen: address})
	eventually(t, "waiting for the survivor to lead", func() error {
		s := survivor.Status().Raft
		if s.Role != raft.Leader || s.Applied < s.Last.Index || len(s.Configuration.Voters) != 1 {
			return fmt.Errorf("it is %v, has applied %d of %v, voters %v", s.Role, s.Applied, s.Last, s.Configuration)
		}
		return nil
	})
	expect(t, open(t, survivor, c.dir(0)), driver.Request{SQL: "select group_concat(x) from t"}, "[[acknowledged,uncommitted]]")
	mustRun(t, open(t, survivor, c.dir(0)), "insert into t values('after')")
	if members, err := control(t, open(t, survivor, c.dir(0)), "nodes"); err != nil || len(members) != 1 {
		t.Errorf("the members are %v, %v", members, err)
	}
	c.testLeftBehind(t, survivor, others)
	c.testGrown(t, survivor, done)
}

// testLeftBehind starts the old disks: both together would be a majority of what they remember.
func (c *cluster) testLeftBehind(t *testing.T, survivor *db.Node, others []int) {
	t.Helper()
	term := survivor.Status().Raft.Term
	var old []*db.Node
	var logs []*lines
	for _, i := range others {
		config := c.config(i)
		log := new(lines)
		config.Logger = slog.New(slog.NewTextHandler(log, nil))
		config.Listen = c.nodes[i].Address()
		old, logs = append(old, openWith(t, config)), append(logs, log)
	}
	for k, log := range logs {
		eventually(t, "waiting for the refusal", func() error {
			const says = "was left behind when the cluster was recovered without it"
			if log.count(says) == 0 || log.count("delete its data directory and join as a new node") == 0 {
				return fmt.Errorf("node %d has not been told that it %s", old[k].ID(), says)
			}
			return nil
		})
	}
	for _, n := range old {
		closeNode(t, n)
	}
	mustRun(t, open(t, survivor, c.dir(0)), "insert into t values('undisturbed')")
	if after := survivor.Status().Raft; after.Term != term || after.Role != raft.Leader {
		t.Errorf("the survivor led in term %d and is %v in term %d", term, after.Role, after.Term)
	}
}

// testGrown adds a node to the recovered cluster, by name of the epoch that the join told it.
func (c *cluster) testGrown(t *testing.T, survivor *db.Node, done db.Recovered) {
	t.Helper()
	dir := filepath.Join(c.root, "fresh")
	fresh := openWith(t, db.Config{Data: dir, Join: []string{survivor.Address()}, Token: "@" + filepath.Join(c.dir(0), "join-token")})
	eventually(t, "waiting for the new voter", func() error {
		if s := fresh.Status().Raft; len(s.Configuration.Voters) != 2 || !s.Configuration.Voter(fresh.ID()) {
			return fmt.Errorf("it knows %v", s.Configuration)
		}
		return nil
	})
	expect(t, open(t, fresh, c.dir(0)), driver.Request{SQL: "select count(*) from t", Level: driver.LevelLinearizable}, "[[4]]")
	closeNode(t, fresh)
	if got := surveys(t, dir)[0]; got.Epoch != done.Epoch || slices.Contains(got.Configuration.Configuration.Removed, fresh.ID()) ||
		len(got.Configuration.Configuration.Removed) != 2 {
		t.Errorf("the new node is of epoch %v and has the configuration %+v; want epoch %v", got.Epoch, got.Configuration, done.Epoch)
	}
}

// Two copies that were recovered apart are two clusters: they do not talk, and no choice is made between them.
func TestRecoveredApart(t *testing.T) {
	c := startCluster(t, 0)
	mustRun(t, c.open(0), "create table t(x)")
	var addresses []string
	for _, n := range c.nodes {
		addresses = append(addresses, n.Address())
		closeNode(t, n)
	}
	for _, copied := range surveys(t, c.dir(0), c.dir(1)) {
		if _, err := db.Recover(copied); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := db.MostAdvanced(surveys(t, c.dir(0), c.dir(1))); err == nil || !strings.Contains(err.Error(), "recovered apart") {
		t.Errorf("one of two recovered apart was chosen: %v", err)
	}
	if best, why, err := db.MostAdvanced(surveys(t, c.dir(2), c.dir(1))); err != nil || best != 1 || !strings.Contains(why, "of before that recovery") {
		t.Errorf("of an old and a recovered copy %d is chosen: %s, %v", best, why, err)
	}
	for i := range 2 {
		n := openWith(t, db.Config{Data: c.dir(i), Listen: addresses[i]})
		eventually(t, "waiting for it to lead", func() error {
			if s := n.Status().Raft; s.Role != raft.Leader || len(s.Configuration.Voters) != 1 {
				return fmt.Errorf("it is %v of %v", s.Role, s.Configuration)
			}
			return nil
		})
		mustRun(t, open(t, n, c.dir(0)), fmt.Sprintf("insert into t values(%d)", i))
		expect(t, open(t, n, c.dir(0)), driver.Request{SQL: "select count(*) from t"}, "[[1]]")
	}
}

// A copy of a node that left no credential gets one; the directory of a learner has no key to sign it with.
func TestRecoverWithoutCredential(t *testing.T) {
	c := startCluster(t, 0)
	learner := openWith(t, db.Config{Data: filepath.Join(c.root, "l"), Learner: true, Join: []string{c.nodes[0].Address()},
		Token: "@" + filepath.Join(c.dir(0), "join-token")})
	mustRun(t, open(t, learner, c.dir(0)), "create table t(x)")
	for _, n := range append(slices.Clone(c.nodes), learner) {
		closeNode(t, n)
	}
	copies := surveys(t, filepath.Join(c.root, "l"), c.dir(2))
	if copies[0].HasKey || copies[0].Part() != "learner" || !copies[1].HasKey || copies[1].Part() != "voter" {
		t.Errorf("the copies are %+v", copies)
	}
	for i, copied := range copies {
		done, err := db.Recover(copied)
		if err != nil {
			t.Fatal(err)
		}
		_, missing := os.Stat(filepath.Join(copied.Dir, "admin.pem"))
		if voter := i == 1; (done.Credential != "") != voter || (missing == nil) != voter {
			t.Errorf("%s has the credential %q, %v", copied.Dir, done.Credential, missing)
		}
	}
	n := openNode(t, c.dir(2))
	expect(t, open(t, n, c.dir(2)), driver.Request{SQL: "select count(*) from t"}, "[[0]]")
	closeNode(t, n)
	openNode(t, filepath.Join(c.root, "l"))
}
