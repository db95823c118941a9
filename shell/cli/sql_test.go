package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSQL proves what runs from -c, -f and stdin, in which order, and how it ends.
func TestSQL(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.sql")
	if err := os.WriteFile(path, []byte("select file;\n.mode csv\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	newWorld("sql", "-c", "select 1; select 2", "-f", path, "-c", ".mode json", "-c", "select 3").
		expect(t, 0, "x\nselect 1;\nx\nselect 2\nx\nselect file;\n[{\"x\":\"select 3\"}]\n", "")

	w := newWorld("sql")
	w.Stdin = strings.NewReader("select 1;\nselect 2\n")
	w.expect(t, 0, "x\nselect 1;\nx\nselect 2\n", "")

	w = newWorld("sql", "-f", "-")
	w.Stdin = strings.NewReader("select 1;\nselect bad;select 2;")
	w.expect(t, 1, "x\nselect 1;\n", "error: bad things happen\n  at stdin:2\n")

	w = newWorld("sql", "--keep-going", "--format", "list", "-c", "select bad; select 1;", "-c", "select 2")
	w.expect(t, 1, "select 1;\nselect 2\n", "error: bad things happen\n")

	newWorld("sql", "-c", "select bad", "-c", "select 1").expect(t, 1, "", "error: bad things happen\n")
	newWorld("sql", "-c", "select 1;\n.quit", "-c", "select 2").expect(t, 0, "x\nselect 1;\n", "")
	newWorld("sql", "-c", ".exit 7", "-c", "select 2").expect(t, 7, "", "")
	newWorld("sql", "-c", ".quit", "-c", "select 2").expect(t, 0, "", "")
	newWorld("sql", "-f", "no-such-file").expect(t, 1, "", "no-such-file")
	newWorld("sql", "--format", "json", "-c", "").expect(t, 0, "", "")
}

// TestSQLTerminal proves that a terminal gets boxes, and that -c needs no terminal.
func TestSQLTerminal(t *testing.T) {
	w := newWorld("sql", "-c", "select 1")
	w.StdoutTerminal, w.StdinTerminal = true, true
	w.expect(t, 0, "╭──────────╮\n│ x        │\n├──────────┤\n│ select 1 │\n╰──────────╯\n", "")
}

// TestConnecting proves how a command finds its cluster, and what it says if it cannot.
func TestConnecting(t *testing.T) {
	w := newWorld("sql", "10.0.0.1:4001", "--cred", "c.pem", "--level", "strong", "-c", "select 1")
	w.run()
	if want := (target{"10.0.0.1:4001", "c.pem", "strong"}); w.target != want {
		t.Errorf("it connects to %+v, want %+v", w.target, want)
	}
	if got := w.cluster.seen[0].Level; got != "strong" {
		t.Errorf("it reads at level %q", got)
	}
	w = newWorld("nodes")
	w.variables["RSQLD_ADDR"] = "10.0.0.2:4001"
	w.run()
	if want := (target{"10.0.0.2:4001", "admin.pem", ""}); w.target != want {
		t.Errorf("it connects to %+v, want %+v", w.target, want)
	}
	w = newWorld("sql", "-c", "select 1")
	delete(w.variables, "RSQLD_CRED")
	t.Chdir(t.TempDir())
	w.expect(t, 2, "", "no credential: give one with --cred FILE or RSQLD_CRED; ./rsqld-data/admin.pem is not there either")
	if err := errors.Join(os.Mkdir("rsqld-data", 0o700), os.WriteFile(filepath.FromSlash(defaultCredential), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	w = newWorld("sql", "-c", "select 1")
	delete(w.variables, "RSQLD_CRED")
	w.expect(t, 0, "x\nselect 1\n", "")
	for _, command := range []string{"sql", "nodes", "token", "health", "bench"} {
		w = newWorld(command)
		w.cluster.refuse = errors.New("nobody listens")
		w.expect(t, 2, "", fmt.Sprintf("rsqld %s: cannot connect to 127.0.0.1:4001: nobody listens\n", command))
	}
}

// TestMembers proves that the commands about members do what their dot commands do.
func TestMembers(t *testing.T) {
	for args, want := range map[string][2]string{
		"nodes":             {"nodes", "x\nnodes\n"},
		"promote 3":         {"promote 3", "x\npromote 3\n"},
		"remove n3":         {"remove n3", "x\nremove n3\n"},
		"transfer":          {"transfer", "x\ntransfer\n"},
		"transfer 2":        {"transfer 2", "x\ntransfer 2\n"},
		"token":             {"token", "token\n"},
		"token --learner":   {"token learner", "token learner\n"},
		"health":            {"status", "ok\n"},
		`promote "a\b;--" `: {`promote "a\b;--"`, "x\n\"promote \"\"a\\b;--\"\"\"\n"},
	} {
		w := newWorld(strings.Fields(args)...)
		w.expect(t, 0, want[1], "")
		if len(w.cluster.control) != 1 || w.cluster.control[0] != want[0] {
			t.Errorf("%q asks for %q, want %q", args, w.cluster.control, want[0])
		}
	}
	newWorld("health", "--ready").expect(t, 1, "", "rsqld health: no quorum\n")
}

// TestInteractivePrecondition proves that a shell without a terminal for both ends reads a script.
func TestInteractivePrecondition(t *testing.T) {
	w := newWorld("sql", "--format", "csv")
	w.StdoutTerminal = true
	w.Stdin = strings.NewReader("select 1;")
	w.expect(t, 0, "x\nselect 1;\n", "")
}

// TestHistoryPath proves where the history is kept.
func TestHistoryPath(t *testing.T) {
	w := newWorld()
	w.variables["XDG_STATE_HOME"] = "/state"
	if got := filepath.ToSlash(w.historyPath()); got != "/state/rsqld/history" {
		t.Errorf("the history is at %q", got)
	}
	t.Setenv("HOME", "/home/me")
	delete(w.variables, "XDG_STATE_HOME")
	if got := filepath.ToSlash(w.historyPath()); os.PathSeparator == '/' && got != "/home/me/.local/state/rsqld/history" {
		t.Errorf("the history is at %q", got)
	}
}

// TestColor proves when colours are printed.
func TestColor(t *testing.T) {
	w := newWorld()
	if w.color() {
		t.Error("a pipe gets colours")
	}
	w.StdoutTerminal, w.StderrTerminal = true, true
	if w.color() != ansi {
		t.Errorf("a terminal gets colours: %t", !ansi)
	}
	w.variables["TERM"] = "dumb"
	if w.color() {
		t.Error("a dumb terminal gets colours")
	}
	w.variables["TERM"], w.variables["NO_COLOR"] = "xterm", ""
	if w.color() {
		t.Error("NO_COLOR is not respected")
	}
}
