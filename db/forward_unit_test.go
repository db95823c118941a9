package db

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/raft"
)

// Whatever is wrong with a text on a node that is behind, the leader judges it: a table that is missing, a limit that was
// raised, a pragma that a setting refused. What a node is asked for as it is there, it answers itself.
func TestWhatDoesNotPrepareIsTheLeadersToJudge(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	node := func(config Config) *Node {
		config.Listen = "127.0.0.1:0"
		n, err := Open(ctx, config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := n.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
		return n
	}
	first := node(Config{Data: filepath.Join(dir, "n1"), Settings: map[string]string{"sql.max_statement_bytes": "2000"}})
	second := node(Config{Data: filepath.Join(dir, "n2"), Learner: true, Timeout: 500 * time.Millisecond,
		Join: []string{first.Address()}, Token: "@" + filepath.Join(dir, "n1", "join-token")})
	open := func(n *Node) *driver.Conn {
		connector, err := driver.NewConnector(driver.Config{Addresses: []string{n.Address()}, Credential: filepath.Join(dir, "n1", "admin.pem")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { connector.Close() })
		conn, err := connector.Open(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	do := func(results *driver.Results, err error) error {
		if err != nil {
			return err
		}
		for results.NextResult() {
			for results.Next() {
			}
		}
		return results.Close()
	}
	leader, follower := open(first), open(second)
	if err := second.replica.WaitApplied(ctx, first.engine.Applied()); err != nil {
		t.Fatal(err)
	}

	content := &stuck{began: make(chan struct{}), free: make(chan struct{})}
	over := make(chan struct{})
	go func() { // the second node applies nothing from here on
		defer close(over)
		if err := second.engine.Restore(raft.SnapshotMeta{Size: 1}, content); err == nil {
			t.Error("a snapshot without content was installed")
		}
	}()
	defer func() {
		close(content.free)
		<-over
	}()
	<-content.began
	if err := do(leader.Control(ctx, "set", "sql.foreign_keys=off", "sql.max_statement_bytes=4000")); err != nil {
		t.Fatal(err)
	}
	if err := do(leader.Execute(ctx, driver.Request{SQL: "create table late(a)"})); err != nil {
		t.Fatal(err)
	}
	long := "select 1 /*" + strings.Repeat("x", 3000) + "*/"
	for name, sql := range map[string]string{"sql": "select a from late", "too large": long, "denied": "pragma foreign_keys = off"} {
		if err := do(follower.Execute(ctx, driver.Request{SQL: sql})); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := do(follower.Execute(ctx, driver.Request{SQL: sql, Level: driver.LevelLocal, ReadOnly: true})); err == nil {
			t.Errorf("%s: what this node has is enough", name)
		}
	}
	for _, sql := range []string{"attach 'x' as y", "selec 1", "select 1 /*" + strings.Repeat("x", 5000) + "*/"} {
		err := do(follower.Execute(ctx, driver.Request{SQL: sql}))
		if err == nil || strings.Contains(fmt.Sprint(err), "unknown") {
			t.Errorf("%.30s: %v", sql, err)
		}
	}
}
