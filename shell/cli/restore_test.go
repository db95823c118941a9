package cli

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/shell/repl"
)

// rsqld restore asks at a terminal, and nobody else restores without --yes.
func TestRestoreCommand(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.db")
	conn, err := sqlite.Open(path, sqlite.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Exec("create table a(x)"); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	newWorld("restore").expect(t, 2, "", "from which file? usage: rsqld restore FILE")
	newWorld("restore", path).expect(t, 2, "", "add --yes")
	for answer, sent := range map[string]bool{"y\n": true, "Yes": true, "n\n": false, "": false} {
		w := newWorld("restore", path)
		w.StdinTerminal, w.StderrTerminal = true, true
		w.Stdin = strings.NewReader(answer)
		w.cluster.control = nil
		w.cluster.answer = func(context.Context, repl.Request) ([][]any, error) { return [][]any{{int64(2)}}, nil }
		w.cluster.rows = map[string][][]any{"status": {{"cluster", "c1"}, {"db_bytes", "1"}}}
		code := w.run() // the fake takes no file
		if got := strings.Contains(strings.Join(w.cluster.control, "|"), "upload"); got != sent || code != 1 || !strings.Contains(w.err.String(), "replace it? [y/N] ") {
			t.Errorf("the answer %q: sent %t, exit %d, %s", answer, got, code, w.err.String())
		}
	}
}
