package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/pflag"
)

// clusterCommand is a command that does what the dot command of its name does.
func clusterCommand(name, args string, most int, summary string) command {
	return command{
		name: name, args: args, most: most, summary: summary,
		define: func(flags *pflag.FlagSet) action {
			var t target
			t.flags(flags)
			return func(ctx context.Context, e *Environment, args []string) error {
				switch {
				case name == "replace" && len(args) < 2:
					return usageError("which nodes? usage: rsqld replace OLD NEW; rsqld nodes lists them")
				case len(args) > 0:
				case name == "promote" || name == "demote" || name == "remove":
					return usageError("which node? usage: rsqld %s ID; rsqld nodes lists them", name)
				case name == "cancel":
					return usageError("which session? usage: rsqld cancel SESSION; rsqld sessions lists them")
				}
				return e.runDot(ctx, t, append([]string{"." + name}, args...)...)
			}
		},
	}
}

func tokenCommand() command {
	return command{
		name: "token", summary: "print a token with which one node can join",
		define: func(flags *pflag.FlagSet) action {
			var t target
			learner := flags.Bool("learner", false, "the token admits a learner only")
			t.flags(flags)
			return func(ctx context.Context, e *Environment, _ []string) error {
				line := []string{".token"}
				if *learner {
					line = append(line, "--learner")
				}
				return e.runDot(ctx, t, line...)
			}
		},
	}
}

func healthCommand() command {
	return command{
		name: "health", summary: "exit with 0 if the node answers",
		define: func(flags *pflag.FlagSet) action {
			var t target
			ready := flags.Bool("ready", false, "only if it also knows a leader and applies what is committed")
			t.flags(flags)
			return func(ctx context.Context, e *Environment, _ []string) error { return e.health(ctx, t, *ready) }
		},
	}
}

// health asks the node for its state, which any node that runs can tell, or whether it is ready.
func (e *Environment) health(ctx context.Context, t target, ready bool) (err error) {
	cluster, client, err := e.dial(ctx, t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close(), cluster.Close()) }()
	interrupts, stop := e.Notify(os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	go func() {
		select {
		case <-interrupts:
			cancel()
		case <-ctx.Done():
		}
	}()
	verb := "status"
	if ready {
		verb = "health"
	}
	results, err := client.Control(ctx, verb)
	if err != nil {
		return err
	}
	for results.NextResult() {
		for results.Next() {
		}
	}
	if err := errors.Join(results.Err(), results.Close()); err != nil {
		return err
	}
	fmt.Fprintln(e.Stdout, "ok")
	return nil
}
