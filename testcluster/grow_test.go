package testcluster_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/driver"
)

// TestDrillGrowAndShrink proves: a cluster that grows from 1 voter to 3 (and 5) and back to 1 under load, its leader and its
// founder leaving on the way, loses no write and doubles none.
func TestDrillGrowAndShrink(t *testing.T) {
	t.Parallel()
	sizes, writers := []int{3, 1}, 4
	if soaking {
		sizes, writers = []int{3, 5, 3, 1}, 16
	}
	founder := newProcess(t, "n1").start()
	nodes := []*process{founder}
	begun, next := time.Now(), 2
	l := openLedger(t, writers, nodes...)
	for _, size := range sizes {
		for len(nodes) < size {
			fresh := newProcess(t, fmt.Sprint("n", next)).joins(founder, nodes[len(nodes)-1]).start()
			nodes, next = append(nodes, fresh), next+1
			awaitVoters(t, len(nodes), nodes...)
			l.use(nodes)
			l.await(50)
		}
		for len(nodes) > size {
			leaving := leaderOf(t, nodes...)
			if len(nodes)%2 == 0 && leaving != nodes[0] { // the oldest in turn with the leader
				leaving = nodes[0]
			}
			id := leaving.id()
			nodes = except(nodes, leaving)
			l.use(nodes)
			nodes[0].eventuallyControl("remove", fmt.Sprint(id))
			leaving.awaitExit()
			awaitVoters(t, len(nodes), nodes...)
			l.await(50)
		}
	}
	l.close(nodes)
	report("grow_and_shrink voters=1,%s writers=%d seconds=%.1f rows=%d retried=%d failed=0 lost=0 doubled=0",
		strings.Trim(strings.ReplaceAll(fmt.Sprint(sizes), " ", ","), "[]"), writers, time.Since(begun).Seconds(), l.rows.Load(), l.retries.Load())
}

// awaitExit waits until a node has stopped by itself.
func (p *process) awaitExit() {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Fatalf("%s goes on after it was removed", p.name)
	}
}

// TestDrillReplaceInOneStep proves: a voter, the leader, is replaced by a learner in one step under load: every node that looks
// sees three voters before and after, and nothing is lost or doubled.
func TestDrillReplaceInOneStep(t *testing.T) {
	t.Parallel()
	nodes := trio(t)
	l := openLedger(t, 4, nodes...)
	fresh := newProcess(t, "n4", "--learner").joins(nodes[0], nodes[0]).start()
	old := leaderOf(t, nodes...)
	remaining := append(except(nodes, old), fresh)
	l.use(remaining)
	l.await(50)
	out, code := rsqld(t, "", "replace", old.name, fresh.name, "--addr", fresh.address, "--cred", adminOf(fresh))
	if code != 0 {
		t.Fatalf("replace exits with %d: %s", code, out)
	}
	old.awaitExit()
	awaitVoters(t, 3, remaining...)
	l.await(50)
	out, code = rsqld(t, "", "replace", remaining[0].name, fresh.name, "--addr", fresh.address, "--cred", adminOf(fresh))
	if code != 1 || !strings.Contains(out, "is a voter already") {
		t.Errorf("replace by a voter exits with %d: %s", code, out)
	}
	l.close(remaining)
}

// TestDrillAddressesChange proves: all nodes of a cluster start again at other addresses, with that of one of them in --join,
// and go on as the cluster that they were.
func TestDrillAddressesChange(t *testing.T) {
	t.Parallel()
	nodes := trio(t)
	w := startWriters(t, 4, nodes...)
	w.awaitAcks(100)
	w.finish()
	var before []string
	for _, p := range nodes {
		p.kill()
		before = append(before, p.address)
	}
	begun := time.Now()
	for i, p := range nodes {
		p.address = freeAddress(t)
		for slices.Contains(before, p.address) {
			p.address = freeAddress(t)
		}
		p.args = nil
		if i > 0 {
			p.args = []string{"--join", nodes[0].address}
		}
		p.launch()
	}
	for _, p := range nodes {
		p.await()
		p.eventually("to know where all are", func(ctx context.Context) error {
			return withConn(ctx, p.config(), func(c *driver.Conn) error {
				rows, err := control(ctx, c, "nodes")
				for i, other := range nodes {
					if text := fmt.Sprint(rows); !strings.Contains(text, other.address) || strings.Contains(text, before[i]) {
						return fmt.Errorf("it knows %s", text)
					}
				}
				return err
			})
		})
	}
	settle(t, nodes...)
	for _, p := range nodes {
		w.check(p)
	}
	report("addresses_change nodes=%d seconds=%.1f rows=%d lost=0", len(nodes), time.Since(begun).Seconds(), w.acked.Load())
}
