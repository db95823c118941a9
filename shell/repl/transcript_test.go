package repl

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestTranscripts proves that each script of testdata prints what stands below it, stderr marked with "2> ".
//
//	answer            the fake cluster's answer to a request, see parseAnswer
//	script [terminal] [keep-going] [color] [width=N] [name=NAME] [seen]
//	                  runs a script on a new shell; seen lists the requests that were sent
//	type              a person types the lines; ^C and ^D are keys
//	file NAME         writes a file that scripts find as DIR/NAME
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		fake, dir := newFake(), t.TempDir()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "answer":
				fake.parseAnswer(t, d.Input)
				return ""
			case "file":
				name, content := d.CmdArgs[0].Key, d.Input+"\n"
				content = strings.NewReplacer(`\r`, "\r", `\ufeff`, "\ufeff", "DIR", dir).Replace(content)
				if d.HasArg("bare") {
					content = strings.TrimSuffix(content, "\n")
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
				return ""
			case "show":
				content, err := os.ReadFile(filepath.Join(dir, d.CmdArgs[0].Key))
				if err != nil {
					return err.Error() + "\n"
				}
				return string(content)
			case "script", "type":
				out := play(t, fake, d, strings.ReplaceAll(d.Input, "DIR", dir))
				return strings.ReplaceAll(out, dir, "DIR")
			}
			t.Fatalf("%s: unknown directive %q", d.Pos, d.Cmd)
			return ""
		})
	})
}

// play runs one script or typed session and returns its transcript.
func play(t *testing.T, fake *fakeClient, d *datadriven.TestData, input string) string {
	t.Helper()
	out, fakePlace := &transcript{}, fake.place
	fake.seen = nil
	clock := time.Unix(0, 0)
	options := Options{
		Client: fake, Stdout: out, Stderr: &marked{to: out},
		Terminal: d.HasArg("terminal"), KeepGoing: d.HasArg("keep-going"), Color: d.HasArg("color"),
		Now: func() time.Time { clock = clock.Add(1500 * time.Microsecond); return clock },
	}
	width := 0
	d.MaybeScanArgs(t, "width", &width)
	if width > 0 {
		options.Width = func() int { return width }
	}
	d.MaybeScanArgs(t, "mode", &options.Mode)
	shell, err := New(options)
	if err != nil {
		return err.Error() + "\n"
	}
	var name string
	d.MaybeScanArgs(t, "name", &name)
	if d.Cmd == "type" {
		err = shell.Interact(t.Context(), &typist{lines: strings.Split(input, "\n"), out: out})
	} else {
		err = shell.Script(t.Context(), name, strings.NewReader(input))
	}
	if closed := shell.Close(); closed != nil {
		fmt.Fprintln(out, closed)
	}
	var exit *Exit
	if errors.As(err, &exit) {
		fmt.Fprintln(out, exit)
	} else if err != nil {
		t.Fatalf("%s: %v is no exit", d.Pos, err)
	}
	if d.HasArg("seen") {
		fmt.Fprintln(out, strings.Join(fake.seen, "\n"))
	}
	fake.place = fakePlace
	return out.String()
}

// typist is an Editor that types lines and shows what a person would see.
type typist struct {
	lines []string
	out   *transcript
}

func (y *typist) Prompt(prompt string) (string, error) {
	if len(y.lines) == 0 {
		return "", errors.New("the typist ran out of lines")
	}
	line := y.lines[0]
	y.lines = y.lines[1:]
	fmt.Fprintf(y.out, "%s%s\n", prompt, line)
	switch line {
	case "^C":
		return "", ErrAborted
	case "^D":
		return "", io.EOF
	}
	return line, nil
}

func (y *typist) Remember(entry string) error {
	fmt.Fprintf(y.out, "[remembered %q]\n", entry)
	return nil
}
