package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

func helpCommand() command {
	return command{
		name: "help", args: "[COMMAND]", most: 1, summary: "show this list, or the flags of a command",
		define: func(*pflag.FlagSet) action {
			return func(_ context.Context, e *Environment, args []string) error {
				if len(args) == 0 {
					printCommands(e.Stdout)
					return nil
				}
				c, err := findCommand(args[0])
				if err == nil {
					printHelp(e.Stdout, c)
				}
				return err
			}
		},
	}
}

func usageLine(c command) string {
	line := "rsqld " + c.name
	if c.name == "start" {
		line = "rsqld [start]"
	}
	flags := newFlags(c)
	c.define(flags)
	if flags.HasFlags() {
		line += " [FLAGS]"
	}
	return strings.TrimSpace(line + " " + c.args)
}

func printCommands(w io.Writer) {
	fmt.Fprint(w, "rsqld is a replicated SQL database in one program.\n\nCommands (without one: start):\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, `
rsqld help COMMAND shows the flags of a command. A flag may also be given as an environment variable:
--log-level as RSQLD_LOG_LEVEL, say. What is given on the command line wins over the environment, the
environment over a configuration file.
Exit codes: 0 done, 1 SQL or the command failed, 2 usage or no connection, 130 interrupted.
`)
}

func printHelp(w io.Writer, c command) {
	fmt.Fprintf(w, "%s: %s\n\nusage: %s\n", c.name, c.summary, usageLine(c))
	flags := newFlags(c)
	c.define(flags)
	if flags.HasFlags() {
		// pflag shows that a switch may be turned off with =false, which helps nobody here.
		usages := strings.ReplaceAll(flags.FlagUsagesWrapped(110), "[=true|false]", strings.Repeat(" ", len("[=true|false]")))
		fmt.Fprintf(w, "\nflags:\n%s", usages)
	}
}
