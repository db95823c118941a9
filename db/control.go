package db

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/rsqld/rsqld/db/command"
	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/replica"
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire"
	"github.com/rsqld/rsqld/transport/wire/joinpb"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// table is the answer to a control verb: rows as any statement has them.
type table struct {
	columns []string
	rows    [][]any
}

// verb is one thing that a node can be asked, or told, about the cluster.
type verb struct {
	role    identity.Role // the least role that may
	leader  bool          // runs on the leader: other nodes relay it
	peers   bool          // only members may
	minimum int           // arguments
	maximum int
	run     func(s *session, ctx context.Context, term raft.Term, args []string) (*table, *Error)
	// stream, where run is nil, sends the answer itself and returns the frame that ends it.
	stream func(s *session, ctx context.Context, id uint64, args []string) *sqlpb.ServerFrame
}

var verbs = map[string]verb{
	"nodes":         {role: identity.RoleRead, run: (*session).nodes},
	"status":        {role: identity.RoleRead, run: (*session).status},
	"leader":        {role: identity.RoleRead, run: (*session).leader},
	"health":        {role: identity.RoleRead, run: (*session).health},
	"self":          {role: identity.RoleRead, run: (*session).self},
	"transfer":      {role: identity.RoleAdmin, leader: true, maximum: 1, run: (*session).transfer},
	"promote":       {role: identity.RoleAdmin, leader: true, minimum: 1, maximum: 1, run: (*session).promote},
	"demote":        {role: identity.RoleAdmin, leader: true, minimum: 1, maximum: 1, run: (*session).demote},
	"replace":       {role: identity.RoleAdmin, leader: true, minimum: 2, maximum: 2, run: (*session).replace},
	"remove":        {role: identity.RoleAdmin, leader: true, minimum: 1, maximum: 1, run: (*session).remove},
	"verify":        {role: identity.RoleAdmin, leader: true, run: (*session).verify},
	"verified":      {role: identity.RoleRead, peers: true, minimum: 2, maximum: 2, run: (*session).verified},
	"set":           {role: identity.RoleAdmin, leader: true, minimum: 1, maximum: command.MaxSettings, run: (*session).set},
	"token":         {role: identity.RoleAdmin, leader: true, maximum: 1, run: (*session).token},
	"admit":         {role: identity.RoleAdmin, leader: true, peers: true, minimum: 2, maximum: 2, run: (*session).admit},
	"sessions":      {role: identity.RoleAdmin, run: (*session).listSessions},
	"cancel":        {role: identity.RoleAdmin, minimum: 1, maximum: 1, run: (*session).cancelSession},
	"chain":         {role: identity.RoleRead, peers: true, minimum: 1, maximum: 1, run: (*session).chain},
	"sessions_here": {role: identity.RoleAdmin, peers: true, run: (*session).sessionsHere},
	"cancel_here":   {role: identity.RoleAdmin, peers: true, minimum: 1, maximum: 1, run: (*session).cancelHere},
	"snapshot":      {role: identity.RoleAdmin, peers: true, minimum: 1, maximum: 1, run: (*session).snapshot},
	"backup":        {role: identity.RoleAdmin, maximum: 1, stream: (*session).backup},
	"prepare":       {role: identity.RoleRead, minimum: 1, maximum: 1, stream: (*session).prepare},
	"dump":          {role: identity.RoleRead, maximum: 1 + maxDumpPatterns, stream: (*session).dump},
	"upload":        {role: identity.RoleAdmin, minimum: 2, maximum: 4, run: (*session).upload},
	"restore":       {role: identity.RoleAdmin, minimum: 2, maximum: 3, stream: (*session).restore},
	"staged":        {role: identity.RoleAdmin, peers: true, minimum: 3, maximum: 3, stream: (*session).staged},
	"fetch_restore": {role: identity.RoleAdmin, peers: true, minimum: 2, maximum: 2, run: (*session).fetchRestore},
	"whereabouts":   {role: identity.RoleRead, peers: true, minimum: 1, maximum: 1, run: (*session).whereabouts},
	"announce":      {role: identity.RoleAdmin, leader: true, peers: true, minimum: 2, maximum: 2, run: (*session).announce},
}

// control runs a Control and returns the frame that ends it.
func (s *session) control(ctx context.Context, c *sqlpb.Control) *sqlpb.ServerFrame {
	v, known := verbs[c.Verb]
	switch {
	case !known || v.peers && !s.relayed:
		return failure(c.Id, protocolError("%.64q is no command that this node knows", c.Verb))
	case s.principal.Role < v.role:
		return failure(c.Id, denied("%s needs role %s, and %s has role %s", c.Verb, v.role, s.principal.Name, s.principal.Role))
	case len(c.Args) < v.minimum || len(c.Args) > v.maximum:
		return failure(c.Id, protocolError("%s takes %d to %d arguments, not %d", c.Verb, v.minimum, v.maximum, len(c.Args)))
	}
	if v.leader && s.opened != nil {
		return s.failed(c.Id, protocolError("%s does not run inside a transaction: commit it or roll it back first", c.Verb))
	}
	if v.stream != nil {
		return v.stream(s, ctx, c.Id, c.Args)
	}
	if !v.leader {
		return s.answer(c.Id)(v.run(s, ctx, 0, c.Args))
	}
	var last *sqlpb.ServerFrame
	failed := s.hold(ctx, func(leader raft.ID, term raft.Term) (failed *Error) {
		last, failed = s.lead(ctx, v, c, leader, term)
		return failed
	})
	if failed != nil {
		return failure(c.Id, failed)
	}
	return last
}

