package cli

import (
	"context"

	"github.com/spf13/pflag"
)

// localUsage explains --local.
const localUsage = "take what the node has, without asking a quorum: works without one, and may be behind"

func backupCommand() command {
	return command{
		name: "backup", args: "FILE|-", most: 1, summary: "write the database to a plain SQLite file, or to stdout",
		define: func(flags *pflag.FlagSet) action {
			var t target
			force := flags.Bool("force", false, "replace FILE if it exists, once the new one is whole")
			local := flags.Bool("local", false, localUsage)
			t.flags(flags)
			return func(ctx context.Context, e *Environment, args []string) error {
				if len(args) == 0 {
					return usageError("into which file? usage: rsqld backup FILE, or - for stdout")
				}
				if args[0] == "-" && e.StdoutTerminal {
					return usageError("stdout is a terminal, which a database is not for: give a file, or redirect it")
				}
				line := []string{".backup"}
				if *force {
					line = append(line, "--force")
				}
				return e.runExport(ctx, t, *local, append(line, args[0])...)
			}
		},
	}
}
