package replica

import (
	"testing"
	"time"

	"github.com/rsqld/rsqld/raft"
)

// Entries are old enough to go once the log was as long as they are for the time that entries are kept; what was there at
// the start counts from the start.
func TestTrail(t *testing.T) {
	start := time.Unix(1000, 0)
	trail := trail{keep: 10 * time.Second}
	for second, want := range map[int]raft.Index{0: 0, 9: 0, 10: 100, 14: 104, 15: 105, 20: 110, 40: 110} {
		trail.marks, trail.old = nil, 0
		for s := range second + 1 {
			trail.note(start.Add(time.Duration(s)*time.Second), raft.Index(100+min(s, 10)))
		}
		if trail.old != want {
			t.Errorf("after %d s entries up to %d may go, not %d", second, want, trail.old)
		}
		if len(trail.marks) > 11 {
			t.Errorf("%d marks", len(trail.marks))
		}
	}
	trail.keep = 0
	if trail.note(start.Add(time.Hour), 500); trail.old != 500 {
		t.Errorf("without a time up to %d", trail.old)
	}
}
