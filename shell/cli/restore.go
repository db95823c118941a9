package cli

import (
	"bufio"
	"context"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/rsqld/rsqld/shell/repl"
)

func restoreCommand() command {
	return command{
		name: "restore", args: "FILE", most: 1, summary: "replace all that the cluster holds by a SQLite file",
		define: func(flags *pflag.FlagSet) action {
			var t target
			yes := flags.Bool("yes", false, "do not ask")
			t.flags(flags)
			return func(ctx context.Context, e *Environment, args []string) error {
				switch {
				case len(args) == 0:
					return usageError("from which file? usage: rsqld restore FILE")
				case !*yes && !(e.StdinTerminal && e.StderrTerminal):
					return usageError("a restore replaces all that the cluster holds, and this is no terminal to ask at: add --yes")
				}
				line := []string{".restore"}
				if *yes {
					line = append(line, "--yes")
				}
				return e.runLine(ctx, t, repl.Options{Confirm: e.confirm}, append(line, args[0]))
			}
		},
	}
}

// confirm asks the person at the terminal. What is not yes is no.
func (e *Environment) confirm(ctx context.Context, question string) (bool, error) {
	fmt.Fprint(e.Stderr, question)
	answers := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(e.Stdin).ReadString('\n') // the end of the input is no
		answers <- line
	}()
	select {
	case line := <-answers:
		return repl.Agrees(line), nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}
