package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"github.com/rsqld/rsqld/shell/repl"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1 // SQL or the command failed
	exitUsage       = 2 // usage, or no connection
	exitInterrupted = 130
)

// command is a subcommand. Its file defines its flags and what it does.
type command struct {
	name    string
	args    string // arguments behind the flags, as help shows them
	summary string // one line
	most    int    // arguments at most
	config  bool   // reads --config
	// define adds the flags and returns what to run when they are parsed.
	define func(*pflag.FlagSet) action
}

// action runs a command with its arguments. An error is printed; its exit code is 1, unless it is an *exit.
type action func(ctx context.Context, e *Environment, args []string) error

// exit is an error with an exit code of its own. Without a cause nothing is printed.
type exit struct {
	code  int
	cause error
}

func (x *exit) Error() string {
	if x.cause == nil {
		return fmt.Sprintf("exit %d", x.code)
	}
	return x.cause.Error()
}

func (x *exit) Unwrap() error { return x.cause }

// usageError is a mistake in how the program was called.
func usageError(format string, args ...any) error {
	return &exit{exitUsage, fmt.Errorf(format, args...)}
}

func commands() []command {
	return []command{
		startCommand(), sqlCommand(), demoCommand(), benchCommand(),
		clusterCommand("nodes", "", 0, "list the members of the cluster"),
		clusterCommand("promote", "ID", 1, "make a learner a voter"),
		clusterCommand("demote", "ID", 1, "make a voter a learner that stays one"),
		clusterCommand("replace", "OLD NEW", 2, "remove a voter and promote a learner in its place, in one step"),
		clusterCommand("remove", "ID", 1, "remove a member for good"),
		clusterCommand("transfer", "[ID]", 1, "hand leadership over"),
		clusterCommand("sessions", "", 0, "list the sessions of the cluster: who does what, and who keeps others from writing"),
		clusterCommand("cancel", "SESSION", 1, "end the statement or the transaction of a session"),
		clusterCommand("verify", "", 0, "have every node hash its content at one log index, and compare"),
		clusterCommand("set", "NAME=VALUE …", 64, "change settings of the cluster"),
		backupCommand(), restoreCommand(), dumpCommand(), tokenCommand(), healthCommand(), inspectCommand(), recoverCommand(), versionCommand(), helpCommand(),
	}
}

// Main runs the command of the environment's arguments and returns the exit code.
func Main(e Environment) int {
	name, args := "start", e.Args
	if len(args) > 0 {
		switch first := args[0]; {
		case first == "-h" || first == "--help" || first == "-help":
			name, args = "help", nil
		case first == "--version" || first == "-version":
			name, args = "version", nil
		case !strings.HasPrefix(first, "-"):
			name, args = first, args[1:]
		}
	}
	c, err := findCommand(name)
	if err == nil {
		err = e.run(c, args)
	}
	return e.report(c, err)
}

func findCommand(name string) (command, error) {
	var names []string
	for _, c := range commands() {
		if c.name == name {
			return c, nil
		}
		names = append(names, c.name)
	}
	if near := repl.Nearest(name, names); near != "" {
		return command{}, usageError("unknown command %q; did you mean %s?", name, near)
	}
	return command{}, usageError("unknown command %q; rsqld help lists the commands", name)
}

// run parses the arguments of a command and runs it.
func (e *Environment) run(c command, args []string) error {
	flags := newFlags(c)
	act := c.define(flags)
	err := flags.Parse(normalize(flags, args))
	if errors.Is(err, pflag.ErrHelp) {
		printHelp(e.Stdout, c)
		return nil
	}
	if err != nil {
		return flagError(flags, err)
	}
	if err := fillFlags(flags, e.LookupEnv, c.config); err != nil {
		return err
	}
	if rest := flags.Args(); len(rest) > c.most {
		return usageError("unexpected argument %q; usage: %s", rest[c.most], usageLine(c))
	}
	return act(context.Background(), e, flags.Args())
}

// report prints an error and returns the exit code.
func (e *Environment) report(c command, err error) int {
	if err == nil {
		return exitOK
	}
	code, x := exitFailed, (*exit)(nil)
	if errors.As(err, &x) {
		code = x.code
		if x.cause == nil {
			return code
		}
	}
	program := "rsqld"
	if c.name != "" && c.name != "start" {
		program += " " + c.name
	}
	fmt.Fprintf(e.Stderr, "%s: %v\n", program, err)
	return code
}

func newFlags(c command) *pflag.FlagSet {
	flags := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	flags.SortFlags = false
	return flags
}
