package repl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestInterruptScript proves that Ctrl-C ends the statement that runs and the script, with exit code 130.
func TestInterruptScript(t *testing.T) {
	fake, interrupts := newFake(), make(chan os.Signal, 1)
	fake.answers["select sleep"] = &answer{block: true}
	fake.onExecute = func(context.Context, Request) error { interrupts <- os.Interrupt; return nil }
	var out bytes.Buffer
	shell, err := New(Options{Client: fake, Stdout: &out, Stderr: &out, Interrupts: interrupts, KeepGoing: true})
	if err != nil {
		t.Fatal(err)
	}
	err = shell.Script(t.Context(), "", strings.NewReader("select sleep; select 1;"))
	var exit *Exit
	if !errors.As(err, &exit) || exit.Code != 130 || len(fake.seen) != 1 || out.String() != "interrupted\n" {
		t.Errorf("the script ends with %v after %q and says %q", err, fake.seen, out.String())
	}
}

// TestInterruptWaiting proves that Ctrl-C ends a script that waits for its next line.
func TestInterruptWaiting(t *testing.T) {
	interrupts := make(chan os.Signal, 1)
	shell, err := New(Options{Client: newFake(), Stdout: io.Discard, Stderr: io.Discard, Interrupts: interrupts})
	if err != nil {
		t.Fatal(err)
	}
	input, writer := io.Pipe()
	defer writer.Close()
	interrupts <- os.Interrupt
	err = shell.Script(t.Context(), "", input)
	if exit := (*Exit)(nil); !errors.As(err, &exit) || exit.Code != 130 {
		t.Errorf("the script ends with %v", err)
	}
}

// TestInterruptNested proves that Ctrl-C in a script of .read ends it and what called it.
func TestInterruptNested(t *testing.T) {
	fake, interrupts := newFake(), make(chan os.Signal, 1)
	fake.answers["select sleep"] = &answer{block: true}
	fake.onExecute = func(context.Context, Request) error { interrupts <- os.Interrupt; return nil }
	path := filepath.Join(t.TempDir(), "inner.sql")
	if err := os.WriteFile(path, []byte("select sleep; select 1;"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	shell, err := New(Options{Client: fake, Stdout: &out, Stderr: &out, Interrupts: interrupts, KeepGoing: true})
	if err != nil {
		t.Fatal(err)
	}
	err = shell.Script(t.Context(), "", strings.NewReader(".read '"+path+"'\nselect 2;"))
	if exit := (*Exit)(nil); !errors.As(err, &exit) || exit.Code != 130 || len(fake.seen) != 1 || out.String() != "interrupted\n" {
		t.Errorf("the script ends with %v after %q and says %q", err, fake.seen, out.String())
	}
}

// TestInterruptTwice proves that a second Ctrl-C, while the first has not ended the statement, aborts.
func TestInterruptTwice(t *testing.T) {
	fake, interrupts, aborted := newFake(), make(chan os.Signal, 2), make(chan struct{})
	deaf := &deafClient{fake, aborted, interrupts}
	shell, err := New(Options{Client: deaf, Stdout: io.Discard, Stderr: io.Discard, Interrupts: interrupts,
		Abort: func() { close(aborted) }})
	if err != nil {
		t.Fatal(err)
	}
	err = shell.Script(t.Context(), "", strings.NewReader("select 1;"))
	if exit := (*Exit)(nil); !errors.As(err, &exit) || exit.Code != 130 {
		t.Errorf("the script ends with %v", err)
	}
}

// TestInterruptAtPrompt proves that Ctrl-C during a statement leaves the shell at its prompt, and says so if the
// statement's outcome is not known.
func TestInterruptAtPrompt(t *testing.T) {
	fake, interrupts := newFake(), make(chan os.Signal, 1)
	fake.answers["select 1"] = &answer{columns: []Column{{Name: "x"}}, rows: [][]any{{int64(1)}}}
	unsure := &unsureClient{fake, interrupts}
	out := &transcript{}
	shell, err := New(Options{Client: unsure, Stdout: out, Stderr: out, Interrupts: interrupts, Mode: "csv"})
	if err != nil {
		t.Fatal(err)
	}
	editor := &typist{lines: []string{"insert into t values(1); select 2;", "select 1;", "^D"}, out: out}
	if err := shell.Interact(t.Context(), editor); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"error: outcome not known", "hint: the write may or may not have happened", "interrupted\n", "x\n1\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if len(fake.seen) != 2 {
		t.Errorf("after Ctrl-C the rest of the line ran: %q", fake.seen)
	}
}

// deafClient is interrupted twice in each statement, which does not end with its context.
type deafClient struct {
	*fakeClient
	until      chan struct{}
	interrupts chan<- os.Signal
}

func (d *deafClient) Execute(ctx context.Context, _ Request) (Results, error) {
	d.interrupts <- os.Interrupt
	d.interrupts <- os.Interrupt
	<-d.until
	return nil, ctx.Err()
}

// unsureClient is interrupted in each INSERT, and cannot say what became of it.
type unsureClient struct {
	*fakeClient
	interrupts chan<- os.Signal
}

func (u *unsureClient) Execute(ctx context.Context, request Request) (Results, error) {
	if strings.HasPrefix(request.SQL, "insert") {
		u.seen = append(u.seen, request.SQL)
		u.interrupts <- os.Interrupt
		<-ctx.Done()
		return nil, fmt.Errorf("writing: %w", &Error{Class: ClassOutcomeUnknown, Message: "outcome not known", Offset: -1})
	}
	return u.fakeClient.Execute(ctx, request)
}
