//go:build soak && !windows

package testcluster_test

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/rsqld/rsqld/db/driver"
)

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
	f := startFire(t, config, each...)
	const lasts = 10 * time.Minute
	kills, pauses, moves := 0, 0, 0
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for end := time.Now().Add(lasts); time.Now().Before(end); <-ticker.C {
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
			victim = leaderOf(t, nodes...)
			victim.control("transfer")
			moves++
		}
	}
	f.put()
	f.worked()
	report("fire_processes seconds=%.0f kills=%d pauses=%d transfers_of_leadership=%d %s", lasts.Seconds(), kills, pauses, moves, f.check())
}
