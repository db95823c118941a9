package tracker_test

import (
	"fmt"

	"github.com/rsqld/rsqld/raft/tracker"
)

// A leader whose log ends at 10 finds out that a peer agrees up to 6, then sends on without waiting.
func Example() {
	p := tracker.New(11, 4, 1<<20)
	p.Sent(0, 0) // is 10 held?
	fmt.Println(p.State(), "next", p.Next(), "ready", p.Ready())
	p.Reject(10, 6) // no: 6 at most
	fmt.Println(p.State(), "next", p.Next(), "ready", p.Ready())
	p.Sent(2, 200) // 7 and 8, after 6
	p.Acknowledge(8)
	fmt.Println(p.State(), "match", p.Match(), "next", p.Next())
	p.Sent(1, 100)
	p.Sent(1, 100)
	messages, bytes := p.Inflight()
	fmt.Println(p.State(), "match", p.Match(), "next", p.Next(), "in flight", messages, bytes)
	// Output:
	// probe next 11 ready false
	// probe next 7 ready true
	// replicate match 8 next 9
	// replicate match 8 next 11 in flight 2 200
}
