package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// script makes a history out of lines: "1 put a 5" begins a call of client 1, "1 ok" ends it, "1 ok 5 6" ends a get that
// read a put of 5 and an append of 6, "1 refused" ends it without effect.
func script(t *testing.T, text string) *History {
	t.Helper()
	h, running := &History{}, map[int]Call{}
	for line := range strings.SplitSeq(text, ";") {
		var client int
		var verb, key string
		var value uint64
		n, _ := fmt.Sscan(line, &client, &verb, &key, &value)
		switch {
		case verb == "put" && n == 4:
			running[client] = h.Put(client, key, value)
		case verb == "append" && n == 4:
			running[client] = h.Append(client, key, value)
		case verb == "get" && n == 3:
			running[client] = h.Get(client, key)
		case verb == "refused":
			h.Refused(running[client])
		case verb == "ok":
			var got Content
			for _, part := range strings.Fields(line)[2:] {
				var value uint64
				if _, err := fmt.Sscan(part, &value); err != nil {
					t.Fatal(err)
				}
				got = got.Append(value)
			}
			h.Done(running[client], got)
		default:
			t.Fatalf("what is %q?", line)
		}
	}
	return h
}

// TestLinearizable proves: the check accepts what clients of one copy could have seen, and nothing else.
func TestLinearizable(t *testing.T) {
	for name, c := range map[string]struct {
		text    string
		applied []uint64
		wrong   string // part of the error; none: the history is right
	}{
		"in order":           {"1 put a 5;1 ok;1 get a;1 ok 5;1 append a 6;1 ok;2 get a;2 ok 5 6", []uint64{5, 6}, ""},
		"never written":      {"1 get a;1 ok", nil, ""},
		"keys are apart":     {"1 put a 5;1 ok;1 get b;1 ok", []uint64{5}, ""},
		"stale read":         {"1 put a 5;1 ok;2 get a;2 ok", []uint64{5}, "client 2: get(a)"},
		"read back in time":  {"1 put a 5;2 get a;2 ok 5;3 get a;3 ok;1 ok", []uint64{5}, "client 3: get(a)"},
		"overlapping reads":  {"1 put a 5;2 get a;3 get a;2 ok 5;3 ok;1 ok", []uint64{5}, ""},
		"from nowhere":       {"1 get a;1 ok 7", nil, "client 1: get(a)"},
		"lost append":        {"1 append a 5;1 ok;2 append a 6;2 ok;1 get a;1 ok 6", []uint64{5, 6}, "get(a)"},
		"appends swapped":    {"1 append a 5;1 ok;2 append a 6;2 ok;1 get a;1 ok 6 5", []uint64{5, 6}, "get(a)"},
		"appends at once":    {"1 append a 5;2 append a 6;1 ok;2 ok;1 get a;1 ok 6 5", []uint64{6, 5}, ""},
		"open, seen":         {"1 put a 5;2 put a 6;2 ok;2 get a;2 ok 5", []uint64{6, 5}, ""},
		"open, seen, unseen": {"1 put a 5;2 get a;2 ok 5;2 get a;2 ok", []uint64{5}, "client 2: get(a)"},
		"open, never there":  {"1 put a 5;2 get a;2 ok;2 get a;2 ok", nil, ""},
		"open, not applied":  {"1 put a 5;2 get a;2 ok 5", nil, "client 2: get(a)"},
		"before its call":    {"2 get a;2 ok 5;1 put a 5;1 ok", []uint64{5}, "client 2: get(a)"},
		"refused, seen":      {"1 put a 5;1 refused;2 get a;2 ok 5", []uint64{5}, "client 2: get(a)"},
		"applied too late":   {"1 put a 5;1 ok;2 put a 6;2 ok", []uint64{6, 5}, "client 1: put(a, 5)"},
		"applied never":      {"1 put a 5;1 ok", nil, "never applied"},
		"open get":           {"1 put a 5;2 get a;1 ok;3 get a;3 ok 5", []uint64{5}, ""},
	} {
		err := script(t, c.text).CheckLinearizable(c.applied)
		if (err != nil) != (c.wrong != "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.wrong)
		}
	}
}

