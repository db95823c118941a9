package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
)

// ErrPinTimeout ends a pinned snapshot that was kept for longer than Config.ReaderTimeout (sql.reader_timeout): an old
// read keeps the write-ahead log of SQLite from being reused.
var ErrPinTimeout = errors.New("the read-only transaction was open for longer than sql.reader_timeout allows: end it sooner")

// Pin is a snapshot of the database on which several reads run, one after the other: a read-only transaction. It holds
// one of the readers. It is for one goroutine at a time.
type Pin struct {
	engine *Engine
	index  raft.Index
	// ctx ends when the snapshot's time is over.
	ctx    context.Context
	cancel context.CancelFunc

	mu sync.Mutex // held while a read runs; guards reader
	// reader is nil when the snapshot was given up.
	reader *reader
	// closing is the error of giving it up.
	closing error
}

// Pin takes a snapshot of the database. The caller closes it; it gives itself up after Config.ReaderTimeout. ctx bounds the
// wait for a reader alone.
func (e *Engine) Pin(ctx context.Context) (*Pin, error) {
	if err := e.Quarantined(); err != nil {
		return nil, err
	}
	reader, err := e.readers.acquire(ctx, func() {})
	if err != nil {
		return nil, err
	}
	p := &Pin{engine: e, index: e.Applied(), reader: reader}
	conn := reader.users.conn
	if err = execInternal(conn, "BEGIN"); err == nil {
		// A snapshot is taken by the first statement that reads.
		err = queryInternal(conn, "SELECT 1 FROM sqlite_schema LIMIT 1", func(*sqlite.Stmt) error { return nil })
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("taking a snapshot: %w", err), p.giveUp())
	}
	p.ctx, p.cancel = context.WithTimeoutCause(e.ctx, e.config.ReaderTimeout, ErrPinTimeout)
	context.AfterFunc(p.ctx, func() {
		p.mu.Lock() // a read that runs ends with ctx
		defer p.mu.Unlock()
		p.closing = p.giveUp()
	})
	return p, nil
}

// Index is that of an entry that the snapshot holds, and all before it; it may hold more.
func (p *Pin) Index() raft.Index { return p.index }

// Query runs one read statement on the snapshot, see Engine.Query.
func (p *Pin) Query(ctx context.Context, text string, args []*commandpb.Argument, sink Sink) (QueryDone, error) {
	if ctx.Err() != nil {
		return QueryDone{}, fmt.Errorf("the read was interrupted: %w", context.Cause(ctx))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(p.ctx, func() { cancel(context.Cause(p.ctx)) })
	defer stop()
	q := newQuery(p.engine, ctx, sink)
	return q.finish(p.run(q, text, args))
}

// run runs a read while it holds the reader.
func (p *Pin) run(q *query, text string, args []*commandpb.Argument) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reader == nil {
		return fmt.Errorf("%w: %w", ErrTransactionOver, context.Cause(p.ctx))
	}
	err := q.on(p.reader, text, args)
	p.reader.users.conn.ClearInterrupt()
	q.done.Index = p.index
	return err
}

// Close gives the snapshot up. A second Close does nothing.
func (p *Pin) Close() error {
	p.cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(p.closing, p.giveUp())
}

// giveUp gives the reader back. It needs p.mu.
func (p *Pin) giveUp() error {
	reader := p.reader
	if reader == nil {
		return nil
	}
	p.reader = nil
	conn := reader.users.conn
	conn.ClearInterrupt()
	if !conn.Autocommit() && execInternal(conn, "ROLLBACK") != nil { // the engine is closed meanwhile
		reader.age = -1 // the connection is closed, and the snapshot with it
	}
	return p.engine.readers.release(reader)
}
