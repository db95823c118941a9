package cli_test

import (
	"fmt"
	"os"

	"github.com/rsqld/rsqld/shell/cli"
)

// Main runs any command line; a test or another program gives it streams of its own.
func ExampleMain() {
	environment := cli.OS()
	environment.Args = []string{"sql", "--formt", "csv"}
	environment.Stderr = os.Stdout
	fmt.Println("exit code", cli.Main(environment))
	// Output:
	// rsqld sql: unknown flag --formt; did you mean --format?
	// exit code 2
}
