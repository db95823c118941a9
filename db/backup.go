package db

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/transport/wire"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// The verbs "backup" and "dump" bring all of the database to a client, as pages or as SQL. The node that is asked makes
// a backup on its own disk and serves it from there at the pace of the client: no read transaction waits for the
// network. Both take the argument "local" for what this node has, or else wait until it has all that was committed when
// they began. Their answers are two results: the stages of making the copy, a row each second, and then the pieces.
//
// A dump holds what role read may select. The pages of a backup also hold, in their unused parts, remains of rows that
// were deleted: it needs role admin.

const (
	// exportTick is how often a client is told of the stage.
	exportTick = time.Second
	// exportPiece is the size of a piece, in bytes.
	exportPiece = 256 << 10
	// exportPatience is how long a client may leave a piece without taking it. Then its session is cut off: the copy
	// takes space on this node's disk, and the next client waits for its turn.
	exportPatience = time.Minute
)

// levelLocal is the argument by which a client takes what this node has.
const levelLocal = "local"

// exports are the copies that this node makes for clients, one at a time: each takes the space of the database.
type exports struct{ turn sync.Mutex }

// export is one on its way.
type export struct {
	*session
	id     uint64 // of the request
	copied *engine.Backup
	out    output
}

// backup is the verb that sends the pages of a plain database.
func (s *session) backup(ctx context.Context, id uint64, args []string) *sqlpb.ServerFrame {
	return s.export(ctx, id, args, "backup", s.node.engine.Backup, func(x *export) error {
		return x.pieces(ctx, io.NewSectionReader(x.copied, 0, x.copied.Bytes))
	})
}

// taker makes a copy of the database.
type taker func(context.Context, func(engine.BackupState)) (*engine.Backup, error)

// export takes a copy and has send send it. It returns the frame that ends the request.
func (s *session) export(
	ctx context.Context, id uint64, args []string, what string, take taker, send func(*export) error,
) *sqlpb.ServerFrame {
	x := &export{session: s, id: id, out: output{session: s, request: id}}
	if failed := x.fresh(ctx, args[:min(len(args), 1)]); failed != nil {
		return failure(id, failed)
	}
	if !s.node.exports.turn.TryLock() {
		return failure(id, busy("this node makes a backup or a dump for another client"))
	}
	defer s.node.exports.turn.Unlock()
	began := time.Now()
	if err := x.prepare(ctx, take); err != nil {
		return failure(id, x.explain(ctx, what, err))
	}
	err := send(x)
	if err == nil {
		err = x.out.flush(false)
	}
	if err := errors.Join(err, x.copied.Close()); err != nil {
		return failure(id, x.explain(ctx, what, err))
	}
	s.node.log.Info("the database was copied for a client", "node", s.node.self.Node, "as", what,
		"client", s.principal.Name, "index", x.copied.Index, "bytes", x.copied.Bytes, "dur", time.Since(began).Round(time.Millisecond))
	return &sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Done{Done: &sqlpb.Done{Id: id, Index: uint64(x.copied.Index)}}}
}

// fresh waits until this node has what the client asks for.
func (x *export) fresh(ctx context.Context, level []string) *Error {
	e := &execution{session: x.session, request: new(sqlpb.Execute), level: sqlpb.Level_LEVEL_LINEARIZABLE}
	if len(level) > 0 && level[0] == levelLocal {
		return nil
	}
	if len(level) > 0 && level[0] != "" {
		return protocolError("the level is %q or nothing, not %.64q", levelLocal, level[0])
	}
	return x.node.hold(ctx, func(raft.ID, raft.Term) *Error { return e.fresh(ctx) })
}

// prepare makes the copy and sends the stages, as a result of its own. The error may be of either.
func (x *export) prepare(ctx context.Context, take taker) error {
	err := x.out.Columns([]engine.Column{{Name: "stage"}, {Name: "index"}, {Name: "bytes"}, {Name: "warning"}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	states, made := make(chan engine.BackupState), make(chan error)
	go func() {
		var err error
		x.copied, err = take(ctx, func(s engine.BackupState) { states <- s })
		made <- err
	}()
	err = x.follow(states, made, cancel)
	if err == nil {
		err = x.ready()
	}
	if err != nil && x.copied != nil {
		err = errors.Join(err, x.copied.Close())
	}
	return err
}

// follow tells the client of the stages until the copy is made. A client that cannot be told ends it.
func (x *export) follow(states <-chan engine.BackupState, made <-chan error, cancel context.CancelCauseFunc) error {
	tick := time.NewTicker(exportTick)
	defer tick.Stop()
	var now engine.BackupState
	var untold error
	for {
		select {
		case now = <-states:
		case <-tick.C:
			if untold == nil && now.Stage != "" {
				if untold = x.tell(now, nil); untold != nil {
					cancel(untold)
				}
			}
		case err := <-made:
			return errors.Join(err, untold)
		}
	}
}

// ready tells of the finished copy, and ends the first result.
func (x *export) ready() error {
	for _, warning := range x.copied.Warnings {
		if err := x.tell(x.copied.BackupState, warning); err != nil {
			return err
		}
	}
	if err := x.tell(x.copied.BackupState, nil); err != nil {
		return err
	}
	return x.out.send(&sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Done{Done: &sqlpb.Done{
		Id: x.id, Index: uint64(x.copied.Index), More: true}}}, false)
}

func (x *export) tell(state engine.BackupState, warning any) error {
	row := wire.AppendRow(nil, []any{string(state.Stage), int64(state.Index), state.Bytes, warning})
	if err := x.out.Row(row); err != nil {
		return err
	}
	return x.out.flush(true)
}

// pieces sends what content reads, as the rows of the second result. It ends with ctx, and cuts the session off when
// its client does not take a piece.
func (x *export) pieces(ctx context.Context, content io.Reader) error {
	if err := x.out.Columns([]engine.Column{{Name: "piece"}}); err != nil {
		return err
	}
	stalled := time.AfterFunc(exportPatience, func() { x.stream.Cancel(stalledCode) })
	defer stalled.Stop()
	piece, packed := make([]byte, exportPiece), []byte(nil)
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := io.ReadFull(content, piece)
		if n > 0 {
			packed = wire.AppendBlob(packed[:0], piece[:n])
			if failed := x.out.Row(packed); failed != nil {
				return failed
			}
			stalled.Reset(exportPatience)
		}
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return nil
		case err != nil:
			return fmt.Errorf("reading the copy: %w", err)
		}
	}
}

// explain is what the client is told of err.
func (x *export) explain(ctx context.Context, what string, err error) *Error {
	switch {
	case x.out.failed != nil:
		return x.out.failed
	case ctx.Err() != nil:
		return ended(ctx)
	case errors.Is(err, engine.ErrClosed):
		return shuttingDown()
	case errors.Is(err, engine.ErrQuarantined):
		return quarantinedError(err)
	}
	x.node.log.Warn("copying the database for a client", "node", x.node.self.Node, "as", what, "err", err)
	return protocolError("%s: %v; another node may be able to", what, err)
}
