package testcluster_test

import (
	"context"
	"errors"
	"math"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/raft/wal"
)

// limitFiles bounds the size of files that the running process may write to (setrlimit(2), RLIMIT_FSIZE).
func (p *process) limitFiles(bytes uint64) {
	p.t.Helper()
	limit := syscall.Rlimit{Cur: bytes, Max: math.MaxInt64}
	if bytes == math.MaxInt64 {
		limit.Cur = math.MaxUint64
	}
	limit.Max = math.MaxUint64
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(p.command.Process.Pid), 1, uintptr(unsafe.Pointer(&limit)), 0, 0, 0)
	if errno != 0 {
		p.t.Fatal(errno)
	}
}

// TestFollowerWithoutSpace proves: a follower whose files may not grow any more (EFBIG, which counts as a full disk) stops
// applying before the write that does not fit, says that it is not ready, and holds what the others do once it has space
// again. Writes go on meanwhile.
func TestFollowerWithoutSpace(t *testing.T) {
	nodes := trio(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	nodes[0].exec("create table t(id integer primary key, b)")
	leader := leaderOf(t, nodes...)
	starved := except(nodes, leader)[0]
	starved.limitFiles(wal.DefaultSegmentSize) // what the files of the log have, and SQLite's grow to
	for range 24 {
		if err := send(ctx, leader, driver.Request{SQL: "insert into t(b) values(randomblob(1000000))"}); err != nil {
			t.Fatal(err)
		}
	}
	full := time.Now()
	starved.eventually("to leave readiness", func(ctx context.Context) error {
		return withConn(ctx, starved.config(), func(conn *driver.Conn) error {
			if _, err := control(ctx, conn, "health"); err == nil {
				return errors.New("it is ready")
			}
			return nil
		})
	})
	if took := time.Since(full); took > time.Second {
		t.Errorf("it left readiness after %v", took)
	}
	if err := send(ctx, leader, driver.Request{SQL: "insert into t(b) values('meanwhile')"}); err != nil {
		t.Fatal(err)
	}
	starved.limitFiles(math.MaxInt64)
	starved.await()
	equalContent(ctx, t, nodes)
}
