package replica_test

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/replica"
	"github.com/rsqld/rsqld/raft/wal"
)

// idle is a state machine without a state.
type idle struct{}

func (idle) Base() (raft.Base, error) { return raft.Base{}, nil }
func (idle) Apply(entries []raft.Entry) ([]raft.Result, error) {
	return make([]raft.Result, len(entries)), nil
}

// BenchmarkPropose measures proposals of 100 bytes with three replicas in one process on real files, from closed-loop
// proposers. Targets on two quiet cores: 4,500, 22,000, 65,000 and 120,000 proposals/s at 1, 16, 64 and 256 proposers.
func BenchmarkPropose(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(4, runtime.GOMAXPROCS(0))))
	for _, proposers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("proposers=%d", proposers), func(b *testing.B) { benchmarkPropose(b, proposers) })
	}
}

func benchmarkPropose(b *testing.B, proposers int) {
	leader := startThree(b)
	data := make([]byte, 100)
	var left atomic.Int64
	var running sync.WaitGroup
	left.Store(int64(b.N))
	b.ResetTimer()
	for range proposers {
		running.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := leader.Propose(b.Context(), 0, data); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "proposals/s")
	b.ReportMetric(0, "ns/op")
}

// startThree runs three replicas until the benchmark ends and returns the leader.
func startThree(b *testing.B) *replica.Replica {
	net := &network{attached: make(map[raft.ID]*replica.Replica), cut: make(map[[2]raft.ID]bool)}
	voters := []raft.ID{1, 2, 3}
	for _, id := range voters {
		r := startReal(b, net, id, voters)
		net.mu.Lock()
		net.attached[id] = r
		net.mu.Unlock()
		b.Cleanup(func() {
			if err := r.Close(); err != nil {
				b.Error(err)
			}
		})
	}
	deadline := time.After(10 * time.Second)
	for {
		id, _, changed := net.attached[1].Leader()
		if id != 0 {
			return net.attached[id]
		}
		select {
		case <-changed:
		case <-deadline:
			b.Fatal("no leader within 10 s")
		}
	}
}

func startReal(b *testing.B, net *network, id raft.ID, voters []raft.ID) *replica.Replica {
	options := wal.Options{Files: wal.OS(), Dir: b.TempDir(), Cluster: [16]byte{1}, Node: id, Seed: uint64(id)}
	created, err := wal.Create(options)
	if err != nil {
		b.Fatal(err)
	}
	if err := created.Append(foundingWrite(voters)); err != nil {
		b.Fatal(err)
	}
	if err := created.Close(); err != nil {
		b.Fatal(err)
	}
	log, recovered, err := wal.Open(options)
	if err != nil {
		b.Fatal(err)
	}
	r, err := replica.Open(replica.Config{
		ID: id, Seed: uint64(id), WAL: log, Recovered: recovered, Machine: idle{}, Transport: wire{net, id},
	})
	if err != nil {
		b.Fatal(err)
	}
	return r
}
