package db

import (
	"testing"
	"time"

	"github.com/rsqld/rsqld/raft"
)

// A node is as far ahead as a majority of the voters says, and nothing is said where too few are known.
func TestClockAhead(t *testing.T) {
	const unknown = time.Duration(-1 << 62)
	s := time.Second
	for _, test := range []struct {
		name   string
		voters int
		// others are the clocks of nodes 2, 3 … against the true time; unknown was never heard.
		others []time.Duration
		mine   time.Duration
		lead   time.Duration
		known  bool
	}{
		{"alone", 1, nil, 100 * s, 0, true},
		{"nobody votes", 0, nil, 100 * s, 0, false},
		{"all alike", 3, []time.Duration{0, 0}, 0, 0, true},
		{"ahead of both", 3, []time.Duration{0, 2 * s}, 10 * s, 8 * s, true},
		{"behind both", 3, []time.Duration{0, 2 * s}, -10 * s, -10 * s, true},
		{"one of the others is ahead", 3, []time.Duration{0, 10 * s}, 0, 0, true},
		{"one of the others is behind", 3, []time.Duration{0, -3600 * s}, 0, 0, true},
		{"ahead of one, the other unknown", 3, []time.Duration{0, unknown}, 10 * s, 0, true},
		{"nobody known", 3, []time.Duration{unknown, unknown}, 10 * s, 0, false},
		{"two voters", 2, []time.Duration{0}, 10 * s, 0, true},
		{"two voters, the other unknown", 2, []time.Duration{unknown}, 10 * s, 0, false},
		{"of four ahead of two", 4, []time.Duration{0, 0, 10 * s}, 10 * s, 0, true},
		{"of four ahead of three", 4, []time.Duration{0, 0, 4 * s}, 10 * s, 6 * s, true},
		{"of five ahead of two", 5, []time.Duration{0, 0, unknown, unknown}, 10 * s, 0, true},
		{"of five ahead of three", 5, []time.Duration{0, 0, s, unknown}, 10 * s, 9 * s, true},
		{"of five ahead of all", 5, []time.Duration{0, 1 * s, 2 * s, 3 * s}, 10 * s, 8 * s, true},
	} {
		now := time.Unix(1_700_000_000, 0)
		var c clocks
		voters := []raft.ID{1, 2, 3, 4, 5}[:test.voters]
		for i, other := range test.others {
			if other != unknown {
				// Each was heard at another time and has gone on since.
				heard := time.Duration(i) * s
				c.hear(raft.ID(i+2), now.Add(other-heard).UnixNano(), now.Add(-heard))
			}
		}
		if lead, known := c.ahead(1, voters, now.Add(test.mine).UnixNano(), now); lead != test.lead || known != test.known {
			t.Errorf("%s: ahead by %v, known %v; want %v, %v", test.name, lead, known, test.lead, test.known)
		}
	}
}

// What was heard long ago is no testimony.
func TestOldClockIsForgotten(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for _, test := range []struct {
		age  time.Duration
		want time.Duration
	}{{clockMemory, 10 * time.Second}, {clockMemory + 1, 0}} {
		var c clocks
		c.hear(2, now.UnixNano(), now)
		c.hear(3, now.Add(-test.age).UnixNano(), now.Add(-test.age))
		if lead, known := c.ahead(1, []raft.ID{1, 2, 3}, now.Add(10*time.Second).UnixNano(), now); lead != test.want || !known {
			t.Errorf("heard %v ago: ahead by %v, known %v; want %v", test.age, lead, known, test.want)
		}
	}
}

// A learner is compared with the voters and does not count among them.
func TestLearnerClock(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	var c clocks
	c.hear(1, now.UnixNano(), now)
	c.hear(2, now.UnixNano(), now)
	if lead, known := c.ahead(9, []raft.ID{1, 2, 3}, now.Add(10*time.Second).UnixNano(), now); lead != 10*time.Second || !known {
		t.Errorf("ahead by %v, known %v", lead, known)
	}
}

// A clock is wrong from beyond the limit until it is within half of it.
func TestClockJudgement(t *testing.T) {
	c := clocks{limit: 4 * time.Second}
	for i, step := range []struct {
		lead           time.Duration
		wrong, changed bool
	}{
		{-time.Hour, false, false}, {4 * time.Second, false, false}, {4*time.Second + 1, true, true},
		{4 * time.Second, true, false}, {2*time.Second + 1, true, false}, {2 * time.Second, false, true}, {3 * time.Second, false, false},
	} {
		if wrong, changed := c.judge(step.lead); wrong != step.wrong || changed != step.changed {
			t.Errorf("step %d: a lead of %v is wrong %v, changed %v", i, step.lead, wrong, changed)
		}
	}
}
