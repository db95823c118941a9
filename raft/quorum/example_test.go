package quorum_test

import (
	"fmt"

	"github.com/rsqld/rsqld/raft/quorum"
)

// A leader commits what a majority holds. While a configuration is joint, both majorities must hold it.
func Example() {
	match := map[int]uint64{1: 9, 2: 7, 3: 4, 4: 5, 5: 3}
	of := func(id int) uint64 { return match[id] }

	old := quorum.Majority[int]{1, 2, 3}
	next := quorum.Majority[int]{1, 4, 5}
	fmt.Println("old majority:", old.Committed(of))
	fmt.Println("new majority:", next.Committed(of))
	fmt.Println("both:", quorum.Joint[int]{Incoming: next, Outgoing: old}.Committed(of))

	votes := map[int]quorum.Answer{1: quorum.Granted, 2: quorum.Granted, 4: quorum.Refused}
	said := func(id int) quorum.Answer { return votes[id] }
	fmt.Println("election:", old.Tally(said), next.Tally(said),
		quorum.Joint[int]{Incoming: next, Outgoing: old}.Tally(said))
	// Output:
	// old majority: 7
	// new majority: 5
	// both: 5
	// election: won open open
}
