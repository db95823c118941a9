package cli

import (
	"context"
	"fmt"
	"runtime"

	"github.com/spf13/pflag"

	"github.com/rsqld/rsqld/db"
)

func versionCommand() command {
	return command{
		name: "version", summary: "print the version",
		define: func(*pflag.FlagSet) action {
			return func(_ context.Context, e *Environment, _ []string) error {
				fmt.Fprintf(e.Stdout, "%s (%s, %s/%s)\n", product(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
				return nil
			}
		},
	}
}

// product is the program and its version, with the commit if it is known.
func product() string {
	if build := db.Build(); build != "" {
		return fmt.Sprintf("rsqld %s %s", db.Version, build)
	}
	return "rsqld " + db.Version
}
