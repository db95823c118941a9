package sim

// Small is a world with the same violation and less in it.
type Small struct {
	Options Options
	// Actions are the numbers of the nemesis's actions that are left.
	Actions []int
}

// shrinkRuns bounds how many worlds Shrink runs.
const shrinkRuns = 400

// Shrink looks for a smaller world with the same violated invariant: it leaves out actions of the nemesis, many at a time,
// then fewer, as long as the violation stays. r is what o came to.
func Shrink(o Options, r Result) Small {
	small := Small{Options: o}
	for action := 1; action <= r.Actions; action++ {
		small.Actions = append(small.Actions, action)
	}
	runs := 0
	fails := func(actions []int) bool {
		runs++
		keep := make(map[int]bool, len(actions))
		for _, action := range actions {
			keep[action] = true
		}
		try := o
		try.Skip = func(action int) bool { return !keep[action] }
		got := Run(try).Violation
		if got == nil || got.Invariant != r.Violation.Invariant {
			return false
		}
		small.Actions, small.Options = actions, try
		return true
	}
	for size := max(len(small.Actions), 1); size > 0 && runs < shrinkRuns; size /= 2 {
		for at := 0; at < len(small.Actions) && runs < shrinkRuns; {
			end := min(at+size, len(small.Actions))
			rest := append(append([]int(nil), small.Actions[:at]...), small.Actions[end:]...)
			if !fails(rest) {
				at = end
			}
		}
	}
	return small
}
