package cli

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/identity"
)

// stoppedMember is stoppedNode with a certificate.
func stoppedMember(t *testing.T, voters ...raft.ID) (dir, segment string) {
	t.Helper()
	dir, segment = stoppedNode(t, voters...)
	authority, err := identity.NewAuthority([16]byte{1, 2})
	if err != nil {
		t.Fatal(err)
	}
	id, err := authority.NewIdentity(3)
	if err != nil {
		t.Fatal(err)
	}
	if err := id.Save(filepath.Join(dir, "tls")); err != nil {
		t.Fatal(err)
	}
	return dir, segment
}

func recovered(t *testing.T, answer string, wantCode int, args ...string) string {
	t.Helper()
	w := newWorld(append([]string{"recover"}, args...)...)
	if answer != "" {
		w.StdinTerminal, w.Stdin = true, strings.NewReader(answer)
	}
	if code := w.run(); code != wantCode {
		t.Errorf("recover %q exits with %d, want %d: %s", args, code, wantCode, w.err.String())
	}
	return w.out.String() + w.err.String()
}

// TestRecoverCommand proves: recover shows what a copy has and what a recovery costs, changes nothing without a yes, makes the
// node the only voter with one, and has nothing more to do then.
func TestRecoverCommand(t *testing.T) {
	dir, _ := stoppedMember(t, 1, 2, 3)
	mustContain(t, recovered(t, "", 0, "--look", dir),
		"node        3, n3, 127.0.0.1:1, voter", "cluster     01020000000000000000000000000000, epoch 0",
		"hard state  term 2, vote for 1", "entries     1 to 10, the newest of term 2", "applied     0",
		"members     voters=[1 2 3], by entry 1", "most advanced: "+dir+", because it is the only copy given",
		"copies of 1 of 3 voters, no majority", "left behind for good: node 1, node 2", "no tls/ca.key")
	mustContain(t, recovered(t, "", 2, dir), "cannot be undone", "--yes")
	mustContain(t, recovered(t, "y\n", 1, dir), "Type yes to go on", "nothing was changed")
	if c, err := db.Survey(dir); err != nil || c.Epoch != (identity.Epoch{}) || c.Last.Index != 10 {
		t.Errorf("the copy was changed: %+v, %v", c, err)
	}
	mustContain(t, recovered(t, "yes\n", 0, dir), "recovered: node 3 is the only member of the cluster, in epoch 1-",
		"with all entries up to 10", "start it:       rsqld --data "+dir)
	mustContain(t, recovered(t, "", 0, "--yes", dir), "entries     1 to 12, the newest of term 3", "members     voters=[3], by entry 11",
		"it needs no recovery")
	if c, err := db.Survey(dir); err != nil || c.Epoch.Number != 1 || c.Last.Index != 12 {
		t.Errorf("the copy was recovered twice: %+v, %v", c, err)
	}
}

// TestRecoverRefuses proves: what cannot be recovered from is refused with what to do.
func TestRecoverRefuses(t *testing.T) {
	mustContain(t, recovered(t, "", 2), "from which copy?")
	mustContain(t, recovered(t, "", 2, "--yes", "--look", "x"), "give one of them")
	mustContain(t, recovered(t, "", 1, t.TempDir()), "there is no node.json in it")
	dir, segment := stoppedMember(t, 1, 2, 3)
	damage(t, segment, "number 6")
	mustContain(t, recovered(t, "", 1, "--yes", dir), "none of the copies can be recovered from", "rsqld inspect "+dir, "--accept-loss")
}