// TestOnce proves: a write that is applied twice, or never though it was acknowledged, or though it was refused, is found.
func TestOnce(t *testing.T) {
	const all = "1 put a 5;1 ok;2 append a 6;2 refused;3 put a 7;4 get a;4 ok 5"
	for wrong, applied := range map[string][]uint64{
		"":                                     {5, 7},
		"client 1: put(a, 5) from 1 to 2: ack": {7},
		"applied 2 times":                      {5, 5},
		"put(a, 7), open since 5: applied 2":   {5, 7, 7},
		"append(a, 6) refused from 3 to 4: applied nevertheless": {5, 6},
		"never asked for: [8 9]":                                 {9, 5, 8},
	} {
		err := script(t, all).CheckOnce(applied)
		if (err != nil) != (wrong != "") || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("applied %v: got %v, want an error with %q", applied, err, wrong)
		}
	}
	if err := script(t, "3 put a 7").CheckOnce(nil); err != nil {
		t.Errorf("an open write may be lost: %v", err)
	}
}

// concurrent makes a history of one key as clients of a single copy see it, with a tenth of the answers lost.
func concurrent(seed uint64, operations int) (h *History, applied []uint64) {
	chance := rand.New(rand.NewPCG(seed, 9))
	h = &History{}
	var content Content
	type client struct {
		call   Call
		busy   bool
		act    func() Content
		result Content
	}
	clients := make([]client, 6)
	for value := uint64(1); value <= uint64(operations); {
		c := &clients[chance.IntN(len(clients))]
		id := int(chance.Uint32())
		switch {
		case !c.busy:
			v := value
			value++
			write := func(next Content) Content {
				content = next
				applied = append(applied, v)
				return 0
			}
			switch chance.IntN(3) {
			case 0:
				*c = client{h.Put(id, "k", v), true, func() Content { return write(Put(v)) }, 0}
			case 1:
				*c = client{h.Append(id, "k", v), true, func() Content { return write(content.Append(v)) }, 0}
			default:
				*c = client{h.Get(id, "k"), true, func() Content { return content }, 0}
			}
		case c.act != nil:
			if chance.IntN(10) == 0 { // the request is lost
				c.busy = false
				continue
			}
			c.result, c.act = c.act(), nil
		default:
			c.busy = false
			if chance.IntN(10) > 0 { // else the answer is
				h.Done(c.call, c.result)
			}
		}
	}
	return h, applied
}

// TestLongHistory proves: a history as long as is allowed, with a tenth of all answers lost, is judged, and one wrong
// answer in it is found.
func TestLongHistory(t *testing.T) {
	for seed := range uint64(3) {
		h, applied := concurrent(seed, MaxOperations)
		if err := errors.Join(h.CheckLinearizable(applied), h.CheckOnce(applied)); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for i := range h.calls {
			if c := &h.calls[i]; i > MaxOperations/2 && c.kind == callGet && c.returned != unanswered {
				c.result++
				if err := h.CheckLinearizable(applied); err == nil || !strings.Contains(err.Error(), c.String()) {
					t.Fatalf("seed %d: %s is wrong, and the check says %v", seed, c, err)
				}
				break
			}
		}
		if !h.Full("k") || h.Full("other") {
			t.Error("Full is wrong")
		}
	}
}

// TestTooLong proves: a history that is too long is refused, not judged.
func TestTooLong(t *testing.T) {
	h, applied := concurrent(1, MaxOperations+500)
	if err := h.CheckLinearizable(applied); !errors.Is(err, ErrHistory) {
		t.Errorf("got %v, want %v", err, ErrHistory)
	}
}
