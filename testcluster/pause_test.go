//go:build !windows

package testcluster_test

import (
	"syscall"
	"testing"
	"time"
)

// TestDrillPausedNode proves: a node that the operating system does not run for a while, follower or leader, costs no
// write, and when it runs again it follows, without an election.
func TestDrillPausedNode(t *testing.T) {
	nodes := trio(t)
	w := startWriters(t, 6, nodes...)
	for _, role := range []string{"follower", "leader"} {
		w.awaitAcks(100)
		paused := leaderOf(t, nodes...)
		others := except(nodes, paused)
		if role == "follower" {
			paused = others[0]
			others = except(nodes, paused)
		}
		before := termOf(t, others[0])
		paused.signal(syscall.SIGSTOP)
		pause := lasting(time.Second, 10*time.Second)
		deadline := time.After(pause)
		leaderOf(t, others...)
		acked := w.acked.Load()
		w.awaitAcks(50)
		<-deadline
		during := w.acked.Load() - acked
		term := termOf(t, others[0])
		if role == "follower" && term != before {
			t.Errorf("a paused follower caused an election: term %d became %d", before, term)
		}
		paused.signal(syscall.SIGCONT)
		settle(t, nodes...)
		w.awaitAcks(100)
		after := termOf(t, others[0])
		if after != term {
			t.Errorf("the return of a paused %s caused an election: term %d became %d", role, term, after)
		}
		if got := termOf(t, paused); got != after {
			t.Errorf("the %s that was paused is in term %d, the others in %d", role, got, after)
		}
		report("paused_%s pause=%v term_before=%d term_during=%d term_after=%d acked_meanwhile=%d",
			role, pause, before, term, after, during)
	}
	w.finish()
	settle(t, nodes...)
	for _, p := range nodes {
		w.check(p)
	}
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.command.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}
