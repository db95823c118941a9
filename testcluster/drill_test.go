package testcluster_test

import (
	"fmt"
	"time"
)

// The drills of `make soak` are tests whose names begin with TestDrill. With the build tag soak each takes its full time,
// holds what happens against limits of time, and prints one closing line. Without it they are short, and those that only
// make sense on a machine without other work are not there.

// lasting returns how long a drill takes.
func lasting(short, full time.Duration) time.Duration {
	if soaking {
		return full
	}
	return short
}

// report prints the closing line of a drill.
func report(format string, args ...any) {
	if soaking {
		fmt.Printf("drill="+format+"\n", args...)
	}
}
