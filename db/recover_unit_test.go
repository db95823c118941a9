package db

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
	"github.com/rsqld/rsqld/transport/identity"
)

// founderDirectory makes the directory of a node that was one of two voters and has stopped.
func founderDirectory(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	n, err := Open(t.Context(), Config{Data: dir, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	cluster := n.cluster
	if err := n.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := Survey(dir)
	if err != nil {
		t.Fatal(err)
	}
	log, _, err := wal.Open(wal.Options{Dir: filepath.Join(dir, "wal"), Cluster: cluster, Node: founder, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	two, err := raft.Configuration{Voters: []raft.ID{founder, 77}}.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	id := raft.EntryID{Term: c.HardState.Term, Index: c.Last.Index + 1}
	err = log.Append(&raft.Write{Seq: 1, HardState: c.HardState, Entries: []raft.Entry{{ID: id, Kind: raft.EntryConfiguration, Data: two}}})
	if err = errors.Join(err, log.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A crash anywhere in a recovery leaves the old state or one that the next start completes, with the record in the log once;
// so does doing it again.
func TestRecoveryCrashes(t *testing.T) {
	for _, test := range []struct {
		name string
		// crash carries a recovery out up to some place.
		crash func(t *testing.T, dir string)
		epoch uint64
	}{
		{"before the decision", func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "node.json.new"), []byte("torn"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, 0},
		{"after the decision", func(t *testing.T, dir string) { decide(t, dir) }, 1},
		{"after the record", func(t *testing.T, dir string) {
			decided := decide(t, dir)
			finish(t, dir)
			if err := os.WriteFile(filepath.Join(dir, "node.json"), decided, 0o600); err != nil {
				t.Fatal(err)
			}
		}, 1},
		{"after all", func(t *testing.T, dir string) { decide(t, dir); finish(t, dir) }, 1},
	} {
		for _, again := range []bool{false, true} {
			t.Run(map[bool]string{false: test.name + ", started", true: test.name + ", again"}[again], func(t *testing.T) {
				dir := founderDirectory(t)
				before, err := Survey(dir)
				if err != nil {
					t.Fatal(err)
				}
				test.crash(t, dir)
				after, err := Survey(dir)
				if err != nil || after.Epoch.Number != test.epoch {
					t.Fatalf("after the crash: %+v, %v", after, err)
				}
				if again && (test.epoch == 0 || after.Begun) {
					done, err := Recover(after)
					if err != nil || done.Epoch.Number != 1 || done.Kept != before.Last.Index {
						t.Fatalf("again: %+v, %v", done, err)
					}
				}
				checkRecovered(t, dir, before, again || test.epoch == 1)
			})
		}
	}
}

// checkRecovered starts the node and looks whether it leads alone, or is one of two as before.
func checkRecovered(t *testing.T, dir string, before Copy, recovered bool) {
	t.Helper()
	n, err := Open(t.Context(), Config{Data: dir, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if recovered {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := n.replica.WaitApplied(ctx, before.Last.Index+recoveryEntries+1); err != nil {
			t.Error(err)
		}
		if epoch, err := identity.ParseEpoch(n.engine.Epoch()); err != nil || epoch != n.self.Epoch || epoch.Number != 1 {
			t.Errorf("the database is of epoch %v, %v, and the node of epoch %v", epoch, err, n.self.Epoch)
		}
	}
	status := n.Status().Raft
	if err := n.Close(t.Context()); err != nil {
		t.Error(err)
	}
	switch {
	case !recovered && (len(status.Configuration.Voters) != 2 || status.Last != before.Last):
		t.Errorf("the old node is %+v", status)
	case recovered && (len(status.Configuration.Voters) != 1 || status.ConfigurationIndex != before.Last.Index+1 ||
		status.Last.Index < before.Last.Index+recoveryEntries+1): // and an entry of each of its terms
		t.Errorf("the recovered node is %+v", status)
	}
}

// decide carries a recovery out up to its decision and returns node.json as of then.
func decide(t *testing.T, dir string) []byte {
	t.Helper()
	c, err := Survey(dir)
	if err != nil {
		t.Fatal(err)
	}
	d, self, err := openStopped(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.commit(decideRecovery(self, &c)), d.Close()); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, "node.json"))
	if err != nil || !strings.Contains(string(content), `"format": 2`) {
		t.Fatalf("node.json is %s, %v", content, err)
	}
	return content
}

func finish(t *testing.T, dir string) {
	t.Helper()
	d, self, err := openStopped(dir)
	if err != nil {
		t.Fatal(err)
	}
	if self, err = finishRecovery(d, self, wal.OS()); err != nil || self.Recovery != nil {
		t.Fatalf("finishing: %+v, %v", self, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// A crash between the installation of a snapshot and the log's record of it leaves a log that ends before what the database
// holds. A copy of that counts up to the database, and is recovered from there.
func TestRecoverWhereLogEndsEarly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	run := func(until raft.Index) {
		t.Helper()
		n, err := Open(t.Context(), Config{Data: dir, Listen: "127.0.0.1:0"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := errors.Join(n.replica.WaitApplied(ctx, until), n.Close(ctx)); err != nil {
			t.Fatal(err)
		}
	}
	run(3) // two founding entries, and that of the first term
	saved := filepath.Join(t.TempDir(), "wal")
	if err := os.CopyFS(saved, os.DirFS(filepath.Join(dir, "wal"))); err != nil {
		t.Fatal(err)
	}
	early, err := Survey(dir)
	if err != nil {
		t.Fatal(err)
	}
	run(early.Last.Index + 1) // each start adds the entry of a term
	run(early.Last.Index + 2)
	if err := errors.Join(os.RemoveAll(filepath.Join(dir, "wal")), os.CopyFS(filepath.Join(dir, "wal"), os.DirFS(saved))); err != nil {
		t.Fatal(err)
	}
	c, err := Survey(dir)
	if err != nil || c.Last != c.Applied || c.Last.Compare(early.Last) <= 0 || c.Unusable != nil {
		t.Fatalf("the log ended at %v and the copy counts up to %v, applied %v: %v, %v", early.Last, c.Last, c.Applied, c.Unusable, err)
	}
	done, err := Recover(c)
	if err != nil || done.Kept != c.Applied.Index {
		t.Fatalf("recovering: %+v, %v", done, err)
	}
	n, err := Open(t.Context(), Config{Data: dir, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := errors.Join(n.replica.WaitApplied(ctx, done.Kept+recoveryEntries+1), n.Close(ctx)); err != nil {
		t.Error(err)
	}
}

// Copies that must not be chosen are refused with what to do about them.
func TestMostAdvancedRefuses(t *testing.T) {
	one := identity.Epoch{}.Next()
	for says, copies := range map[string][]Copy{
		"no copy to choose from":    nil,
		"is of cluster":             {{Node: 1, Cluster: identity.Cluster{1}}, {Node: 2, Cluster: identity.Cluster{2}}},
		"both node 1's":             {{Node: 1, Dir: "a"}, {Node: 1, Dir: "b"}},
		"recovered apart":           {{Node: 1, Epoch: one}, {Node: 2, Epoch: identity.Epoch{}.Next()}},
		"none of the copies can be": {{Node: 1, Unusable: errors.New("broken")}},
	} {
		if _, _, err := MostAdvanced(copies); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
}

// The copy with the newest entry by term, then by index, is the most advanced, if it is usable and right.
func TestMostAdvanced(t *testing.T) {
	at := func(node raft.ID, term raft.Term, index raft.Index) Copy {
		return Copy{Node: node, Last: raft.EntryID{Term: term, Index: index}}
	}
	damaged, apart := at(3, 9, 9), at(3, 9, 9)
	damaged.Unusable, apart.Quarantined = errors.New("damaged"), errors.New("differs")
	for _, test := range []struct {
		copies []Copy
		want   raft.ID
		why    string
	}{
		{[]Copy{at(1, 2, 9), at(2, 3, 4)}, 2, "is of term 3"},
		{[]Copy{at(1, 2, 9), at(2, 2, 10)}, 2, "up to entry 10"},
		{[]Copy{at(2, 2, 9), at(1, 2, 9)}, 1, "either would do"},
		{[]Copy{damaged, at(2, 2, 9)}, 2, "only one that can be recovered from"},
		{[]Copy{apart, at(2, 2, 9)}, 2, "found to differ"},
		{[]Copy{at(2, 2, 9)}, 2, "only copy given"},
	} {
		best, why, err := MostAdvanced(test.copies)
		if err != nil || test.copies[best].Node != test.want || !strings.Contains(why, test.why) {
			t.Errorf("of %+v: %d, %q, %v; want node %d because %q", test.copies, best, why, err, test.want, test.why)
		}
	}
}
