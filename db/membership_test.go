package db_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/raft"
)

// add starts one more node, which joins the cluster.
func (c *cluster) add(learner bool) *db.Node {
	c.Helper()
	config := c.config(len(c.nodes))
	config.Learner = learner
	n := openWith(c, config)
	c.nodes = append(c.nodes, n)
	return n
}

// awaitMembers waits until the running nodes know the voters and learners with these numbers.
func (c *cluster) awaitMembers(what string, voters, learners []int) {
	c.Helper()
	ids := func(numbers []int) (ids []raft.ID) {
		for _, i := range numbers {
			ids = append(ids, c.nodes[i].ID())
		}
		slices.Sort(ids)
		return ids
	}
	want := raft.Configuration{Voters: ids(voters), Learners: ids(learners)}.String()
	eventually(c, what, func() error {
		for _, n := range c.nodes {
			select {
			case <-n.Done():
				continue
			default:
			}
			if s := n.Status().Raft; s.Configuration.String() != want || s.Commit < s.ConfigurationIndex {
				return fmt.Errorf("node %d knows %v, committed up to %d; want %s", n.ID(), s.Configuration, s.Commit, want)
			}
		}
		return nil
	})
}

// refuses asks for what must be refused with a sentence.
func (c *cluster) refuses(says, verb string, args ...string) {
	c.Helper()
	if _, err := control(c, c.open(0), verb, args...); err == nil || !strings.Contains(err.Error(), says) {
		c.Errorf("%s %v is answered by %v, want %q", verb, args, err, says)
	}
}

func (c *cluster) does(verb string, args ...string) {
	c.Helper()
	if _, err := control(c, c.open(0), verb, args...); err != nil {
		c.Fatalf("%s %v: %v", verb, args, err)
	}
}

// Every verb on members does what it says, says so when there is nothing to do, and refuses what would end the cluster or
// leave it without a majority.
func TestMembers(t *testing.T) {
	c := startCluster(t, 500*time.Millisecond)
	mustRun(t, c.open(0), "create table t(x)")
	c.add(true)
	name := func(i int) string { return c.nodes[i].Name() }
	c.awaitMembers("waiting for the learner", []int{0, 1, 2}, []int{3})

	c.refuses("is a voter already", "promote", name(1))
	c.refuses("there is no node", "demote", "n99")
	c.refuses("is a learner already, and stays one", "demote", name(3))
	c.refuses("cannot replace itself", "replace", name(1), name(1))
	c.refuses("is a voter already", "replace", name(0), name(1))
	c.refuses("takes 2 to 2 arguments", "replace", name(0))

	c.does("demote", name(1))
	c.awaitMembers("waiting for the demotion, which the leader does not undo", []int{0, 2}, []int{1, 3})
	c.refuses("is no voter: promote node", "replace", name(1), name(3))
	c.does("promote", name(3))
	c.awaitMembers("waiting for the learner that asked to stay one to vote", []int{0, 2, 3}, []int{1})
	if rows := mustRun(t, c.open(1), "select 1"); len(rows) != 1 {
		t.Errorf("the demoted node answers %v", rows)
	}

	led := c.leader()
	c.does("demote", name(led))
	c.awaitMembers("waiting for the leader to be demoted", slices.DeleteFunc([]int{0, 2, 3}, func(i int) bool { return i == led }), []int{1, led})
	c.does("promote", name(led))
	c.awaitMembers("waiting for the former leader to vote", []int{0, 2, 3}, []int{1})

	leader := c.leader()
	others := slices.DeleteFunc([]int{0, 2, 3}, func(i int) bool { return i == leader || i == 0 })
	old := others[0]
	kept := slices.DeleteFunc([]int{0, 1, 2, 3}, func(i int) bool { return i == old })
	c.does("replace", name(old), name(1))
	eventually(t, "waiting for the replaced node to stop", func() error {
		select {
		case <-c.nodes[old].Done():
			return nil
		default:
			return fmt.Errorf("node %d runs", c.nodes[old].ID())
		}
	})
	c.awaitMembers("waiting for the replacement", kept, nil)
	if rows, err := control(t, c.open(0), "nodes"); err != nil || len(rows) != 3 {
		t.Errorf("after the replacement the nodes are %v, %v", rows, err)
	}
	c.refuses("there is no node", "remove", fmt.Sprint(uint64(c.nodes[old].ID())))

	c.testNoMajorityLeft(t, kept)
}

