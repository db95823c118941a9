package repl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
)

// A backup and a dump are two results of one control verb: how far the node is with its copy, a row each second, and
// then the pieces of the file.

// stdoutName is the name of a file that means stdout.
const stdoutName = "-"

// levelLocal is the level at which a node gives what it has.
const levelLocal = "local"

func exportCommands() []Command {
	return []Command{
		{".dump", "[--to FILE [--force]] [PATTERN …]",
			"write the database, or the tables like PATTERN, as SQL text as of one log index", 0, maxPatterns + 3, dotDump},
		{".backup", "[--force] FILE",
			"write the database to FILE, one plain SQLite file as of one log index; - is stdout", 1, 2, dotBackup},
	}
}

func dotBackup(ctx context.Context, s *Shell, args []string) error {
	force := false
	var paths []string
	for _, arg := range args {
		switch {
		case arg == "--force" || arg == "-force":
			force = true
		case len(arg) > 1 && arg[0] == '-':
			return oneOf("option", arg, []string{"--force"})
		default:
			paths = append(paths, arg)
		}
	}
	if len(paths) != 1 {
		return fmt.Errorf("usage: .backup %s", exportCommands()[1].Usage)
	}
	x := &export{shell: s, verb: "backup", args: []string{s.exportLevel()}, did: "backed up", path: paths[0]}
	return x.toFile(ctx, force)
}

// exportLevel is the argument by which a node is asked for what it has, or for all that is committed.
func (s *Shell) exportLevel() string {
	if s.level == levelLocal {
		return levelLocal
	}
	return ""
}

// export is a backup or a dump on its way.
type export struct {
	shell    *Shell
	verb     string
	args     []string
	did      string // what the closing line says was done
	path     string
	progress *progress
	silent   bool // no progress is shown

	index   int64 // the log index of the content
	total   int64 // bytes that will come; zero: not known
	written int64
}

// toFile brings the export into a file that appears when it is whole, or to stdout.
func (x *export) toFile(ctx context.Context, force bool) error {
	if x.path == stdoutName {
		if x.shell.Terminal && x.verb == "backup" {
			return errors.New("stdout is a terminal, which a database is not for: give a file, or redirect it")
		}
		out := bufio.NewWriterSize(x.shell.Stdout, 64<<10)
		return x.run(ctx, "stdout", out, out.Flush)
	}
	file, err := createWhole(x.path, force)
	if err != nil {
		return err
	}
	finished := false
	err = x.run(ctx, x.path, file, func() error { finished = true; return file.finish() })
	if !finished {
		err = errors.Join(err, file.drop())
	}
	return err
}

// run asks for the export, writes it to w, and says what was done once finish has returned.
func (x *export) run(ctx context.Context, to string, w io.Writer, finish func() error) error {
	s := x.shell
	x.progress = newProgress(s.Stderr, s.Live, s.Now, x.verb, 0)
	defer func() { x.progress.clear() }()
	err := x.fetch(ctx, w)
	if err == nil {
		err = finish()
	}
	if err == nil {
		did := fmt.Sprintf("%s as of index %d from %s to %s", x.did, x.index, s.Client.Place().name(), to)
		x.progress.closeBytes(did, x.written)
	}
	return err
}

// fetch asks the node and writes what comes.
func (x *export) fetch(ctx context.Context, w io.Writer) (err error) {
	results, err := x.shell.Client.Control(ctx, x.verb, x.args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, results.Close()) }()
	if !results.NextResult() {
		return results.Err()
	}
	for results.Next() {
		if err := x.stage(results.Row()); err != nil {
			return err
		}
	}
	if !results.NextResult() {
		return errors.Join(results.Err(), ctx.Err())
	}
	for results.Next() {
		piece, ok := results.Row()[0].([]byte)
		if !ok {
			return fmt.Errorf("the node sends a %T instead of a piece", results.Row()[0])
		}
		if _, err := w.Write(piece); err != nil {
			return fmt.Errorf("writing to %s: %w", x.path, err)
		}
		x.written += int64(len(piece))
		if !x.silent {
			x.progress.updateBytes(x.written)
		}
	}
	if err := results.Err(); err != nil {
		return err
	}
	if x.total > 0 && x.written != x.total {
		return fmt.Errorf("the node has sent %d bytes of %d", x.written, x.total)
	}
	return nil
}

// stage takes a row of the first result: stage, index, bytes, warning.
func (x *export) stage(row []any) error {
	if len(row) != 4 {
		return fmt.Errorf("the node tells its progress in %d columns instead of 4", len(row))
	}
	stage, _ := row[0].(string)
	index, _ := row[1].(int64)
	bytes, _ := row[2].(int64)
	x.index = index
	if !x.silent {
		x.progress.updateStage(fmt.Sprintf("%s is %s %s", x.shell.Client.Place().name(), stage, byteSize(bytes)))
	}
	if stage == "ready" && x.verb == "backup" {
		x.total, x.progress.total = bytes, bytes
	}
	if warning, ok := row[3].(string); ok {
		x.progress.clear()
		fmt.Fprintf(x.shell.Stderr, "warning: %s\n", visibleText(warning, ""))
	}
	return nil
}
