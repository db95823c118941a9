package replica_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/replica"
	"github.com/rsqld/rsqld/raft/wal"
)

// A single voter leads before an election timeout has passed.
func TestSingleVoterLeadsAtOnce(t *testing.T) {
	testCluster(t, 1, func(t *testing.T, c *cluster) {
		start := time.Now()
		m := c.leader()
		if took := time.Since(start); took >= 100*time.Millisecond {
			t.Errorf("led after %v", took)
		}
		applied := c.propose(m, "a")
		if got := m.Applied(); got < applied.ID.Index {
			t.Errorf("Propose returned %v, but only %d is applied", applied.ID, got)
		}
	})
}

// Three voters elect one leader, every proposal is applied on all in the same order, and the proposer has its result.
func TestProposalsAreAppliedEverywhereInOneOrder(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		m := c.leader()
		const proposers, each = 20, 10
		var done sync.WaitGroup
		for p := range proposers {
			done.Go(func() {
				for i := range each {
					applied, err := m.Propose(t.Context(), 0, []byte(command(p*each+i)))
					if err != nil {
						t.Error(err)
					} else if got := applied.Result.(receipt).command; got != command(p*each+i) {
						t.Errorf("got the result of %q for %q", got, command(p*each+i))
					}
				}
			})
		}
		done.Wait()
		content := c.converged()
		if len(content) != proposers*each {
			t.Fatalf("%d commands are applied, want %d", len(content), proposers*each)
		}
		slices.Sort(content)
		if len(slices.Compact(content)) != proposers*each {
			t.Error("a command was applied twice")
		}
	})
}

// Nothing worse than INFO is logged by a cluster that starts, writes and stops, and the leader's election is logged.
func TestNormalLifeIsNotAlarming(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		m := c.leader()
		c.propose(m, "a")
		c.pass(10 * T)
		for _, m := range c.members {
			c.stop(m)
			if m.logs.alarming() {
				t.Errorf("log of %d:\n%v", m.id, m.logs)
			}
		}
		if log := m.logs.String(); !strings.Contains(log, "role=leader") || !strings.Contains(log, "node=") {
			t.Errorf("the leader's log does not say that it leads:\n%s", log)
		}
	})
}

// When the leader stops, another one takes over, and what was acknowledged is still there.
func TestFailoverKeepsWhatWasAcknowledged(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		first := c.leader()
		c.propose(first, "before")
		c.stop(first)
		start := time.Now()
		second := c.leader()
		if took := time.Since(start); took > 4*T {
			t.Errorf("failover took %v", took)
		}
		c.propose(second, "after")
		c.start(first.id)
		if got := c.converged(); !slices.Equal(got, []string{"before", "after"}) {
			t.Errorf("got %q", got)
		}
	})
}

// A cluster that was stopped whole continues where it was; a machine that lost its content gets every entry again.
func TestRestartReplays(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		for i := range 50 {
			c.propose(c.leader(), command(i))
		}
		content := c.converged()
		for _, m := range c.members {
			c.stop(m)
		}
		c.members[2].machine.forget()
		for id, m := range c.members {
			c.start(id)
			if got := m.Applied(); id != 2 && int(got) < len(content) {
				t.Errorf("%d starts with applied index %d", id, got)
			}
		}
		c.leader()
		if got := c.converged(); !slices.Equal(got, content) {
			t.Errorf("got %q, want %q", got, content)
		}
		c.propose(c.leader(), "one more")
	})
}

// A state machine receives no more than MaxBatchEntries at once, and all of them.
func TestBatchesAreBounded(t *testing.T) {
	testCluster(t, 1, func(t *testing.T, c *cluster) {
		for i := range 100 {
			c.propose(c.leader(), command(i))
		}
		m := c.members[1]
		c.stop(m)
		m.machine.forget()
		c.start(1, func(config *replica.Config) { config.Limits.MaxBatchEntries = 7 })
		if got := c.converged(); len(got) != 100 || m.machine.largest != 7 {
			t.Errorf("applied %d entries, at most %d at once; want 100 and 7", len(got), m.machine.largest)
		}
	})
}

// A proposal to the leader of a minority is never reported as applied: who waits learns that the outcome is unknown, who
// waits longer that it was dropped, and who asks after the step-down that nobody leads. Nothing of it is in any machine.
func TestMinorityAppliesNothing(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		old := c.leader()
		c.propose(old, "shared")
		c.network.isolate(old.id)

		patient := make(chan error, 1)
		go func() {
			_, err := old.Propose(t.Context(), 0, []byte("minority, patient"))
			patient <- err
		}()
		_, err := old.Propose(within(t, T/2), 0, []byte("minority, in a hurry"))
		if !errors.Is(err, replica.ErrOutcomeUnknown) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("proposal whose context ended: got %v, want ErrOutcomeUnknown with the context's error", err)
		}
		others := c.others(old)
		c.write("majority", others[0].id, others[1].id)
		c.eventually("the old leader steps down", func() bool { return old.Status().Role != raft.Leader })
		if _, err := old.Propose(within(t, T), 0, []byte("minority, late")); !errors.Is(err, raft.ErrNotLeader) {
			t.Errorf("proposal after the step-down: got %v, want ErrNotLeader", err)
		}
		select {
		case err := <-patient:
			t.Errorf("the patient proposer was answered %v while its entry may still be committed", err)
		default:
		}

		c.network.isolate()
		if err := <-patient; !errors.Is(err, replica.ErrDropped) {
			t.Errorf("patient proposal: got %v, want ErrDropped", err)
		}
		if got := c.converged(); !slices.Equal(got, []string{"shared", "majority"}) {
			t.Errorf("got %q", got)
		}
	})
}

