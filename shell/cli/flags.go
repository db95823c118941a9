package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/rsqld/rsqld/shell/repl"
)

// normalize turns -join into --join, so that both work: an argument with one dash is a long flag if it has the name of
// one, or if its first letter is no short flag. Values of flags and what follows -- stay as they are.
func normalize(flags *pflag.FlagSet, args []string) []string {
	normal := slices.Clone(args)
	for i := 0; i < len(normal); i++ {
		arg := normal[i]
		if arg == "--" {
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			continue
		}
		name, _, valued := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if long := flags.Lookup(name); arg[1] != '-' && len(name) > 1 && (long != nil || flags.ShorthandLookup(name[:1]) == nil) {
			normal[i] = "-" + arg
		}
		if takesValue(flags, name) && !valued {
			i++
		}
	}
	return normal
}

// takesValue reports whether the argument behind a flag belongs to it.
func takesValue(flags *pflag.FlagSet, name string) bool {
	flag := flags.Lookup(name)
	if flag == nil && len(name) == 1 {
		flag = flags.ShorthandLookup(name)
	}
	return flag != nil && flag.NoOptDefVal == ""
}

// flagError says in one line what is wrong with a flag.
func flagError(flags *pflag.FlagSet, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return &exit{exitUsage, err}
	}
	name := "--" + unknown.GetSpecifiedName()
	if unknown.GetSpecifiedShortnames() != "" {
		name = "-" + unknown.GetSpecifiedName()
	}
	if near := repl.Nearest(name, flagNames(flags)); near != "" {
		return usageError("unknown flag %s; did you mean %s?", name, near)
	}
	return usageError("unknown flag %s; rsqld help %s lists the flags", name, flags.Name())
}

func flagNames(flags *pflag.FlagSet) (names []string) {
	flags.VisitAll(func(flag *pflag.Flag) { names = append(names, "--"+flag.Name) })
	return names
}

// immediate flags belong to one call; neither the environment nor a configuration file sets them.
var immediate = []string{"command", "file", "config"}

// fillFlags sets the flags that the command line did not: from RSQLD_* variables, then from the configuration file.
func fillFlags(flags *pflag.FlagSet, lookup func(string) (string, bool), config bool) error {
	var failed error
	flags.VisitAll(func(flag *pflag.Flag) {
		name := "RSQLD_" + strings.ReplaceAll(strings.ToUpper(flag.Name), "-", "_")
		if flag.Changed || slices.Contains(immediate, flag.Name) && flag.Name != "config" {
			return
		}
		value, ok := lookup(name)
		if !ok || failed != nil {
			return
		}
		values := []string{value}
		if flag.Value.Type() == "stringArray" {
			values = strings.Split(value, ",")
		}
		for _, v := range values {
			if err := flags.Set(flag.Name, v); err != nil {
				failed = usageError("the environment variable %s is %q, which --%s does not take: %v", name, value, flag.Name, errors.Unwrap(err))
			}
		}
	})
	if failed != nil || !config {
		return failed
	}
	return fillFromFile(flags)
}

// fillFromFile sets what is still unset from the file of --config, if there is one.
func fillFromFile(flags *pflag.FlagSet) error {
	path := flags.Lookup("config").Value.String()
	if path == "" {
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return usageError("reading the configuration: %w", err)
	}
	defer file.Close()
	settings, err := parseConfig(file)
	if err != nil {
		return usageError("%s:%w", path, err)
	}
	given := map[string]bool{}
	flags.Visit(func(flag *pflag.Flag) { given[flag.Name] = true })
	for _, setting := range settings {
		flag := flags.Lookup(setting.key)
		if flag == nil || slices.Contains(immediate, setting.key) {
			near := strings.TrimPrefix(repl.Nearest("--"+setting.key, flagNames(flags)), "--")
			if near == "" || slices.Contains(immediate, near) {
				return usageError("%s:%d: unknown key %q", path, setting.line, setting.key)
			}
			return usageError("%s:%d: unknown key %q; did you mean %q?", path, setting.line, setting.key, near)
		}
		if given[setting.key] {
			continue
		}
		if err := flags.Set(setting.key, setting.value); err != nil {
			return usageError("%s:%d: %w", path, setting.line, err)
		}
	}
	return nil
}

// setting is a line of a configuration file.
type setting struct {
	line       int
	key, value string
}

// maxConfigLine is the longest line of a configuration file, in bytes.
const maxConfigLine = 64 << 10

// parseConfig reads lines of the form key = value. Empty lines and lines that begin with # are left out; a value may
// stand between quotation marks, which keep the blanks at its ends. Errors begin with the line's number.
func parseConfig(r io.Reader) (settings []setting, err error) {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, maxConfigLine)
	number := 0
	for scanner.Scan() {
		number++
		line := strings.TrimSpace(scanner.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !ok || key == "" {
			return nil, fmt.Errorf("%d: %q is not of the form key = value", number, line)
		}
		if n := len(value); n > 0 && value[0] == '"' {
			if n == 1 || value[n-1] != '"' {
				return nil, fmt.Errorf("%d: the value of %s has no closing quotation mark", number, key)
			}
			value = value[1 : n-1]
		}
		settings = append(settings, setting{number, key, value})
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("%d: %w", number+1, err)
	}
	return settings, nil
}
