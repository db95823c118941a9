package db

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/rsqld/rsqld/raft"
)

// Two replicas that have executed the same entries to the same ends have the same result chain (engine.Chain). Each node
// compares its own with those of the voters every chainInterval while entries are applied, at an index that it had applied
// at the comparison before, so that the others had time to pass it. It judges nobody but itself: a node whose chain is
// another one than that of a majority of the voters has diverged, whether it leads or not, and quarantines itself. Where no
// chain has a majority nobody can say who is right, and all stop.

const (
	// chainInterval is the time between two comparisons.
	chainInterval = time.Second / 2
	// chainAnswer bounds the answer of a peer.
	chainAnswer = 2 * time.Second
)

// verdict is what a comparison of chains came to.
type verdict struct {
	// diverged says that this node is to stop. Right is what a majority has then, and Sound are who has it; a zero
	// Right without Sound says that nothing has one.
	diverged bool
	right    uint64
	sound    []raft.ID
}

// judgeChains judges the chain of one node by those of the voters at the same index, as far as they are known; its own is among
// them if it votes.
func judgeChains(mine uint64, voters []raft.ID, chains map[raft.ID]uint64) verdict {
	majority := len(voters)/2 + 1
	who := make(map[uint64][]raft.ID)
	known, most := 0, 0
	for _, id := range voters {
		if chain, ok := chains[id]; ok {
			known++
			who[chain] = append(who[chain], id)
			most = max(most, len(who[chain]))
		}
	}
	for chain, ids := range who {
		if len(ids) >= majority {
			return verdict{diverged: chain != mine, right: chain, sound: ids}
		}
	}
	// Those that did not answer may still make a majority of something.
	return verdict{diverged: most+len(voters)-known < majority}
}

// watchChains compares chains while entries are applied, until the node closes.
func (n *Node) watchChains(ctx context.Context) {
	judged, last := raft.Index(0), raft.Index(0)
	for {
		if _, ended := pause(ctx, chainInterval, nil); ended != nil {
			return
		}
		// What was applied when the last comparison was made, the others have passed now, or soon.
		at := last
		last = n.engine.Applied()
		if at == 0 || at == judged || n.engine.Quarantined() != nil {
			continue
		}
		if n.compareChains(ctx, at) {
			judged = at
		}
	}
}

// compareChains compares this node's chain at an index with those of the voters and reports whether enough of them answered to
// tell.
func (n *Node) compareChains(ctx context.Context, at raft.Index) (told bool) {
	mine, kept := n.engine.ChainAt(at)
	if !kept {
		return true
	}
	voters := n.replica.Status().Configuration.Voters
	chains := n.askChains(ctx, voters, at)
	if slices.Contains(voters, n.self.Node) {
		chains[n.self.Node] = mine.Hash
	}
	v := judgeChains(mine.Hash, voters, chains)
	if !v.diverged {
		return len(v.sound) > 0
	}
	q := quarantine{Index: at, Mine: hexChain(mine.Hash), Sound: v.sound}
	if len(v.sound) > 0 {
		q.Others = hexChain(v.right)
	}
	n.quarantine(mine, q)
	return true
}

// updateFitness tells the core whether this node may lead.
func (n *Node) updateFitness() {
	wrong, _ := n.clocks.state()
	n.replica.SetFit(!wrong && n.engine.Quarantined() == nil)
}

// askChains asks the voters for their chains at an index. Those that do not know it are left out.
func (n *Node) askChains(ctx context.Context, voters []raft.ID, at raft.Index) map[raft.ID]uint64 {
	ctx, cancel := context.WithTimeout(ctx, chainAnswer)
	defer cancel()
	chains := make(map[raft.ID]uint64)
	var (
		mu     sync.Mutex
		asking sync.WaitGroup
	)
	for _, id := range voters {
		if id == n.self.Node {
			continue
		}
		asking.Go(func() {
			rows, failed := n.ask(ctx, id, "chain", strconv.FormatUint(uint64(at), 10))
			if failed != nil || len(rows) != 1 || len(rows[0]) != 1 {
				return
			}
			if chain, ok := rows[0][0].(int64); ok {
				mu.Lock()
				defer mu.Unlock()
				chains[id] = uint64(chain)
			}
		})
	}
	asking.Wait()
	return chains
}

// chain is the verb by which a peer asks for this node's chain at an index. There is no row if it is not known here.
func (s *session) chain(_ context.Context, _ raft.Term, args []string) (*table, *Error) {
	at, err := strconv.ParseUint(args[0], 10, 63)
	if err != nil {
		return nil, protocolError("%q is no index", args[0])
	}
	t := &table{columns: []string{"chain"}}
	if chain, kept := s.node.engine.ChainAt(raft.Index(at)); kept {
		t.rows = [][]any{{int64(chain.Hash)}}
	}
	return t, nil
}