// A proposal bound to a term is refused in another one.
func TestProposalIsBoundToItsTerm(t *testing.T) {
	testCluster(t, 1, func(t *testing.T, c *cluster) {
		m := c.leader()
		_, term, _ := m.Leader()
		if _, err := m.Propose(t.Context(), term+1, []byte("a")); !errors.Is(err, raft.ErrTermChanged) {
			t.Errorf("got %v, want ErrTermChanged", err)
		}
		if _, err := m.Propose(t.Context(), term, []byte("a")); err != nil {
			t.Error(err)
		}
	})
}

// A read index from a follower covers every write that was acknowledged before; without a quorum there is none.
func TestFollowerReadsItsLeader(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		m := c.leader()
		for _, reader := range append(c.others(m), m) {
			applied := c.propose(m, "for "+fmt.Sprint(reader.id))
			index, err := reader.ReadIndex(within(t, time.Second))
			if err != nil || index < applied.ID.Index {
				t.Fatalf("read index at %d: got %d, %v, want at least %v", reader.id, index, err, applied.ID)
			}
			if err := reader.WaitApplied(within(t, time.Second), index); err != nil {
				t.Fatal(err)
			}
			if content := reader.machine.content(); !slices.Contains(content, "for "+fmt.Sprint(reader.id)) {
				t.Errorf("%d reads %q at index %d", reader.id, content, index)
			}
		}
		c.network.isolate(m.id)
		if index, err := m.ReadIndex(within(t, time.Minute)); !errors.Is(err, raft.ErrNotLeader) {
			t.Errorf("read index of a leader without quorum: got %d, %v, want ErrNotLeader", index, err)
		}
		if _, err := m.ReadIndex(within(t, time.Minute)); !errors.Is(err, raft.ErrNotLeader) {
			t.Errorf("read index without a leader: got %v, want ErrNotLeader", err)
		}
	})
}

// A read ends with the leader that it asked, not with its context.
func TestReadEndsWithItsLeader(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		m := c.leader()
		reader := c.others(m)[0]
		// The follower still believes in its leader.
		c.network.isolate(m.id)
		start := time.Now()
		_, err := reader.ReadIndex(within(t, time.Minute))
		if !errors.Is(err, raft.ErrNotLeader) {
			t.Errorf("got %v, want ErrNotLeader", err)
		}
		if took := time.Since(start); took > 2*T {
			t.Errorf("gave up after %v", took)
		}
	})
}

// A node joins as a learner, catches up, becomes a voter and leaves again; each change is committed when Change returns.
func TestMembershipChanges(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		m := c.leader()
		for i := range 20 {
			c.propose(m, command(i))
		}
		newcomer := c.found(4, nil)
		c.start(4)
		if err := m.Change(within(t, time.Second), raft.Membership{AddLearners: []raft.ID{4}}); err != nil {
			t.Fatal(err)
		}
		if content := c.converged(); len(content) != 20 || len(newcomer.machine.content()) != 20 {
			t.Fatalf("the learner holds %d commands", len(newcomer.machine.content()))
		}
		if configuration := newcomer.Status().Configuration; !configuration.Learner(4) {
			t.Errorf("4 is not a learner of %v", configuration)
		}
		if err := m.Change(within(t, time.Second), raft.Membership{AddLearners: []raft.ID{4}}); !errors.Is(err, raft.ErrMember) {
			t.Errorf("adding a member again: got %v, want ErrMember", err)
		}
		c.eventually("the learner to catch up", func() bool {
			return slices.ContainsFunc(m.Status().Peers, func(p raft.PeerStatus) bool { return p.ID == 4 && p.CaughtUp })
		})
		if err := m.Change(within(t, time.Second), raft.Membership{Promote: []raft.ID{4}}); err != nil {
			t.Fatal(err)
		}
		if status := m.Status(); status.Configuration.Joint() || status.Applied < status.ConfigurationIndex {
			t.Errorf("Change returned with %d applied and %v of %d", status.Applied, status.Configuration, status.ConfigurationIndex)
		}
		// Three of four voters must answer: with one old voter away, the newcomer is needed.
		away := c.others(m)[0]
		c.stop(away)
		c.propose(m, "with the newcomer's vote")
		c.start(away.id)
		if err := m.Change(within(t, time.Second), raft.Membership{Remove: []raft.ID{4}}); err != nil {
			t.Fatal(err)
		}
		if configuration := m.Status().Configuration; configuration.Member(4) {
			t.Errorf("4 is still a member of %v", configuration)
		}
		c.eventually("the removed node to stop", func() bool { return errors.Is(newcomer.Err(), replica.ErrRemoved) })
		c.stop(newcomer)
		c.propose(m, "without it")
	})
}

