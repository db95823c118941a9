package repl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// .dump prints the text and nothing else where results go, tells the rest on stderr, and passes patterns and level on; --to
// writes a file that appears whole.
func TestDump(t *testing.T) {
	dir := t.TempDir()
	x := &exporter{pieces: [][]any{{[]byte("BEGIN;\n")}, {[]byte("COMMIT;\n")}}, announced: 99}
	out, told, err := exportShell(t, x, Options{Level: "local"}, ".dump t% 'a b'")
	if out != "BEGIN;\nCOMMIT;\n" || err != nil || !strings.Contains(told, "dumped as of index 42 from n1 to stdout, 15 B in ") {
		t.Errorf("%q, %q, %v", out, told, err)
	}
	if got := strings.Join(x.asked, "|"); got != "dump|local|t%|a b" {
		t.Errorf("it asked for %s", got)
	}
	for _, line := range []string{".output DIR/a.sql\n.dump", ".dump --to DIR/b.sql", ".dump --to DIR/b.sql --force"} {
		out, told, err := exportShell(t, x, Options{Terminal: true}, strings.ReplaceAll(line, "DIR", dir))
		path := filepath.Join(dir, "a.sql")
		if strings.Contains(line, "--to") {
			path = filepath.Join(dir, "b.sql")
		}
		if content, read := os.ReadFile(path); err != nil || out != "" || string(content) != "BEGIN;\nCOMMIT;\n" {
			t.Errorf("%s: %v, %q, %q, file %q, %v", line, err, out, told, content, read)
		}
	}
	for line, says := range map[string]string{
		".dump --to DIR/b.sql": "exists", ".dump --to": "needs a file", ".dump --force": "for the file of --to", ".dump --tu x": "did you mean --to?",
	} {
		if _, told, err := exportShell(t, x, Options{}, strings.ReplaceAll(line, "DIR", dir)); err == nil || !strings.Contains(told, says) {
			t.Errorf("%s: %v, says %q", line, err, told)
		}
	}
}
