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
)

// maxCopies is how many data directories can be compared: as many as a cluster has members.
const maxCopies = 64

func recoverCommand() command {
	return command{
		name: "recover", args: "DIR [DIR…]", most: maxCopies,
		summary: "after the loss of a majority: let the cluster go on from one node's data directory",
		define: func(flags *pflag.FlagSet) action {
			yes := flags.Bool("yes", false, "do not ask")
			look := flags.Bool("look", false, "say what the directories hold and which is the most advanced, and change nothing")
			return func(_ context.Context, e *Environment, args []string) error {
				switch {
				case len(args) == 0:
					return usageError("from which copy? usage: rsqld recover DIR [DIR…], with the --data directories of nodes that do not run")
				case *yes && *look:
					return usageError("--yes answers a question that --look does not ask: give one of them")
				}
				return e.recover(args, *yes, *look)
			}
		},
	}
}

// recover shows what the copies hold, chooses one, asks, and recovers the cluster from it.
func (e *Environment) recover(dirs []string, yes, look bool) error {
	copies := make([]db.Copy, len(dirs))
	for i, dir := range dirs {
		var err error
		if copies[i], err = db.Survey(dir); err != nil {
			return err
		}
	}
	if err := printCopies(e.Stdout, copies); err != nil {
		return err
	}
	best, why, err := db.MostAdvanced(copies)
	if err != nil {
		return err
	}
	c := copies[best]
	fmt.Fprintf(e.Stdout, "\nmost advanced: %s, because %s\n", c.Dir, why)
	fmt.Fprint(e.Stdout, recoveryAdvice(c, copies))
	if look || aloneAlready(c) {
		return nil
	}
	if err := e.confirmRecovery(c, yes); err != nil {
		return err
	}
	done, err := db.Recover(c)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.Stdout, "\nrecovered: node %d is the only member of the cluster, in epoch %v, with all entries up to %d\n",
		done.Node, done.Epoch, done.Kept)
	if done.Credential != "" {
		fmt.Fprintf(e.Stdout, "%s is a new administrator's credential\n", done.Credential)
	}
	fmt.Fprintf(e.Stdout, "start it:       rsqld --data %s --listen %s\n", c.Dir, c.Address)
	fmt.Fprintf(e.Stdout, "then add nodes: rsqld token, and rsqld --join %s with empty data directories\n", c.Address)
	return nil
}

// aloneAlready reports whether the node of a copy leads by itself when it is started, as after a recovery.
func aloneAlready(c db.Copy) bool {
	_, voters, majority := db.Reach(c, []db.Copy{c})
	return voters == 1 && majority && !c.Begun && c.Quarantined == nil
}

// confirmRecovery asks for a yes, unless it was given.
func (e *Environment) confirmRecovery(c db.Copy, yes bool) error {
	if yes {
		return nil
	}
	if !e.StdinTerminal {
		return usageError("a recovery cannot be undone: keep a copy of %s, and give --yes as well (or --look, to change nothing)", c.Dir)
	}
	fmt.Fprintf(e.Stdout, "\nAfter this, node %d is the whole cluster. What only others had is lost, and they never take part again: they come back\n"+
		"as new nodes with empty directories. Be sure that no majority of them still runs. It cannot be undone.\nType yes to go on: ", c.Node)
	answer, err := bufio.NewReader(e.Stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if strings.TrimSpace(answer) != "yes" {
		return errors.New("nothing was changed")
	}
	return nil
}

// recoveryAdvice says what a recovery from c keeps and loses.
func recoveryAdvice(c db.Copy, copies []db.Copy) string {
	var b strings.Builder
	present, voters, majority := db.Reach(c, copies)
	switch {
	case c.Begun:
		fmt.Fprintf(&b, "a recovery of it was begun, and is finished by this or by the next start\n")
	case aloneAlready(c):
		fmt.Fprintf(&b, "it is the only voter: it needs no recovery, start it; nothing is changed\n")
	case majority:
		fmt.Fprintf(&b, "these are copies of %d of %d voters, a majority: everything that was acknowledged is in it; but started where they\n"+
			"were, these nodes go on by themselves, and no recovery is needed\n", present, voters)
	default:
		fmt.Fprintf(&b, "these are copies of %d of %d voters, no majority: what was acknowledged and is only on the others is lost\n", present, voters)
	}
	if lost := c.Lost(); lost != "" {
		fmt.Fprintf(&b, "left behind for good: %s\n", lost)
	}
	if c.Quarantined != nil {
		fmt.Fprintf(&b, "its database was set apart (%v): after a recovery it is taken for right\n", c.Quarantined)
	}
	if !c.HasKey {
		fmt.Fprintf(&b, "it has no tls/ca.key, which learners have not got: to let other nodes join, copy that file from any voter's directory\n")
	}
	return b.String()
}

func printCopies(w io.Writer, copies []db.Copy) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := range copies {
		c := &copies[i]
		if i > 0 {
			fmt.Fprintln(table)
		}
		fmt.Fprintf(table, "directory\t%s\n", c.Dir)
		fmt.Fprintf(table, "cluster\t%x, epoch %v\n", c.Cluster, c.Epoch)
		fmt.Fprintf(table, "node\t%d, %s, %s, %s\n", c.Node, c.Name, c.Address, c.Part())
		fmt.Fprintf(table, "hard state\t%s\n", hardState(c.HardState))
		fmt.Fprintf(table, "entries\t%s, the newest of term %d\n", indexes(c.Base.Index+1, c.Last.Index), c.Last.Term)
		fmt.Fprintf(table, "applied\t%d\n", c.Applied.Index)
		fmt.Fprintf(table, "members\t%v, by entry %d\n", c.Configuration.Configuration, c.Configuration.Index)
		for _, m := range c.Members {
			fmt.Fprintf(table, "\tnode %d, %s, %s\n", m.ID, m.Name, m.Address)
		}
		if c.Quarantined != nil {
			fmt.Fprintf(table, "quarantined\t%v\n", c.Quarantined)
		}
		if c.Unusable != nil {
			fmt.Fprintf(table, "unusable\t%v\n", c.Unusable)
		}
	}
	return table.Flush()
}
