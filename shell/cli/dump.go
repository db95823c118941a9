package cli

import (
	"context"

	"github.com/spf13/pflag"
)

func dumpCommand() command {
	return command{
		name: "dump", args: "[FILE]", most: 1, summary: "write the database as SQL text to stdout, or to a file",
		define: func(flags *pflag.FlagSet) action {
			var t target
			force := flags.Bool("force", false, "replace FILE if it exists, once the new one is whole")
			local := flags.Bool("local", false, localUsage)
			only := flags.StringArray("table", nil, "dump only the tables and views like `PATTERN`, may be repeated")
			t.flags(flags)
			return func(ctx context.Context, e *Environment, args []string) error {
				line := []string{".dump"}
				toFile := len(args) == 1 && args[0] != "-"
				if toFile {
					line = append(line, "--to", args[0])
				}
				if *force {
					if !toFile {
						return usageError("--force is for a FILE, and none is given")
					}
					line = append(line, "--force")
				}
				return e.runExport(ctx, t, *local, append(line, *only...)...)
			}
		},
	}
}
