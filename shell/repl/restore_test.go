package repl

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rsqld/rsqld/db/sqlite"
)

// receiver is a client whose nodes take files.
type receiver struct {
	*fakeClient
	nodes [2]bytes.Buffer // what has come to each
	asked []string        // verbs, without pieces
	// leaves is after how many requests the session moves to the other node; zero: never.
	leaves int
	// refuse are the answers to restore, in order; nil is done.
	refuse []error
	// silent cannot read what the cluster holds.
	silent bool
}

func (r *receiver) Control(ctx context.Context, verb string, args ...string) (Results, error) {
	r.asked = append(r.asked, verb)
	if r.leaves > 0 && len(r.asked) > r.leaves {
		r.leaves, r.place.Node = 0, 2
	}
	here := &r.nodes[r.place.Node-1]
	switch verb {
	case "upload":
		if len(args) == 4 && args[2] == fmt.Sprint(here.Len()) {
			piece, err := base64.StdEncoding.DecodeString(args[3])
			if err != nil {
				return nil, err
			}
			here.Write(piece)
		}
		return &fakeResults{answer: &answer{rows: [][]any{{int64(here.Len())}}}, at: -1}, nil
	case "restore":
		if fmt.Sprint(here.Len()) != args[1] {
			return nil, &Error{Class: ClassProtocol, Message: "it is not here", Offset: -1}
		}
		var err error
		if len(r.refuse) > 0 {
			err, r.refuse = r.refuse[0], r.refuse[1:]
		}
		return &fakeResults{answer: &answer{rows: [][]any{{"the leader gets the file"}}, err: err}, at: -1}, nil
	}
	return r.fakeClient.Control(ctx, verb, args...)
}

// restoreShell runs commands on a shell with a receiver and returns what it prints.
func restoreShell(t *testing.T, r *receiver, confirm func(string) bool, script string) (told string, err error) {
	t.Helper()
	r.fakeClient = newFake()
	r.answers["control status"] = &answer{rows: [][]any{{"cluster", "c1"}, {"db_bytes", "4096"}}}
	if !r.silent {
		r.prefix["SELECT count(*) FROM sqlite_schema"] = &answer{rows: [][]any{{int64(3)}}}
	}
	var out bytes.Buffer
	options := Options{Client: r, Stdout: io.Discard, Stderr: &out}
	if confirm != nil {
		options.Confirm = func(_ context.Context, question string) (bool, error) { return confirm(question), nil }
	}
	t.Setenv("TMPDIR", t.TempDir())
	shell, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	err = shell.Script(t.Context(), "", strings.NewReader(script))
	if left, _ := os.ReadDir(os.TempDir()); len(left) != 0 {
		t.Errorf("it leaves %v", left)
	}
	return out.String(), err
}

// largeFile is a database whose prepared file takes several pieces.
func largeFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "large.db")
	conn, err := sqlite.Open(path, sqlite.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Exec("create table a(x); insert into a values(randomblob(3000000)); create table b(x)"); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// A restore says what goes and what comes, asks, and brings the whole file; without a yes nothing is sent.
func TestRestore(t *testing.T) {
	path := largeFile(t)
	r, asked := &receiver{}, ""
	told, err := restoreShell(t, r, func(question string) bool { asked = question; return true }, ".restore "+path)
	const holds = "cluster c1 holds 3 tables, 4.0 KiB: all of it will be replaced\n"
	if err != nil || asked != "replace it? [y/N] " || !strings.HasPrefix(told, holds+path+" brings 2 tables, 2.9 MiB\n") ||
		!strings.Contains(told, "restored "+path+" as of index 0, 2 tables, 2.9 MiB in ") {
		t.Errorf("%v, it asks %q and says\n%s", err, asked, told)
	}
	if !bytes.HasPrefix(r.nodes[0].Bytes(), []byte("SQLite format 3\x00")) || r.nodes[0].Len() < 3000000 {
		t.Errorf("%d bytes came", r.nodes[0].Len())
	}
	r = &receiver{}
	if told, err := restoreShell(t, r, func(string) bool { return false }, ".restore "+path); err == nil || !strings.Contains(told, "nothing was changed") || len(r.asked) != 1 {
		t.Errorf("without a yes: %v, %v, %s", err, r.asked, told)
	}
	r = &receiver{silent: true}
	if told, err := restoreShell(t, r, func(string) bool { return true }, ".restore "+path); err == nil || len(r.asked) != 1 {
		t.Errorf("of a cluster that cannot be read: %v, %v, %s", err, r.asked, told)
	}
	r = &receiver{silent: true}
	if told, err := restoreShell(t, r, nil, ".restore --yes "+path); err != nil || !strings.Contains(told, "does not tell what it holds") {
		t.Errorf("of a cluster that cannot be read, with --yes: %v, %s", err, told)
	}
	for script, want := range map[string]string{
		".restore " + path:             "add --yes",
		".restore --yes":               "usage: .restore [--yes] FILE",
		".restore --force " + path:     "unknown option \"--force\"",
		".restore --yes " + os.Args[0]: "is no SQLite database",
	} {
		r := &receiver{}
		if told, err := restoreShell(t, r, nil, script); err == nil || !strings.Contains(told, want) || len(r.asked) != 0 {
			t.Errorf("%s: %v, %v, %s", script, err, r.asked, told)
		}
	}
}

// A restore whose node goes away brings the file to the next one, from where that one has it; one whose leader goes away before
// anything has changed is begun again, and one whose outcome nobody knows is not.
func TestRestoreMoves(t *testing.T) {
	path := largeFile(t)
	for _, leaves := range []int{3, 4, 5} { // in the middle of the file, before its last piece, and after it
		r := &receiver{leaves: leaves}
		if told, err := restoreShell(t, r, nil, ".restore --yes "+path); err != nil || r.nodes[1].Len() < 3000000 {
			t.Errorf("it moved after %d requests: %v, %d bytes, %s", leaves, err, r.nodes[1].Len(), told)
		}
	}
	gone := &Error{Class: ClassNoQuorum, Message: "nobody leads", Offset: -1}
	r := &receiver{refuse: []error{gone, gone}}
	if told, err := restoreShell(t, r, nil, ".restore --yes "+path); err != nil || strings.Count(fmt.Sprint(r.asked), "restore") != 3 {
		t.Errorf("without a leader: %v, %v, %s", err, r.asked, told)
	}
	r = &receiver{refuse: []error{&Error{Class: ClassOutcomeUnknown, Message: "who knows", Offset: -1}}}
	if told, err := restoreShell(t, r, nil, ".restore --yes "+path); err == nil || strings.Count(fmt.Sprint(r.asked), "restore") != 1 || !strings.Contains(told, "who knows") {
		t.Errorf("with an unknown outcome: %v, %v, %s", err, r.asked, told)
	}
}
