package quorum

// Joint is a pair of groups that must both agree. Outside a joint configuration Outgoing has no members.
type Joint[ID comparable] struct {
	Incoming Majority[ID]
	Outgoing Majority[ID]
}

// Committed returns the highest value that a quorum of both groups has reached.
func (j Joint[ID]) Committed(of func(ID) uint64) uint64 {
	return min(j.Incoming.Committed(of), j.Outgoing.Committed(of))
}

// Tally returns the state of an election that must be won in both groups: one loss loses it, two wins win it.
func (j Joint[ID]) Tally(of func(ID) Answer) Result {
	return min(j.Incoming.Tally(of), j.Outgoing.Tally(of))
}
