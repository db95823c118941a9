package sim

import (
	"fmt"

	"github.com/rsqld/rsqld/raft"
)

// traceLines is how many of the newest events a trace keeps as text.
const traceLines = 400

// trace is the memory of a run: a hash of all that happened, and the newest of it in words.
type trace struct {
	hash uint64
	keep bool
	ring []string
	next int
}

// mix adds numbers to the hash.
func (t *trace) mix(values ...uint64) {
	for _, v := range values {
		t.hash = (t.hash ^ v) * 0x9e3779b97f4a7c15
		t.hash ^= t.hash >> 29
	}
}

// note adds a line of text about a node (zero: about none of them).
func (w *World) note(id raft.ID, format string, args ...any) {
	if !w.trace.keep {
		return
	}
	line := fmt.Sprintf("%12v  ", w.now)
	if id != 0 {
		line += fmt.Sprintf("%d ", id)
	}
	line += fmt.Sprintf(format, args...)
	t := &w.trace
	if len(t.ring) < traceLines {
		t.ring = append(t.ring, line)
		return
	}
	t.ring[t.next] = line
	t.next = (t.next + 1) % traceLines
}

// lines returns the newest lines, oldest first.
func (t *trace) lines() []string {
	return append(append([]string(nil), t.ring[t.next:]...), t.ring[:t.next]...)
}
