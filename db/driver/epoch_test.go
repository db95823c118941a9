package driver

import (
	"strings"
	"testing"
)

// TestRecoveredCluster proves: at a node of a later epoch a session asks for nothing that it saw in the one before, which may be
// lost; after that no node of an earlier epoch, or of another recovery, is taken for one of the cluster.
func TestRecoveredCluster(t *testing.T) {
	f := newFake(3)
	connector := f.connector(t, Config{})
	c, err := connector.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	run(t, c, "insert")
	if connector.Index() == 0 {
		t.Fatal("nothing was seen")
	}
	f.nodes[0].kill()
	f.set(func() { f.nodes[1].epoch = "1-0123456789abcdef" })
	run(t, c, "select")
	if got := f.nodes[1].executed(); c.Node() != 2 || len(got) != 1 || got[0].MinIndex != 0 {
		t.Errorf("at node %d the session asks for %v", c.Node(), got)
	}
	for epoch, says := range map[string]string{
		"":                   "node 3 was left behind when the cluster was recovered without it",
		"0":                  "node 3 was left behind",
		"1-fedcba9876543210": "it was recovered apart",
		"one":                "an epoch that this driver does not know",
	} {
		f.set(func() { f.nodes[1].down, f.nodes[2].epoch = true, epoch })
		f.nodes[1].kill()
		if other, err := connector.Open(t.Context()); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("epoch %q: node %v, %v; want %q", epoch, other, err, says)
		}
	}
	f.set(func() { f.nodes[2].epoch = "2-fedcba9876543210" })
	run(t, c, "select")
	if c.Node() != 3 {
		t.Errorf("the session is at node %d", c.Node())
	}
}
