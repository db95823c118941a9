package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rsqld/rsqld/testcluster"
)

// Bounds of what a narrator waits for before it tells how things stand.
const (
	narrationPatience = 3 * time.Second
	narrationPause    = 10 * time.Millisecond
)

// narrator does what .demo says and tells, in a line or two, what Raft does about it. What it tells it has seen: it looks at
// the nodes before and after. When nobody reads it waits for nothing.
type narrator struct {
	cluster demoCluster
	out     io.Writer
}

func (n *narrator) silent() bool { return n.out == io.Discard }

func (n *narrator) say(format string, args ...any) { fmt.Fprintf(n.out, "-- "+format+"\n", args...) }

// leader returns the node that leads in the newest term, or zero.
func (n *narrator) leader() (leader int, state testcluster.State) {
	for i := 1; i <= n.cluster.Size(); i++ {
		if s := n.cluster.State(i); s.Role == "leader" && s.Term >= state.Term {
			leader, state = i, s
		}
	}
	return leader, state
}

// await waits until there is what is looked for, and returns how long that took; ok is false if it did not come.
func (n *narrator) await(ctx context.Context, there func() bool) (took time.Duration, ok bool) {
	begun := time.Now()
	for !n.silent() {
		if there() {
			return time.Since(begun).Round(time.Millisecond), true
		}
		if time.Since(begun) > narrationPatience {
			break
		}
		select {
		case <-time.After(narrationPause):
		case <-ctx.Done():
			return 0, false
		}
	}
	return 0, false
}

func (n *narrator) kill(ctx context.Context, i int) error {
	before, term := n.leader()
	state := n.cluster.State(i)
	if err := n.cluster.Kill(i); err != nil {
		return err
	}
	switch {
	case before != i && state.Role == "learner":
		n.say("n%d learned and is dead. It had no vote: nothing changes for the others.", i)
	case before == 0:
		n.say("n%d is dead; nobody led.", i)
	case before != i:
		n.say("n%d followed and is dead. n%d leads on and keeps the log for it; a write needs %d of %d voters, not all.",
			i, before, term.Voters/2+1, term.Voters)
	default:
		n.say("n%d led and is dead without a word. The others miss its heartbeats; "+
			"the first whose time is up, 150 to 300 ms, asks for votes.", i)
	}
	n.succession(ctx, before, term)
	return nil
}

// succession tells who leads, if another one than before does, or that nobody can.
func (n *narrator) succession(ctx context.Context, before int, old testcluster.State) {
	took, elected := n.await(ctx, func() bool {
		leader, state := n.leader()
		return leader != 0 && (leader == before && state.Role == "leader" || state.Term > old.Term)
	})
	leader, state := n.leader()
	switch {
	case elected && leader != before:
		n.say("n%d has the votes of a majority and leads in term %d, %v later. "+
			"Writes that were on their way are sent again under their numbers: each happens once.",
			leader, state.Term, took)
	case !elected:
		n.say("nobody can lead: there is no majority of the voters. Writes are refused after 500 ms; reads at .level local go on.")
	}
}

func (n *narrator) restart(ctx context.Context, i int) error {
	_, before := n.leader()
	if err := n.cluster.Restart(ctx, i); err != nil {
		return err
	}
	_, caughtUp := n.await(ctx, func() bool {
		leader, state := n.leader()
		return leader != 0 && n.cluster.State(i).Applied >= state.Last
	})
	leader, state := n.leader()
	switch {
	case !caughtUp:
		n.say("n%d is back with its log, its term and its vote, and finds no majority yet.", i)
	case state.Term != before.Term:
		n.say("n%d is back with its log, its term and its vote: "+
			"there is a majority again, and n%d leads in term %d.", i, leader, state.Term)
	default:
		n.say("n%d is back with its log, its term and its vote, and follows n%d, "+
			"which has sent what it missed: all have entry %d.", i, leader, state.Last)
	}
	return nil
}

func (n *narrator) partition(ctx context.Context, texts []string) error {
	groups, err := demoGroups(n.cluster, texts)
	if err != nil {
		return err
	}
	before, term := n.leader()
	if err := n.cluster.Partition(groups...); err != nil {
		return err
	}
	n.say("the network is cut: %s. Only where a majority of the %d voters is can anything be committed; "+
		"a leader elsewhere notices and steps down.",
		strings.Join(texts, " | "), term.Voters)
	for _, group := range groups {
		for _, i := range group {
			if i == before && len(group) > term.Voters/2 {
				n.say("n%d leads on: it is on the side of the majority.", before)
				return nil
			}
		}
	}
	n.succession(ctx, 0, term)
	return nil
}

func (n *narrator) heal(ctx context.Context) error {
	n.cluster.Heal()
	took, equal := n.await(ctx, func() bool {
		leader, state := n.leader()
		for i := 1; leader != 0 && i <= n.cluster.Size(); i++ {
			if s := n.cluster.State(i); s.Role != "" && (s.Term != state.Term || s.Applied < state.Last) {
				return false
			}
		}
		return leader != 0
	})
	leader, state := n.leader()
	if !equal {
		n.say("the network is whole again.")
		return nil
	}
	n.say("the network is whole again, and %v later all that run follow n%d in term %d and have entry %d. "+
		"What a minority had in its log and could not commit is gone.",
		took, leader, state.Term, state.Last)
	return nil
}

func (n *narrator) slow(text, duration string) error {
	delay, err := time.ParseDuration(duration)
	if err != nil || delay < 0 {
		return fmt.Errorf("%q is no duration: write 200ms, or 0s for none", duration)
	}
	return withNode(n.cluster, text, func(i int) error {
		if err := n.cluster.Slow(i, delay); err != nil {
			return err
		}
		switch leader, state := n.leader(); {
		case delay == 0:
			n.say("n%d sends without delay.", i)
		case leader == i:
			n.say("n%d leads, and everything that it sends takes %v more: so does each write. Heartbeats come late, but evenly.", i, delay)
		default:
			n.say("everything that n%d sends takes %v more. A write waits for %d of %d voters, the fastest: it does not wait for n%d.",
				i, delay, state.Voters/2+1, state.Voters, i)
		}
		return nil
	})
}

func (n *narrator) add(ctx context.Context, learner bool) error {
	if n.cluster.Size() >= maxDemoNodes {
		return fmt.Errorf("a demo has %d nodes at most", maxDemoNodes)
	}
	_, before := n.leader()
	i, err := n.cluster.Add(ctx, learner)
	if err != nil {
		return err
	}
	if learner {
		n.say("n%d joined as a learner: it gets the log and answers reads, has no vote, "+
			"and no write waits for it. .promote n%d would let it vote.", i, i)
		return nil
	}
	n.say("n%d joined as a learner: it gets the log and has no vote yet.", i)
	took, votes := n.await(ctx, func() bool {
		_, state := n.leader()
		return state.Voters > before.Voters
	})
	if votes {
		voters := before.Voters + 1
		n.say("n%d had caught up %v later, and was made a voter by a joint configuration, "+
			"in which the majorities of before and after both decide: now %d of %d.",
			i, took, voters/2+1, voters)
	}
	return nil
}
