package tracker

import (
	"math/rand/v2"
	"testing"
)

// Stale and doubled answers change nothing, in any state.
func TestStaleAnswers(t *testing.T) {
	states := map[string]func() Progress{
		"probe": func() Progress {
			p := New(11, 4, 1000)
			p.Acknowledge(5)
			p.Probe()
			p.Sent(1, 10)
			return p
		},
		"replicate": func() Progress {
			p := New(6, 4, 1000)
			p.Acknowledge(5)
			p.Sent(2, 10)
			p.Sent(2, 10)
			return p
		},
		"stranded": func() Progress {
			p := New(6, 4, 1000)
			p.Acknowledge(5)
			p.Strand()
			return p
		},
	}
	for name, state := range states {
		for _, test := range []struct {
			what string
			do   func(*Progress) bool
		}{
			{"acknowledgement below match", func(p *Progress) bool { return p.Acknowledge(4) }},
			{"rejection at match", func(p *Progress) bool { return p.Reject(5, 2) }},
			{"rejection below match", func(p *Progress) bool { return p.Reject(3, 2) }},
		} {
			p, want := state(), state()
			if test.do(&p) {
				t.Errorf("%s: %s changed something", name, test.what)
			}
			if p.Match() != want.Match() || p.Next() != want.Next() || p.State() != want.State() || p.Ready() != want.Ready() {
				t.Errorf("%s: %s: got %+v, want %+v", name, test.what, p, want)
			}
		}
	}
}

// A probe is moved only by the rejection of what it asked, so that doubled rejections do not walk back twice.
func TestProbeIsMovedByItsOwnAnswer(t *testing.T) {
	p := New(21, 4, 1000)
	p.Sent(0, 0)
	if !p.Reject(20, 15) || p.Next() != 16 || !p.Ready() {
		t.Fatalf("after the first rejection: %+v", p)
	}
	p.Sent(0, 0)
	if p.Reject(20, 15) || p.Next() != 16 || p.Ready() {
		t.Errorf("the doubled rejection counted: %+v", p)
	}
	if p.Reject(17, 3) || p.Next() != 16 {
		t.Errorf("a rejection of another place counted: %+v", p)
	}
	if !p.Reject(15, 200) || p.Next() != 15 {
		t.Errorf("a hint above the rejected place: next is %d, want 15", p.Next())
	}
}

// A rejection in Replicate goes back to Probe, behind match.
func TestRejectionEndsReplication(t *testing.T) {
	p := New(2, 4, 1000)
	p.Acknowledge(1)
	p.Sent(3, 30)
	if !p.Reject(4, 1) || p.State() != Probe || p.Next() != 2 || !p.Ready() {
		t.Errorf("got %+v", p)
	}
	if n, bytes := p.Inflight(); n != 0 || bytes != 0 {
		t.Errorf("%d messages and %d bytes are in flight still", n, bytes)
	}
}

// The window stops sending by messages and by bytes, and opens with acknowledgements. One message always fits.
func TestWindowLimits(t *testing.T) {
	p := New(2, 3, 100)
	p.Acknowledge(1)
	p.Sent(1, 500)
	if p.Ready() {
		t.Error("500 bytes of 100 are in flight, and another message may go")
	}
	p.Acknowledge(2)
	for i := range 3 {
		if !p.Ready() {
			t.Fatalf("message %d may not go", i)
		}
		p.Sent(1, 1)
	}
	if p.Ready() {
		t.Error("three messages of three are in flight, and another may go")
	}
	p.Acknowledge(3)
	if n, bytes := p.Inflight(); n != 2 || bytes != 2 || !p.Ready() {
		t.Errorf("%d messages and %d bytes in flight, want 2 and 2", n, bytes)
	}
}

// A question without entries takes no place, so that it can be asked while the window is full.
func TestQuestionsTakeNoPlace(t *testing.T) {
	p := New(2, 1, 100)
	p.Acknowledge(1)
	p.Sent(1, 1)
	p.Sent(0, 0)
	if n, _ := p.Inflight(); n != 1 || p.Next() != 3 {
		t.Errorf("%d in flight, next %d; want 1 and 3", n, p.Next())
	}
}

// slowWindow is a window as a list.
type slowWindow []flight

