package cli

import (
	"path/filepath"
	"strings"
	"testing"
)

// rsqld backup and rsqld dump do what the dot commands of their names do, with the level and the tables that were asked for; a
// backup needs a file, and no terminal gets one.
func TestExportCommands(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	for _, test := range []struct {
		args, control string
	}{
		{"backup " + path, "backup "},
		{"backup --local " + path, "backup local"},
		{"backup -force " + path, "backup "},
		{"dump", "dump "},
		{"dump --local " + path, "dump local"},
		{"dump --table t% --table u", "dump  t% u"},
	} {
		w := newWorld(strings.Fields(test.args)...)
		w.run() // the fake's answer is no export
		if len(w.cluster.control) != 1 || w.cluster.control[0] != test.control {
			t.Errorf("rsqld %s asks for %q, want %q; it says %s", test.args, w.cluster.control, test.control, w.err.String())
		}
	}
	newWorld("backup").expect(t, 2, "", "into which file? usage: rsqld backup FILE")
	w := newWorld("backup", "-")
	w.StdoutTerminal = true
	w.expect(t, 2, "", "stdout is a terminal")
	newWorld("dump", "--force").expect(t, 2, "", "--force is for a FILE")
}
