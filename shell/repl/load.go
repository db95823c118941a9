package repl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/rsqld/rsqld/db/sqlite"
)

// A script that begins as a dump of sqlite3 does, with foreign keys off and a transaction, is no list of requests: its
// tables come in any order, it may write shadow tables and the schema itself, and as one transaction it may be larger
// than any entry of a log. It is loaded in two steps. First every statement is run on a plain database in a temporary
// file, by SQLite itself: whatever is wrong with the script shows there, with its line, before the cluster has changed.
// Then what that database holds is sent to the cluster in requests of bounded size, in an order that foreign keys
// allow; see sending.

// maxDumpStatement is the longest statement of a dump, in bytes: a blob takes twice its bytes as text. Only tests
// change it.
var maxDumpStatement = 256 << 20

// reading is a script on its way.
type reading struct {
	name  string
	total int64 // bytes; zero: not known
	begun bool  // a statement was run
	// held is the first statement, if it may be the first of a dump.
	held *Statement
	load *staging // not nil: the statements are a dump's
}

// newReading begins a script. The caller closes it.
func newReading(name string, script io.Reader) *reading {
	r := &reading{name: name}
	if file, ok := script.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
			r.total = info.Size()
		}
	}
	return r
}

// close forgets a dump whose end did not come, and says so.
func (r *reading) close() error {
	if r.load == nil {
		return nil
	}
	err := r.load.close()
	fmt.Fprintf(r.load.shell.Stderr, "nothing of %s was loaded\n", r.load.name)
	return err
}

// take runs a statement of a script, or of a person.
func (s *Shell) take(ctx context.Context, name string, statement Statement) error {
	r := s.reading
	if r == nil {
		return s.run(ctx, name, statement)
	}
	if r.load != nil {
		return s.takeDumped(ctx, statement)
	}
	first := !r.begun
	r.begun = true
	if first && isStatement(statement.Text, "pragma", "foreign_keys", "=", "off") {
		r.held = &statement
		return nil
	}
	if held := r.held; held != nil {
		r.held = nil
		if isStatement(statement.Text, "begin", "transaction") || isStatement(statement.Text, "begin") {
			var err error
			r.load, err = newStaging(s, r)
			return s.fail(statement, name, err)
		}
		if err := s.run(ctx, name, *held); err != nil {
			return err
		}
	}
	return s.run(ctx, name, statement)
}

// takeDumped takes a statement of a dump. What goes wrong ends the script, with --keep-going too: there is nothing to
// go on with.
func (s *Shell) takeDumped(ctx context.Context, statement Statement) error {
	r := s.reading
	if s.interrupted(ctx) {
		return errInterrupted
	}
	ended, err := r.load.stage(ctx, statement)
	if err == nil && ended {
		s.schema.stale = true
		err = s.interruptible(ctx, r.load.send)
		err = errors.Join(err, r.load.close())
		r.load, statement = nil, Statement{} // what went wrong is not about the COMMIT
	}
	if err == nil {
		return nil
	}
	if err := s.fail(statement, r.name, err); err != nil {
		return err
	}
	return errReported
}

// endReading ends a script that was read to its end.
func (s *Shell) endReading(ctx context.Context) error {
	r := s.reading
	if held := r.held; held != nil {
		r.held = nil
		return s.run(ctx, r.name, *held)
	}
	if r.load == nil {
		return nil
	}
	if err := s.fail(Statement{}, r.name, errors.New("the dump ends without COMMIT: it was cut off")); err != nil {
		return err
	}
	return errReported
}

// interrupted reports whether the person has pressed Ctrl-C.
func (s *Shell) interrupted(ctx context.Context) bool {
	if s.catching {
		return ctx.Err() != nil
	}
	select {
	case <-s.Interrupts:
		return true
	default:
		return ctx.Err() != nil
	}
}

// isStatement reports whether a statement consists of these words, in lower case.
func isStatement(text string, words ...string) bool {
	text = strings.ToLower(strings.TrimRight(text, "; \t\r\n"))
	fields := strings.Fields(strings.ReplaceAll(text, "=", " = "))
	return strings.Join(fields, " ") == strings.Join(words, " ")
}

