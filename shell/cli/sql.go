package cli

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/rsqld/rsqld/shell/repl"
)

// input is one -c or -f, in the order of the command line.
type input struct {
	file bool
	text string // SQL, or a file's name
}

// inputs is the value of -c or -f; both add to one list.
type inputs struct {
	list *[]input
	file bool
}

func (i inputs) String() string { return "" }

func (i inputs) Type() string {
	if i.file {
		return "FILE"
	}
	return "SQL"
}

// Set adds one.
func (i inputs) Set(value string) error {
	*i.list = append(*i.list, input{i.file, value})
	return nil
}

// levelUsage explains --level.
const levelUsage = "how fresh reads are (default session, or what the DSN says)"

func sqlCommand() command {
	return command{
		name: "sql", args: "[HOST:PORT|DSN]", most: 1, summary: "open a shell, or run SQL from -c, -f or stdin",
		define: func(flags *pflag.FlagSet) action {
			var t target
			var list []input
			var options repl.Options
			flags.VarP(inputs{&list, false}, "command", "c", "run SQL or a dot command, may be repeated")
			flags.VarP(inputs{&list, true}, "file", "f", "run a file, - is stdin, may be repeated")
			mode := choose(flags, "format", "", "output mode (default box on a terminal, else csv)", repl.Modes)
			level := choose(flags, "level", "", levelUsage, repl.Levels)
			flags.BoolVar(&options.KeepGoing, "keep-going", false, "go on after an error; the exit code is still 1")
			t.flags(flags)
			return func(ctx context.Context, e *Environment, args []string) error {
				if len(args) == 1 {
					t.address = args[0]
				}
				t.level = *level
				options.Mode, options.Level = *mode, t.readLevel()
				return e.sql(ctx, t, options, list)
			}
		},
	}
}

func (e *Environment) sql(ctx context.Context, t target, options repl.Options, list []input) (err error) {
	cluster, client, err := e.dial(ctx, t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close(), cluster.Close()) }()
	signals := []os.Signal{os.Interrupt}
	if !e.interactive(list) {
		signals = append(signals, syscall.SIGTERM) // a load or a backup takes its traces away
	}
	interrupts, stop := e.Notify(signals...)
	defer stop()
	options.Interrupts, options.Abort = interrupts, func() { e.Exit(exitInterrupted) }
	shell, err := e.newShell(client, options)
	if err != nil {
		return err
	}
	return shellExit(shell, e.feed(ctx, shell, list))
}

// interactive reports whether a person types.
func (e *Environment) interactive(list []input) bool {
	return len(list) == 0 && e.StdinTerminal && e.StdoutTerminal
}

// feed gives the shell what it is to run.
func (e *Environment) feed(ctx context.Context, shell *repl.Shell, list []input) error {
	switch {
	case len(list) > 0:
		for _, in := range list {
			if err := e.feedOne(ctx, shell, in); err != nil {
				return err
			}
		}
		return nil
	case e.interactive(list):
		return e.interact(ctx, shell)
	default:
		return shell.Script(ctx, "stdin", e.Stdin)
	}
}

func (e *Environment) feedOne(ctx context.Context, shell *repl.Shell, in input) error {
	if !in.file {
		return shell.Script(ctx, "", strings.NewReader(in.text))
	}
	if in.text == "-" {
		return shell.Script(ctx, "stdin", e.Stdin)
	}
	file, err := os.Open(in.text)
	if err != nil {
		return &exit{exitFailed, err}
	}
	return errors.Join(shell.Script(ctx, in.text, file), file.Close())
}
