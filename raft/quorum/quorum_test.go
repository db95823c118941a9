package quorum

import (
	"math"
	"math/rand/v2"
	"testing"
)

// slowCommitted is the definition: the highest value v among those reached (or the neutral element) for which more
// than half of the voters have reached at least v.
func slowCommitted(voters []int, of func(int) uint64) uint64 {
	if len(voters) == 0 {
		return math.MaxUint64
	}
	best := uint64(0)
	for _, candidate := range voters {
		reached := 0
		for _, id := range voters {
			if of(id) >= of(candidate) {
				reached++
			}
		}
		if 2*reached > len(voters) {
			best = max(best, of(candidate))
		}
	}
	return best
}

// slowTally tries every way in which the silent voters can still answer.
func slowTally(groups [][]int, of map[int]Answer, ids []int) Result {
	var silent []int
	for _, id := range ids {
		if of[id] == Silent {
			silent = append(silent, id)
		}
	}
	canWin, canLose := false, false
	for bits := range 1 << len(silent) {
		granted := map[int]bool{}
		for _, id := range ids {
			granted[id] = of[id] == Granted
		}
		for i, id := range silent {
			granted[id] = bits&(1<<i) != 0
		}
		won := true
		for _, group := range groups {
			n := 0
			for _, id := range group {
				if granted[id] {
					n++
				}
			}
			won = won && (len(group) == 0 || 2*n > len(group))
		}
		canWin, canLose = canWin || won, canLose || !won
	}
	switch {
	case canWin && canLose:
		return Open
	case canWin:
		return Won
	}
	return Lost
}

func drawGroup(random *rand.Rand, most int) []int {
	group := random.Perm(9)
	return group[:random.IntN(most+1)]
}

// The committed value of any group, single or joint, is the one that counting voters one by one gives.
func TestCommittedMatchesDefinition(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 20_000 {
		values := map[int]uint64{}
		for id := range 9 {
			values[id] = random.Uint64N(6)
		}
		of := func(id int) uint64 { return values[id] }
		in, out := drawGroup(random, 9), drawGroup(random, 9)
		if got, want := Majority[int](in).Committed(of), slowCommitted(in, of); got != want {
			t.Fatalf("Committed(%v, %v): got %d, want %d", in, values, got, want)
		}
		want := min(slowCommitted(in, of), slowCommitted(out, of))
		if got := (Joint[int]{in, out}).Committed(of); got != want {
			t.Fatalf("Joint.Committed(%v, %v, %v): got %d, want %d", in, out, values, got, want)
		}
	}
}

// An election is won or lost exactly when no answer of the silent voters can change that.
func TestTallyMatchesDefinition(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	for range 5_000 {
		answers := map[int]Answer{}
		for id := range 9 {
			answers[id] = Answer(random.IntN(3))
		}
		of := func(id int) Answer { return answers[id] }
		in, out := drawGroup(random, 6), drawGroup(random, 6)
		// A joint election is decided by halves: that both can still be lost does not mean that they can be won
		// together, but every silent voter may grant, so the halves never contradict each other on winning.
		want := slowTally([][]int{in, out}, answers, []int{0, 1, 2, 3, 4, 5, 6, 7, 8})
		if got := (Joint[int]{in, out}).Tally(of); got != want {
			t.Fatalf("Tally(%v, %v, %v): got %v, want %v", in, out, answers, got, want)
		}
	}
}

// subset says of the ids 0 to 4 which are in a set of bits.
func subset(bits int) (ids []int) {
	for id := range 5 {
		if bits&(1<<id) != 0 {
			ids = append(ids, id)
		}
	}
	return ids
}

// agrees reports whether those in bits, and nobody else, make a quorum.
func agrees(j Joint[int], bits int) bool {
	return j.Committed(func(id int) uint64 { return uint64(bits >> id & 1) }) >= 1
}

// Of all groups of up to five voters: two quorums of a joint group meet, a quorum of it meets every quorum of each of its
// halves, and nothing but a quorum of both halves is one. That is what makes a change through it safe.
func TestJointQuorumsMeet(t *testing.T) {
	const everybody = 1<<5 - 1
	for in := 1; in <= everybody; in++ {
		for out := 0; out <= everybody; out++ {
			joint := Joint[int]{subset(in), subset(out)}
			before, after := Joint[int]{Incoming: subset(out)}, Joint[int]{Incoming: subset(in)}
			for bits := range everybody + 1 {
				if agrees(joint, bits) != (agrees(after, bits) && agrees(before, bits)) {
					t.Fatalf("%v agrees by %v, its halves do not", joint, subset(bits))
				}
				rest := everybody &^ bits
				if agrees(joint, bits) && (agrees(joint, rest) || agrees(after, rest) || out != 0 && agrees(before, rest)) {
					t.Fatalf("%v: %v and %v both decide", joint, subset(bits), subset(rest))
				}
			}
		}
	}
}

// An election that nobody is silent in is won exactly by those that could commit, and a vote that was given is never of
// less use than one that was not.
func TestTallyAgreesWithCommitted(t *testing.T) {
	const everybody = 1<<5 - 1
	for in := 1; in <= everybody; in++ {
		for out := 0; out <= everybody; out++ {
			joint := Joint[int]{subset(in), subset(out)}
			for bits := range everybody + 1 {
				final, open := map[int]Answer{}, map[int]Answer{}
				for id := range 5 {
					final[id] = Refused
					if bits>>id&1 == 1 {
						final[id], open[id] = Granted, Granted
					}
				}
				of := func(answers map[int]Answer) Result { return joint.Tally(func(id int) Answer { return answers[id] }) }
				if won := of(final) == Won; won != agrees(joint, bits) || of(final) == Open {
					t.Fatalf("%v: votes of %v: %v", joint, subset(bits), of(final))
				}
				if of(open) == Lost || (of(open) == Won) != (of(final) == Won) {
					t.Fatalf("%v: votes of %v, the others silent: %v", joint, subset(bits), of(open))
				}
			}
		}
	}
}

// A quorum is more than half: two of two, two of three, three of four.
func TestSize(t *testing.T) {
	for n, want := range []int{0, 1, 2, 2, 3, 3, 4, 4} {
		if got := Majority[int](make([]int, n)).Size(); got != want {
			t.Errorf("Size of %d voters: got %d, want %d", n, got, want)
		}
	}
}

// Counting costs no allocation: it happens at every acknowledgement.
func TestCommittedDoesNotAllocate(t *testing.T) {
	match := [4]uint64{0, 5, 7, 6}
	joint := Joint[uint64]{Incoming: Majority[uint64]{1, 2, 3}}
	var got uint64
	allocs := testing.AllocsPerRun(100, func() {
		got = joint.Committed(func(id uint64) uint64 { return match[id] })
	})
	if allocs != 0 || got != 6 {
		t.Errorf("got %d with %v allocations, want 6 with none", got, allocs)
	}
}
