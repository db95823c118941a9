package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/rsqld/rsqld/db"
)

// TestHelp proves the texts of help, which are kept in testdata/help.
func TestHelp(t *testing.T) {
	datadriven.RunTest(t, "testdata/help", func(t *testing.T, d *datadriven.TestData) string {
		w := newWorld(strings.Fields(strings.TrimPrefix(d.FullCmd(), "rsqld"))...)
		if code := w.run(); code != 0 || w.err.String() != "" {
			t.Errorf("%s exits with %d: %s", d.Pos, code, w.err.String())
		}
		return w.out.String()
	})
}

// TestHelpWays proves that all ways to ask for help get the same.
func TestHelpWays(t *testing.T) {
	for _, pair := range [][2]string{{"help sql", "sql --help"}, {"help sql", "sql -h"}, {"help sql", "sql -help"}, {"help", "--help"}, {"help", "-h"}} {
		a, b := newWorld(strings.Fields(pair[0])...), newWorld(strings.Fields(pair[1])...)
		if a.run() != 0 || b.run() != 0 || a.out.String() != b.out.String() || a.out.String() == "" {
			t.Errorf("%q and %q differ", pair[0], pair[1])
		}
	}
}

// TestVersion proves that the version is printed, whichever way it is asked for.
func TestVersion(t *testing.T) {
	for _, args := range []string{"version", "--version", "-version"} {
		w := newWorld(args)
		if code := w.run(); code != 0 || !strings.HasPrefix(w.out.String(), fmt.Sprintf("rsqld %s", db.Version)) {
			t.Errorf("%s exits with %d: %q", args, code, w.out.String())
		}
	}
}

// TestSummaries proves that every command can be explained.
func TestSummaries(t *testing.T) {
	for _, c := range commands() {
		if c.summary == "" || !strings.HasPrefix(usageLine(c), "rsqld ") {
			t.Errorf("%s has summary %q and usage %q", c.name, c.summary, usageLine(c))
		}
	}
}
