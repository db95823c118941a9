package db

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

const (
	// tokenLifetime is how long a token of `rsqld token` admits its one node.
	tokenLifetime = time.Hour
	// askTimeout bounds the question to a peer how it is.
	askTimeout = 300 * time.Millisecond
)

// Status is what a node knows of itself and its cluster.
type Status struct {
	Cluster [16]byte
	Node    raft.ID
	Name    string
	Address string
	Raft    raft.Status
	// Unfit is why the node stopped applying, what is damaged in its database, or why its log has no room for what comes;
	// nil is none of it.
	Unfit error
	// ClockAhead is how far its clock is ahead of the voters' median, as far as is known; negative is behind.
	ClockAhead time.Duration
	DBBytes    int64
	LogBytes   int64
	Settings   map[string]string
	// Snapshots is what travelled of the snapshots that this node has sent since it was started.
	Snapshots transport.SnapshotTally
}

// Status returns a copy that is at most a tick old.
func (n *Node) Status() Status {
	_, ahead := n.clocks.state()
	return Status{
		Cluster: n.cluster, Node: n.self.Node, Name: n.self.Name, Address: n.address, Raft: n.replica.Status(),
		Unfit: cmp.Or(n.engine.Quarantined(), n.engine.Damage(), n.replica.ApplyErr(), n.replica.RoomErr()), ClockAhead: ahead,
		DBBytes: n.engine.Size(), LogBytes: n.wal.Size(), Settings: n.engine.Settings(),
		Snapshots: n.endpoint.Counters().Snapshots,
	}
}

// Role is what the shell calls a node: leader, follower, candidate or learner.
func (s Status) Role() string {
	switch {
	case s.Raft.Role == raft.Leader:
		return "leader"
	case s.Raft.Role == raft.Candidate:
		return "candidate"
	case !s.Raft.Configuration.Voter(s.Node): // one that joined a moment ago knows of no configuration yet
		return "learner"
	}
	return "follower"
}

func (s *session) status(context.Context, raft.Term, []string) (*table, *Error) {
	status := s.node.Status()
	t := &table{columns: []string{"key", "value"}}
	add := func(key string, value any) { t.rows = append(t.rows, []any{key, fmt.Sprint(value)}) }
	add("cluster", hex.EncodeToString(status.Cluster[:]))
	add("epoch", s.node.self.Epoch)
	add("node", uint64(status.Node))
	add("role", status.Role())
	add("term", uint64(status.Raft.Term))
	add("leader", uint64(status.Raft.Leader))
	add("commit", uint64(status.Raft.Commit))
	add("applied", uint64(s.node.replica.Applied()))
	add("voters", len(status.Raft.Configuration.Voters))
	add("learners", len(status.Raft.Configuration.Learners))
	add("clock_ahead", status.ClockAhead.Round(time.Millisecond))
	add("db_bytes", status.DBBytes)
	add("log_bytes", status.LogBytes)
	for _, name := range slices.Sorted(maps.Keys(status.Settings)) {
		add("setting."+name, status.Settings[name])
	}
	return t, nil
}

func (s *session) leader(context.Context, raft.Term, []string) (*table, *Error) {
	t := &table{columns: []string{"id", "name", "address"}}
	leader, _, _ := s.node.replica.Leader()
	if leader == 0 {
		return nil, s.node.noQuorum()
	}
	member, _ := s.node.member(leader)
	t.rows = [][]any{{int64(leader), member.Name, member.Address}}
	return t, nil
}

// health is a row "ok" when this node is ready: it applies what is committed, its log has room, its clock is right and it knows
// a leader.
func (s *session) health(context.Context, raft.Term, []string) (*table, *Error) {
	if err := cmp.Or(s.node.engine.Quarantined(), s.node.engine.Damage()); err != nil {
		return nil, &Error{Class: sqlpb.Class_CLASS_STALE, Message: fmt.Sprintf("not ready: %v", err)}
	}
	if err := s.node.replica.ApplyErr(); err != nil {
		return nil, &Error{Class: sqlpb.Class_CLASS_STALE, Message: fmt.Sprintf("not ready: this node stopped applying: %v", s.node.restores.explain(err))}
	}
	if err := s.node.replica.RoomErr(); err != nil {
		return nil, &Error{Class: sqlpb.Class_CLASS_STALE, Message: fmt.Sprintf("not ready: this node takes no writes: %v", err)}
	}
	if failed := s.node.clockError(); failed != nil {
		return nil, failed
	}
	if leader, _, _ := s.node.replica.Leader(); leader == 0 {
		return nil, s.node.noQuorum()
	}
	return &table{columns: []string{"health"}, rows: [][]any{{"ok"}}}, nil
}

// self is this node's own row of nodes, without lag and round trip: they are the asker's to add.
func (s *session) self(context.Context, raft.Term, []string) (*table, *Error) {
	status := s.node.Status()
	return &table{columns: []string{"role", "term", "applied", "commit", "version"},
		rows: [][]any{{status.Role(), int64(status.Raft.Term), int64(s.node.replica.Applied()), int64(status.Raft.Commit), Version}}}, nil
}

// nodes has one row per member. Each peer is asked for its own state, all at once; one that does not answer in time is
// unreachable. No quorum is needed.
func (s *session) nodes(ctx context.Context, _ raft.Term, _ []string) (*table, *Error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	members := s.node.members()
	answers := make([][]any, len(members))
	var asking sync.WaitGroup
	for i, m := range members {
		asking.Go(func() { answers[i] = s.node.askState(ctx, m.ID) })
	}
	asking.Wait()
	newest := int64(s.node.replica.Status().Commit)
	for _, a := range answers {
		if a != nil {
			newest = max(newest, a[3].(int64))
		}
	}
	t := &table{columns: []string{"id", "name", "role", "address", "term", "applied", "lag", "rtt", "version"}}
	for i, m := range members {
		row := []any{int64(m.ID), m.Name, "unreachable", m.Address, nil, nil, nil, nil, nil}
		if a := answers[i]; a != nil {
			row = []any{int64(m.ID), m.Name, a[0], m.Address, a[1], a[2], newest - a[2].(int64), s.node.rtt(m.ID), a[4]}
		}
		t.rows = append(t.rows, row)
	}
	return t, nil
}

// askState returns role, term, applied, commit and version of a member, or nil if it does not answer in time.
func (n *Node) askState(ctx context.Context, id raft.ID) []any {
	if id == n.self.Node {
		status := n.Status()
		return []any{status.Role(), int64(status.Raft.Term), int64(n.replica.Applied()), int64(status.Raft.Commit), Version}
	}
	rows, failed := n.ask(ctx, id, "self")
	if failed != nil || len(rows) != 1 || len(rows[0]) != 5 {
		return nil
	}
	for i, value := range rows[0] {
		_, number := value.(int64)
		if number != (i >= 1 && i <= 3) {
			return nil
		}
	}
	return rows[0]
}

// rtt is the round trip to a member as text, or nil where there is none.
func (n *Node) rtt(id raft.ID) any {
	if rtt, known := n.endpoint.RTT(id); known && id != n.self.Node {
		return rtt.Round(10 * time.Microsecond).String()
	}
	return nil
}
