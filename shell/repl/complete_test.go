package repl

import (
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestComplete proves what Tab offers at each place.
func TestComplete(t *testing.T) {
	fake := newFake()
	fake.prefix["SELECT m.name, c.name FROM"] = &answer{rows: [][]any{
		{"users", "id"}, {"users", "name"}, {"orders", "id"}, {"orders", "owner"},
	}}
	shell, err := New(Options{Client: fake, Stdout: io.Discard, Stderr: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		before, after string
		head          string
		want          []string
	}{
		{"sel", "", "", []string{"select"}},
		{"SEL", " 1", "", []string{"SELECT"}},
		{"select * from us", "", "select * from ", []string{"users", "using"}},
		{"select O", "", "select ", []string{"orders", "owner", "OF", "OFFSET", "ON", "OR", "ORDER", "OTHERS", "OUTER", "OVER"}},
		{"select users.", "", "select ", []string{"users.id", "users.name"}},
		{"select é, orders.OW", "", "select é, ", []string{"orders.owner"}},
		{"select nosuch.", "", "select ", nil},
		{"select ", "", "select ", nil},
		{".ta", "", "", []string{".tables"}},
		{".mode j", "", ".mode ", []string{"json", "jsonl"}},
		{".level l", "", ".level ", []string{"local", "linearizable"}},
		{".timer o", "", ".timer ", []string{"on", "off"}},
		{".schema us", "", ".schema ", []string{"users"}},
		{".import --t", "", ".import ", []string{"--tabs"}},
		{".help tab", "", ".help ", []string{"tables"}},
	} {
		head, got, tail := shell.Complete(c.before+c.after, len([]rune(c.before)))
		if head != c.head || tail != c.after || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q is completed to %q %q %q, want %q %q", c.before, head, got, tail, c.head, c.want)
		}
	}
	if reads := len(fake.seen); reads != 1 {
		t.Errorf("the schema was read %d times", reads)
	}
	if err := shell.Script(t.Context(), "", strings.NewReader("CREATE TABLE x(y);")); err == nil {
		t.Fatal("the fake made a table")
	}
	shell.Complete("us", 2)
	if reads := len(fake.seen); reads != 3 {
		t.Errorf("after DDL the schema was not read again: %q", fake.seen)
	}
}

// TestCompleteFiles proves that commands that take a file complete its name.
func TestCompleteFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "script.sql")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	shell, err := New(Options{Client: newFake(), Stdout: io.Discard, Stderr: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	line := ".read " + path[:len(path)-5]
	if _, got, _ := shell.Complete(line, len([]rune(line))); !reflect.DeepEqual(got, []string{path}) {
		t.Errorf("%q is completed to %q", line, got)
	}
}
