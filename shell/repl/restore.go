package repl

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/rsqld/rsqld/db"
)

// restoreAttempts is how often a restore is begun whose node or leader goes away before anything has changed.
const restoreAttempts = 5

func restoreCommands() []Command {
	return []Command{{".restore", "[--yes] FILE",
		"replace all that the cluster holds by a SQLite file, of a backup or any other", 1, 2, dotRestore}}
}

// dotRestore prepares the file here, asks the person, brings the file to the node and has the cluster go over to it.
func dotRestore(ctx context.Context, s *Shell, args []string) error {
	yes := false
	var paths []string
	for _, arg := range args {
		switch {
		case arg == "--yes" || arg == "-yes":
			yes = true
		case len(arg) > 1 && arg[0] == '-':
			return oneOf("option", arg, []string{"--yes"})
		default:
			paths = append(paths, arg)
		}
	}
	if len(paths) != 1 {
		return fmt.Errorf("usage: .restore %s", restoreCommands()[0].Usage)
	}
	if !yes && s.Confirm == nil {
		return errors.New("a restore replaces all that the cluster holds, and nobody is there to be asked: add --yes")
	}
	dir, err := os.MkdirTemp("", "rsqld-restore-")
	if err != nil {
		return fmt.Errorf("making a directory for the prepared file: %w", err)
	}
	r := &restore{shell: s, source: paths[0], path: filepath.Join(dir, "prepared.sqlite")}
	return errors.Join(r.run(ctx, yes), os.RemoveAll(dir))
}

// restore is one on its way.
type restore struct {
	shell    *Shell
	source   string
	path     string // of the prepared file
	args     []string
	size     int64
	tables   int
	index    uint64 // of its entry
	progress *progress
}

func (r *restore) run(ctx context.Context, yes bool) error {
	if err := r.prepare(ctx); err != nil {
		return err
	}
	if err := r.confirm(ctx, yes); err != nil {
		return err
	}
	s := r.shell
	r.progress = newProgress(s.Stderr, s.Live, s.Now, "restore", r.size)
	defer r.progress.clear()
	if err := r.attempt(ctx); err != nil {
		return err
	}
	s.schema.stale = true
	r.progress.closeBytes(fmt.Sprintf("restored %s as of index %d, %s", r.source, r.index, tables(int64(r.tables))), r.size)
	return nil
}

// prepare makes the file that the cluster can go over to.
func (r *restore) prepare(ctx context.Context) error {
	prepared, err := db.PrepareRestore(ctx, r.source, r.path)
	if err != nil {
		return err
	}
	r.size, r.tables = prepared.Size, prepared.Tables
	r.args = []string{hex.EncodeToString(prepared.SHA256[:]), strconv.FormatInt(r.size, 10)}
	for _, warning := range prepared.Warnings {
		fmt.Fprintf(r.shell.Stderr, "warning: %s\n", visibleText(warning, ""))
	}
	return nil
}

// confirm says what goes and what comes, and asks. Who is not asked need not be told either: a cluster that waits for this very
// file (its members lost it) cannot say what it holds.
func (r *restore) confirm(ctx context.Context, yes bool) error {
	s := r.shell
	holds, err := r.holds(ctx)
	switch {
	case err == nil:
		fmt.Fprintf(s.Stderr, "%s: all of it will be replaced\n", holds)
	case yes && ctx.Err() == nil:
		fmt.Fprintf(s.Stderr, "warning: the cluster does not tell what it holds: %v\n", err)
	default:
		return err
	}
	fmt.Fprintf(s.Stderr, "%s brings %s, %s\n", r.source, tables(int64(r.tables)), byteSize(r.size))
	if yes {
		return nil
	}
	agreed, err := s.Confirm(ctx, "replace it? [y/N] ")
	if err == nil && !agreed {
		err = errors.New("nothing was changed")
	}
	return err
}

