package db

import (
	"context"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// rowsFrameBytes is the size that a frame of rows is closed at.
const rowsFrameBytes = 64 << 10

// output turns the results of statements into frames. It is an engine.Sink.
type output struct {
	session *session
	request uint64
	rows    sqlpb.Rows
	failed  *Error // sending failed: the client is gone
}

// Columns implements engine.Sink.
func (o *output) Columns(columns []engine.Column) error {
	frame := &sqlpb.Columns{Id: o.request}
	for _, c := range columns {
		frame.Columns = append(frame.Columns, &sqlpb.Column{Name: c.Name, DeclaredType: c.DeclaredType})
	}
	return o.send(&sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Columns{Columns: frame}}, false)
}

// Row implements engine.Sink: row is packed, and valid until Row returns.
func (o *output) Row(row []byte) error {
	o.rows.Packed = append(o.rows.Packed, row...)
	o.rows.Count++
	if len(o.rows.Packed) < rowsFrameBytes {
		return nil
	}
	return o.flush(true)
}

// flush sends the rows gathered so far.
func (o *output) flush(now bool) error {
	if o.rows.Count == 0 {
		return nil
	}
	frame := &sqlpb.Rows{Id: o.request, Count: o.rows.Count, Packed: o.rows.Packed}
	err := o.send(&sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Rows{Rows: frame}}, now)
	o.rows.Packed, o.rows.Count = o.rows.Packed[:0], 0
	return err
}

// send sends one frame; it leaves at once only if now is set, else with the next one that does.
func (o *output) send(frame *sqlpb.ServerFrame, now bool) error {
	s := o.session
	s.out.Lock()
	defer s.out.Unlock()
	err := s.stream.Send(frame)
	if err == nil && now {
		err = s.stream.Flush()
	}
	if err != nil {
		o.failed = protocolError("sending rows: %v", err)
	}
	return err
}

// finish ends the result of one statement. The Done of the newest statement is kept back until it is known whether it
// is the last.
func (e *execution) finish(done *sqlpb.Done) *Error {
	if err := e.release(); err != nil {
		return err
	}
	done.Id = e.request.Id
	e.last = &sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Done{Done: done}}
	e.done++
	return nil
}

// release sends the Done kept back, as another statement's result follows.
func (e *execution) release() *Error {
	if e.last == nil {
		return nil
	}
	e.last.GetDone().More = true
	err := e.session.send(e.last)
	e.last = nil
	return err
}

// read runs one read statement here.
func (e *execution) read(ctx context.Context, sql string, args []*commandpb.Argument) *Error {
	if err := e.release(); err != nil {
		return err
	}
	if err := e.fresh(ctx); err != nil {
		return err
	}
	done, err := e.node.engine.Query(ctx, sql, args, &e.out)
	if err != nil {
		switch {
		case e.out.failed != nil:
			return e.out.failed
		case ctx.Err() != nil:
			return ended(ctx)
		}
		return sqlError(err)
	}
	if e.out.flush(false) != nil {
		return e.out.failed
	}
	return e.finish(&sqlpb.Done{Index: uint64(done.Index)})
}

// write proposes script as one entry and sends the results of its statements.
func (e *execution) write(ctx context.Context, term raft.Term, script *commandpb.Script) *Error {
	result, failed := e.node.propose(ctx, term, &commandpb.Command{
		Session: e.id[:], Seq: e.request.Seq + uint64(e.done), Body: &commandpb.Command_Script{Script: script},
	})
	if failed != nil {
		return failed
	}
	if result.Err != nil {
		return entryError(result)
	}
	for _, statement := range result.Statements {
		if err := e.statement(result.Index, statement); err != nil {
			return err
		}
	}
	if len(result.Statements) == 0 {
		return e.finish(&sqlpb.Done{Index: uint64(result.Index), Wrote: true})
	}
	return nil
}

// statement sends the result of one statement of an entry.
func (e *execution) statement(index raft.Index, r engine.StatementResult) *Error {
	if err := e.release(); err != nil {
		return err
	}
	if len(r.Columns) > 0 {
		if err := e.rows(r); err != nil {
			return err
		}
	}
	return e.finish(&sqlpb.Done{
		RowsAffected: r.RowsAffected, LastInsertId: r.LastInsertID, Index: uint64(index), Wrote: true,
	})
}

func (e *execution) rows(r engine.StatementResult) *Error {
	if e.out.Columns(r.Columns) != nil {
		return e.out.failed
	}
	e.out.rows.Packed, e.out.rows.Count = append(e.out.rows.Packed, r.Rows...), uint32(r.RowCount)
	if e.out.flush(false) != nil {
		return e.out.failed
	}
	return nil
}
