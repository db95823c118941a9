package repl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The prompts. Those of a first line tell of a transaction that is open or has failed, and of a statement of which nobody
// knows whether it was executed.
const (
	promptFirst   = "rsqld> "
	promptOpen    = "rsqld*> "
	promptFailed  = "rsqld!> "
	promptUnknown = "rsqld?> "
	promptMore    = "  ...> "
)

// prompt is that of the first line of a statement.
func (s *Shell) prompt() string {
	switch s.Client.Transaction() {
	case TransactionOpen:
		return promptOpen
	case TransactionFailed:
		return promptFailed
	}
	if s.unknown {
		return promptUnknown
	}
	return promptFirst
}

// ErrAborted is what an Editor returns when the person pressed Ctrl-C.
var ErrAborted = errors.New("aborted")

// Editor reads lines from a person.
type Editor interface {
	// Prompt returns a line without its end, io.EOF at the end of the input, or ErrAborted.
	Prompt(prompt string) (string, error)
	// Remember adds an entry, of one line or several, to the history.
	Remember(entry string) error
}

// Interact reads statements and commands from a person until .quit, the end of the input, or Ctrl-C twice at an empty
// prompt. It returns nil or an *Exit.
func (s *Shell) Interact(ctx context.Context, editor Editor) error {
	s.keep = true
	if s.Confirm == nil {
		s.Confirm = func(_ context.Context, question string) (bool, error) { return ask(editor, question) }
	}
	s.greet()
	splitter, typed, aborts := NewSplitter(), []string(nil), 0
	for {
		prompt := s.prompt()
		if splitter.Pending() {
			prompt = promptMore
		}
		line, err := editor.Prompt(prompt)
		switch {
		case errors.Is(err, ErrAborted):
			if aborts++; aborts > 1 && !splitter.Pending() {
				return &Exit{ExitInterrupted}
			}
			if !splitter.Pending() {
				fmt.Fprintln(s.Stderr, "(Ctrl-C again leaves the shell)")
			}
			splitter.Reset()
			typed = nil
			continue
		case errors.Is(err, io.EOF):
			fmt.Fprintln(s.Stdout)
			return nil
		case err != nil:
			fmt.Fprintf(s.Stderr, "error: reading from the terminal: %v\n", err)
			return &Exit{ExitFailed}
		}
		aborts = 0
		typed = append(typed, line)
		if err := s.enter(ctx, splitter, line); err != nil {
			return err
		}
		if !splitter.Pending() {
			if err := editor.Remember(strings.Join(typed, "\n")); err != nil {
				fmt.Fprintf(s.Stderr, "-- %v\n", err)
			}
			typed = nil
		}
	}
}

// ask is Options.Confirm by an Editor. Ctrl-C and the end of the input are no.
func ask(editor Editor, question string) (bool, error) {
	line, err := editor.Prompt(question)
	if errors.Is(err, ErrAborted) || errors.Is(err, io.EOF) {
		return false, nil
	}
	return err == nil && Agrees(line), err
}

// Agrees reports whether the answer to a question is yes.
func Agrees(answer string) bool {
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true
	}
	return false
}

func (s *Shell) greet() {
	place := s.Client.Place()
	product := place.Product
	if product == "" {
		product = "rsqld"
	}
	fmt.Fprintf(s.Stdout, "%s, connected to %s at %s\nType .help for the commands; a statement ends with a semicolon.\n",
		product, place, place.Address)
}

// enter runs what a typed line completes. It returns nil or an *Exit.
func (s *Shell) enter(ctx context.Context, splitter *Splitter, line string) error {
	s.forgetInterrupts()
	err := s.feed(ctx, "", splitter, line+"\n")
	var exit *Exit
	if errors.As(err, &exit) {
		return exit
	}
	if errors.Is(err, errInterrupted) {
		fmt.Fprintln(s.Stderr, "interrupted")
		splitter.Reset()
	}
	return nil
}

// forgetInterrupts drops those that came while nothing ran.
func (s *Shell) forgetInterrupts() {
	for {
		select {
		case <-s.Interrupts:
		default:
			return
		}
	}
}