func (w slowWindow) bytes() int {
	sum := 0
	for _, f := range w {
		sum += f.bytes
	}
	return sum
}

// The ring behaves as a list of messages does.
func TestWindowMatchesAList(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		maxMessages, maxBytes := 1+random.IntN(20), 1+random.IntN(300)
		w, slow := NewWindow(maxMessages, maxBytes), slowWindow{}
		last := uint64(0)
		for range 200 {
			switch random.IntN(5) {
			case 0, 1, 2:
				if full := len(slow) >= maxMessages || slow.bytes() >= maxBytes; w.Full() != full {
					t.Fatalf("full is %v, want %v", w.Full(), full)
				} else if !full {
					last += random.Uint64N(4)
					size := random.IntN(50)
					w.Add(last, size)
					slow = append(slow, flight{last, size})
				}
			case 3:
				index := random.Uint64N(last + 2)
				w.FreeTo(index)
				for len(slow) > 0 && slow[0].last <= index {
					slow = slow[1:]
				}
			case 4:
				if random.IntN(20) == 0 {
					w.Reset()
					slow = slow[:0]
				}
			}
			if w.Count() != len(slow) || w.Bytes() != slow.bytes() {
				t.Fatalf("%d messages of %d bytes, want %d of %d", w.Count(), w.Bytes(), len(slow), slow.bytes())
			}
		}
	}
}

// peerModel is a follower that holds the leader's log up to agree, then others up to last.
type peerModel struct{ agree, last uint64 }

type question struct{ prev, count uint64 }

// answer is what the follower says: it holds all up to match, or rejects prev with a hint.
type answer struct {
	rejected    bool
	match, prev uint64
	hint        uint64
}

func (m *peerModel) ask(q question) answer {
	if q.prev > m.agree {
		return answer{rejected: true, prev: q.prev, hint: min(m.last, q.prev, max(m.agree, q.prev/2))}
	}
	if q.prev+q.count > m.agree {
		m.agree = q.prev + q.count
		m.last = m.agree
	}
	return answer{match: q.prev + q.count}
}

// Over a network that loses, doubles and reorders, match never exceeds what the peer holds, and the peer gets everything as
// long as heartbeats are answered.
func TestProgressOverABadNetwork(t *testing.T) {
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 9))
		end := uint64(1 + random.IntN(40))
		peer := &peerModel{agree: random.Uint64N(end + 1)}
		peer.last = peer.agree + random.Uint64N(20)
		p := New(end+1, 1+random.IntN(4), 1+random.IntN(100))
		var questions []question
		var answers []answer
		for step := 0; p.Match() < end; step++ {
			if step > 20_000 {
				t.Fatalf("seed %d: %+v does not get there, peer %+v, end %d", seed, p, peer, end)
			}
			switch random.IntN(8) {
			case 0, 1:
				if p.Next() <= end && p.Ready() {
					count := min(end-p.Next()+1, 1+random.Uint64N(3))
					questions = append(questions, question{p.Next() - 1, count})
					p.Sent(int(count), 10)
				}
			case 2, 3:
				questions = pick(random, questions, func(q question) { answers = append(answers, peer.ask(q)) })
			case 4, 5:
				answers = pick(random, answers, func(a answer) {
					if a.rejected {
						p.Reject(a.prev, a.hint)
					} else {
						p.Acknowledge(a.match)
					}
				})
			case 6:
				p.Resume()
				if p.State() == Replicate || p.Ready() {
					questions = append(questions, question{p.Next() - 1, 0})
					p.Sent(0, 0)
				}
			case 7:
				if random.IntN(50) == 0 {
					p.Probe()
				}
			}
			if p.Match() > peer.agree || p.Match() >= p.Next() || p.Next() > end+1 {
				t.Fatalf("seed %d: %+v, peer %+v, end %d", seed, p, peer, end)
			}
		}
	}
}

// pick handles a random element, and may lose it unhandled or leave it to be handled again.
func pick[T any](random *rand.Rand, from []T, handle func(T)) []T {
	if len(from) == 0 {
		return from
	}
	i := random.IntN(len(from))
	fate := random.IntN(10)
	if fate > 1 {
		handle(from[i])
	}
	if fate == 9 {
		return from
	}
	return append(from[:i:i], from[i+1:]...)
}
