package sim

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

// MaxOperations is how many operations a History can hold of one key: the check for linearizability takes memory by the
// square of it.
const MaxOperations = 2000

// historyTimeout bounds the check of one key. It is far beyond what any history takes that a simulation makes.
const historyTimeout = time.Minute

// ErrHistory is a history that the check could not judge: it is too long, or took too much time.
var ErrHistory = errors.New("history cannot be judged")

// Content is what a key holds: a digest of the put that began it and of all appends since, in their order. A key that
// was never written holds zero. State machines under a History keep one for each key.
type Content uint64

// Put returns the content after a put.
func Put(value uint64) Content { return Content(0).Append(value) }

// Append returns the content after an append.
func (c Content) Append(value uint64) Content {
	x := uint64(c)*0x9e3779b97f4a7c15 + value + 1
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return Content(x ^ x>>31)
}

// Call names one operation of a History.
type Call int

// History is what clients asked for and were told, in the order in which it happened. A call is open until Done or
// Refused: one that never ends, or whose client gave up, may take effect at any time, or never.
type History struct {
	calls []operation
	// moment counts invocations and answers: it is the time of the history.
	moment int64
	keys   map[string]int
}

// operation is what one Call names.
type operation struct {
	client int
	kind   callKind
	key    string
	value  uint64  // of a write
	result Content // of a get that is done
	// invoked and returned are moments; an open call returns at the end of time.
	invoked, returned int64
	refused           bool
}

type callKind uint8

const (
	callPut callKind = iota
	callAppend
	callGet
)

const unanswered = math.MaxInt64

func (c *operation) String() string {
	what := fmt.Sprintf("get(%s)", c.key)
	if c.kind != callGet {
		what = fmt.Sprintf("%s(%s, %d)", [...]string{"put", "append"}[c.kind], c.key, c.value)
	}
	switch {
	case c.refused:
		what += " refused"
	case c.returned == unanswered:
		return fmt.Sprintf("client %d: %s, open since %d", c.client, what, c.invoked)
	case c.kind == callGet:
		what += fmt.Sprintf(" = %016x", uint64(c.result))
	}
	return fmt.Sprintf("client %d: %s from %d to %d", c.client, what, c.invoked, c.returned)
}

// Put notes that a client asks for a key to hold value. No two writes of a history have the same value.
func (h *History) Put(client int, key string, value uint64) Call {
	return h.invoke(operation{client: client, kind: callPut, key: key, value: value})
}

// Append notes that a client asks for value to be added to what a key holds.
func (h *History) Append(client int, key string, value uint64) Call {
	return h.invoke(operation{client: client, kind: callAppend, key: key, value: value})
}

// Get notes that a client reads a key, at level linearizable.
func (h *History) Get(client int, key string) Call {
	return h.invoke(operation{client: client, kind: callGet, key: key})
}

func (h *History) invoke(c operation) Call {
	if h.keys == nil {
		h.keys = map[string]int{}
	}
	h.keys[c.key]++
	h.moment++
	c.invoked, c.returned = h.moment, unanswered
	h.calls = append(h.calls, c)
	return Call(len(h.calls) - 1)
}

// Full reports whether the history can hold no further operation of a key.
func (h *History) Full(key string) bool { return h.keys[key] >= MaxOperations }

// Done notes that a call has succeeded; got is what a get has read.
func (h *History) Done(c Call, got Content) { h.end(c).result = got }

// Refused notes that a client was told that its call has had and will have no effect.
func (h *History) Refused(c Call) { h.end(c).refused = true }

func (h *History) end(c Call) *operation {
	ended := &h.calls[c]
	if ended.returned != unanswered {
		panic(fmt.Sprintf("sim: %s ends a second time", ended))
	}
	h.moment++
	ended.returned = h.moment
	return ended
}

// Open returns the number of calls that have no answer.
func (h *History) Open() (n int) {
	for i := range h.calls {
		if h.calls[i].returned == unanswered {
			n++
		}
	}
	return n
}

// CheckOnce reports a write that was not applied as often as its client may believe: one that is done exactly once, one
// that was refused never, and any other at most once. applied are the values of all writes that the state machine has
// executed, in any order.
func (h *History) CheckOnce(applied []uint64) error {
	times := make(map[uint64]int, len(applied))
	for _, value := range applied {
		times[value]++
	}
	for i := range h.calls {
		c := &h.calls[i]
		if c.kind == callGet {
			continue
		}
		n := times[c.value]
		delete(times, c.value)
		switch {
		case n > 1:
			return fmt.Errorf("%s: applied %d times", c, n)
		case c.refused && n > 0:
			return fmt.Errorf("%s: applied nevertheless", c)
		case !c.refused && c.returned != unanswered && n == 0:
			return fmt.Errorf("%s: acknowledged, and never applied", c)
		}
	}
	if len(times) > 0 {
		return fmt.Errorf("applied and never asked for: %v", slices.Sorted(maps.Keys(times)))
	}
	return nil
}

