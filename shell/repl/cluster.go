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
		{".demote", "ID|NAME", "make a voter a learner that stays one", 1, 1, dotMember("demote")},
		{".replace", "OLD NEW", "remove a voter and promote a learner in its place, in one step", 2, 2, dotMember("replace")},
		{".remove", "ID|NAME", "remove a member for good", 1, 1, dotMember("remove")},
		{".transfer", "[ID|NAME]", "hand leadership over, to a member or to the best of them", 0, 1, dotMember("transfer")},
		{".token", "[--learner]", "print a token with which a node can join", 0, 1, dotToken},
		{".set", "NAME=VALUE …", "change settings of the cluster; an empty value is the default", 1, 64, dotMember("set")},
		{".sessions", "", "list the sessions of the cluster: who does what, and who keeps others from writing", 0, 0, dotControl("sessions")},
		{".cancel", "SESSION", "end the statement or the transaction of a session", 1, 1, dotMember("cancel")},
		{".verify", "", "have every node hash its content at one log index, and compare", 0, 0, dotVerify},
		{".level", "[LEVEL]", "show or set how fresh reads are: local, session, linearizable, strong", 0, 1, dotLevel},
	}
}

func dotControl(verb string) func(context.Context, *Shell, []string) error {
	return func(ctx context.Context, s *Shell, _ []string) error { return s.control(ctx, verb) }
}

func dotMember(verb string) func(context.Context, *Shell, []string) error {
	return func(ctx context.Context, s *Shell, args []string) error { return s.control(ctx, verb, args...) }
}

// watched looks at the column state of the rows that pass.
type watched struct {
	Results
	equal, differ, unknown int
}

func (w *watched) Next() bool {
	if !w.Results.Next() {
		return false
	}
	switch row := w.Row(); row[len(row)-1] {
	case "equal":
		w.equal++
	case "differs":
		w.differ++
	default:
		w.unknown++
	}
	return true
}

// dotVerify fails if nodes differ, or if one of them could not be asked.
func dotVerify(ctx context.Context, s *Shell, _ []string) error {
	results, err := s.Client.Control(ctx, "verify")
	if err != nil {
		return err
	}
	w := &watched{Results: results}
	switch err := s.print(w); {
	case err != nil:
		return err
	case w.differ > 0 && w.unknown > 0:
		return fmt.Errorf("the nodes hold different rows: those that differ should be removed and joined anew; "+
			"%d more could not be compared: the column state says why", w.unknown)
	case w.differ > 0:
		return errors.New("the nodes hold different rows: those that differ should be removed and joined anew")
	case w.unknown > 0:
		return fmt.Errorf("%d of %d nodes could not be compared: the column state says why", w.unknown, w.unknown+w.equal)
	}
	return nil
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
