package repl

import (
	"context"
	"errors"
	"fmt"
)

func clusterCommands() []Command {
	return []Command{
		{".nodes", "", "list the members of the cluster", 0, 0, dotControl("nodes")},
		{".leader", "", "show the leader", 0, 0, dotControl("leader")},
		{".status", "", "show the state of this node and the settings of the cluster", 0, 0, dotControl("status")},
		{".promote", "ID|NAME", "make a learner a voter", 1, 1, dotMember("promote")},
		{".remove", "ID|NAME", "remove a member for good", 1, 1, dotMember("remove")},
		{".transfer", "[ID|NAME]", "hand leadership over, to a member or to the best of them", 0, 1, dotMember("transfer")},
		{".token", "[--learner]", "print a token with which a node can join", 0, 1, dotToken},
		{".level", "[LEVEL]", "show or set how fresh reads are: local, session, linearizable, strong", 0, 1, dotLevel},
	}
}

func dotControl(verb string) func(context.Context, *Shell, []string) error {
	return func(ctx context.Context, s *Shell, _ []string) error { return s.control(ctx, verb) }
}

func dotMember(verb string) func(context.Context, *Shell, []string) error {
	return func(ctx context.Context, s *Shell, args []string) error { return s.control(ctx, verb, args...) }
}

// dotToken prints the token and nothing else, whatever the mode, so that it can be copied.
func dotToken(ctx context.Context, s *Shell, args []string) (err error) {
	if len(args) == 1 && args[0] != "--learner" {
		return fmt.Errorf("unknown argument %q; did you mean --learner?", args[0])
	}
	for i := range args {
		args[i] = "learner"
	}
	results, err := s.Client.Control(ctx, "token", args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, results.Close()) }()
	for results.NextResult() {
		for results.Next() {
			fmt.Fprintln(s.Out(), plainText(results.Row()[0], ""))
		}
	}
	return results.Err()
}

func dotLevel(_ context.Context, s *Shell, args []string) error {
	if len(args) == 0 {
		fmt.Fprintln(s.Out(), s.level)
		return nil
	}
	if err := oneOf("level", args[0], Levels); err != nil {
		return err
	}
	s.level = args[0]
	return nil
}
