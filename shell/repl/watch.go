package repl

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bounds of .watch: the pause between two runs, unless it is given, and the shortest one.
const (
	watchPause      = time.Second
	leastWatchPause = 100 * time.Millisecond
)

// clearScreen is what terminals begin an empty page with.
const clearScreen = "\x1b[H\x1b[2J"

func watchCommands() []Command {
	return []Command{{".watch", "[SECONDS [TIMES]] [COMMAND …]",
		"run a dot command again and again (.nodes, each second), until Ctrl-C or so many times", 0, -1, dotWatch}}
}

// dotWatch runs a dot command again and again. A person sees each run on an empty page, also one that failed; a script, which
// must say how often, ends with the first failure.
func dotWatch(ctx context.Context, s *Shell, args []string) error {
	pause, times, words, err := watchArguments(args)
	if err != nil {
		return err
	}
	if times == 0 && !s.Terminal {
		return errors.New("no terminal: say how many times, as in .watch 1 10 .nodes")
	}
	command, err := s.command(words[0])
	switch {
	case err != nil:
		return err
	case command.Name == ".watch" || command.Name == ".read":
		return fmt.Errorf("%s is nothing to watch", command.Name)
	case len(words)-1 < command.Min || command.Max >= 0 && len(words)-1 > command.Max:
		return fmt.Errorf("usage: %s", strings.TrimSpace(command.Name+" "+command.Usage))
	}
	for run := 1; ; run++ {
		if s.Color {
			fmt.Fprint(s.Out(), clearScreen)
		}
		if err := command.Run(ctx, s, words[1:]); err != nil {
			if !s.Terminal || ctx.Err() != nil {
				return err
			}
			fmt.Fprintf(s.Stderr, "error: %v\n", err)
		}
		if err := s.sink().Flush(); err != nil {
			return fmt.Errorf("writing to %s: %w", s.sink().name, err)
		}
		if run == times {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// watchArguments takes the numbers before the command, if they are there.
func watchArguments(args []string) (pause time.Duration, times int, words []string, err error) {
	pause = watchPause
	if len(args) > 0 && !strings.HasPrefix(args[0], ".") {
		seconds, bad := strconv.ParseFloat(args[0], 64)
		if bad != nil || !(seconds >= leastWatchPause.Seconds() && seconds <= (24*time.Hour).Seconds()) {
			return 0, 0, nil, fmt.Errorf("%q is no number of seconds from %v to a day, and no dot command", args[0], leastWatchPause.Seconds())
		}
		pause, args = time.Duration(seconds*float64(time.Second)), args[1:]
		if len(args) > 0 && !strings.HasPrefix(args[0], ".") {
			if times, bad = strconv.Atoi(args[0]); bad != nil || times < 1 {
				return 0, 0, nil, fmt.Errorf("%q is no number of times, and no dot command", args[0])
			}
			args = args[1:]
		}
	}
	if len(args) == 0 {
		args = []string{".nodes"}
	}
	return pause, times, args, nil
}
