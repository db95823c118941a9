package cli

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/shell/repl"
)

// Environment is everything that a command touches outside of itself.
type Environment struct {
	Args   []string // without the program's name
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer

	// Which of the three are terminals.
	StdinTerminal, StdoutTerminal, StderrTerminal bool
	// Width is the width of Stdout in columns, 0 if it is no terminal.
	Width func() int

	// LookupEnv is os.LookupEnv.
	LookupEnv func(name string) (string, bool)
	// Notify is signal.Notify on a channel of its own; stop ends it.
	Notify func(signals ...os.Signal) (arrived <-chan os.Signal, stop func())
	// Exit ends the program at once.
	Exit func(code int)

	connect   func(target) (cluster, error)
	open      func(context.Context, db.Config) (node, error)
	startDemo func(ctx context.Context, nodes, learners int, dir string, logger *slog.Logger) (demoCluster, error)
}

// cluster opens sessions.
type cluster interface {
	Open(context.Context) (repl.Client, error)
	Close() error
}

// OS is the environment of the process.
func OS() Environment {
	e := Environment{
		Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		LookupEnv: os.LookupEnv, Notify: notify, Exit: os.Exit,
		connect: connect, open: openNode, startDemo: startDemo,
	}
	_, e.StdinTerminal = terminalWidth(os.Stdin)
	_, e.StdoutTerminal = terminalWidth(os.Stdout)
	_, e.StderrTerminal = terminalWidth(os.Stderr)
	e.Width = func() int { width, _ := terminalWidth(os.Stdout); return width }
	return e
}

func notify(signals ...os.Signal) (<-chan os.Signal, func()) {
	arrived := make(chan os.Signal, 4)
	signal.Notify(arrived, signals...)
	return arrived, func() { signal.Stop(arrived) }
}

func (e *Environment) env(name string) string {
	value, _ := e.LookupEnv(name)
	return value
}

// color reports whether a person wants colours and can see them (https://no-color.org).
func (e *Environment) color() bool {
	_, no := e.LookupEnv("NO_COLOR")
	return ansi && !no && e.StdoutTerminal && e.StderrTerminal && e.env("TERM") != "dumb"
}

// historyPath is where the shell's history is kept; empty if the person has no home.
func (e *Environment) historyPath() string {
	state := e.env("XDG_STATE_HOME")
	if state == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "rsqld", "history")
}
