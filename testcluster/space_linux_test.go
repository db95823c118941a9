package testcluster_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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

// onSmallDisk makes the process run with its data on a file system of its own, of that size, which goes with it. It reports
// whether this machine allows that.
func (p *process) onSmallDisk(mebibytes int) bool {
	p.wrapper = []string{"unshare", "-Urm", "sh", "-c",
		fmt.Sprintf(`mkdir -p "%[1]s" && mount -t tmpfs -o size=%[2]dm tmpfs "%[1]s" && exec "$0" "$@"`, p.data, mebibytes)}
	return exec.Command("unshare", "-Urm", "sh", "-c", `mount -t tmpfs tmpfs /tmp`).Run() == nil
}

// inside is a path as the process sees it.
func (p *process) inside(path string) string {
	return filepath.Join("/proc", strconv.Itoa(p.command.Process.Pid), "root", path)
}

// TestFollowerOnFullDisk proves: a follower whose disk is full leaves readiness, loses nothing, and goes on by itself when
// there is room again. Writes go on meanwhile.
func TestFollowerOnFullDisk(t *testing.T) {
	n1 := newProcess(t, "n1").start()
	n2 := newProcess(t, "n2").joins(n1, n1).start()
	small := newProcess(t, "n3").joins(n1, n1)
	if !small.onSmallDisk(128) {
		t.Log("not run: this machine lets nobody mount in a user namespace; TestFollowerWithoutSpace ran")
		return
	}
	small.start()
	nodes := []*process{n1, n2, small}
	awaitVoters(t, 3, nodes...)
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	n1.exec("create table t(id integer primary key, b)")
	equalContent(ctx, t, nodes)

	filler := small.inside(filepath.Join(small.data, "filler"))
	file, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = file.Write(make([]byte, 1<<20))
	}
	file.Close()
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	for range 24 {
		if err := send(ctx, n2, driver.Request{SQL: "insert into t(b) values(randomblob(1000000))"}); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	small.eventually("to leave readiness", func(ctx context.Context) error {
		return withConn(ctx, small.config(), func(conn *driver.Conn) error {
			if _, err := control(ctx, conn, "health"); err == nil {
				return errors.New("it is ready")
			}
			return nil
		})
	})
	if took := time.Since(began); took > time.Second {
		t.Errorf("it left readiness after %v", took)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	small.await()
	equalContent(ctx, t, nodes)
}
