package db

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/rsqld/rsqld/raft"
)

// A node is judged by what a majority of all voters has, whoever answers: a slow model counts every completion of the
// answers that are missing.
func TestJudgeChains(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		var voters []raft.ID
		chains := make(map[raft.ID]uint64)
		for id := range raft.ID(1 + chance.IntN(5)) {
			voters = append(voters, id+1)
			if chance.IntN(4) > 0 {
				chains[id+1] = uint64(chance.IntN(3))
			}
		}
		mine := uint64(chance.IntN(3))
		if chance.IntN(4) > 0 { // it votes
			chains[1] = mine
		}
		got := judgeChains(mine, voters, chains)
		count := func(chain uint64) (n int) {
			for _, id := range voters {
				if c, known := chains[id]; known && c == chain {
					n++
				}
			}
			return n
		}
		majority, missing := len(voters)/2+1, len(voters)-len(chains)
		right, found, possible := uint64(0), false, false
		for chain := range uint64(4) { // 3 stands for any other
			if count(chain) >= majority {
				right, found = chain, true
			}
			possible = possible || count(chain)+missing >= majority
		}
		switch {
		case found && (got.right != right || got.diverged != (right != mine) || len(got.sound) != count(right)):
			t.Fatalf("mine %d, voters %v have %v: %+v, a majority has %d", mine, voters, chains, got, right)
		case !found && (len(got.sound) != 0 || got.diverged != !possible):
			t.Fatalf("mine %d, voters %v have %v: %+v, a majority is possible: %t", mine, voters, chains, got, possible)
		}
		for _, id := range got.sound {
			if !slices.Contains(voters, id) || chains[id] != right {
				t.Fatalf("%v are not sound", got.sound)
			}
		}
	}
}
