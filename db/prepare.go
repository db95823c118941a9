package db

import (
	"context"

	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// prepare is the verb by which a client asks whether a text can be executed, without executing it: it is looked at up to the
// first write, for what follows may need what that makes. In a transaction nothing is looked at: what it has made is
// nobody else's to see.
func (s *session) prepare(ctx context.Context, id uint64, args []string) *sqlpb.ServerFrame {
	answer := func(failed *Error) *sqlpb.ServerFrame {
		return s.answer(id)(&table{columns: []string{"prepared"}, rows: [][]any{{int64(1)}}}, failed)
	}
	failed := s.node.classifies(args[0])
	switch {
	case failed == nil, s.opened != nil:
		return answer(nil)
	case s.relayed:
		if behind := s.node.catchUp(ctx); behind != nil {
			return answer(behind)
		}
		return answer(s.node.classifies(args[0]))
	}
	// This node may be behind: the leader has the last word, if there is one.
	var last *sqlpb.ServerFrame
	held := s.hold(ctx, func(leader raft.ID, _ raft.Term) *Error {
		if leader == s.node.self.Node {
			if behind := s.node.catchUp(ctx); behind != nil {
				return behind
			}
			last = answer(s.node.classifies(args[0]))
			return nil
		}
		call := relayCall{session: s, id: id, frame: &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Control{
			Control: &sqlpb.Control{Id: id, Verb: "prepare", Args: args}}}}
		failed := call.run(ctx, leader)
		last = call.last
		return failed
	})
	switch {
	case held == nil:
		return last
	case held.notExecuted():
		return answer(failed)
	}
	return failure(id, held)
}

// classifies returns why a text cannot be executed here, as far as that can be seen before.
func (n *Node) classifies(text string) *Error {
	for text != "" {
		piece, rest, err := n.engine.Next(text)
		if err != nil {
			return at(0, text, sqlError(err))
		}
		if piece.Class == engine.Write {
			return nil
		}
		text = rest
	}
	return nil
}
