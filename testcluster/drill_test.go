package testcluster_test

import (
	"fmt"
	"os"
	"time"
)

// The drills of `make soak` are tests whose names begin with TestDrill. With RSQLD_SOAK set each takes its full time, holds
// what happens against limits of time, and prints one closing line. Without it they are short, as in `make test`.

// soaking reports whether the drills take their full time.
func soaking() bool { return os.Getenv("RSQLD_SOAK") != "" }

// lasting returns how long a drill takes.
func lasting(short, full time.Duration) time.Duration {
	if soaking() {
		return full
	}
	return short
}

// report prints the closing line of a drill.
func report(format string, args ...any) {
	if soaking() {
		fmt.Printf("drill="+format+"\n", args...)
	}
}
