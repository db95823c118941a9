// Command rsqld is a replicated SQL database in one program: `rsqld help` lists what it does.
package main

import (
	"os"

	"github.com/rsqld/rsqld/shell/cli"
)

func main() { os.Exit(cli.Main(cli.OS())) }
