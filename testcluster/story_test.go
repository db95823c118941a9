package testcluster_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/driver"
)

// TestSingleNodeSurvivesKill proves: a node that is alone keeps every acknowledged write through kill -9.
func TestSingleNodeSurvivesKill(t *testing.T) {
	t.Parallel()
	n := newProcess(t, "n1").start()
	w := startWriters(t, 4, n)
	w.awaitAcks(300)
	n.kill()
	n.start()
	w.awaitAcks(100)
	n.kill()
	w.finish()
	n.start()
	w.check(n)
}

// TestLeaderKilled proves the first half of the story: a leader killed under load is replaced, every acknowledged row
// is there exactly once on every node, and the old leader comes back as a follower and catches up.
func TestLeaderKilled(t *testing.T) {
	t.Parallel()
	nodes := trio(t)
	w := startWriters(t, 6, nodes...)
	w.awaitAcks(300)
	old := leaderOf(t, nodes...)
	old.kill()
	next := leaderOf(t, nodes...)
	if next == old {
		t.Fatalf("%s leads and is dead", old.name)
	}
	w.awaitAcks(300)
	old.start()
	old.eventually("to be a follower", func(ctx context.Context) error {
		role, err := old.role(ctx)
		if err == nil && role != "follower" {
			err = fmt.Errorf("it is a %s", role)
		}
		return err
	})
	w.awaitAcks(100)
	w.finish()
	settle(t, nodes...)
	for _, p := range nodes {
		w.check(p)
	}
}

// settle waits until all nodes have applied what the furthest has.
func settle(t *testing.T, nodes ...*process) {
	t.Helper()
	nodes[0].exec("create table if not exists settled(x); insert into settled values(1)")
	want := nodes[0].value("select count(*) from settled")
	for _, p := range nodes {
		p.eventuallyValue(want, "select count(*) from settled")
	}
}

// TestAllKilled proves: every acknowledged write is there after all nodes were killed at once under load.
func TestAllKilled(t *testing.T) {
	t.Parallel()
	nodes := trio(t)
	w := startWriters(t, 6, nodes...)
	w.awaitAcks(500)
	for _, p := range nodes {
		p.command.Process.Kill()
	}
	for _, p := range nodes {
		p.kill()
	}
	for _, p := range nodes {
		p.launch()
	}
	for _, p := range nodes {
		p.await()
	}
	w.awaitAcks(100)
	w.finish()
	settle(t, nodes...)
	for _, p := range nodes {
		w.check(p)
	}
}

// TestLearner proves: a learner receives the data and serves reads, and neither adding nor killing it changes how many
// votes a write needs.
func TestLearner(t *testing.T) {
	t.Parallel()
	nodes := trio(t)
	nodes[0].exec("create table t(x)", "insert into t values(1)")
	learner := newProcess(t, "l4", "--learner").joins(nodes[0], nodes[1]).start()
	learner.eventuallyValue(int64(1), "select count(*) from t")
	if role, err := learner.role(t.Context()); err != nil || role != "learner" {
		t.Fatalf("the learner is a %q, %v", role, err)
	}
	awaitVoters(t, 3, append(nodes, learner)...)
	// Two of three voters are a majority with the learner dead.
	learner.kill()
	follower := nodes[2]
	if leaderOf(t, nodes...) == follower {
		follower = nodes[1]
	}
	follower.kill()
	leaderOf(t, nodes...).exec("insert into t values(2)")
	// One of three is none, with the learner alive.
	follower.start()
	learner.start()
	learner.eventuallyValue(int64(2), "select count(*) from t")
	leader := leaderOf(t, nodes...)
	for _, p := range nodes {
		if p != leader {
			p.kill()
		}
	}
	err := withConn(t.Context(), learner.config(), func(c *driver.Conn) error {
		_, err := query(t.Context(), c, driver.LevelSession, "insert into t values(3)")
		return err
	})
	if err == nil {
		t.Error("a write was acknowledged by one voter of three and a learner")
	}
	if got := learner.value("select count(*) from t"); got != int64(2) {
		t.Errorf("the learner has %v rows, want 2", got)
	}
}

// TestImportThroughFollower proves: rows imported from a file through a follower are the same on all nodes.
func TestImportThroughFollower(t *testing.T) {
	t.Parallel()
	nodes := trio(t)
	var csv strings.Builder
	csv.WriteString("name,lat,lng,country\n")
	names := []string{"Zürich", "東京", "São Paulo", "Йошкар-Ола", "\"Quoted, city\"", "مكة", "Ḥalab"}
	const rows, letters = 7000, 6 + 2 + 9 + 10 + 12 + 3 + 5
	for i := range rows {
		fmt.Fprintf(&csv, "%s,%d.5,%d.25,XX\n", names[i%len(names)], i%90, i%180)
	}
	file := filepath.Join(t.TempDir(), "cities.csv")
	if err := os.WriteFile(file, []byte(csv.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	leader := leaderOf(t, nodes...)
	follower := nodes[0]
	if follower == leader {
		follower = nodes[1]
	}
	out, code := rsqld(t, "", "sql", follower.address, "--cred", adminOf(follower), "-c", ".import --csv "+file+" cities")
	if code != 0 {
		t.Fatalf("import exits with %d:\n%s", code, out)
	}
	for _, p := range nodes {
		p.eventuallyValue(int64(rows), "select count(*) from cities")
		if got, want := p.value("select sum(length(name)) from cities"), int64(rows/len(names)*letters); got != want {
			t.Errorf("%s: the names have %v letters, want %d", p.name, got, want)
		}
	}
}
