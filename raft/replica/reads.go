package replica

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/rsqld/rsqld/raft"
)

// ReadRound is one question for an index that a linearizable read may run at (§6.4). All readers that came before it
// was asked share it.
type ReadRound struct {
	// Done is called once. It must not block.
	Done func(raft.Index, error)
}

// reads are the rounds that were asked and not answered. None is given up here: the core repeats what the network loses,
// and fails the reads of a leader that is lost.
type reads struct {
	limit int
	last  raft.ReadID
	// asked is sorted by id, and so by age.
	asked []askedRound
}

type askedRound struct {
	id    raft.ReadID
	round *ReadRound
}

// Read asks for an index. Only the events that come after this one count as its confirmation.
func (h *Handler) Read(round *ReadRound) {
	r := &h.reads
	switch {
	case h.err != nil:
		round.Done(0, closed(h.err))
		return
	case len(r.asked) >= r.limit:
		round.Done(0, fmt.Errorf("%w: %d read rounds wait for a quorum", raft.ErrBusy, len(r.asked)))
		return
	}
	r.last++
	if err := h.node.Read(r.last); err != nil {
		round.Done(0, err)
		return
	}
	r.asked = append(r.asked, askedRound{r.last, round})
}

// resolve answers the round that result belongs to.
func (r *reads) resolve(result raft.ReadResult) {
	at, found := slices.BinarySearchFunc(r.asked, result.ID,
		func(a askedRound, id raft.ReadID) int { return cmp.Compare(a.id, id) })
	if !found {
		return
	}
	round := r.asked[at].round
	r.asked = slices.Delete(r.asked, at, at+1)
	round.Done(result.Index, result.Err)
}

func (r *reads) fail(why error) {
	for _, a := range r.asked {
		a.round.Done(0, why)
	}
	r.asked = nil
}