// lead runs a verb on the leader, here or over there, and returns the frame that ends it.
func (s *session) lead(ctx context.Context, v verb, c *sqlpb.Control, leader raft.ID, term raft.Term) (*sqlpb.ServerFrame, *Error) {
	if leader != s.node.self.Node {
		call := relayCall{session: s, id: c.Id, changes: true, frame: &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Control{Control: c}}}
		failed := call.run(ctx, leader)
		return call.last, failed
	}
	if failed := s.node.catchUp(ctx); failed != nil {
		return nil, failed
	}
	t, failed := v.run(s, ctx, term, c.Args)
	if failed != nil {
		return nil, failed
	}
	return s.answer(c.Id)(t, nil), nil
}

// answer sends a table and returns its Done, or the frame of the error.
func (s *session) answer(id uint64) func(*table, *Error) *sqlpb.ServerFrame {
	return func(t *table, failed *Error) *sqlpb.ServerFrame {
		if failed != nil {
			return failure(id, failed)
		}
		out := &output{session: s, request: id}
		columns := make([]engine.Column, len(t.columns))
		for i, name := range t.columns {
			columns[i].Name = name
		}
		var err error
		if len(columns) > 0 {
			err = out.Columns(columns)
		}
		for _, row := range t.rows {
			if err == nil {
				err = out.Row(wire.AppendRow(nil, row))
			}
		}
		if err == nil {
			err = out.flush(false)
		}
		if err != nil {
			return failure(id, out.failed)
		}
		return &sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Done{Done: &sqlpb.Done{Id: id, Index: uint64(s.node.replica.Applied())}}}
	}
}

// ask sends a control verb to a peer in a session of its own and returns the rows of its answer.
func (n *Node) ask(ctx context.Context, peer raft.ID, name string, args ...string) (rows [][]any, failed *Error) {
	failed = n.askEach(ctx, peer, name, args, func(row []any) error { rows = append(rows, row); return nil })
	if failed != nil {
		return nil, failed
	}
	return rows, nil
}

// askEach is ask that gives each row to take as it comes. The error of take ends it.
func (n *Node) askEach(ctx context.Context, peer raft.ID, name string, args []string, take func(row []any) error) *Error {
	stream, err := n.openRelay(ctx, peer, &sqlpb.Hello{
		Version: protocolVersion, Client: n.self.Name, OnBehalf: &sqlpb.Principal{Name: n.self.Name, Role: sqlpb.Role_ROLE_ADMIN}})
	if err != nil {
		if ctx.Err() != nil {
			return ended(ctx)
		}
		return n.leaderLost(peer, err)
	}
	defer stream.Close()
	defer context.AfterFunc(ctx, func() { stream.Close() })()
	err = stream.Send(&sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Control{Control: &sqlpb.Control{Id: 1, Verb: name, Args: args}}})
	if err == nil {
		err = stream.Flush()
	}
	columns := 0
	for err == nil {
		var frame sqlpb.ServerFrame
		if err = stream.Recv(&frame); err != nil {
			break
		}
		switch f := frame.Frame.(type) {
		case *sqlpb.ServerFrame_Columns:
			columns = len(f.Columns.Columns)
		case *sqlpb.ServerFrame_Rows:
			var rows [][]any
			rows, err = wire.DecodeRows(f.Rows.Packed, columns, int(f.Rows.Count))
			for i := 0; i < len(rows) && err == nil; i++ {
				err = take(rows[i])
			}
		case *sqlpb.ServerFrame_Done:
			return nil
		case *sqlpb.ServerFrame_Error:
			e := f.Error
			return &Error{Class: e.Class, Retry: e.Retry, Message: e.Message}
		}
	}
	return outcomeUnknown(fmt.Errorf("lost node %d before its answer: %w", peer, err))
}

func (s *session) transfer(ctx context.Context, _ raft.Term, args []string) (*table, *Error) {
	var target raft.ID
	if len(args) == 1 {
		id, failed := s.node.parseMember(args[0])
		if failed != nil {
			return nil, failed
		}
		target = id
	}
	if target == s.node.self.Node {
		return nil, protocolError("node %d leads already", target)
	}
	ctx, cancel := s.node.bounded(ctx)
	defer cancel()
	release, failed := s.node.quiesce(ctx)
	if failed != nil {
		return nil, failed
	}
	err := s.node.replica.Transfer(ctx, target)
	release()
	if err != nil {
		return nil, s.node.transferError(ctx, err)
	}
	var t *table
	failed = s.node.hold(ctx, func(raft.ID, raft.Term) (failed *Error) {
		t, failed = s.leader(ctx, 0, nil)
		return failed
	})
	if failed != nil {
		// Not "no quorum, try again": whoever leads next would hand over once more.
		return nil, outcomeUnknown(fmt.Errorf("leadership was handed over, and the new leader is not known yet: %v", failed))
	}
	return t, nil
}