// Leadership goes where it is sent, and stays when the target does not answer.
func TestTransfer(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		m := c.leader()
		to := c.others(m)[1]
		if err := to.Transfer(within(t, time.Second), 0); !errors.Is(err, raft.ErrNotLeader) {
			t.Errorf("transfer by a follower: got %v, want ErrNotLeader", err)
		}
		_, term, changed := m.Leader()
		if err := m.Transfer(within(t, time.Second), to.id); err != nil {
			t.Fatal(err)
		}
		select {
		case <-changed:
		default:
			t.Error("nobody was told that the leader changed")
		}
		if next := c.leader(); next != to || next.Status().Term <= term {
			t.Errorf("%d leads in term %d", next.id, next.Status().Term)
		}
		c.propose(to, "a")
		c.stop(m)
		if err := to.Transfer(within(t, time.Minute), m.id); !errors.Is(err, replica.ErrTransferFailed) {
			t.Errorf("transfer to a node that is away: got %v, want ErrTransferFailed", err)
		}
		c.propose(to, "b")
	})
}

// A context that has ended proposes nothing; one that ends while the entry waits leaves the outcome open.
func TestContextEnds(t *testing.T) {
	testCluster(t, 1, func(t *testing.T, c *cluster) {
		m := c.leader()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := m.Propose(ended, 0, []byte("never"))
		if !errors.Is(err, context.Canceled) || errors.Is(err, replica.ErrOutcomeUnknown) {
			t.Errorf("got %v, want the context's error alone", err)
		}
		open := m.machine.block()
		_, err = m.Propose(within(t, time.Second), 0, []byte("late"))
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, replica.ErrOutcomeUnknown) {
			t.Errorf("got %v, want ErrOutcomeUnknown", err)
		}
		if err := m.WaitApplied(within(t, time.Second), m.Status().Commit); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
		open()
		if got := c.converged(); !slices.Equal(got, []string{"late"}) {
			t.Errorf("got %q", got)
		}
	})
}

// Close answers everyone who waits, truthfully, and everyone who comes later.
func TestCloseAnswersAll(t *testing.T) {
	testCluster(t, 3, func(t *testing.T, c *cluster) {
		m := c.leader()
		c.propose(m, "a")
		c.network.isolate(m.id)
		answers := make(chan error, 3)
		go func() {
			_, err := m.Propose(t.Context(), 0, []byte("b"))
			answers <- err
		}()
		go func() {
			_, err := m.ReadIndex(t.Context())
			answers <- err
		}()
		go func() { answers <- m.WaitApplied(t.Context(), 1000) }()
		c.pass(T / 3)
		r := m.Replica
		c.stop(m)
		unknown := 0
		for range 3 {
			err := <-answers
			if errors.Is(err, replica.ErrOutcomeUnknown) {
				unknown++
			}
			if errors.Is(err, replica.ErrOutcomeUnknown) == errors.Is(err, replica.ErrClosed) {
				t.Errorf("got %v, want either that nothing was proposed, or that the outcome is unknown", err)
			}
		}
		if unknown != 1 {
			t.Errorf("%d of the waiters do not know their outcome, want the proposer alone", unknown)
		}
		<-r.Done()
		_, err := r.Propose(t.Context(), 0, []byte("c"))
		if !errors.Is(err, replica.ErrClosed) || !errors.Is(r.Err(), replica.ErrClosed) {
			t.Errorf("proposal after Close: %v; Err: %v", err, r.Err())
		}
		if err := r.Close(); err != nil {
			t.Errorf("closing again: %v", err)
		}
	})
}

// OnApplied hears of every batch, in order.
func TestOnAppliedHearsEverything(t *testing.T) {
	testCluster(t, 1, func(t *testing.T, c *cluster) {
		m := c.members[1]
		c.stop(m)
		heard := make(chan raft.Index, 100)
		c.start(1, func(config *replica.Config) { config.OnApplied = func(index raft.Index) { heard <- index } })
		applied := c.propose(c.leader(), "a")
		last := raft.Index(0)
		for last < applied.ID.Index {
			next := <-heard
			if next <= last {
				t.Fatalf("%d after %d", next, last)
			}
			last = next
		}
	})
}

// A replica refuses a state machine that cannot belong to its log.
func TestOpenRefusesAForeignMachine(t *testing.T) {
	testCluster(t, 1, func(t *testing.T, c *cluster) {
		c.propose(c.leader(), "a")
		m := c.members[1]
		c.stop(m)
		log, recovered, err := wal.Open(c.options(m))
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		for _, applied := range []raft.EntryID{{Term: 1, Index: 1000}, {Term: 7, Index: 2}} {
			m.machine.base.Applied = applied
			_, err := replica.Open(replica.Config{
				ID: 1, WAL: log, Recovered: recovered, Machine: m.machine, Transport: wire{c.network, 1},
			})
			if err == nil || !strings.Contains(err.Error(), applied.String()) {
				t.Errorf("machine at %v: got %v, want an error that names it", applied, err)
			}
		}
	})
}
