package driver

import (
	"errors"
	"fmt"
	"time"

	"github.com/rsqld/rsqld/transport/wire"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// MaxBuffered bounds, in bytes, how much of a result is kept in memory when another request is sent on the same Conn
// before the result was read to its end.
const MaxBuffered = 64 << 20

// fullFrame is the size of packed rows below which a frame is the last one of its result (see Rows in sql.proto).
const fullFrame = 64 << 10

// Column is a column of a result.
type Column struct {
	Name         string
	DeclaredType string // upper case as declared; empty for expressions
}

// Done is what is known at the end of one statement's result.
type Done struct {
	RowsAffected int64
	LastInsertID int64
	Index        uint64 // log index of the write, or the applied index that the read saw
	Wrote        bool   // the statement was a write
}

// Results are the results of a request's statements, in order. NextResult moves to the first and to each further one,
// Next from row to row within it. Rows arrive as they are read: a result may be larger than memory, and one that is not
// read on holds the statement on the node.
type Results struct {
	call *call
	// queue holds frames that were noted and not read yet: the first one, and those that drain kept.
	queue []*sqlpb.ServerFrame
	// more is set until the request's last frame, or its failure, was taken from the stream.
	more bool
	// ending is set when the node has sent the last rows of the present result: its Done is on its way.
	ending bool
	// buffered is set when the rest was moved from the stream to the queue; failure is then how it ended.
	buffered bool
	failure  error

	columns []Column
	rows    *wire.RowDecoder // of the frame at hand, or nil
	row     []any
	current bool // a result is begun and its Done has not come
	done    Done
	dones   uint64 // statements ended
	wrote   bool   // one of them was a write
	err     error
	closed  bool
}

// NextResult moves to the next statement's result, over what is left of the one before. False means that there is none,
// or that Err has the reason.
func (r *Results) NextResult() bool {
	for r.current {
		r.skip()
	}
	r.columns, r.rows, r.row, r.done = nil, nil, nil, Done{}
	frame := r.next()
	if frame == nil {
		return false
	}
	switch f := frame.Frame.(type) {
	case *sqlpb.ServerFrame_Columns:
		for _, column := range f.Columns.Columns {
			r.columns = append(r.columns, Column{Name: column.Name, DeclaredType: column.DeclaredType})
		}
		r.row, r.current = make([]any, len(r.columns)), true
	case *sqlpb.ServerFrame_Done:
		r.end(f.Done)
	default:
		r.confused(frame)
		return false
	}
	return true
}

// Columns are those of the present result; none if the statement returns no rows.
func (r *Results) Columns() []Column { return r.columns }

// Next moves to the next row of the present result. False means that there is none, or that Err has the reason.
func (r *Results) Next() bool {
	for r.current {
		if r.rows != nil {
			if r.rows.Next(r.row) {
				return true
			}
			if err := r.rows.Err(); err != nil {
				r.refuse(err)
				return false
			}
		}
		r.skip()
	}
	return false
}

// Row is the present row: nil, int64, float64, string or []byte for each column. It is valid until the next call.
func (r *Results) Row() []any { return r.row }

// Done is the end of the present result. It is valid once Next has returned false.
func (r *Results) Done() Done { return r.done }

// Err is why the results ended before their end, or nil.
func (r *Results) Err() error { return r.err }

// skip takes the next frame of the present result, which becomes the frame at hand.
func (r *Results) skip() {
	r.rows = nil
	frame := r.next()
	if frame == nil {
		r.current = false
		return
	}
	switch f := frame.Frame.(type) {
	case *sqlpb.ServerFrame_Rows:
		r.rows = wire.NewRowDecoder(f.Rows.Packed, len(r.columns), int(f.Rows.Count))
	case *sqlpb.ServerFrame_Done:
		r.end(f.Done)
	default:
		r.confused(frame)
	}
}

// end takes note of the end of a statement.
func (r *Results) end(done *sqlpb.Done) {
	r.current = false
	r.done = Done{RowsAffected: done.RowsAffected, LastInsertID: done.LastInsertId, Index: done.Index, Wrote: done.Wrote}
}

// next returns the next frame, or nil at the end or after a failure, which is then in err.
func (r *Results) next() *sqlpb.ServerFrame {
	if r.err != nil || r.closed {
		return nil
	}
	if len(r.queue) > 0 {
		frame := r.queue[0]
		r.queue = r.queue[1:]
		return frame
	}
	if r.buffered {
		r.err, r.failure = r.failure, nil
		return nil
	}
	if !r.more {
		return nil
	}
	frame, err := r.call.receive()
	if err == nil {
		if err = r.note(frame); err == nil {
			return frame
		}
	} else {
		err = r.broken(err)
	}
	r.err = err
	return nil
}

// note follows the request to its end as its frames arrive, whether they are read or kept. The error is that of the
// request's last frame.
func (r *Results) note(frame *sqlpb.ServerFrame) error {
	switch f := frame.Frame.(type) {
	case *sqlpb.ServerFrame_Rows:
		r.ending = len(f.Rows.Packed) < fullFrame
	case *sqlpb.ServerFrame_Done:
		r.dones, r.ending = r.dones+1, false
		r.wrote = r.wrote || f.Done.Wrote
		r.call.conn.connector.saw(f.Done.Index)
		r.call.stands(f.Done.Transaction, nil)
		if f.Done.Wrote {
			r.call.conn.proven = time.Now()
		}
		if !f.Done.More {
			r.finish()
			if r.wrote {
				r.call.used(r.dones)
			} else {
				r.call.unused()
			}
		}
	case *sqlpb.ServerFrame_Error:
		r.finish()
		err := wireError(f.Error)
		r.call.stands(f.Error.Transaction, err)
		if cause := r.call.cancel.cause(); cause != nil && (err.Class == ClassCancelled || err.Class == ClassOutcomeUnknown) {
			err.cause = cause
		}
		r.call.used(r.dones + 1)
		return err
	}
	return nil
}

// finish lets the Conn go on to its next request.
func (r *Results) finish() {
	r.more = false
	r.call.cancel.end()
	if r.call.conn.open == r {
		r.call.conn.open = nil
	}
}

// broken is the error of results whose stream broke.
func (r *Results) broken(cause error) error {
	ended := r.call.cancel.cause()
	r.finish()
	r.call.used(r.dones + 1)
	if ended != nil {
		cause = ended
	}
	if r.call.within {
		return r.call.conn.loseTransaction(r.call.node, cause)
	}
	var refused *Error
	if errors.As(cause, &refused) && refused.Class == ClassProtocol {
		return refused
	}
	if ended != nil && r.call.reads {
		return &Error{Class: ClassCancelled, Retry: RetrySame, Offset: -1, cause: ended, Message: fmt.Sprintf("cancelled: %v", ended)}
	}
	return lost(r.call.node, !r.call.reads, cause)
}

// confused ends the session: what the node sends makes no sense here.
func (r *Results) confused(frame *sqlpb.ServerFrame) {
	r.refuse(fmt.Errorf("a %T does not belong here", frame.Frame))
}

func (r *Results) refuse(cause error) {
	r.err = protocolError("the node's answer cannot be read: %v", cause)
	r.current, r.rows = false, nil
	if r.more {
		r.finish()
		r.call.used(r.dones + 1)
		r.call.conn.lose()
	}
}

// Close ends the results. What is left of the only statement's rows is not fetched. Statements of a script that have not
// run yet run nevertheless: only the end of the context stops them.
func (r *Results) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	r.queue, r.failure, r.columns, r.rows, r.row, r.current = nil, nil, nil, nil, nil, false
	if !r.more {
		return nil
	}
	r.giveUp()
	for r.more {
		frame, err := r.call.receive()
		if err != nil {
			r.broken(err) // the loss is the next request's to see; whoever closes does not want these rows
			return nil
		}
		if err := r.note(frame); err != nil && !r.call.single {
			r.err = err
			return err
		}
	}
	return nil
}

