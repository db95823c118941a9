package engine

import (
	"syscall"
	"testing"
	"time"
)

// cpuTime is the processor time that this process has used, in user mode and in the kernel. Unlike elapsed time it does
// not depend on what else the machine does.
func cpuTime(t testing.TB) time.Duration {
	t.Helper()
	process, err := syscall.GetCurrentProcess()
	if err != nil {
		t.Fatal(err)
	}
	var created, ended, kernel, user syscall.Filetime
	if err := syscall.GetProcessTimes(process, &created, &ended, &kernel, &user); err != nil {
		t.Fatal(err)
	}
	ticks := func(f syscall.Filetime) int64 { return int64(f.HighDateTime)<<32 | int64(f.LowDateTime) }
	return time.Duration(ticks(kernel)+ticks(user)) * 100
}
