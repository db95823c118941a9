package db_test

import (
	"runtime"
	"testing"

	"github.com/rsqld/rsqld/transport"
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// BenchmarkIdleSession measures what a session costs that does nothing: memory of both its ends, in bytes, and the time to
// open it.
func BenchmarkIdleSession(b *testing.B) {
	dir := b.TempDir()
	n := openNode(b, dir)
	conn, err := transport.DialSQL(b.Context(), n.Address(), credential(b, dir, identity.RoleRead), transport.DialOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	used := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := used()
	var sessions []*raw
	for b.Loop() {
		r := streamOf(b, conn)
		r.hello(&sqlpb.Hello{Version: 1})
		r.next()
		if sessions = append(sessions, r); len(sessions) == 1000 {
			b.StopTimer()
			b.ReportMetric(float64(used()-before)/float64(len(sessions)), "B/session")
			for _, r := range sessions {
				r.Close()
			}
			sessions = nil
			b.StartTimer()
		}
	}
}
