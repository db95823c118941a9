package driver

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

const (
	// DefaultBusyTimeout is the default of Config.BusyTimeout.
	DefaultBusyTimeout = 10 * time.Second
	// DefaultCommitTimeout is the default of Config.CommitTimeout.
	DefaultCommitTimeout = 10 * time.Second
	// RollbackTimeout bounds a rollback. A node that does not answer in this time is left: it undoes by itself what a
	// session leaves behind.
	RollbackTimeout = 2 * time.Second
	// RunTxPatience is for how long RunTx runs a transaction again.
	RunTxPatience = 30 * time.Second
)

// TxState says how the transaction of a Conn stands.
type TxState int

const (
	// TxNone: no transaction is open.
	TxNone TxState = iota
	// TxOpen: what is executed is part of a transaction.
	TxOpen
	// TxFailed: the transaction was undone; Rollback, or Commit, which fails, ends it.
	TxFailed
)

// transaction is the transaction of a Conn.
type transaction struct {
	state TxState
	// readOnly says that it reads a snapshot: nothing hangs on its end.
	readOnly bool
	// why is why it was undone, if it was and this end knows.
	why *Error
}

// Transaction says how the Conn's transaction stands, as far as its node has told.
func (c *Conn) Transaction() TxState {
	if c.tx.state == TxOpen && (c.stream == nil || c.stream.Context().Err() != nil) {
		return TxFailed
	}
	return c.tx.state
}

// stands takes what the node's answer to r says of the transaction. Answers to Control say nothing of it.
func (r *call) stands(now sqlpb.Transaction, why *Error) {
	if !r.transacts {
		return
	}
	c := r.conn
	switch now {
	case sqlpb.Transaction_TRANSACTION_NONE:
		c.tx = transaction{}
	case sqlpb.Transaction_TRANSACTION_OPEN:
		c.tx = transaction{state: TxOpen, readOnly: c.tx.readOnly}
	case sqlpb.Transaction_TRANSACTION_FAILED:
		c.tx = transaction{state: TxFailed, readOnly: c.tx.readOnly, why: why}
	}
}

// lostTransaction is the error of everything in a transaction whose node was lost.
func lostTransaction(node string, cause error) *Error {
	return &Error{Class: ClassNoQuorum, Retry: RetryTransaction, Offset: -1, cause: cause,
		Message: fmt.Sprintf("lost %s with a transaction, of which nothing was done: run it again from its beginning", node)}
}

// loseTransaction takes note that the transaction was lost with its stream.
func (c *Conn) loseTransaction(node string, cause error) *Error {
	why := lostTransaction(node, cause)
	c.tx = transaction{state: TxFailed, readOnly: c.tx.readOnly, why: why}
	return why
}

// inTransaction reports whether requests are part of a transaction. The error is that of one that was lost with its node: the
// Conn does not go on without it until it was ended.
func (c *Conn) inTransaction() (bool, error) {
	if c.tx.state == TxNone {
		return false, nil
	}
	if c.stream == nil || c.stream.Context().Err() != nil {
		if c.tx.why == nil {
			c.tx.why = lostTransaction(c.name(), errors.New("the stream broke"))
		}
		c.tx.state = TxFailed
		return true, c.tx.why
	}
	return true, nil
}

// TxOptions say what kind of transaction BeginTransaction begins.
type TxOptions struct {
	// ReadOnly reads one snapshot of the Conn's node, as fresh as Level asks when it begins, and waits for nobody.
	ReadOnly bool
	// Level is that of the snapshot; empty: the session's.
	Level Level
}

// BeginTransaction begins a transaction: what is executed until Commit or Rollback happens as a whole or not at all. It
// waits for other transactions up to Config.BusyTimeout or the end of ctx; the error is then
// [ErrBusy] and names who has the turn. Inside of it requests have no write numbers, are never sent again, and fail with
// RetryTransaction when their node is lost.
func (c *Conn) BeginTransaction(ctx context.Context, o TxOptions) error {
	if err := checkLevel(o.Level); err != nil {
		return protocolError("%v", err)
	}
	begin := &sqlpb.Begin{ReadOnly: o.ReadOnly, Level: levels[cmp.Or(o.Level, c.level)], MaxStalenessMs: milliseconds(c.connector.config.MaxStaleness)}
	// A Begin whose answer is lost has left nothing: the node undoes what its session leaves behind.
	call := &call{conn: c, single: true, reads: true, transacts: true, within: c.tx.state != TxNone}
	call.frame = func(ctx context.Context, id uint64) *sqlpb.ClientFrame {
		begin.Id, begin.TimeoutMs, begin.MinIndex = id, c.busyMs(ctx), c.connector.Index()
		return &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Begin{Begin: begin}}
	}
	if err := call.finish(ctx); err != nil {
		return err
	}
	c.tx.readOnly = o.ReadOnly
	return nil
}

