package repl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// Command is a dot command.
type Command struct {
	Name     string // with its dot
	Usage    string // arguments, as help shows them
	Help     string // one line
	Min, Max int    // number of arguments; Max -1: any
	Run      func(ctx context.Context, s *Shell, args []string) error
}

// builtins are the shell's own commands, each family in the file of its noun.
func builtins() []Command {
	commands := []Command{
		{".help", "[COMMAND]", "show this list, or one command", 0, 1, dotHelp},
		{".quit", "", "leave the shell", 0, 0, dotQuit},
		{".exit", "[CODE]", "leave the shell with an exit code", 0, 1, dotExit},
		{".read", "FILE", "run the statements and commands in FILE", 1, 1, dotRead},
		{".show", "", "show the settings of the shell", 0, 0, dotShow},
		{".timer", "on|off", "print how long each statement took", 1, 1, dotTimer},
		{".changes", "on|off", "print how many rows each statement changed", 1, 1, dotChanges},
	}
	return slices.Concat(commands, outputCommands(), schemaCommands(), clusterCommands(), watchCommands(), importCommands(), exportCommands(), restoreCommands())
}

func compareNames(a, b string) int { return strings.Compare(a, b) }

// isCommand reports whether a line outside of a statement is a dot command.
func isCommand(line string) bool { return strings.HasPrefix(strings.TrimLeft(line, " \t"), ".") }

// dot runs a line that holds a dot command.
func (s *Shell) dot(ctx context.Context, name string, number int, line string) error {
	line = strings.TrimSpace(line)
	once := s.once
	err := s.interruptible(ctx, func(ctx context.Context) error {
		err := s.dispatch(ctx, line)
		s.sayMoved()
		return err
	})
	if once != nil && s.once == once {
		err = errors.Join(err, s.closeOnce())
	}
	if flush := s.sink().Flush(); flush != nil {
		err = errors.Join(err, fmt.Errorf("writing to %s: %w", s.sink().name, flush))
	}
	return s.fail(Statement{Line: number}, name, err)
}

func (s *Shell) dispatch(ctx context.Context, line string) error {
	words, err := splitWords(line)
	if err != nil {
		return err
	}
	command, err := s.command(strings.TrimRight(words[0], ";"))
	if err != nil {
		return err
	}
	args := words[1:]
	if len(args) < command.Min || command.Max >= 0 && len(args) > command.Max {
		return fmt.Errorf("usage: %s", strings.TrimSpace(command.Name+" "+command.Usage))
	}
	return command.Run(ctx, s, args)
}

// command finds a command by its name, with or without the dot.
func (s *Shell) command(name string) (Command, error) {
	if !strings.HasPrefix(name, ".") {
		name = "." + name
	}
	names := make([]string, len(s.commands))
	for i, command := range s.commands {
		if command.Name == name {
			return command, nil
		}
		names[i] = command.Name
	}
	if near := Nearest(name, names); near != "" {
		return Command{}, fmt.Errorf("unknown command %q; did you mean %s?", name, near)
	}
	return Command{}, fmt.Errorf("unknown command %q; .help lists the commands", name)
}

// splitWords splits a command line at blanks. '…' is taken as it is; in "…" a backslash escapes \ " n t r.
func splitWords(line string) ([]string, error) {
	var words []string
	for rest := strings.TrimLeft(line, " \t"); rest != ""; rest = strings.TrimLeft(rest, " \t\r\n") {
		var word string
		switch rest[0] {
		case '\'':
			end := strings.IndexByte(rest[1:], '\'')
			if end < 0 {
				return nil, fmt.Errorf("a quoted argument has no end: %s", rest)
			}
			word, rest = rest[1:end+1], rest[end+2:]
		case '"':
			var ok bool
			if word, rest, ok = unescape(rest[1:]); !ok {
				return nil, fmt.Errorf("a quoted argument has no end: %s", line)
			}
		default:
			end := strings.IndexAny(rest, " \t\r\n")
			if end < 0 {
				end = len(rest)
			}
			word, rest = rest[:end], rest[end:]
		}
		words = append(words, word)
	}
	return words, nil
}

var escapes = map[byte]byte{'n': '\n', 't': '\t', 'r': '\r'}

// unescape reads up to a closing quotation mark.
func unescape(text string) (word, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '"':
			return b.String(), text[i+1:], true
		case text[i] == '\\' && i+1 < len(text):
			i++
			if escaped, known := escapes[text[i]]; known {
				b.WriteByte(escaped)
			} else {
				b.WriteByte(text[i])
			}
		default:
			b.WriteByte(text[i])
		}
	}
	return "", "", false
}

// oneOf says what a word should have been.
func oneOf(what, word string, known []string) error {
	if slices.Contains(known, word) {
		return nil
	}
	if near := Nearest(word, known); near != "" {
		return fmt.Errorf("unknown %s %q; did you mean %s?", what, word, near)
	}
	return fmt.Errorf("unknown %s %q; there are %s", what, word, strings.Join(known, ", "))
}

// helpColumn is where the explanations stand in the list of commands.
const helpColumn = 24

func dotHelp(_ context.Context, s *Shell, args []string) error {
	if len(args) == 1 {
		command, err := s.command(args[0])
		if err != nil {
			return err
		}
		fmt.Fprintf(s.Out(), "%s\n  %s\n", strings.TrimSpace(command.Name+" "+command.Usage), command.Help)
		return nil
	}
	for _, command := range s.commands {
		usage := strings.TrimSpace(command.Name + " " + command.Usage)
		if len(usage) > helpColumn {
			usage += "\n" + strings.Repeat(" ", helpColumn)
		}
		fmt.Fprintf(s.Out(), "%-*s %s\n", helpColumn, usage, command.Help)
	}
	return nil
}

func dotQuit(context.Context, *Shell, []string) error { return &Exit{ExitOK} }

func dotExit(_ context.Context, _ *Shell, args []string) error {
	code := 0
	if len(args) == 1 {
		if _, err := fmt.Sscanf(args[0], "%d", &code); err != nil || code < 0 || code > 255 {
			return fmt.Errorf("exit code %q is no number from 0 to 255", args[0])
		}
	}
	return &Exit{code}
}

func dotRead(ctx context.Context, s *Shell, args []string) error {
	file, err := os.Open(args[0])
	if err != nil {
		return fmt.Errorf("reading a script: %w", err)
	}
	return errors.Join(s.script(ctx, args[0], file), file.Close())
}

func dotShow(_ context.Context, s *Shell, _ []string) error {
	null := fmt.Sprintf("%q", s.nullText())
	for _, setting := range [][2]string{
		{"changes", switchName(s.changes)}, {"headers", s.headers}, {"level", s.level}, {"maxbytes", limitName(s.maxBytes)},
		{"mode", s.mode},
		{"node", s.Client.Place().String()}, {"nullvalue", null}, {"output", s.sink().name}, {"timer", switchName(s.timer)},
	} {
		fmt.Fprintf(s.Out(), "%9s: %s\n", setting[0], setting[1])
	}
	return nil
}

func dotTimer(_ context.Context, s *Shell, args []string) (err error) {
	s.timer, err = parseSwitch(args[0])
	return err
}

func dotChanges(_ context.Context, s *Shell, args []string) (err error) {
	s.changes, err = parseSwitch(args[0])
	return err
}
