package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/rsqld/rsqld/shell/repl"
)

// newShell returns a shell on a session, wired to the environment.
func (e *Environment) newShell(client repl.Client, options repl.Options) (*repl.Shell, error) {
	options.Client, options.Stdout, options.Stderr = client, e.Stdout, e.Stderr
	options.Terminal = e.StdoutTerminal
	options.Live = ansi && e.StderrTerminal
	options.Color = e.color()
	options.Width = e.Width
	shell, err := repl.New(options)
	if err != nil {
		return nil, usageError("%w", err)
	}
	return shell, nil
}

// interact reads from the person at the terminal.
func (e *Environment) interact(ctx context.Context, shell *repl.Shell) error {
	history, err := repl.OpenHistory(e.historyPath())
	if err != nil {
		return err
	}
	terminal := repl.NewTerminal(history, shell.Complete)
	shell.Abort = func() { e.Exit(exitInterrupted) } // a statement runs, so the terminal is in its own mode
	return errors.Join(shell.Interact(ctx, terminal), terminal.Close())
}

// runDot runs one dot command in a shell of its own, as the commands of the same name do.
func (e *Environment) runDot(ctx context.Context, t target, line ...string) (err error) {
	return e.runLine(ctx, t, repl.Options{}, line)
}

// runExport is runDot at level local or not.
func (e *Environment) runExport(ctx context.Context, t target, local bool, line ...string) error {
	var options repl.Options
	if local {
		options.Level = "local"
	}
	return e.runLine(ctx, t, options, line)
}

func (e *Environment) runLine(ctx context.Context, t target, options repl.Options, line []string) (err error) {
	cluster, client, err := e.dial(ctx, t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close(), cluster.Close()) }()
	interrupts, stop := e.Notify(os.Interrupt, syscall.SIGTERM) // long work takes its traces away
	defer stop()
	options.Interrupts, options.Abort = interrupts, func() { e.Exit(exitInterrupted) }
	shell, err := e.newShell(client, options)
	if err != nil {
		return err
	}
	return shellExit(shell, shell.Script(ctx, "", strings.NewReader(quoteWords(line))))
}

// quoteWords writes words as a dot command line.
func quoteWords(words []string) string {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	for i, word := range words {
		if i > 0 {
			words[i] = `"` + escape.Replace(word) + `"`
		}
	}
	return strings.Join(words, " ")
}

// shellExit is the exit of a program whose shell ended with err, after it has written out.
func shellExit(shell *repl.Shell, err error) error {
	err = errors.Join(err, shell.Close())
	var left *repl.Exit
	switch {
	case errors.As(err, &left) && left.Code != exitOK:
		return &exit{code: left.Code}
	case err != nil && left == nil:
		return err
	case shell.Failures() > 0 && left == nil:
		return &exit{code: exitFailed}
	}
	return nil
}

// isEmpty reports whether nothing can be read, and returns a reader that has lost nothing.
func isEmpty(r io.Reader) (bool, io.Reader) {
	first := make([]byte, 1)
	n, err := io.ReadFull(r, first)
	if err != nil && n == 0 {
		return errors.Is(err, io.EOF), r
	}
	return false, io.MultiReader(strings.NewReader(string(first)), r)
}
