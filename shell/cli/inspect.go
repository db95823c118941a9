package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

func inspectCommand() command {
	return command{
		name: "inspect", args: "DIR", most: 1, summary: "look at the log of a node that does not run",
		define: func(flags *pflag.FlagSet) action {
			accept := flags.Bool("accept-loss", false, "let a damaged log begin again without the entries that are missing")
			yes := flags.Bool("yes", false, "with --accept-loss: do not ask")
			return func(_ context.Context, e *Environment, args []string) error {
				switch {
				case len(args) == 0:
					return usageError("which node? usage: rsqld inspect DIR, with the --data directory of a node that does not run")
				case *yes && !*accept:
					return usageError("--yes answers the question of --accept-loss, which is not there")
				case *accept:
					return e.acceptLoss(args[0], *yes)
				}
				return e.inspect(args[0])
			}
		},
	}
}

// inspect prints what the log holds. A damaged one is exit code 1.
func (e *Environment) inspect(dir string) error {
	i, err := db.Inspect(dir)
	if err != nil {
		return err
	}
	if err := printInspection(e.Stdout, &i); err != nil {
		return err
	}
	if i.Damage != nil {
		return &exit{code: exitFailed}
	}
	return nil
}

// acceptLoss shows what is wrong, asks, and cuts.
func (e *Environment) acceptLoss(dir string, yes bool) error {
	i, err := db.Inspect(dir)
	if err != nil {
		return err
	}
	if err := printInspection(e.Stdout, &i); err != nil {
		return err
	}
	if !yes {
		if !e.StdinTerminal {
			return usageError("--accept-loss cannot be undone: keep a copy of %s, and give --yes as well", dir)
		}
		fmt.Fprintf(e.Stdout, "\nAfter this, the node forgets entries that it acknowledged. In a cluster with other voters that can undo\n"+
			"what clients were told: there, remove the node and join a new one instead. It cannot be undone.\nType yes to go on: ")
		answer, err := bufio.NewReader(e.Stdin).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("reading the answer: %w", err)
		}
		if strings.TrimSpace(answer) != "yes" {
			return errors.New("nothing was changed")
		}
	}
	done, err := db.AcceptLoss(dir)
	switch {
	case err != nil:
		return err
	case done.Last == (raft.EntryID{}) && done.Damage == nil:
		fmt.Fprintln(e.Stdout, "\nNothing is missing, and nothing was changed.")
	case done.Lost == (raft.EntryID{}):
		fmt.Fprintf(e.Stdout, "\nThe log goes from %d to %d now. No entry that is known to have been there is lost.\n",
			done.Base.Index+1, done.Last.Index)
	default:
		fmt.Fprintf(e.Stdout, "\nThe log goes from %d to %d now. Lost for good: what followed, up to entry %d.\n",
			done.Base.Index+1, done.Last.Index, done.Lost.Index)
	}
	return nil
}

func printInspection(w io.Writer, i *wal.Inspection) error {
	fmt.Fprintf(w, "log of node %d, cluster %x\n\n", i.Node, i.Cluster)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SEGMENT\tENTRIES\tRECORDS\tBYTES\tSTATE")
	for _, s := range i.Segments {
		state := "whole"
		switch {
		case s.Dead:
			state = "not needed any more"
		case s.Err != nil:
			state = s.Err.Error()
		case i.Damage != nil && i.Damage.Segment == s.Name:
			state = "damaged"
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%s\n", s.Name, indexes(s.First, s.Last), s.Records, s.Bytes, state)
	}
	fmt.Fprintln(table)
	for _, p := range i.Parts {
		terms := make([]string, len(p.Terms))
		for k, run := range p.Terms {
			terms[k] = fmt.Sprintf("%d from %d on", run.Term, run.First)
		}
		fmt.Fprintf(table, "entries\t%s\n", indexes(p.Base.Index+1, p.Last.Index))
		fmt.Fprintf(table, "terms\t%s\n", strings.Join(terms, ", "))
	}
	fmt.Fprintf(table, "hard state\t%s\n", hardState(i.HardState))
	if i.HardState.Acked != (raft.EntryID{}) {
		fmt.Fprintf(table, "acknowledged\tup to %d in term %d; the node does not lead before it has that again\n",
			i.HardState.Acked.Index, i.HardState.Acked.Term)
	}
	if i.Configuration.Index != 0 {
		fmt.Fprintf(table, "members\t%v, by entry %d\n", i.Configuration.Configuration, i.Configuration.Index)
	}
	fmt.Fprintf(table, "torn\t%d bytes\n", i.TornBytes)
	fmt.Fprintf(table, "damage\t%s\n", damageLine(i))
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n", outcome(i))
	return err
}

func indexes(first, last raft.Index) string {
	if first == 0 || last < first {
		return "none"
	}
	return fmt.Sprintf("%d to %d", first, last)
}

func hardState(h raft.HardState) string {
	if h.Vote == 0 {
		return fmt.Sprintf("term %d, no vote", h.Term)
	}
	return fmt.Sprintf("term %d, vote for %d", h.Term, h.Vote)
}

func damageLine(i *wal.Inspection) string {
	if i.Damage == nil {
		return "none"
	}
	return i.Damage.Error()
}

// outcome says what a start does.
func outcome(i *wal.Inspection) string {
	switch {
	case i.Damage == nil && i.TornBytes > 0:
		return "A start cuts off the last write, which was torn: nobody was told of it."
	case i.Damage == nil:
		return "A start goes on with this log."
	case i.EndUnknown != nil:
		return fmt.Sprintf("A start is refused: %v. Remove the node from the cluster (rsqld remove %d)\n"+
			"and join a new one; if no other node is left, restore a backup, or see --accept-loss.", i.EndUnknown, i.Node)
	}
	with := fmt.Sprintf("A start repairs the log without loss if the database has applied entry %d. If it has not, ",
		i.Needed.Index)
	if i.OnlyVoter() {
		return with + "the start is\nrefused, for this node is the only voter: restore a backup, or see --accept-loss."
	}
	return with + "the other\nvoters give back what is missing, and this node does not lead until then."
}
