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
	"strings"
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

// ready is what an operator's probe asks.
func (p *process) ready() (said string, ready bool) {
	p.t.Helper()
	out, code := rsqld(p.t, "", "health", "--ready", "--addr", p.address, "--cred", adminOf(p))
	return out, code == 0
}

// starve writes through another node what a node without space has no room for, gives the space back, and proves what must
// hold meanwhile and afterwards.
func starve(ctx context.Context, t *testing.T, nodes []*process, starved *process, giveBack func()) {
	t.Helper()
	through := except(nodes, starved)[0]
	write := func(sql string) {
		t.Helper()
		if err := send(ctx, through, driver.Request{SQL: sql}); err != nil {
			t.Fatalf("a write while one node has no space: %v", err)
		}
	}
	for range 40 { // more than the limit leaves for SQLite's log and its database together
		write("insert into t(b) values(randomblob(1000000))")
	}
	full := time.Now()
	var said string
	starved.eventually("to leave readiness", func(context.Context) error {
		text, ready := starved.ready()
		if said = text; ready {
			return errors.New("it is ready")
		}
		return nil
	})
	if took := time.Since(full); took > time.Second {
		t.Errorf("it left readiness after %v", took)
	}
	if !strings.Contains(said, "not ready") || !strings.Contains(said, "full") {
		t.Errorf("its probe says %q", said)
	}
	stopped := starved.applied(ctx)
	for range 10 {
		write("insert into t(b) values('meanwhile')")
	}
	if now := starved.applied(ctx); now != stopped {
		t.Errorf("it went from %d to %d without space", stopped, now)
	}
	giveBack()
	starved.await()
	equalContent(ctx, t, nodes)
}

// TestFollowerWithoutSpace proves: a follower whose files may not grow any more (EFBIG, which counts as a full disk) stops
// applying before the write that does not fit, says that it is not ready, and holds what the others do once it has space
// again. Writes go on meanwhile.
func TestFollowerWithoutSpace(t *testing.T) {
	nodes := trio(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	nodes[0].exec("create table t(id integer primary key, b)")
	starved := except(nodes, leaderOf(t, nodes...))[0]
	starved.limitFiles(wal.DefaultSegmentSize) // what the files of the log have, and SQLite's grow to
	starve(ctx, t, nodes, starved, func() { starved.limitFiles(math.MaxInt64) })
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
	starve(ctx, t, nodes, small, func() {
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
	})
}
