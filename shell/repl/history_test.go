package repl

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func openHistory(t *testing.T, path string) *History {
	t.Helper()
	h, err := OpenHistory(path)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func remember(t *testing.T, h *History, entries ...string) {
	t.Helper()
	for _, entry := range entries {
		if err := h.Add(entry); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHistoryRoundTrip proves that entries of any text come back whole and in order, that repetitions are left out,
// and that the file is its owner's alone.
func TestHistoryRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "rsqld", "history")
	h := openHistory(t, path)
	want := []string{"select 1;", "select\n  '␤\"\\n',\n\t2;", "-- é\x00\xff;", ".quit"}
	remember(t, h, want...)
	remember(t, h, ".quit", "  \n", strings.Repeat("x", historyBytes+1))
	other := openHistory(t, path)
	if got := other.Entries(); !reflect.DeepEqual(got, want) {
		t.Errorf("the history is %q, want %q", got, want)
	}
	stat, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := stat.Mode().Perm(); mode != 0o600 && os.PathSeparator == '/' {
		t.Errorf("the history has mode %o", mode)
	}
	// Two shells at once lose nothing of each other.
	remember(t, h, "one")
	remember(t, other, "two")
	if got := openHistory(t, path).Entries(); !reflect.DeepEqual(got, append(want, "one", "two")) {
		t.Errorf("two shells leave %q", got)
	}
}

// TestHistoryBounded proves that neither the file nor the list grows without end, and that the newest are kept.
func TestHistoryBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history")
	var b strings.Builder
	b.WriteString(historyFormat + "\n")
	for i := range 3 * historyEntries {
		fmt.Fprintf(&b, "%q\n", fmt.Sprintf("select %d;", i))
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	got := openHistory(t, path).Entries()
	if len(got) != historyEntries || got[len(got)-1] != "select 2999;" {
		t.Errorf("%d entries are kept, the last is %q", len(got), got[len(got)-1])
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(content), "\n"); lines != historyEntries+1 {
		t.Errorf("the file has %d lines", lines)
	}
}

// TestHistoryDamaged proves that a torn line costs only itself, and that a file of another kind is left alone.
func TestHistoryDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history")
	if err := os.WriteFile(path, []byte(historyFormat+"\n\"a\"\n\"b\n\"c\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := openHistory(t, path).Entries(); !reflect.DeepEqual(got, []string{"a", "c"}) {
		t.Errorf("a damaged history is read as %q", got)
	}
	foreign := "a letter to my aunt\n"
	if err := os.WriteFile(path, []byte(foreign), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenHistory(path); err == nil || !strings.Contains(err.Error(), "a letter to my aunt") {
		t.Errorf("a foreign file gives %v", err)
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != foreign {
		t.Errorf("the foreign file is now %q, %v", content, err)
	}
}
