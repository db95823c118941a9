package db

import (
	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// quick runs a request that is one read, at a level for which this node is fresh enough, and over in a moment: most reads of
// applications are. It needs none of what a request has that may wait, or be cancelled: no context, no timer, no second
// goroutine at the stream. It returns the frames of the answer. None mean that the request is to be run like any other, for
// whatever reason: that run has the last word, on errors too.
//
// The caller has seen to it that no request of the session runs. It may be the client's own goroutine.
func (s *session) quick(x *sqlpb.Execute) []*sqlpb.ServerFrame {
	if !brief(x) || x.Id == 0 || x.InTransaction || x.MaxStalenessMs != 0 || s.principal.Role < identity.RoleRead || s.node.refuseQuarantined() != nil {
		return nil
	}
	level := x.Level
	if level == sqlpb.Level_LEVEL_UNSPECIFIED {
		level = s.level
	}
	switch level {
	case sqlpb.Level_LEVEL_LOCAL:
	case sqlpb.Level_LEVEL_SESSION:
		if s.node.replica.Applied() < raft.Index(x.MinIndex) {
			return nil
		}
	default:
		return nil
	}
	statement := x.Statements[0]
	piece, rest, err := s.node.engine.Next(statement.Sql)
	if err != nil || rest != "" || piece.Class != engine.Read || !s.noteQuick(statement.Sql) {
		return nil
	}
	answer := quickAnswer{request: x.Id}
	done, err := s.node.engine.Quick(piece.SQL, arguments(statement.Args), &answer)
	if err != nil {
		return nil
	}
	return answer.end(&sqlpb.Done{Id: x.Id, Index: uint64(done.Index)})
}

// quickAnswer gathers the frames of an answer. It is an engine.Sink.
type quickAnswer struct {
	request uint64
	frames  []*sqlpb.ServerFrame
	rows    sqlpb.Rows
}

// Columns implements engine.Sink.
func (a *quickAnswer) Columns(columns []engine.Column) error {
	a.frames = append(make([]*sqlpb.ServerFrame, 0, 3), columnsFrame(a.request, columns))
	return nil
}

// Row implements engine.Sink.
func (a *quickAnswer) Row(packed []byte) error {
	a.rows.Packed = append(a.rows.Packed, packed...)
	a.rows.Count++
	return nil
}

// end returns all frames.
func (a *quickAnswer) end(done *sqlpb.Done) []*sqlpb.ServerFrame {
	if a.rows.Count > 0 {
		a.rows.Id = a.request
		a.frames = append(a.frames, &sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Rows{Rows: &a.rows}})
	}
	return append(a.frames, &sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Done{Done: done}})
}

// columnsFrame is the frame that begins rows.
func columnsFrame(request uint64, columns []engine.Column) *sqlpb.ServerFrame {
	memory := make([]sqlpb.Column, len(columns))
	frame := &sqlpb.Columns{Id: request, Columns: make([]*sqlpb.Column, len(columns))}
	for i, c := range columns {
		memory[i].Name, memory[i].DeclaredType = c.Name, c.DeclaredType
		frame.Columns[i] = &memory[i]
	}
	return &sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Columns{Columns: frame}}
}

// noteQuick remembers a statement for lists of sessions, unless a request runs or a transaction is open.
func (s *session) noteQuick(statement string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running != 0 || s.transacting {
		return false
	}
	s.statement = statement
	return true
}