// giveUp cancels the request, whose rows nobody wants any more, if its end is not on its way. Statements of a script that have
// not run yet are not given up, and neither is one of a transaction: it has run before its first row came, and its end
// could be that of the transaction.
func (r *Results) giveUp() {
	if r.call.single && !r.ending && (!r.call.within || r.call.conn.tx.readOnly) {
		r.call.cancel.now(r.call)
	}
}

// drain moves what is left of results from the stream into memory, so that the stream is free for another request and
// the results can still be read. Nil results are none.
func (r *Results) drain() {
	if r == nil {
		return
	}
	size := 0
	r.buffered = true
	for r.more {
		frame, err := r.call.receive()
		if err != nil {
			r.failure = r.broken(err)
			return
		}
		if size += len(frame.GetRows().GetPacked()); size > MaxBuffered {
			r.failure = &Error{Class: ClassTooLarge, Retry: RetryNever, Offset: -1, Message: fmt.Sprintf(
				"the rest of this result was dropped: another request was sent before it was read, and it has more than %d bytes; read or close it first, or use another connection", MaxBuffered)}
			r.discard()
			return
		}
		if r.failure = r.note(frame); r.failure == nil {
			r.queue = append(r.queue, frame)
		}
	}
}

// discard reads results to their end and forgets them.
func (r *Results) discard() {
	r.giveUp()
	for r.more {
		frame, err := r.call.receive()
		if err != nil {
			r.broken(err)
			return
		}
		r.note(frame)
	}
}

// abandon ends results whose Conn is closed.
func (r *Results) abandon() {
	if r == nil || !r.more {
		return
	}
	r.finish()
	r.err = fmt.Errorf("reading results: %w", ErrClosed)
	r.current = false
}
