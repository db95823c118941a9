//go:build soak && !windows

package testcluster_test

import (
	"context"
	"flag"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/driver"
)

var fireLasts = flag.Duration("fire.lasts", 10*time.Minute, "how long the processes are under fire")

// TestDrillFire proves on processes: while each second one of them is killed, paused or deprived of its leadership, every answer
// is true. See TestTransfersUnderFire.
func TestDrillFire(t *testing.T) {
	nodes := trio(t)
	config := nodes[0].config()
	each := []driver.Config{nodes[0].config()}
	for _, p := range nodes[1:] {
		config.Addresses = append(config.Addresses, p.address)
		each = append(each, p.config())
	}
	config.Spread = true
	f := startFire(t, config, each...)
	kills, pauses, moves := 0, 0, 0
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for end := time.Now().Add(*fireLasts); time.Now().Before(end); <-ticker.C {
		victim := nodes[rand.IntN(3)]
		if rand.IntN(2) == 0 {
			victim = leaderOf(t, nodes...)
		}
		switch rand.IntN(3) {
		case 0:
			victim.kill()
			kills++
			<-ticker.C
			victim.start()
		case 1:
			victim.signal(syscall.SIGSTOP)
			pauses++
			<-ticker.C
			victim.signal(syscall.SIGCONT)
		case 2:
			// It may fail while the cluster finds itself; then nothing happened.
			if handOver(leaderOf(t, nodes...)) == nil {
				moves++
			}
		}
	}
	f.put()
	f.worked()
	report("fire_processes seconds=%.0f kills=%d pauses=%d transfers_of_leadership=%d %s", fireLasts.Seconds(), kills, pauses, moves, f.check())
}

// handOver has a leader hand its leadership over.
func handOver(leader *process) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return withConn(ctx, leader.config(), func(c *driver.Conn) error {
		_, err := control(ctx, c, "transfer")
		return err
	})
}
