package testcluster_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A node without room takes no file, and without a majority that has one nothing is replaced. A single follower without room does
// not keep the others from it: it stops there, says why it is not ready, and goes on when there is room.
func TestRestoreWithoutRoom(t *testing.T) {
	t.Parallel()
	n1 := newProcess(t, "n1").start()
	nodes := []*process{n1}
	var fillers []string
	for _, name := range []string{"n2", "n3"} {
		small := newProcess(t, name).joins(n1, n1)
		if !small.onSmallDisk(400) {
			t.Log("not run: this machine lets nobody mount in a user namespace")
			return
		}
		small.start()
		nodes = append(nodes, small)
		awaitVoters(t, len(nodes), nodes...)
		fillers = append(fillers, small.inside(filepath.Join(small.data, "filler")))
		if err := os.WriteFile(fillers[len(fillers)-1], make([]byte, 280<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	small := nodes[2]
	path := numberedFile(t, 1, 2)
	before := n1.applied(t.Context())
	if printed, code := small.subcommand("restore", "--yes", path); code != 1 || !strings.Contains(printed, "not enough room") || !strings.Contains(printed, "nothing was changed") {
		t.Errorf("through the node without room: exit %d, %s", code, printed)
	}
	printed, code := n1.subcommand("restore", "--yes", path)
	if code != 1 || !strings.Contains(printed, "1 of 3 voters have the file: node ") || !strings.Contains(printed, "nothing was replaced") {
		t.Errorf("with a single voter that has room: exit %d, %s", code, printed)
	}
	if after := n1.applied(t.Context()); after != before {
		t.Errorf("the index went from %d to %d", before, after)
	}
	if err := os.Remove(fillers[0]); err != nil {
		t.Fatal(err)
	}
	nodes[1].restore(path)
	small.eventually("to say why it is not ready", func(context.Context) error {
		if said, ready := small.ready(); ready || !strings.Contains(said, "the file of a restore is not here") || !strings.Contains(said, "not enough room") {
			return fmt.Errorf("ready %t: %s", ready, said)
		}
		return nil
	})
	if err := os.Remove(fillers[1]); err != nil {
		t.Fatal(err)
	}
	small.await()
	for _, p := range nodes {
		p.eventuallyValue("1 20", "select group_concat(distinct number) || ' ' || count(*) from t")
	}
	verified(t, nodes...)
}