// transferError says why leadership stayed here, or may have.
func (n *Node) transferError(ctx context.Context, err error) *Error {
	switch {
	case errors.Is(err, raft.ErrNotLeader):
		return n.noQuorum()
	case errors.Is(err, raft.ErrTransferring), errors.Is(err, replica.ErrTransferFailed):
		return busy(err.Error())
	case errors.Is(err, replica.ErrClosed):
		return shuttingDown()
	case ctx.Err() != nil: // the attempt goes on
		return outcomeUnknown(fmt.Errorf("handing leadership over: %w", err))
	}
	return protocolError("handing leadership over: %v", err)
}

func (s *session) promote(ctx context.Context, term raft.Term, args []string) (*table, *Error) {
	id, failed := s.node.parseMember(args[0])
	if failed == nil {
		failed = s.node.promoteMember(ctx, term, id)
	}
	return &table{}, failed
}

func (s *session) demote(ctx context.Context, term raft.Term, args []string) (*table, *Error) {
	id, failed := s.node.parseMember(args[0])
	if failed == nil {
		failed = s.node.demoteMember(ctx, term, id)
	}
	return &table{}, failed
}

func (s *session) replace(ctx context.Context, term raft.Term, args []string) (*table, *Error) {
	old, failed := s.node.parseMember(args[0])
	if failed != nil {
		return nil, failed
	}
	fresh, failed := s.node.parseMember(args[1])
	if failed == nil {
		failed = s.node.replaceMember(ctx, term, old, fresh)
	}
	return &table{}, failed
}

func (s *session) remove(ctx context.Context, term raft.Term, args []string) (*table, *Error) {
	id, failed := s.node.parseMember(args[0])
	if failed == nil {
		failed = s.node.removeMember(ctx, term, id)
	}
	return &table{}, failed
}

// parseMember finds a member by id, or else by name: a node may be called as another one is numbered.
func (n *Node) parseMember(text string) (raft.ID, *Error) {
	var named []raft.ID
	for _, m := range n.members() {
		if strconv.FormatUint(uint64(m.ID), 10) == text {
			return m.ID, nil
		}
		if m.Name == text {
			named = append(named, m.ID)
		}
	}
	switch len(named) {
	case 0:
		return 0, protocolError("there is no node %.64q: .nodes lists the members", text)
	case 1:
		return named[0], nil
	}
	return 0, protocolError("the nodes %v are all called %.64q: name the one you mean by its id", named, text)
}

// token mints a join token. The cluster stores only what verifies it.
func (s *session) token(ctx context.Context, term raft.Term, args []string) (*table, *Error) {
	learner := false
	if len(args) == 1 {
		if args[0] != "learner" {
			return nil, protocolError("token takes the argument learner or none, not %.64q", args[0])
		}
		learner = true
	}
	minted, failed := s.node.stamp()
	if failed != nil {
		return nil, failed
	}
	token := identity.NewToken(s.node.identity.CA)
	id, key := token.ID(), token.Key()
	failed = s.node.proposeMember(ctx, term, &commandpb.Command{Body: &commandpb.Command_MintToken{MintToken: &commandpb.MintToken{
		Id: id[:], Key: key[:], Learner: learner, Uses: 1, Expires: minted + int64(tokenLifetime),
	}}})
	return &table{columns: []string{"token"}, rows: [][]any{{token.String()}}}, failed
}

// admit is a join that another member took.
func (s *session) admit(ctx context.Context, term raft.Term, args []string) (*table, *Error) {
	var request joinpb.JoinRequest
	encoded, err := base64.StdEncoding.DecodeString(args[0])
	if err == nil {
		err = proto.Unmarshal(encoded, &request)
	}
	exporter, bad := base64.StdEncoding.DecodeString(args[1])
	if err != nil || bad != nil {
		return nil, protocolError("admit takes a join request and an exporter in base64")
	}
	answer, failed := s.node.admit(ctx, term, &request, exporter)
	if failed != nil {
		return nil, failed
	}
	packed, err := proto.Marshal(answer)
	if err != nil {
		return nil, protocolError("encoding the answer: %v", err)
	}
	return &table{columns: []string{"answer"}, rows: [][]any{{packed}}}, nil
}

// announce is another member's new address.
func (s *session) announce(ctx context.Context, term raft.Term, args []string) (*table, *Error) {
	id, failed := s.node.parseMember(args[0])
	if failed != nil {
		return nil, failed
	}
	if err := checkAddress("the address", args[1]); err != nil {
		return nil, protocolError("%v", err)
	}
	return &table{}, s.node.setAddress(ctx, term, id, args[1])
}
