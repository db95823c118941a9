package repl

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// sink is a place that results go to.
type sink struct {
	*bufio.Writer
	name string
	file *os.File // nil: stdout, which is not the shell's to close
}

func openSink(name string) (*sink, error) {
	if strings.HasPrefix(name, "|") {
		return nil, fmt.Errorf("output to a command (%q) is not supported: pipe rsqld itself, as in rsqld sql -c '…' %s", name, name)
	}
	file, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("opening the output file: %w", err)
	}
	return &sink{Writer: bufio.NewWriterSize(file, 64<<10), name: name, file: file}, nil
}

func (k *sink) close() error {
	err := k.Flush()
	if k.file != nil {
		err = errors.Join(err, k.file.Close())
	}
	if err != nil {
		return fmt.Errorf("writing to %s: %w", k.name, err)
	}
	return nil
}

func (s *Shell) sink() *sink {
	if s.once != nil {
		return s.once
	}
	return s.output
}

// setOutput sends results to a file from now on; "" and "stdout" mean Stdout.
func (s *Shell) setOutput(name string) error {
	next := &sink{Writer: bufio.NewWriterSize(s.Stdout, 64<<10), name: "stdout"}
	if name != "" && name != "stdout" {
		var err error
		if next, err = openSink(name); err != nil {
			return err
		}
	}
	previous := s.output
	s.output = next
	return previous.close()
}

// closeOnce ends a .once.
func (s *Shell) closeOnce() error {
	once := s.once
	s.once = nil
	if once == nil {
		return nil
	}
	return once.close()
}

func outputCommands() []Command {
	return []Command{
		{".mode", "[MODE [TABLE]]", "show or set the output mode: " + strings.Join(Modes, ", "), 0, 2, dotMode},
		{".headers", "on|off|auto", "print a line of column names; auto: where the mode has one", 1, 1, dotHeaders},
		{".nullvalue", "TEXT", "show NULL as TEXT", 1, 1, dotNullValue},
		{".maxbytes", "[BYTES|off]", "show or set where an answer in mode box, table or column is cut off; default 64 MiB", 0, 1, dotMaxBytes},
		{".output", "[FILE]", "send results to FILE; without it back to stdout", 0, 1, dotOutput},
		{".once", "FILE", "send the results of the next statement to FILE", 1, 1, dotOnce},
	}
}

func dotMode(_ context.Context, s *Shell, args []string) error {
	if len(args) == 0 {
		fmt.Fprintf(s.Out(), "current output mode: %s\n", s.mode)
		return nil
	}
	if err := oneOf("output mode", args[0], Modes); err != nil {
		return err
	}
	if len(args) == 2 && args[0] != "insert" {
		return fmt.Errorf("mode %s takes no table name: only insert does", args[0])
	}
	s.mode = args[0]
	if len(args) == 2 {
		s.table = args[1]
	}
	return nil
}

func dotHeaders(_ context.Context, s *Shell, args []string) error {
	if args[0] == "auto" {
		s.headers = "auto"
		return nil
	}
	on, err := parseSwitch(args[0])
	if err != nil {
		return err
	}
	s.headers = switchName(on)
	return nil
}

func dotNullValue(_ context.Context, s *Shell, args []string) error {
	s.null = args[0]
	return nil
}

func dotMaxBytes(_ context.Context, s *Shell, args []string) error {
	if len(args) == 0 {
		fmt.Fprintf(s.Out(), "%s\n", limitName(s.maxBytes))
		return nil
	}
	if on, err := parseSwitch(args[0]); err == nil && !on {
		s.maxBytes = 0
		return nil
	}
	limit, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil || limit < 1 {
		return fmt.Errorf("%q is no number of bytes from 1 on, and not off", args[0])
	}
	s.maxBytes = limit
	return nil
}

func limitName(limit int64) string {
	if limit == 0 {
		return "off"
	}
	return strconv.FormatInt(limit, 10)
}

func dotOutput(_ context.Context, s *Shell, args []string) error {
	return s.setOutput(strings.Join(args, ""))
}

func dotOnce(_ context.Context, s *Shell, args []string) error {
	once, err := openSink(args[0])
	if err != nil {
		return err
	}
	err = s.closeOnce()
	s.once = once
	return err
}

// parseSwitch reads on or off, as sqlite3 does.
func parseSwitch(word string) (bool, error) {
	switch strings.ToLower(word) {
	case "on", "yes", "true", "1":
		return true, nil
	case "off", "no", "false", "0":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither on nor off", word)
}

func switchName(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
