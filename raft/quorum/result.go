package quorum

// Answer is what one voter said in an election.
type Answer uint8

const (
	// Silent voters have not answered yet.
	Silent Answer = iota
	// Granted is a vote for the candidate.
	Granted
	// Refused is a vote against it. It is final: a voter that refused is not counted again.
	Refused
)

// Result is the state of an election. The order of the constants matters: that of a joint election is the least of its
// two halves.
type Result uint8

const (
	// Lost says that the silent voters cannot make a quorum any more.
	Lost Result = iota
	// Open says that the silent voters decide.
	Open
	// Won says that a quorum has granted its votes.
	Won
)

func (r Result) String() string {
	return [...]string{"lost", "open", "won"}[r]
}
