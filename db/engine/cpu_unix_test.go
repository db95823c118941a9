//go:build unix

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
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