// testNoMajorityLeft proves that of three voters, one of which is down, no other can be removed or demoted.
func (c *cluster) testNoMajorityLeft(t *testing.T, voters []int) {
	t.Helper()
	leader := c.leader()
	others := slices.DeleteFunc(slices.Clone(voters), func(i int) bool { return i == leader })
	down, up := others[0], others[1]
	if down == 0 {
		down, up = up, down
	}
	if err := c.nodes[down].Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"remove", "demote"} {
		eventually(t, "waiting for the refusal", func() error {
			_, err := control(t, c.open(0), verb, c.nodes[up].Name())
			if err == nil || !strings.Contains(err.Error(), "1 of 2 voters could be reached, and that is no majority") ||
				!strings.Contains(err.Error(), fmt.Sprint("node [", uint64(c.nodes[down].ID()), "]")) {
				return fmt.Errorf("%s is answered by %v", verb, err)
			}
			return nil
		})
	}
	c.does("remove", c.nodes[down].Name())
	c.does("remove", c.nodes[up].Name())
	only := slices.DeleteFunc(slices.Clone(voters), func(i int) bool { return i == down || i == up })[0]
	conn := open(t, c.nodes[only], c.dir(0))
	for _, verb := range []string{"remove", "demote"} {
		if _, err := control(t, conn, verb, c.nodes[only].Name()); err == nil || !strings.Contains(err.Error(), "is the only voter") {
			t.Errorf("%s of the only voter is answered by %v", verb, err)
		}
	}
	mustRun(t, conn, "insert into t values(1)")
}

// With a target the leader makes no more voters than that, and what has caught up beyond it takes the place of a voter that is
// away for too long, in one step; the one that was away comes back as a spare.
func TestTargetVoters(t *testing.T) {
	c := startCluster(t, 500*time.Millisecond)
	mustRun(t, c.open(0), "create table t(x)")
	c.refuses("is not a duration of at least 1s", "set", "cluster.replace_after=1ms")
	c.does("set", "cluster.target_voters=3", "cluster.replace_after=1s")
	spare, stays := c.add(false), c.add(true)
	c.awaitMembers("waiting for the learners", []int{0, 1, 2}, []int{3, 4})
	leader := c.leader()
	away := (leader + 1) % 3
	address := c.nodes[away].Address()
	if err := c.nodes[away].Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	remain := slices.DeleteFunc([]int{0, 1, 2, 3}, func(i int) bool { return i == away })
	c.awaitMembers("waiting for the spare to vote", remain, []int{away, 4})
	if n := c.nodes[leader].Status().Raft.Configuration; n.Voter(stays.ID()) || !n.Voter(spare.ID()) {
		t.Errorf("node %d asked to stay a learner: %v", stays.ID(), n)
	}
	mustRun(t, open(t, spare, c.dir(0)), "insert into t values(1)")
	c.nodes[away] = openWith(t, db.Config{Data: filepath.Join(c.root, fmt.Sprintf("n%d", away+1)), Listen: address})
	c.awaitMembers("waiting for the voter that was away", remain, []int{away, 4})
	eventually(t, "waiting for it to have everything", func() error {
		if s := c.nodes[leader].Status().Raft; c.nodes[away].Status().Raft.Applied < s.Commit {
			return fmt.Errorf("it has applied %d of %d", c.nodes[away].Status().Raft.Applied, s.Commit)
		}
		return nil
	})
	c.awaitMembers("it stays a spare", remain, []int{away, 4})
	c.does("set", "cluster.target_voters=0")
	c.awaitMembers("without a target it votes", append(slices.Clone(remain), away), []int{4})
}
