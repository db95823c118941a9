package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

const (
	// rowsFrameBytes is the size that a frame of rows is closed at.
	rowsFrameBytes = 64 << 10
	// maxRowBytes is the largest packed row: a frame holds it and a little more.
	maxRowBytes = wire.MaxClientFrame - 1<<10
	// stallGrace is how long a client may leave a read that has ended without taking its rows. Then its session is cut
	// off: the read holds a snapshot, because of which SQLite's log grows, and one of the readers that all share.
	stallGrace = 2 * time.Second
	// gatheredBytes is how much of an answer certainly waits for a flush without waiting for the client, and columnOverhead how
	// much a column has of it beside its names.
	gatheredBytes  = 16 << 10
	columnOverhead = 16
	// stalledCode is what the stream of such a session is cancelled with.
	stalledCode = 2
)

// output turns the results of statements into frames. It is an engine.Sink.
type output struct {
	session *session
	shift   *shift
	request uint64
	rows    sqlpb.Rows
	failed  *Error // why a frame could not be sent
	// reading is the context of the read that runs, whose end is at latest at deadline.
	reading  context.Context
	deadline time.Time
	// gathered is how many bytes of rows and names may wait in the stream for a flush, and unwatch ends the watch of the read
	// once there are more: nil before.
	gathered int
	unwatch  func()
}

// Lingers implements engine.Lingerer.
func (o *output) Lingers() { o.shift.end() }

// Columns implements engine.Sink.
func (o *output) Columns(columns []engine.Column) error {
	for _, c := range columns {
		o.gathered += len(c.Name) + len(c.DeclaredType) + columnOverhead
	}
	return o.send(columnsFrame(o.request, columns), false)
}

// Row implements engine.Sink: row is packed, and valid until Row returns.
func (o *output) Row(row []byte) error {
	if len(row) > maxRowBytes {
		o.failed = tooLarge("a row of %d bytes does not fit into a frame, which holds %d: select its values in parts, with substr()", len(row), maxRowBytes)
		return o.failed
	}
	if len(o.rows.Packed)+len(row) > maxRowBytes {
		if err := o.flush(true); err != nil {
			return err
		}
	}
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
	o.gathered += len(o.rows.Packed)
	err := o.send(&sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Rows{Rows: frame}}, now)
	o.rows.Packed, o.rows.Count = o.rows.Packed[:0], 0
	return err
}

// send sends one frame; it leaves at once only if now is set, else with the next one that does.
func (o *output) send(frame *sqlpb.ServerFrame, now bool) error {
	if now || o.gathered > gatheredBytes {
		o.watch() // the client may have to take something first
	}
	s := o.session
	s.out.Lock()
	defer s.out.Unlock()
	err := s.stream.Send(frame)
	if err == nil && now {
		err = s.stream.Flush()
	}
	switch {
	case errors.Is(err, wire.ErrFrameTooLarge):
		o.failed = tooLarge("%v", err)
	case err != nil:
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
	done.Id, done.Transaction = e.request.Id, e.state()
	e.last = &sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Done{Done: done}}
	e.done++
	if done.Wrote {
		e.wrote++
	}
	return nil
}

// release sends the Done kept back, as something else follows.
func (e *execution) release() *Error {
	if e.last == nil {
		return nil
	}
	e.last.GetDone().More = true
	err := e.session.send(e.last)
	e.last = nil
	return err
}

// watch sees to it that a read that has ended does not wait for ever for a client that takes no rows.
func (o *output) watch() {
	o.shift.end()
	if o.reading != nil && o.unwatch == nil {
		o.unwatch = o.session.cutOff(o.reading, o.deadline)
	}
}

// begin begins a read that ctx bounds and that holds a snapshot no longer than within. The caller calls ended when it has
// ended.
func (o *output) begin(ctx context.Context, within time.Duration) (ended func()) {
	o.reading, o.deadline = ctx, time.Now().Add(within)
	return func() {
		if o.unwatch != nil {
			o.unwatch()
		}
		o.reading, o.unwatch = nil, nil
	}
}

// read runs one read statement here.
func (e *execution) read(ctx context.Context, sql string, args []*commandpb.Argument) *Error {
	if err := e.release(); err != nil {
		return err
	}
	if err := e.fresh(ctx); err != nil {
		return err
	}
	defer e.out.begin(ctx, e.node.config.ReaderTimeout)()
	return e.queried(ctx, func() (engine.QueryDone, error) { return e.node.engine.Query(ctx, sql, args, &e.out) })
}

