package testcluster_test

import (
	"context"
	"fmt"
	"testing"
)

// TestAdd proves: a running cluster gets a voter and a learner through any node that runs, and State tells what each is;
// while none runs, none is added.
func TestAdd(t *testing.T) {
	c := startCluster(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for i, learner := range []bool{false, true} {
		if got, err := c.Add(ctx, learner); err != nil || got != i+2 {
			t.Fatalf("added node %d, %v", got, err)
		}
	}
	eventually(t, "the second node to vote", func(context.Context) error {
		for i, role := range []string{"leader", "follower", "learner"} {
			if s := c.State(i + 1); s.Voters != 2 || s.Role != role && (i == 2 || s.Role != "leader" && s.Role != "follower") {
				return fmt.Errorf("node %d is %+v, want a %s", i+1, s, role)
			}
		}
		return nil
	})
	if c.Size() != 3 {
		t.Errorf("the cluster has %d nodes", c.Size())
	}
	for i := 1; i <= 3; i++ {
		if err := c.Kill(i); err != nil {
			t.Fatal(err)
		}
	}
	if s := c.State(1); s.Role != "" {
		t.Errorf("a node that is down is %+v", s)
	}
	if _, err := c.Add(ctx, false); err == nil {
		t.Error("a node joined nobody")
	}
}