// CheckLinearizable reports an answer that fits into no order of the operations: each takes effect at one moment between
// its call and its answer, a write without an answer at any moment after its call. applied are the values of all writes
// that the state machine has executed, in their order. It is what makes the check fast where many answers are missing,
// and sharper: the writes of a key take effect in this order and no other, and those not in it never do.
func (h *History) CheckLinearizable(applied []uint64) error {
	keys := map[string]*keyHistory{}
	writes := map[uint64]*operation{}
	for i := range h.calls {
		c := &h.calls[i]
		if keys[c.key] == nil {
			keys[c.key] = &keyHistory{places: map[uint64]int{}, contents: map[Content]int{0: 0}}
		}
		switch {
		case c.kind != callGet:
			writes[c.value] = c
		case c.returned != unanswered && !c.refused:
			keys[c.key].calls = append(keys[c.key].calls, c)
		}
	}
	for _, value := range applied {
		if c := writes[value]; c != nil && !c.refused {
			keys[c.key].apply(c)
		}
	}
	for i := range h.calls {
		c := &h.calls[i]
		if c.kind != callGet && c.returned != unanswered && !c.refused && keys[c.key].places[c.value] == 0 {
			return fmt.Errorf("%s: acknowledged, and never applied", c)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		if err := keys[key].check(); err != nil {
			return fmt.Errorf("key %s: %w", key, err)
		}
	}
	return nil
}

// keyHistory is the history of one key: what was executed, and the gets that have an answer.
type keyHistory struct {
	calls []*operation
	// places number the writes from 1 in the order in which they were applied, contents what the key held after each.
	places   map[uint64]int
	contents map[Content]int
	newest   Content
}

func (k *keyHistory) apply(c *operation) {
	if k.places[c.value] != 0 {
		return // CheckOnce says so
	}
	k.places[c.value] = len(k.places) + 1
	if c.kind == callPut {
		k.newest = 0
	}
	k.newest = k.newest.Append(c.value)
	k.contents[k.newest] = len(k.places)
	k.calls = append(k.calls, c)
}

// place returns the number of the newest write that has taken effect when c has; for a get of what the key never held it
// is negative.
func (k *keyHistory) place(c *operation) int {
	if c.kind != callGet {
		return k.places[c.value]
	}
	if place, held := k.contents[c.result]; held {
		return place
	}
	return -1
}

func (k *keyHistory) check() error {
	if len(k.calls) > MaxOperations {
		return fmt.Errorf("%w: %d operations, the limit is %d", ErrHistory, len(k.calls), MaxOperations)
	}
	switch k.linearizable(unanswered) {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return fmt.Errorf("%w: %d operations were not decided in %v", ErrHistory, len(k.calls), historyTimeout)
	}
	// The shortest history that is wrong ends with the answer that fits nowhere.
	var answers []*operation
	for _, c := range k.calls {
		if c.returned != unanswered {
			answers = append(answers, c)
		}
	}
	slices.SortFunc(answers, func(a, b *operation) int { return cmp.Compare(a.returned, b.returned) })
	n := sort.Search(len(answers)-1, func(i int) bool { return k.linearizable(answers[i].returned) != porcupine.Ok })
	return fmt.Errorf("not linearizable: %s: no order of the %d operations explains it", answers[n], len(k.calls))
}

// linearizable checks the history as it was at a moment. Writes that have no answer then belong to it only as far as an
// answer says that they, or later ones, have taken effect.
func (k *keyHistory) linearizable(until int64) porcupine.CheckResult {
	known := 0
	for _, c := range k.calls {
		if c.returned <= until && c.returned != unanswered {
			known = max(known, k.place(c))
		}
	}
	var operations []porcupine.Operation
	for _, c := range k.calls {
		o := porcupine.Operation{ClientId: c.client, Input: k.place(c), Output: c.kind == callGet, Call: c.invoked, Return: c.returned}
		if c.returned > until {
			if c.kind == callGet || c.invoked > until || k.place(c) > known {
				continue
			}
			o.Return = unanswered
		}
		operations = append(operations, o)
	}
	return porcupine.CheckOperationsTimeout(register, operations, historyTimeout)
}

// register is one key, as porcupine wants to be told: its state is the place of the newest write. An operation's input is
// its place, its output says whether it is a get.
var register = porcupine.Model{
	Init: func() any { return 0 },
	Step: func(state, input, get any) (bool, any) {
		if get.(bool) {
			return input == state, state
		}
		return input.(int) == state.(int)+1, input
	},
}