// staging is a dump in a temporary database.
type staging struct {
	shell *Shell
	name  string
	dir   string // of the temporary database
	conn  *sqlite.Conn
	// lines are the lines in which tables are created.
	lines    map[string]int
	newest   int64 // rowid in sqlite_schema
	staged   int64 // bytes of the statements that were run
	progress *progress
	// ended reports whether the statement that runs is to end.
	ended func() bool
}

// stepsPerLook is after how many steps of a statement ended is asked.
const stepsPerLook = 100_000

// newStaging makes a temporary database.
func newStaging(s *Shell, r *reading) (*staging, error) {
	dir, err := os.MkdirTemp("", "rsqld-load-")
	if err != nil {
		return nil, fmt.Errorf("making a temporary database for the dump: %w", err)
	}
	l := &staging{shell: s, name: r.name, dir: dir, lines: make(map[string]int)}
	if l.name == "" {
		l.name = "the dump"
	}
	l.progress = newProgress(s.Stderr, s.Live, s.Now, "reading "+l.name, r.total)
	l.conn, err = sqlite.Open(filepath.Join(dir, "dump.sqlite"), stagingOptions())
	if err == nil {
		l.conn.SetProgress(stepsPerLook, func() bool { return l.ended != nil && l.ended() })
		err = l.conn.Exec("BEGIN")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making a temporary database for the dump: %w", err), l.close())
	}
	return l, nil
}

// stagingOptions are those of a database that is thrown away when anything fails. It believes the dump, as sqlite3
// does, but for files: nothing is attached.
func stagingOptions() sqlite.Options {
	return sqlite.Options{
		Create: true,
		Limits: []sqlite.LimitValue{{Limit: sqlite.LimitAttached, Value: 0}},
		Pragmas: []sqlite.Pragma{
			{Name: "journal_mode", Value: "off", Want: "off"},
			{Name: "synchronous", Value: "off", Want: "0"},
			{Name: "foreign_keys", Value: "off", Want: "0"},
			{Name: "trusted_schema", Value: "off", Want: "0"},
		},
	}
}

func (l *staging) close() error {
	l.progress.clear()
	var err error
	if l.conn != nil {
		err = l.conn.Close()
	}
	return errors.Join(err, os.RemoveAll(l.dir))
}

// stage runs a statement on the temporary database. ended says that it was the last one.
func (l *staging) stage(ctx context.Context, statement Statement) (ended bool, err error) {
	l.ended = func() bool { return l.shell.interrupted(ctx) }
	switch {
	case isStatement(statement.Text, "commit"), isStatement(statement.Text, "commit", "transaction"),
		isStatement(statement.Text, "end"):
		// RESET: virtual tables that were written into the schema are not known before it is read again.
		return true, l.conn.Exec("COMMIT; PRAGMA writable_schema=RESET")
	case isStatement(statement.Text, "rollback"):
		return false, errors.New("the dump ends with ROLLBACK: the program that wrote it has met errors")
	}
	err = l.conn.Exec(statement.Text)
	var failed *sqlite.Error
	if errors.As(err, &failed) {
		if failed.Code == sqlite.CodeInterrupt {
			return false, errInterrupted
		}
		return false, &Error{Class: ClassSQL, Code: failed.Code, Extended: failed.Extended, Offset: failed.Offset,
			Message: failed.Message + " (the script begins like a dump of sqlite3 and is tried as one)"}
	}
	if err == nil && changesSchema(statement.Text) {
		err = l.created(statement.Line)
	}
	l.staged += int64(len(statement.Text)) + 1
	l.progress.updateBytes(l.staged)
	return false, err
}

// created takes note of the line that new objects of the schema stand in.
func (l *staging) created(line int) error {
	stmt, err := l.conn.Internal("SELECT name, rowid FROM sqlite_schema WHERE rowid > ? ORDER BY rowid")
	if err != nil {
		return err
	}
	defer stmt.Release()
	if err := stmt.BindInt64(1, l.newest); err != nil {
		return err
	}
	for {
		more, err := stmt.Step()
		if err != nil || !more {
			return err
		}
		l.lines[stmt.ColumnText(0)], l.newest = line, stmt.ColumnInt64(1)
	}
}

// place is where a table is created, for errors.
func (l *staging) place(table string) string {
	if line := l.lines[table]; line > 0 {
		return fmt.Sprintf("table %s (%s:%d)", table, l.name, line)
	}
	return "table " + table
}
