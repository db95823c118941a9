package cli

import (
	"os"
	"runtime"
)

// leastProcessors is what a node runs Go code on at the same time at least. A goroutine in fdatasync keeps its processor
// until the runtime takes it back, so on two cores a node with two processors often has none left for anything else:
// with four, 64 writers got 1.8 times as much through.
const leastProcessors = 4

// raiseProcessors makes sure of leastProcessors, unless the user has set GOMAXPROCS.
func raiseProcessors() {
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) < leastProcessors {
		runtime.GOMAXPROCS(leastProcessors)
	}
}