// busyMs is how long the node may let a transaction wait for its turn, as it is sent.
func (c *Conn) busyMs(ctx context.Context) uint32 {
	patience := c.connector.config.BusyTimeout
	if deadline, has := ctx.Deadline(); has {
		patience = min(patience, max(time.Until(deadline), time.Millisecond))
	}
	return milliseconds(patience)
}

// Commit makes the transaction happen. Whatever it returns, the transaction has ended. If the answer is lost, it is asked
// for again, at other nodes too, until ctx ends, which without a deadline is after Config.CommitTimeout; only then the error is
// [ErrOutcomeUnknown]. After any other error nothing of the transaction was done, and one of RetryTransaction says that it
// may be run again.
func (c *Conn) Commit(ctx context.Context) error {
	if c.tx.state == TxNone {
		return noTransaction("commit")
	}
	if _, err := c.inTransaction(); err != nil {
		c.tx = transaction{}
		return err
	}
	deadline, has := ctx.Deadline()
	if !has {
		deadline = time.Now().Add(c.connector.config.CommitTimeout)
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	c.open.drain()
	commit, begun := new(sqlpb.Commit), c.tx
	call := &call{conn: c, single: true, transacts: true, patience: time.Until(deadline)}
	if call.within = begun.readOnly; !begun.readOnly {
		// From here on the session may go to other nodes, with its id: the number says what became of the commit.
		c.tx, c.uncertain, call.numbered = transaction{}, true, true
	}
	call.frame = func(ctx context.Context, id uint64) *sqlpb.ClientFrame {
		commit.Id, commit.Seq, commit.TimeoutMs = id, call.seq, c.timeoutMs(ctx)
		return &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Commit{Commit: commit}}
	}
	err := call.finish(ctx)
	c.tx = transaction{}
	c.seq = max(c.seq, call.seq) // a number is used by a commit whatever it came to
	if err == nil {
		if !begun.readOnly {
			c.proven = time.Now()
		}
		return nil
	}
	if call.id == 0 { // not sent: the node still has the transaction
		c.lose()
	}
	return c.uncommitted(err)
}

// uncommitted is the error of a commit. There is no transaction any more that a commit could be tried of again: where that
// is what a node proposes, or where no node was reached, it is the whole transaction.
func (c *Conn) uncommitted(err error) error {
	var failed *Error
	switch {
	case errors.As(err, &failed):
		if failed.Retry == RetrySame && failed.Class != ClassOutcomeUnknown {
			failed.Retry = RetryTransaction
		}
	case errors.Is(err, ErrUnreachable):
		return lostTransaction(c.name(), err)
	}
	return err
}

// Rollback undoes the transaction. One that was lost is undone.
func (c *Conn) Rollback(ctx context.Context) error {
	if c.tx.state == TxNone {
		return noTransaction("rollback")
	}
	_, lost := c.inTransaction()
	c.tx = transaction{}
	if lost != nil {
		return nil
	}
	c.open.drain()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), RollbackTimeout)
	defer cancel()
	rollback := new(sqlpb.Rollback)
	call := &call{conn: c, single: true, reads: true, transacts: true, within: true}
	call.frame = func(ctx context.Context, id uint64) *sqlpb.ClientFrame {
		rollback.Id, rollback.TimeoutMs = id, c.timeoutMs(ctx)
		return &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Rollback{Rollback: rollback}}
	}
	if call.finish(ctx) != nil {
		c.lose() // the node undoes what its session leaves behind
	}
	c.tx = transaction{}
	return nil
}

// noTransaction is what SQLite says.
func noTransaction(verb string) *Error {
	return &Error{Class: ClassSQL, Code: 1, ExtendedCode: 1, Retry: RetryNever, Offset: -1,
		Message: "cannot " + verb + " - no transaction is active"}
}

