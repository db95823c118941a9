package db_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/transport/identity"
)

// A token that the cluster does not know is refused with one sentence here and one line in the log there, and leaves a
// directory that can join with the right one. A node that is a member needs no token any more.
func TestJoin(t *testing.T) {
	log := new(lines)
	first := t.TempDir()
	n1 := openWith(t, db.Config{Data: first, Logger: slog.New(slog.NewTextHandler(log, nil))})
	id, err := identity.Load(filepath.Join(first, "tls"))
	if err != nil {
		t.Fatal(err)
	}
	config := db.Config{Data: t.TempDir(), Listen: "127.0.0.1:0", Name: "second", Join: []string{"127.0.0.1:1", n1.Address()}}
	for _, test := range []struct{ token, says string }{
		{identity.NewToken(id.CA).String(), "the token is not one of this cluster's, or was used up or replaced"},
		{"", "joining needs a token"},
		{"rsqld1-x", "token"},
		{"@" + filepath.Join(first, "absent"), "reading the join token"},
	} {
		config.Token = test.token
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, err := db.Open(ctx, config)
		cancel()
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("token %q: Open fails with %v, want %q", test.token, err, test.says)
		}
		if _, err := os.Stat(filepath.Join(config.Data, "node.json")); err == nil {
			t.Fatal("a node that was refused has a node.json")
		}
	}
	if lines := log.count("refused a join"); lines != 1 {
		t.Errorf("one refused join has %d lines in the log", lines)
	}
	config.Token = "@" + filepath.Join(first, "join-token")
	n2 := openWith(t, config)
	mustRun(t, open(t, n2, first), "create table t(x)")
	closeNode(t, n2)
	config.Token, config.Join = "rsqld1-nonsense", []string{"127.0.0.1:1"}
	again := openWith(t, config)
	if again.ID() != n2.ID() || again.Name() != "second" || again.Cluster() != n1.Cluster() {
		t.Errorf("it is back as %d %q", again.ID(), again.Name())
	}
	expect(t, open(t, again, first), driver.Request{SQL: "select count(*) from t", Level: driver.LevelStrong}, "[[0]]")
}

// Learners join through a follower, with a token of their own that admits one node, and stay learners; they answer reads
// of every level and relay writes. A member is named by its id before its name; a removed one is gone for all.
func TestLearner(t *testing.T) {
	first := t.TempDir()
	n1 := openNode(t, first)
	admin := open(t, n1, first)
	tokens, err := control(t, admin, "token", "learner")
	if err != nil {
		t.Fatal(err)
	}
	token := strings.Trim(tokens[0], "[]")
	join := func(config db.Config) (*db.Node, error) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		config.Data, config.Listen = t.TempDir(), "127.0.0.1:0"
		config.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
		n, err := db.Open(ctx, config)
		if err == nil {
			t.Cleanup(func() { closeNode(t, n) })
		}
		return n, err
	}
	if _, err := join(db.Config{Join: []string{n1.Address()}, Token: token}); err == nil || !strings.Contains(err.Error(), "admits learners only") {
		t.Errorf("a voter with a learner's token: %v", err)
	}
	learner, err := join(db.Config{Join: []string{n1.Address()}, Token: token, Learner: true, Name: "1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := join(db.Config{Join: []string{learner.Address()}, Token: token, Learner: true}); err == nil || !strings.Contains(err.Error(), "used up") {
		t.Errorf("a second use of a token, through a learner: %v", err)
	}
	conn := open(t, learner, first)
	mustRun(t, conn, "create table t(x)")
	for _, level := range []driver.Level{driver.LevelSession, driver.LevelLinearizable, driver.LevelStrong} {
		expect(t, conn, driver.Request{SQL: "insert into t values(1) returning x", Level: level}, "[[1]]")
		if _, err := run(t, conn, driver.Request{SQL: "select * from t", Level: level}); err != nil {
			t.Errorf("a read at level %s at a learner: %v", level, err)
		}
	}
	rows, err := control(t, conn, "nodes")
	if err != nil || len(rows) != 2 || !strings.Contains(rows[1], "learner") || learner.Status().Role() != "learner" {
		t.Errorf("nodes answers %v, %v", rows, err)
	}
	if _, err := control(t, admin, "remove", "1"); err == nil || !strings.Contains(err.Error(), "only voter") {
		t.Errorf("removing 1, which is the id of one and the name of the other, is answered by %v", err)
	}
	if _, err := control(t, admin, "remove", rows[1][1:strings.IndexByte(rows[1], ' ')]); err != nil {
		t.Fatal(err)
	}
	if rows, err := control(t, admin, "nodes"); err != nil || len(rows) != 1 {
		t.Errorf("after the removal nodes answers %v, %v", rows, err)
	}
}

// Joining ends with its context, and says what stood in its way.
func TestJoinNobody(t *testing.T) {
	first := t.TempDir()
	n1 := openNode(t, first)
	address := n1.Address()
	closeNode(t, n1)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := db.Open(ctx, db.Config{Data: t.TempDir(), Listen: "127.0.0.1:0", Join: []string{address}, Token: "@" + filepath.Join(first, "join-token")})
	if err == nil || !strings.Contains(err.Error(), "joining through "+address) {
		t.Errorf("joining nobody ends with %v", err)
	}
}

// A node that was admitted and stopped before it knew it joins with the same key when it is started again: it is the same
// member, and a token that admits one node has admitted one. Once that member is removed, the next attempt is another node's.
func TestJoinInterrupted(t *testing.T) {
	first := t.TempDir()
	n1 := openNode(t, first)
	admin := open(t, n1, first)
	token := func() string {
		t.Helper()
		rows, err := control(t, admin, "token", "learner")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Trim(rows[0], "[]")
	}
	config := db.Config{Listen: "127.0.0.1:0", Join: []string{n1.Address()}, Learner: true}
	config.Data, config.Token = t.TempDir(), token()
	admitted := openWith(t, config)
	closeNode(t, admitted)
	key, err := os.ReadFile(filepath.Join(config.Data, "tls", "node.key"))
	if err != nil {
		t.Fatal(err)
	}
	// interrupted is a directory as the kill of a joining node leaves it behind.
	interrupted := func() string {
		t.Helper()
		dir := t.TempDir()
		for name, content := range map[string][]byte{"joining.key": key, "node.json.new": nil} {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	hasKey := func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, "joining.key"))
		return err == nil
	}

	config.Data = interrupted()
	again := openWith(t, config)
	if again.ID() != admitted.ID() || hasKey(config.Data) {
		t.Errorf("it is node %d, was admitted as %d; its key is still there: %v", again.ID(), admitted.ID(), hasKey(config.Data))
	}
	closeNode(t, again)
	if _, err := control(t, admin, "remove", fmt.Sprint(admitted.ID())); err != nil {
		t.Fatal(err)
	}

	config.Data, config.Token = interrupted(), token()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := db.Open(ctx, config); err == nil || !strings.Contains(err.Error(), "removed") || hasKey(config.Data) {
		t.Errorf("joining with the key of a removed node: %v; its key is still there: %v", err, hasKey(config.Data))
	}
	if other := openWith(t, config); other.ID() == admitted.ID() {
		t.Errorf("a removed node has come back as %d", other.ID())
	}
}
