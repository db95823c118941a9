package repl

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// exporter is a client whose node exports pieces.
type exporter struct {
	fakeClient
	pieces [][]any
	// announced is how many bytes the last stage says.
	announced int64
	err       error // at the end of the pieces
	asked     []string
	onPiece   func(int)
}

func (x *exporter) Control(_ context.Context, verb string, args ...string) (Results, error) {
	x.asked = append([]string{verb}, args...)
	return &exported{exporter: x}, nil
}

// exported is the two results of an export.
type exported struct {
	*exporter
	result, row int
}

func (r *exported) NextResult() bool  { r.result++; r.row = 0; return r.result <= 2 }
func (r *exported) Columns() []Column { return nil }
func (r *exported) Done() Done        { return Done{} }
func (r *exported) Close() error      { return nil }
func (r *exported) stages() [][]any {
	return [][]any{{"copying", int64(41), int64(9), nil}, {"ready", int64(42), r.announced, "a row breaks a check"}}
}

func (r *exported) Next() bool {
	r.row++
	if r.result == 1 {
		return r.row <= len(r.stages())
	}
	if r.onPiece != nil {
		r.onPiece(r.row)
	}
	return r.row <= len(r.pieces)
}

func (r *exported) Row() []any {
	if r.result == 1 {
		return r.stages()[r.row-1]
	}
	return r.pieces[r.row-1]
}

func (r *exported) Err() error {
	if r.result == 2 {
		return r.err
	}
	return nil
}

// exportShell runs one command on a shell with an exporter and returns what it prints.
func exportShell(t *testing.T, x *exporter, options Options, line string) (stdout, stderr string, err error) {
	t.Helper()
	var out, told bytes.Buffer
	clock := time.Unix(0, 0)
	x.place = Place{Node: 1, Name: "n1", Leader: true}
	options.Client, options.Stdout, options.Stderr = x, &out, &told
	options.Now = func() time.Time { clock = clock.Add(1300 * time.Millisecond); return clock }
	shell, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	err = shell.Script(t.Context(), "", strings.NewReader(line))
	if closed := shell.Close(); closed != nil {
		t.Error(closed)
	}
	return out.String(), told.String(), err
}

// A backup appears whole under its name, for its owner alone, and the closing line names the index and the node; progress is a
// line every five seconds.
func TestBackupFile(t *testing.T) {
	x := &exporter{pieces: [][]any{{[]byte("SQLite ")}, {[]byte("format 3")}}, announced: 15}
	path := filepath.Join(t.TempDir(), "b.sqlite")
	_, told, err := exportShell(t, x, Options{}, ".backup "+path)
	content, read := os.ReadFile(path)
	if err != nil || read != nil || string(content) != "SQLite format 3" {
		t.Fatalf("%v, %v, %q\n%s", err, read, content, told)
	}
	const want = "warning: a row breaks a check\nbackup: 7 B of 15 B, 5 B/s, 1s left\n"
	if !strings.HasPrefix(told, want) || !strings.Contains(told, "backed up as of index 42 from n1 to "+path+", 15 B in ") {
		t.Errorf("it says %q, want %q", told, want)
	}
	if info, _ := os.Stat(path); info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the mode is %v", info.Mode())
	}
	if strings.Join(x.asked, "|") != "backup|" {
		t.Errorf("it asked for %q", x.asked)
	}
	if _, _, err := exportShell(t, x, Options{Level: "local"}, ".backup --force "+path); err != nil || x.asked[1] != "local" {
		t.Errorf("at level local: %v, asked for %q", err, x.asked)
	}
}

// A backup that fails, is cut short or is interrupted leaves no file, and an existing one as it was; without --force an
// existing one is not touched at all.
func TestBackupLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "b.sqlite")
	piece := [][]any{{[]byte("SQLite ")}}
	lost := &Error{Class: ClassProtocol, Message: "the node went away", Offset: -1}
	for name, test := range map[string]struct {
		exporter
		says string
	}{
		"fails":     {exporter{pieces: piece, err: lost}, "went away"},
		"cut short": {exporter{pieces: piece, announced: 9}, "has sent 7 bytes of 9"},
		"malformed": {exporter{pieces: [][]any{{"text"}}}, "instead of a piece"},
	} {
		_, told, err := exportShell(t, &test.exporter, Options{}, ".backup "+path)
		if left, _ := os.ReadDir(dir); err == nil || len(left) != 0 || !strings.Contains(told, test.says) {
			t.Errorf("%s: %v, left %v, says %q", name, err, left, told)
		}
	}

	interrupts := make(chan os.Signal)
	x := &exporter{pieces: piece, err: errors.New("cancelled")}
	x.onPiece = func(row int) {
		if row == 1 {
			interrupts <- os.Interrupt
		}
	}
	_, told, err := exportShell(t, x, Options{Interrupts: interrupts}, ".backup "+path)
	var exit *Exit
	if left, _ := os.ReadDir(dir); !errors.As(err, &exit) || exit.Code != ExitInterrupted || len(left) != 0 {
		t.Errorf("interrupted: %v, left %v, says %q", err, left, told)
	}

	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{".backup " + path, ".backup --force " + path} {
		if _, _, err := exportShell(t, &exporter{pieces: piece, err: lost}, Options{}, line); err == nil {
			t.Errorf("%s succeeds", line)
		}
		if content, err := os.ReadFile(path); string(content) != "old" {
			t.Errorf("after %s the file holds %q, %v", line, content, err)
		}
	}
	if _, told, _ := exportShell(t, &exporter{pieces: piece}, Options{}, ".backup "+path); !strings.Contains(told, "--force replaces it") {
		t.Errorf("of an existing file it says %q", told)
	}
	if _, told, err := exportShell(t, &exporter{pieces: piece, announced: 7}, Options{}, ".backup --force "+path); err != nil {
		t.Error(told, err)
	}
	if content, err := os.ReadFile(path); string(content) != "SQLite " {
		t.Errorf("--force leaves %q, %v", content, err)
	}
}

// A backup to stdout is the bytes and nothing else; a terminal does not get it.
func TestBackupStdout(t *testing.T) {
	x := &exporter{pieces: [][]any{{[]byte("\x00\xff")}}}
	if out, told, err := exportShell(t, x, Options{}, ".backup -"); out != "\x00\xff" || err != nil || !strings.Contains(told, "from n1 to stdout") {
		t.Errorf("%q, %q, %v", out, told, err)
	}
	if out, told, err := exportShell(t, x, Options{Terminal: true}, ".backup -"); out != "" || err == nil || !strings.Contains(told, "is a terminal") {
		t.Errorf("on a terminal: %q, %q, %v", out, told, err)
	}
}