// finish runs a request that has no rows.
func (r *call) finish(ctx context.Context) error {
	results, err := r.run(ctx)
	if err != nil {
		return err
	}
	return results.Close()
}

// control runs a request that begins or ends a transaction by its text alone, and returns its empty results; nil if the
// request is another one.
func (c *Conn) control(ctx context.Context, r Request) (*Results, error) {
	if len(r.Args) > 0 {
		return nil, nil
	}
	var err error
	switch parseControl(r.SQL) {
	case controlBegin:
		err = c.BeginTransaction(ctx, TxOptions{ReadOnly: r.ReadOnly, Level: r.Level})
	case controlCommit:
		err = c.Commit(ctx)
	case controlRollback:
		err = c.Rollback(ctx)
	default:
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	done := &sqlpb.ServerFrame{Frame: &sqlpb.ServerFrame_Done{Done: &sqlpb.Done{Index: c.connector.Index()}}}
	return &Results{call: &call{conn: c, single: true}, queue: []*sqlpb.ServerFrame{done}}, nil
}

// tx is a [driver.Tx].
type tx struct{ conn *Conn }

// Commit implements [driver.Tx]. It is bounded by Config.CommitTimeout.
func (t tx) Commit() error { return t.conn.Commit(context.Background()) }

// Rollback implements [driver.Tx].
func (t tx) Rollback() error { return t.conn.Rollback(context.Background()) }

// BeginTx implements [driver.ConnBeginTx]. Transactions are strictly serializable, which every isolation level of
// database/sql permits.
func (c *Conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if c.closed {
		return nil, driver.ErrBadConn
	}
	if c.tx.state != TxNone {
		// BEGIN was executed as text on this connection, which database/sql knows nothing of.
		return nil, protocolError("cannot start a transaction within a transaction: this connection has one from BEGIN")
	}
	if err := c.BeginTransaction(ctx, TxOptions{ReadOnly: opts.ReadOnly, Level: levelOf(ctx)}); err != nil {
		return nil, err
	}
	return tx{c}, nil
}

// Begin implements [driver.Conn].
func (c *Conn) Begin() (driver.Tx, error) { return c.BeginTx(context.Background(), driver.TxOptions{}) }

// RunTx runs f in a transaction and commits it, and does so again as long as the error says that nothing of it was done and
// that running it again may work (RetryTransaction): f is called again then, and must not keep anything of the calls
// before. It gives up after RunTxPatience or when ctx ends. After any other error of f or of the commit the transaction
// is rolled back and the error returned; one whose outcome is unknown is never run again.
func RunTx(ctx context.Context, db *sql.DB, opts *sql.TxOptions, f func(*sql.Tx) error) error {
	pause := 5 * time.Millisecond
	for begun := time.Now(); ; pause = min(2*pause, time.Second) {
		err := runOnce(ctx, db, opts, f)
		if err == nil || !runAgain(err) || time.Since(begun) > RunTxPatience {
			return err
		}
		if sleep(ctx, pause/2+rand.N(pause)) != nil {
			return fmt.Errorf("%w; not run again: %w", err, context.Cause(ctx))
		}
	}
}

func runOnce(ctx context.Context, db *sql.DB, opts *sql.TxOptions, f func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, opts)
	if err != nil {
		return err
	}
	// After a commit it does nothing, and it tells nothing that the error of f does not.
	defer func() { _ = tx.Rollback() }()
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// runAgain reports whether an error lets a transaction be run again: nothing of it was done.
func runAgain(err error) bool {
	var failed *Error
	if !errors.As(err, &failed) {
		return false
	}
	switch failed.Class {
	case ClassBusy, ClassNoQuorum, ClassShuttingDown, ClassStale:
		return failed.Retry == RetryTransaction || failed.Retry == RetrySame
	}
	return failed.Retry == RetryTransaction
}

// levelKey is the key of a level in a context.
type levelKey struct{}

// WithLevel returns a context whose queries through database/sql are read at a level, and whose read-only transactions begin
// at it.
func WithLevel(ctx context.Context, level Level) context.Context {
	return context.WithValue(ctx, levelKey{}, level)
}

// levelOf is the level that a context asks for, empty if it asks for none.
func levelOf(ctx context.Context) Level {
	level, _ := ctx.Value(levelKey{}).(Level)
	return level
}
