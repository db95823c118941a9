package raft

import (
	"fmt"
	"testing"
)

func founded(c Configuration) Log {
	d := found(c)
	return d.log(1)
}

// Hard state, log and applied index that contradict each other are refused at the start.
func TestContradictionsAtStart(t *testing.T) {
	good := founded(voters(1, 2))
	for name, test := range map[string]struct {
		hard    HardState
		applied Index
		change  func(*Log)
	}{
		"term behind the log":    {HardState{}, 0, func(*Log) {}},
		"applied beyond the log": {HardState{Term: 1}, 2, func(*Log) {}},
		"no runs":                {HardState{Term: 1}, 0, func(l *Log) { l.Runs = nil }},
		"gap in the runs":        {HardState{Term: 1}, 0, func(l *Log) { l.Runs = []TermRun{{2, 1}} }},
		"runs beyond the log":    {HardState{Term: 2}, 0, func(l *Log) { l.Runs = []TermRun{{1, 1}, {2, 2}} }},
		"tail of another place":  {HardState{Term: 1}, 0, func(l *Log) { l.Tail = []Entry{{ID: EntryID{1, 2}}} }},
		"configuration beyond":   {HardState{Term: 1}, 0, func(l *Log) { l.Configurations[0].Index = 2 }},
		"no voters":              {HardState{Term: 1}, 0, func(l *Log) { l.Configurations[0].Configuration = Configuration{} }},
		"last before the base":   {HardState{Term: 1}, 0, func(l *Log) { l.Base = EntryID{1, 5} }},
	} {
		from := good
		from.Configurations = append([]ConfigurationAt(nil), good.Configurations...)
		test.change(&from)
		if _, err := New(Config{ID: 1}, test.hard, from, test.applied); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := New(Config{ID: 1}, HardState{Term: 1}, good, 1); err != nil {
		t.Errorf("the good one: %v", err)
	}
	for name, config := range map[string]Config{
		"no id": {}, "negative limit": {ID: 1, MaxTailBytes: -1}, "slow heartbeat": {ID: 1, ElectionTicks: 5, HeartbeatTicks: 5},
	} {
		if _, err := New(config, HardState{Term: 1}, good, 0); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The same calls give the same Readies.
func TestDeterminism(t *testing.T) {
	trace := func() string {
		cl := newCluster(t, 42, Config{ElectionTicks: 10, HeartbeatTicks: 3}, voters(1, 2, 3))
		out := ""
		cl.ready = func(m *member, r *Ready) {
			shown, write := *r, Write{}
			if shown.Write != nil {
				write, shown.Write = *shown.Write, nil // a pointer would print as an address
			}
			out += fmt.Sprintf("%d %+v %+v\n", m.id, shown, write)
		}
		for range 60 {
			cl.tick(1, nil)
			if leader := cl.leader(); leader != nil {
				_, _ = leader.node.Propose(0, []byte("x")) // ErrBusy is as good
			}
		}
		return out
	}
	if a, b := trace(), trace(); a != b || len(a) < 1000 {
		t.Errorf("two runs of one seed differ: %d and %d bytes", len(a), len(b))
	}
}

// A log that begins after entries which only the state machine holds is worth as much as a whole one: its base counts as
// the last entry in elections and appends, and the configuration as of there counts, a joint one too.
func TestLogThatBeginsAtItsBase(t *testing.T) {
	joint := Configuration{Voters: []ID{1, 2}, Outgoing: []ID{1, 2, 3}}
	image := disk{hard: HardState{Term: 2}, base: EntryID{2, 5}, baseCfg: ConfigurationAt{4, joint}}
	open := func() (*cluster, *member) {
		cl := &cluster{t: t}
		m := cl.add(1, 1, Config{ElectionTicks: 10, HeartbeatTicks: 3}, image)
		m.applied = 5
		m.start(t)
		return cl, m
	}
	cl, m := open()
	if s := m.node.Status(); s.First != 6 || s.Last != (EntryID{2, 5}) || s.Commit != 5 || s.ConfigurationIndex != 4 {
		t.Errorf("it starts as %+v", s)
	}
	for last, want := range map[EntryID]bool{{2, 4}: false, {2, 5}: true, {1, 9}: false} {
		step(t, m, Vote{Envelope: Envelope{2, 1, 3}, Last: last, Pre: true})
		if ack := only[VoteAck](t, run(cl)); ack.Granted != want {
			t.Errorf("a candidate whose log ends at %s: granted is %v", last, ack.Granted)
		}
	}
	step(t, m, appendOf(2, 2, EntryID{2, 5}, 5, 2))
	if ack := only[AppendAck](t, run(cl)); ack.Match != 6 || m.disk.last() != (EntryID{2, 6}) {
		t.Errorf("the append after the base was answered by %+v", ack)
	}
	cl, m = open()
	cl.timeout(1)
	step(t, m, VoteAck{Envelope: Envelope{2, 1, 3}, Pre: true, Granted: true})
	run(cl)
	step(t, m, VoteAck{Envelope: Envelope{2, 1, 3}, Granted: true})
	run(cl)
	if !m.node.configuration().Joint() {
		t.Fatal("the joint configuration is left before an entry of the new term is committed")
	}
	step(t, m, AppendAck{Envelope: Envelope{2, 1, 3}, Match: 6})
	if got := m.node.configuration(); got.Joint() || !contains(got.Removed, 3) {
		t.Errorf("the configuration is %s, removed %v", got, got.Removed)
	}
}
