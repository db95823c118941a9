package testcluster_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/sqlite"
)

// subcommand runs a subcommand on the cluster of a node and returns what it printed and its exit code.
func (p *process) subcommand(args ...string) (printed string, code int) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, binary, append(args, "--addr", p.address, "--cred", adminOf(p))...)
	out, err := c.CombinedOutput()
	if err != nil && c.ProcessState == nil {
		p.t.Fatal(err)
	}
	return string(out), c.ProcessState.ExitCode()
}

// TestVerifyCommand proves: rsqld verify shows one hash a node beside running writes, all equal; finds one changed value in the
// file of one of them, and ends with 1; and says of a node that cannot be asked that it cannot.
func TestVerifyCommand(t *testing.T) {
	nodes := trio(t)
	leader := leaderOf(t, nodes...)
	w := startWriters(t, 4, nodes...)
	w.awaitAcks(200)
	printed, code := nodes[1].subcommand("verify")
	if code != 0 || strings.Count(printed, "equal") != 3 {
		t.Errorf("exit %d:\n%s", code, printed)
	}
	w.awaitAcks(20)
	w.finish()

	other := except(nodes, leader)[0]
	other.stop()
	databases, err := filepath.Glob(filepath.Join(other.data, "db", "*", "main.sqlite"))
	if err != nil || len(databases) != 1 {
		t.Fatal(databases, err)
	}
	conn, err := sqlite.Open(databases[0], sqlite.CheckpointOptions())
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Exec("update written set writer = writer + 100 where k = (select min(k) from written)"); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	other.start()
	printed, code = leader.subcommand("verify")
	if code != 1 || strings.Count(printed, "equal") != 2 || strings.Count(printed, "differs") != 1 || !strings.Contains(printed, "hold different rows") {
		t.Errorf("with one changed value, exit %d:\n%s", code, printed)
	}
	other.kill()
	printed, code = leader.subcommand("verify")
	if code != 1 || strings.Count(printed, "equal") != 2 || !strings.Contains(printed, "could not be compared") {
		t.Errorf("without one node, exit %d:\n%s", code, printed)
	}
}

// TestSetCommand proves: settings of a cluster are changed through any node, act at once on all, and a wrong one is refused in words.
func TestSetCommand(t *testing.T) {
	nodes := trio(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	nodes[0].exec("create table p(id integer primary key)", "create table c(p references p(id))")
	if printed, code := nodes[1].subcommand("set", "sql.foreign_keys=off"); code != 0 || !strings.Contains(printed, "sql.foreign_keys") || !strings.Contains(printed, "off") {
		t.Errorf("exit %d: %s", code, printed)
	}
	for _, p := range nodes {
		p.exec("insert into c values(99)")
	}
	if printed, code := nodes[2].subcommand("set", "sql.nothing=1"); code != 1 || !strings.Contains(printed, "sql.nothing") {
		t.Errorf("an unknown setting, exit %d: %s", code, printed)
	}
	if printed, code := nodes[2].subcommand("set", "sql.foreign_keys"); code != 1 || !strings.Contains(printed, "NAME=VALUE") {
		t.Errorf("without a value, exit %d: %s", code, printed)
	}
	equalContent(ctx, t, nodes)
}
