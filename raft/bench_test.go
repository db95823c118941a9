package raft

import "testing"

// BenchmarkPropose is the cost of the core of three nodes per proposal, with disks that take no time: batch proposals go
// into one Ready, as they do when as many proposers wait for one write.
func BenchmarkPropose(b *testing.B) {
	for _, batch := range []int{1, 16, 256} {
		b.Run(map[int]string{1: "1", 16: "16", 256: "256"}[batch], func(b *testing.B) {
			cl := newCluster(b, 1, Config{}, voters(1, 2, 3))
			cl.elect(1)
			leader := cl.member(1).node
			data := make([]byte, 100)
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += batch {
				for range batch {
					if _, err := leader.Propose(0, data); err != nil {
						b.Fatal(err)
					}
				}
				benchSettle(cl)
			}
		})
	}
}

// benchSettle is settle without a disk that grows.
func benchSettle(c *cluster) {
	for moved := true; moved; {
		moved = false
		for _, m := range c.members {
			r := m.node.Ready()
			if r.Empty() {
				continue
			}
			moved = true
			c.mail = append(c.mail, r.Send...)
			if r.Commit.Len() > 0 {
				m.node.Applied(r.Commit.Last)
			}
			if r.Write != nil {
				m.node.Stable(r.Write.Seq)
			}
			for _, after := range r.SendAt {
				c.mail = append(c.mail, after.Message)
			}
		}
		for i := 0; i < len(c.mail); i++ {
			_ = c.deliver(c.mail[i])
		}
		c.mail = c.mail[:0]
	}
}
