package repl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// Options say what a Shell works with. Client, Stdout and Stderr are needed.
type Options struct {
	Client Client
	Stdout io.Writer
	Stderr io.Writer

	// Terminal: a person reads. Output begins in mode box instead of csv.
	Terminal bool
	// Color: Stdout and Stderr understand ANSI escape sequences.
	Color bool
	// Live: Stderr is a terminal, and progress is a line that is written over.
	Live bool
	// Width returns the terminal's width in columns, 0 if there is none. Nil: 0.
	Width func() int
	// Mode and Level to begin with; empty: the defaults.
	Mode, Level string
	// KeepGoing: scripts go on after an error. Failures counts them.
	KeepGoing bool

	// Interrupts brings the person's Ctrl-C. Nil: there are none.
	Interrupts <-chan os.Signal
	// Abort ends the program. It is called on a second interrupt while the first has not ended the statement yet.
	Abort func()

	// Confirm asks the person a question that is answered with yes or no. Nil: nobody is there, unless Interact is called,
	// which asks by its Editor.
	Confirm func(ctx context.Context, question string) (bool, error)

	// Commands are dot commands besides the shell's own.
	Commands []Command
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Shell runs SQL and dot commands and prints what comes back. It belongs to one goroutine.
type Shell struct {
	Options
	layout
	commands []Command
	level    string
	timer    bool
	changes  bool
	total    int64 // rows changed by this shell, for .changes
	maxBytes int64 // of text in one answer in a tabular mode; 0: no limit
	failures int
	unknown  bool // nobody knows whether the newest statement was executed

	output   *sink    // where results go: Stdout or a file of .output
	once     *sink    // of .once: takes the place of output for one statement
	catching bool     // interrupts are being watched already
	keep     bool     // go on after an error
	reading  *reading // the script that is read; nil: a person types
	place    Place    // where the client was last seen
	schema   schema
}

// Exit says that the shell is to end, and with which exit code.
type Exit struct{ Code int }

// Error names the code.
func (e *Exit) Error() string { return fmt.Sprintf("exit %d", e.Code) }

// Exit codes of the shell.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitInterrupted = 130
)

var (
	// errInterrupted is the cause of a statement's context when the person pressed Ctrl-C.
	errInterrupted = errors.New("interrupted")
	// errReported stands for an error that the person has been told of.
	errReported = errors.New("reported")
)

// New returns a Shell. It fails if Mode or Level is none of Modes or Levels.
func New(options Options) (*Shell, error) {
	s := &Shell{Options: options, level: options.Level, place: options.Client.Place(), schema: schema{stale: true}}
	s.maxBytes = DefaultMaxBytes
	s.layout = layout{mode: "csv", headers: "auto", null: nullUnset, table: "table", color: options.Color}
	if options.Terminal {
		s.layout.mode = "box"
	}
	if options.Mode != "" {
		s.layout.mode = options.Mode
	}
	if err := oneOf("output mode", s.layout.mode, Modes); err != nil {
		return nil, err
	}
	if s.level == "" {
		s.level = "session"
	}
	if err := oneOf("level", s.level, Levels); err != nil {
		return nil, err
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	s.commands = append(builtins(), options.Commands...)
	slices.SortFunc(s.commands, func(a, b Command) int { return compareNames(a.Name, b.Name) })
	s.output = &sink{name: "stdout", Writer: bufio.NewWriterSize(options.Stdout, 64<<10)}
	return s, nil
}

// Failures is how many statements and commands have failed.
func (s *Shell) Failures() int { return s.failures }

// Out is where results go at the moment.
func (s *Shell) Out() io.Writer { return s.sink() }

// Close writes out and closes the file of .output, if there is one. The client stays open.
func (s *Shell) Close() error {
	return errors.Join(s.closeOnce(), s.setOutput(""))
}

// Script runs a script to its end, or to the first error unless KeepGoing is set. The name is said beside errors;
// empty for text that a person typed in whole. It returns nil or an *Exit.
func (s *Shell) Script(ctx context.Context, name string, script io.Reader) error {
	err := s.script(ctx, name, script)
	var exit *Exit
	switch {
	case err == nil || errors.As(err, &exit):
		return err
	case errors.Is(err, errInterrupted):
		fmt.Fprintln(s.Stderr, "interrupted")
		return &Exit{ExitInterrupted}
	default:
		return &Exit{ExitFailed}
	}
}

// script is Script with the shell's own errors: errReported, errInterrupted, *Exit.
func (s *Shell) script(ctx context.Context, name string, script io.Reader) (err error) {
	defer func(keep bool) { s.keep = keep }(s.keep)
	s.keep = s.KeepGoing
	next, stop := s.lines(script)
	defer stop()
	outer := s.reading
	s.reading = newReading(name, script)
	defer func() {
		err = errors.Join(err, s.reading.close())
		s.reading = outer
	}()
	splitter := NewSplitter()
	for {
		line, end := next()
		if errors.Is(end, errInterrupted) {
			return end
		}
		if end != nil && end != io.EOF {
			return s.fail(Statement{}, name, fmt.Errorf("reading %s: %w", name, end))
		}
		if err := s.feed(ctx, name, splitter, line); err != nil {
			return err
		}
		if end == io.EOF {
			if statement, ok := splitter.Rest(); ok {
				if err := s.take(ctx, name, statement); err != nil {
					return err
				}
			}
			return s.endReading(ctx)
		}
		if s.reading.load != nil {
			splitter.limit = maxDumpStatement
		}
	}
}

// lines returns a function that reads the next line, with the error that ended it. Outside of a command that watches
// interrupts itself, one that comes while the script is awaited ends the waiting; the read is then left behind.
func (s *Shell) lines(script io.Reader) (next func() (string, error), stop func()) {
	reader := bufio.NewReaderSize(script, 64<<10)
	if s.catching || s.Interrupts == nil {
		return func() (string, error) { return readLine(reader) }, func() {}
	}
	type read struct {
		line string
		err  error
	}
	lines, done := make(chan read), make(chan struct{})
	go func() {
		for err := error(nil); err == nil; {
			var line string
			line, err = readLine(reader)
			select {
			case lines <- read{line, err}:
			case <-done:
				return
			}
		}
	}()
	next = func() (string, error) {
		select {
		case r := <-lines:
			return r.line, r.err
		case <-s.Interrupts:
			return "", errInterrupted
		}
	}
	return next, func() { close(done) }
}

// feed runs a line: a dot command, or the statements that it completes.
func (s *Shell) feed(ctx context.Context, name string, splitter *Splitter, line string) error {
	if !splitter.Pending() && isCommand(line) {
		number := splitter.Line()
		if err := splitter.Feed("\n"); err != nil {
			return err
		}
		splitter.Next()
		return s.dot(ctx, name, number, line)
	}
	if err := splitter.Feed(line); err != nil {
		splitter.Reset()
		if err := s.fail(Statement{}, name, err); err != nil || s.reading == nil || s.reading.load == nil {
			return err
		}
		return errReported // a dump without one of its statements is none
	}
	for {
		statement, ok := splitter.Next()
		if !ok {
			return nil
		}
		if err := s.take(ctx, name, statement); err != nil {
			return err
		}
	}
}

// readLine reads a line with its end. A line may be as long as the longest statement of a dump.
func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		piece, err := r.ReadSlice('\n')
		line = append(line, piece...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return string(line), err
		}
		if len(line) > maxDumpStatement {
			return "", fmt.Errorf("a line is longer than %d MiB", maxDumpStatement>>20)
		}
	}
}