// readOn runs one read statement on the snapshot of a read-only transaction.
func (e *execution) readOn(ctx context.Context, pin *engine.Pin, sql string, args []*commandpb.Argument) *Error {
	if err := e.release(); err != nil {
		return err
	}
	defer e.out.begin(ctx, e.node.config.ReaderTimeout)()
	return e.queried(ctx, func() (engine.QueryDone, error) { return pin.Query(ctx, sql, args, &e.out) })
}

// queried finishes what a read came to.
func (e *execution) queried(ctx context.Context, query func() (engine.QueryDone, error)) *Error {
	done, err := query()
	if err != nil {
		switch {
		case e.out.failed != nil:
			return e.out.failed
		case errors.Is(err, engine.ErrTransactionOver), errors.Is(err, engine.ErrPinTimeout):
			return overError(err)
		case errors.Is(err, engine.ErrReadersBusy) && (errors.Is(err, engine.ErrReaderTimeout) || errors.Is(err, context.DeadlineExceeded)):
			return busy(fmt.Sprintf("each of the %d reads that this node has open at once is taken (sql.max_readers)", e.node.config.MaxReaders))
		case ctx.Err() != nil && !errors.Is(err, engine.ErrReaderTimeout):
			return ended(ctx)
		}
		return sqlError(err)
	}
	if e.out.flush(false) != nil {
		return e.out.failed
	}
	return e.finish(&sqlpb.Done{Index: uint64(done.Index)})
}

// cutOff ends the session if a read does not end within stallGrace after ctx or the deadline: only a client that takes no
// rows can hold it up so. The caller calls ended when the read has ended.
func (s *session) cutOff(ctx context.Context, deadline time.Time) (ended func()) {
	over := make(chan struct{})
	ctx, cancel := context.WithDeadline(ctx, deadline)
	unhook := context.AfterFunc(ctx, func() {
		grace := time.NewTimer(stallGrace)
		defer grace.Stop()
		select {
		case <-grace.C:
			s.stream.Cancel(stalledCode)
		case <-over:
		}
	})
	return func() {
		close(over)
		unhook()
		cancel()
	}
}

// write proposes script as one entry and sends the results of its statements.
func (e *execution) write(ctx context.Context, term raft.Term, script *commandpb.Script) *Error {
	result, failed := e.node.propose(ctx, term, &commandpb.Command{
		Session: e.id[:], Seq: e.seq(), Body: &commandpb.Command_Script{Script: script},
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

// seq is the number of the next write: a request of k writes uses as many, from the one that its client gave.
func (e *execution) seq() uint64 {
	if e.request.Seq == 0 {
		return 0
	}
	return e.request.Seq + uint64(e.wrote)
}

// statement sends the result of one statement of an entry.
func (e *execution) statement(index raft.Index, r engine.StatementResult) *Error {
	if err := e.release(); err != nil {
		return err
	}
	if r.RowsDropped {
		failed := tooLarge("applied at index %d, rows not kept (over %d MiB): select them", index, engine.MaxResultBytes>>20)
		failed.applied = true
		return failed
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

// rows sends the rows of a statement of an entry, which are at most engine.MaxResultBytes.
func (e *execution) rows(r engine.StatementResult) *Error {
	if e.out.Columns(r.Columns) != nil {
		return e.out.failed
	}
	if len(r.Rows) <= rowsFrameBytes {
		e.out.rows.Packed, e.out.rows.Count = append(e.out.rows.Packed, r.Rows...), uint32(r.RowCount)
	} else if err := e.split(r); err != nil {
		return err
	}
	if e.out.flush(false) != nil {
		return e.out.failed
	}
	return nil
}

// split sends rows in frames of the usual size.
func (e *execution) split(r engine.StatementResult) *Error {
	decoder := wire.NewRowDecoder(r.Rows, len(r.Columns), r.RowCount)
	row := make([]any, len(r.Columns))
	var packed []byte
	for decoder.Next(row) {
		packed = wire.AppendRow(packed[:0], row)
		if e.out.Row(packed) != nil {
			return e.out.failed
		}
	}
	if err := decoder.Err(); err != nil {
		return protocolError("reading the rows that the write returned: %v", err)
	}
	return nil
}
