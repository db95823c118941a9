package cli

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

// stoppedNode makes the data directory of node 3, which does not run, with ten entries in its log.
func stoppedNode(t *testing.T, voters ...raft.ID) (dir, segment string) {
	t.Helper()
	dir = t.TempDir()
	cluster := [16]byte{1, 2}
	node := fmt.Sprintf(`{"format":1,"cluster":"%x","node":3,"name":"n3","address":"127.0.0.1:1"}`, cluster)
	if err := os.WriteFile(filepath.Join(dir, "node.json"), []byte(node), 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := engine.Open(engine.Config{Dir: filepath.Join(dir, "db"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	w, err := wal.Create(wal.Options{Dir: filepath.Join(dir, "wal"), Cluster: cluster, Node: 3, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	configuration, err := raft.Configuration{Voters: voters}.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := raft.Index(1); i <= 10; i++ {
		entry := raft.Entry{ID: raft.EntryID{Term: 1 + raft.Term(i)/8, Index: i}, Data: fmt.Appendf(nil, "entry number %d", i)}
		if i == 1 {
			entry.Kind, entry.Data = raft.EntryConfiguration, configuration
		}
		hard := raft.HardState{Term: entry.ID.Term, Vote: 1}
		if err := w.Append(&raft.Write{HardState: hard, Entries: []raft.Entry{entry}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Mark(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, filepath.Join(dir, "wal", "0000000000000001-0000000000000000.wal")
}

// damage flips a bit of an entry.
func damage(t *testing.T, segment, entry string) {
	t.Helper()
	content, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	content[bytes.Index(content, []byte(entry))] ^= 1
	if err := os.WriteFile(segment, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func inspected(t *testing.T, wantCode int, args ...string) string {
	t.Helper()
	w := newWorld(append([]string{"inspect"}, args...)...)
	if code := w.run(); code != wantCode {
		t.Errorf("inspect %q exits with %d, want %d: %s", args, code, wantCode, w.err.String())
	}
	return w.out.String() + w.err.String()
}

func mustContain(t *testing.T, got string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(got, part) {
			t.Errorf("%q is not in\n%s", part, got)
		}
	}
}

// TestInspect proves: inspect shows what a log holds, and what is wrong with it and what a start would do about it with
// exit code 1; and it changes nothing.
func TestInspect(t *testing.T) {
	dir, segment := stoppedNode(t, 1, 2, 3)
	mustContain(t, inspected(t, 0, dir), "log of node 3, cluster 0102",
		"0000000000000001-0000000000000000.wal  1 to 10  10       262144  whole",
		"entries     1 to 10", "terms       1 from 1 on, 2 from 8 on", "hard state  term 2, vote for 1",
		"members     voters=[1 2 3], by entry 1", "torn        0 bytes", "damage      none", "A start goes on with this log.")

	damage(t, segment, "number 6")
	before, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	mustContain(t, inspected(t, 1, dir), "262144  damaged", "entries     1 to 5\n", "entries     7 to 10",
		"the log is damaged: 0000000000000001-0000000000000000.wal at offset", "entries from 6 to 7",
		"without loss if the database has applied entry 6", "the other\nvoters give back what is missing")
	after, err := os.ReadFile(segment)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("inspect changed the log, %v", err)
	}

	dir, segment = stoppedNode(t, 3)
	damage(t, segment, "number 6")
	mustContain(t, inspected(t, 1, dir), "this node is the only voter: restore a backup, or see --accept-loss")
	if err := os.WriteFile(segment, make([]byte, 262144), 0o600); err != nil {
		t.Fatal(err)
	}
	mustContain(t, inspected(t, 1, dir), "A start is refused", "the header is damaged", "rsqld remove 3")
}

// TestInspectRefuses proves: what is not the directory of a node that stands still is refused with a sentence.
func TestInspectRefuses(t *testing.T) {
	mustContain(t, inspected(t, 2), "which node?")
	mustContain(t, inspected(t, 2, "--yes", "x"), "--yes answers the question of --accept-loss")
	empty := t.TempDir()
	mustContain(t, inspected(t, 1, empty), "is no node's data directory: there is no node.json in it")
	if names, err := os.ReadDir(empty); err != nil || len(names) > 0 {
		t.Errorf("inspect made %v, %v", names, err)
	}
	dir, segment := stoppedNode(t, 3)
	if err := os.Remove(segment); err != nil {
		t.Fatal(err)
	}
	mustContain(t, inspected(t, 1, dir), "there is no log in")
}

// TestAcceptLoss proves: the loss is accepted by --yes, or by a person who says yes, and by nothing else; the log is whole
// then and ends before what was lost.
func TestAcceptLoss(t *testing.T) {
	dir, segment := stoppedNode(t, 3)
	damage(t, segment, "number 6")
	mustContain(t, inspected(t, 2, "--accept-loss", dir), "cannot be undone", "--yes")
	ask := func(answer string, wantCode int) string {
		w := newWorld("inspect", "--accept-loss", dir)
		w.StdinTerminal, w.Stdin = true, strings.NewReader(answer)
		if code := w.run(); code != wantCode {
			t.Errorf("answered %q it exits with %d: %s", answer, code, w.err.String())
		}
		return w.out.String() + w.err.String()
	}
	mustContain(t, ask("y\n", 1), "Type yes to go on", "nothing was changed")
	mustContain(t, ask("", 1), "nothing was changed")
	mustContain(t, inspected(t, 1, dir), "damaged")
	mustContain(t, ask("yes\n", 0), "The log goes from 1 to 5 now. Lost for good: what followed, up to entry 10.")
	mustContain(t, inspected(t, 0, dir), "entries     1 to 5", "damage      none", "not needed any more")
	mustContain(t, inspected(t, 0, "--accept-loss", "--yes", dir), "Nothing is missing, and nothing was changed.")
}
