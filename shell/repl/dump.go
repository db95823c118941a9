package repl

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// maxPatterns is how many patterns .dump takes.
const maxPatterns = 64

// dumpOrder is what the arguments of .dump say.
type dumpOrder struct {
	path     string // empty: where results go
	force    bool
	patterns []string
}

func parseDump(args []string) (order dumpOrder, err error) {
	for i := 0; i < len(args); i++ {
		if !strings.HasPrefix(args[i], "-") || args[i] == stdoutName {
			order.patterns = append(order.patterns, args[i])
			continue
		}
		switch flag := "--" + strings.TrimLeft(args[i], "-"); flag {
		case "--force":
			order.force = true
		case "--to":
			if i++; i == len(args) {
				return order, errors.New("--to needs a file")
			}
			order.path = args[i]
		default:
			return order, oneOf("option", flag, []string{"--to", "--force"})
		}
	}
	if order.force && order.path == "" {
		return order, errors.New("--force is for the file of --to")
	}
	return order, nil
}

// dotDump writes the database as SQL text.
func dotDump(ctx context.Context, s *Shell, args []string) error {
	order, err := parseDump(args)
	if err != nil {
		return fmt.Errorf("%w; usage: .dump %s", err, exportCommands()[0].Usage)
	}
	x := &export{shell: s, verb: "dump", did: "dumped", path: order.path}
	x.args = append([]string{s.exportLevel()}, order.patterns...)
	if order.path != "" {
		return x.toFile(ctx, order.force)
	}
	out := s.sink()
	x.silent = s.Terminal && out.file == nil // the text itself shows how it goes on
	return x.run(ctx, out.name, out.Writer, out.Flush)
}
