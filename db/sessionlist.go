package db

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// maxShownSQL is how many bytes of a running statement are shown.
const maxShownSQL = 200

// minSessionPrefix is how many digits of a session's id name it at least.
const minSessionPrefix = 4

// errCancelled ends a transaction because an operator said so.
var errCancelled = errors.New("it was cancelled by an operator")

// sessionColumns are those of sessions and of sessions_here, which ends with whether the session is relayed.
var sessionColumns = []string{"id", "client", "address", "node", "level", "state", "age", "statement", "gate"}

// listSessions has a row for each session of the cluster: at the node that its client is connected to.
func (s *session) listSessions(ctx context.Context, _ raft.Term, _ []string) (*table, *Error) {
	var all [][]any
	for id, rows := range s.askAll(ctx, s.sessionsHere, "sessions_here") {
		for _, row := range rows {
			if len(row) == len(sessionColumns)+1 {
				all = append(all, append(row[:3:3], append([]any{int64(id)}, row[4:]...)...))
			}
		}
	}
	holder := ""
	for _, row := range all {
		if gate, _ := row[8].(string); gate != "" {
			holder, _ = row[0].(string)
		}
	}
	t := &table{columns: sessionColumns}
	for _, row := range all {
		if relayed, _ := row[9].(int64); relayed != 0 {
			continue // its own node has it too
		}
		if id, _ := row[0].(string); id == holder {
			row[8] = "holds"
		}
		t.rows = append(t.rows, row[:9])
	}
	slices.SortFunc(t.rows, func(a, b []any) int {
		return cmp.Or(cmp.Compare(a[3].(int64), b[3].(int64)), strings.Compare(a[0].(string), b[0].(string)))
	})
	return t, nil
}

// askAll asks every member a verb, this one by the function here, and returns the rows of those that answer in time.
func (s *session) askAll(ctx context.Context, here func(context.Context, raft.Term, []string) (*table, *Error), verb string, args ...string) map[raft.ID][][]any {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var asking sync.WaitGroup
	var mu sync.Mutex
	answers := make(map[raft.ID][][]any)
	for _, m := range s.node.members() {
		asking.Go(func() {
			var rows [][]any
			if m.ID == s.node.self.Node {
				t, failed := here(ctx, 0, args)
				if failed != nil {
					return
				}
				rows = t.rows
			} else if answer, failed := s.node.ask(ctx, m.ID, verb, args...); failed == nil {
				rows = answer
			}
			mu.Lock()
			defer mu.Unlock()
			answers[m.ID] = rows
		})
	}
	asking.Wait()
	return answers
}

// sessionsHere has a row for each session of this node.
func (s *session) sessionsHere(context.Context, raft.Term, []string) (*table, *Error) {
	t := &table{columns: append(slices.Clone(sessionColumns), "relayed")}
	holder := s.node.gate.held()
	for _, o := range s.node.sessions.all() {
		state, statement := o.doing()
		gate, relayed := "", int64(0)
		if holder != nil && holder.session == o {
			gate = "holds"
		}
		if o.relayed {
			relayed = 1
		}
		t.rows = append(t.rows, []any{hex.EncodeToString(o.id[:]), o.principal.Name, o.remote, int64(s.node.self.Node), levelName(o.level), state,
			time.Since(o.begun).Round(time.Millisecond).String(), statement, gate, relayed})
	}
	return t, nil
}

func levelName(level sqlpb.Level) string {
	return strings.ToLower(strings.TrimPrefix(level.String(), "LEVEL_"))
}

// doing says what the session does at the moment.
func (s *session) doing() (state, statement string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.running != 0 && s.transacting:
		state = "running in a transaction"
	case s.running != 0:
		state = "running"
	case s.transacting:
		return "idle in a transaction", ""
	default:
		return "idle", ""
	}
	if statement = s.statement; len(statement) > maxShownSQL {
		statement = strings.ToValidUTF8(statement[:maxShownSQL], "")
	}
	return state, statement
}

// note remembers what the request that begins is about.
func (s *session) note(statement string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.statement = statement
}

// noteTransaction remembers whether a transaction is open, for lists.
func (s *session) noteTransaction(open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.transacting = open
}

// held returns the transaction that has the gate, or nil.
func (g *gate) held() *transaction {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.holder
}

// cancelSession ends what a session does, wherever it is: its request, or the transaction that it has open.
func (s *session) cancelSession(ctx context.Context, _ raft.Term, args []string) (*table, *Error) {
	if prefix := strings.ToLower(args[0]); len(prefix) < minSessionPrefix || strings.Trim(prefix, "0123456789abcdef") != "" {
		return nil, protocolError("%.64q is no session: give %d digits of its id or more, as .sessions shows it", args[0], minSessionPrefix)
	}
	found := make(map[string]bool)
	for _, rows := range s.askAll(ctx, s.sessionsHere, "sessions_here") {
		for _, row := range rows {
			if id, _ := row[0].(string); strings.HasPrefix(id, strings.ToLower(args[0])) {
				found[id] = true
			}
		}
	}
	switch len(found) {
	case 0:
		return nil, protocolError("there is no session %.64q: .sessions lists them", args[0])
	case 1:
	default:
		return nil, protocolError("%d sessions begin with %.64q: give more digits", len(found), args[0])
	}
	t := &table{columns: []string{"cancelled"}}
	for id := range found {
		s.askAll(ctx, s.cancelHere, "cancel_here", id)
		t.rows = [][]any{{id}}
	}
	return t, nil
}

// cancelHere ends what a session of this node does.
func (s *session) cancelHere(_ context.Context, _ raft.Term, args []string) (*table, *Error) {
	t := &table{columns: []string{"cancelled"}}
	for _, o := range s.node.sessions.all() {
		if hex.EncodeToString(o.id[:]) != args[0] || o == s {
			continue
		}
		if holder := s.node.gate.held(); holder != nil && holder.session == o {
			holder.end(errCancelled)
		}
		o.mu.Lock()
		if o.cancel != nil {
			o.cancel()
		}
		o.mu.Unlock()
		t.rows = append(t.rows, []any{args[0]})
	}
	return t, nil
}