// holds says what the cluster holds.
func (r *restore) holds(ctx context.Context) (string, error) {
	s := r.shell
	cluster, bytes := "", ""
	err := s.controlRows(ctx, "status", nil, func(row []any) error {
		switch {
		case len(row) == 2 && row[0] == "cluster":
			cluster = plainText(row[1], "")
		case len(row) == 2 && row[0] == "db_bytes":
			bytes = plainText(row[1], "")
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	size, err := strconv.ParseInt(bytes, 10, 64)
	if err != nil {
		return "", fmt.Errorf("the node tells %q as the size of its database", bytes)
	}
	var count int64
	// At this level so that it is the cluster that is shown, and not what one node of it knew some time ago.
	err = s.query(ctx, "strong", func(row []any) { count, _ = row[0].(int64) },
		"SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND "+visibleObjects)
	return fmt.Sprintf("cluster %s holds %s, %s", cluster, tables(count), byteSize(size)), err
}

func tables(n int64) string {
	if n == 1 {
		return "1 table"
	}
	return thousands(n) + " tables"
}

// attempt brings the file and begins the restore, again if the node or the leader goes away before anything has changed.
func (r *restore) attempt(ctx context.Context) (err error) {
	for range restoreAttempts {
		if err = r.upload(ctx); err != nil {
			return err
		}
		node := r.shell.Client.Place().Node
		if err = r.begin(ctx); err == nil || ctx.Err() != nil {
			return err
		}
		var refused *Error
		if !errors.As(err, &refused) {
			return err
		}
		moved := r.shell.Client.Place().Node != node // the file is where the session was
		if refused.Class != ClassNoQuorum && !(moved && refused.Class == ClassProtocol) {
			return err
		}
	}
	return err
}

// upload brings the file, from where the node at hand has it. After each piece the node says where the next one begins: at the
// beginning, if it is another node than before.
func (r *restore) upload(ctx context.Context) (err error) {
	file, err := os.Open(r.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	have, err := r.piece(ctx)
	buffer := make([]byte, db.MaxUploadPiece)
	for err == nil && have < r.size {
		piece := buffer[:min(int64(len(buffer)), r.size-have)]
		if _, err := file.ReadAt(piece, have); err != nil && err != io.EOF {
			return err
		}
		before := have
		have, err = r.piece(ctx, strconv.FormatInt(have, 10), base64.StdEncoding.EncodeToString(piece))
		if err == nil && have == before {
			return fmt.Errorf("%s takes nothing beyond %s", r.shell.Client.Place().name(), byteSize(have))
		}
		r.progress.updateBytes(have)
	}
	return err
}

// piece sends a piece and returns how many bytes the node has.
func (r *restore) piece(ctx context.Context, piece ...string) (have int64, err error) {
	told := false
	err = r.shell.controlRows(ctx, "upload", append(r.args[:len(r.args):len(r.args)], piece...), func(row []any) error {
		have, told = row[0].(int64)
		return nil
	})
	if err == nil && (!told || have < 0 || have > r.size) {
		err = errors.New("the node does not say how much of the file it has")
	}
	return have, err
}

// begin has the cluster go over to the file.
func (r *restore) begin(ctx context.Context) (err error) {
	results, err := r.shell.Client.Control(ctx, "restore", r.args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, results.Close()) }()
	for results.NextResult() {
		for results.Next() {
			r.progress.updateStage(plainText(results.Row()[0], ""))
		}
		r.index = results.Done().Index
	}
	return results.Err()
}

// controlRows asks the node and visits the rows of its answer.
func (s *Shell) controlRows(ctx context.Context, verb string, args []string, visit func([]any) error) (err error) {
	results, err := s.Client.Control(ctx, verb, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, results.Close()) }()
	for results.NextResult() {
		for results.Next() {
			if err := visit(results.Row()); err != nil {
				return err
			}
		}
	}
	return results.Err()
}
