package quorum

import (
	"math"
	"slices"
)

// Majority is a group of voters with distinct ids, more than half of which make a quorum.
type Majority[ID comparable] []ID

// Size returns the number of voters that make a quorum, zero for a group without members.
func (m Majority[ID]) Size() int {
	if len(m) == 0 {
		return 0
	}
	return len(m)/2 + 1
}

// Committed returns the highest value that a quorum has reached, where of(id) says what one voter has reached.
// A group without members returns math.MaxUint64, the neutral element of Joint.Committed.
//
// Sorted in rising order, the value at position len - Size() is reached by itself and the Size()-1 after it.
func (m Majority[ID]) Committed(of func(ID) uint64) uint64 {
	if len(m) == 0 {
		return math.MaxUint64
	}
	// Groups of up to eight voters, which is all there are in practice, cost no allocation.
	var room [8]uint64
	values := room[:0]
	for _, id := range m {
		values = append(values, of(id))
	}
	slices.Sort(values)
	return values[len(values)-m.Size()]
}

// Tally returns the state of an election, where of(id) says what one voter answered. A group without members has won.
func (m Majority[ID]) Tally(of func(ID) Answer) Result {
	granted, open := 0, 0
	for _, id := range m {
		switch of(id) {
		case Granted:
			granted++
		case Silent:
			open++
		}
	}
	switch {
	case granted >= m.Size():
		return Won
	case granted+open >= m.Size():
		return Open
	default:
		return Lost
	}
}
