package driver

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/rsqld/rsqld/transport/wire"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// Request is SQL text, of one statement or several, with the arguments of all of them.
type Request struct {
	SQL string
	// Args are positional, or [sql.NamedArg]: nil, integers, floats, bool, string, []byte, [time.Time].
	Args []any
	// Level of reads; empty: the session's.
	Level Level
	// Atomic executes all statements or none, as one write.
	Atomic bool
	// ReadOnly refuses anything that writes.
	ReadOnly bool
}

// Execute sends a request and waits for the first answer. An error says that none of its results will come.
//
// The end of ctx, also while the Results are read, cancels the request on the node; the session lives on. A request of
// which nothing was executed is sent again: to another node if this one cannot be reached, to the same one for
// [NoQuorumPatience] if it has no quorum. One that was sent and not answered is sent again only if it cannot write;
// otherwise the error is [ErrOutcomeUnknown].
func (c *Conn) Execute(ctx context.Context, r Request) (*Results, error) {
	args, err := arguments(r.Args)
	if err != nil {
		return nil, err
	}
	if err := checkLevel(r.Level); err != nil {
		return nil, protocolError("%v", err)
	}
	if results, err := c.control(ctx, r); results != nil || err != nil {
		return results, err
	}
	within, err := c.inTransaction()
	if err != nil {
		return nil, err
	}
	level := cmp.Or(r.Level, c.level)
	call := &call{conn: c, single: isSingle(r.SQL), reads: r.ReadOnly || isSelect(r.SQL), atomic: r.Atomic, transacts: true, within: within}
	call.numbered = !call.reads && !within
	execute := &sqlpb.Execute{
		Statements: []*sqlpb.Statement{{Sql: r.SQL, Args: args}}, Atomic: r.Atomic, Level: levels[level], ReadOnly: r.ReadOnly,
		MaxStalenessMs: milliseconds(c.connector.config.MaxStaleness), InTransaction: within,
	}
	if level == "" {
		level = c.connector.config.Level
	}
	call.frame = func(ctx context.Context, id uint64) *sqlpb.ClientFrame {
		execute.Id, execute.TimeoutMs, execute.Seq = id, c.timeoutMs(ctx), call.seq
		if level == LevelSession {
			execute.MinIndex = c.connector.Index()
		}
		return &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Execute{Execute: execute}}
	}
	return call.run(ctx)
}

// safeVerbs are the control verbs that change nothing.
var safeVerbs = map[string]bool{"nodes": true, "status": true, "leader": true, "health": true, "sessions": true, "prepare": true, "backup": true, "dump": true,
	"upload": true} // a piece that comes twice is taken once

// longVerbs take the time that the size of the database asks for: only the caller's context bounds them, and not Config.Timeout.
var longVerbs = map[string]bool{"backup": true, "dump": true, "restore": true}

// Control asks the node about the cluster, or to change it. The answer is rows, as of a statement.
func (c *Conn) Control(ctx context.Context, verb string, args ...string) (*Results, error) {
	call := &call{conn: c, single: true, reads: safeVerbs[verb]}
	call.frame = func(ctx context.Context, id uint64) *sqlpb.ClientFrame {
		control := &sqlpb.Control{Id: id, Verb: verb, Args: args}
		if _, has := ctx.Deadline(); has || !longVerbs[verb] {
			control.TimeoutMs = c.timeoutMs(ctx)
		}
		return &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Control{Control: control}}
	}
	return call.run(ctx)
}

// call is a request on its way.
type call struct {
	conn *Conn
	// reads says that the request certainly changes nothing, so that it may be sent twice.
	reads bool
	// single says that the text holds one statement; atomic, that all of them are one write.
	single, atomic bool
	// within says that the request is part of a transaction, which is lost with its stream.
	within bool
	// transacts says that the answer tells how the Conn's transaction stands.
	transacts bool
	// patience is for how long a write that was sent and not answered is sent again; zero: RepeatPatience.
	patience time.Duration
	// numbered says that the request gets a write number. It stays the same when the request is sent again.
	numbered bool
	seq      uint64 // the number, zero before it was given out
	// unknown is why it is not known whether the request was executed, nil as long as it is known.
	unknown *Error
	// moves counts the nodes that were left for another.
	moves int
	// cut says that the newest attempt ended with its stream.
	cut bool
	// frame makes the frame to send, with the time that is left.
	frame func(ctx context.Context, id uint64) *sqlpb.ClientFrame

	id     uint64 // of the attempt under way
	node   string // name or address, for errors
	cancel canceller
}

// run sends the request, again and again while that is safe and of use.
func (r *call) run(ctx context.Context) (*Results, error) {
	if err := ctx.Err(); err != nil {
		return nil, ended(ctx)
	}
	defer func() { r.conn.uncertain = false }()
	for begun := time.Now(); ; {
		frame, err := r.attempt(ctx)
		if err == nil {
			return r.results(frame)
		}
		var refused *Error
		if errors.As(err, &refused) && refused.Class == ClassOutcomeUnknown && r.repeatable() && (r.cut || refused.Retry == RetrySame) {
			refused.Retry = RetryNever // for a caller, who has no number
			r.unknown, r.conn.uncertain = refused, true
		}
		if ctx.Err() != nil || !r.again(refused, begun) || r.rest(ctx, refused) != nil {
			return nil, r.verdict(ctx, err, refused)
		}
	}
}

// repeatable reports whether the request may be sent again although it may have been executed: the cluster executes what
// has the same number once, if it is one write.
func (r *call) repeatable() bool { return r.numbered && (r.atomic || r.single) }

// again reports whether the request is to be sent again after an attempt that ended so; refused is nil if no node had
// anything to say.
func (r *call) again(refused *Error, begun time.Time) bool {
	switch {
	case r.within:
		return false
	case r.unknown != nil:
		return !tells(refused) && time.Since(begun)+NoQuorumPause < cmp.Or(r.patience, RepeatPatience)
	case refused == nil || refused.Retry != RetrySame:
		return false
	case refused.Class == ClassNoQuorum:
		return time.Since(begun)+NoQuorumPause < NoQuorumPatience
	case refused.Class == ClassShuttingDown && r.moves < maxMoves:
		r.moves++
		return true
	}
	return false
}

// tells reports whether a refusal says what became of a write: it was executed and failed, or is one that never is.
func tells(refused *Error) bool {
	if refused == nil {
		return false
	}
	switch refused.Class {
	case ClassSQL, ClassTooLarge, ClassDenied, ClassProtocol:
		return true
	}
	return refused.Retry == RetryTransaction
}

// rest waits before the next attempt. It goes to another node if this one stops, or if the outcome of a write is unknown:
// this one may be cut off with the leader that it was written by.
func (r *call) rest(ctx context.Context, refused *Error) error {
	stops := refused != nil && refused.Class == ClassShuttingDown
	if stops || r.unknown != nil {
		r.conn.lose()
	}
	if stops && r.unknown == nil {
		return nil
	}
	return sleep(ctx, NoQuorumPause)
}

// verdict is the error of a request that will not be sent again.
func (r *call) verdict(ctx context.Context, err error, refused *Error) error {
	switch {
	case r.unknown == nil:
		return r.settled(err)
	case tells(refused):
		return err
	case ctx.Err() != nil:
		r.unknown.cause = context.Cause(ctx)
	}
	return r.unknown
}

// maxMoves bounds how often one request looks for another node.
const maxMoves = 3

// sleep waits for d, or fails when ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// attempt sends the request once and returns the first frame of its answer. An error of a read that was sent is
// RetrySame; of anything else that was sent and not answered, it is ClassOutcomeUnknown.
func (r *call) attempt(ctx context.Context) (*sqlpb.ServerFrame, error) {
	c := r.conn
	r.cut = false
	if err := c.ready(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, ended(ctx)
		}
		return nil, err
	}
	c.request++
	r.id, r.node = c.request, c.name()
	if r.seq == 0 && r.numbered {
		// Given out here and not before: a new session begins at 1.
		c.seq++
		r.seq = c.seq
	}
	r.cancel.start(ctx, c, r.id)
	err := c.send(c.stream, r.frame(ctx, r.id))
	if errors.Is(err, wire.ErrFrameTooLarge) {
		r.cancel.end() // and not a byte was sent
		r.unused()
		return nil, &Error{Class: ClassTooLarge, Retry: RetryNever, Offset: -1, cause: err,
			Message: fmt.Sprintf("the request is too large: %v; send it in parts", err)}
	}
	if err != nil {
		// Some of the frame may have left, and so may all of it.
		c.lose()
		return nil, r.broken(ctx, err)
	}
	frame, err := r.receive()
	if err == nil && frame.GetError() != nil {
		refused := wireError(frame.GetError())
		if frame.GetError().Id != 0 {
			r.stands(frame.GetError().Transaction, refused)
		}
		err = refused
		r.cancel.end()
	}
	if err != nil {
		return nil, r.failed(ctx, err)
	}
	return frame, nil
}

func (c *Conn) name() string {
	if name := c.NodeName(); name != "" {
		return name
	}
	return c.address
}

// receive returns the next frame of this request's answer.
func (r *call) receive() (*sqlpb.ServerFrame, error) {
	for {
		frame, err := r.conn.receive()
		if err != nil {
			return nil, err
		}
		switch id := frameID(frame); {
		case id == r.id:
			return frame, nil
		case id > r.id:
			r.conn.lose()
			return nil, protocolError("the node answers request %d, and %d is the last one", id, r.id)
		}
		// An answer to a ping that was given up.
	}
}

func frameID(frame *sqlpb.ServerFrame) uint64 {
	switch f := frame.Frame.(type) {
	case *sqlpb.ServerFrame_Columns:
		return f.Columns.Id
	case *sqlpb.ServerFrame_Rows:
		return f.Rows.Id
	case *sqlpb.ServerFrame_Done:
		return f.Done.Id
	case *sqlpb.ServerFrame_Error:
		return f.Error.Id
	case *sqlpb.ServerFrame_Pong:
		return f.Pong.Id
	}
	return 0
}

// failed completes an error of the stream or of the node.
func (r *call) failed(ctx context.Context, err error) error {
	var refused *Error
	if !errors.As(err, &refused) {
		return r.broken(ctx, err)
	}
	if refused.Class == ClassCancelled || refused.Class == ClassOutcomeUnknown {
		refused.cause = causeOf(ctx)
	}
	if r.conn.stream != nil || refused.Retry == RetrySame || r.reads && refused.Class == ClassProtocol {
		return refused
	}
	return r.broken(ctx, refused) // the whole session failed, with a request on it
}

// broken is the error of a request whose stream broke.
func (r *call) broken(ctx context.Context, cause error) error {
	r.cancel.end()
	r.cut = true
	switch {
	case r.within:
		return r.conn.loseTransaction(r.node, cause)
	case ctx.Err() == nil:
		return lost(r.node, !r.reads, cause)
	case r.reads:
		return ended(ctx)
	default:
		return lost(r.node, true, context.Cause(ctx))
	}
}

// settled takes note that the request will not be sent again.
func (r *call) settled(err error) error {
	var failed *Error
	if !errors.As(err, &failed) || failed.Retry == RetrySame && failed.Class != ClassOutcomeUnknown {
		r.unused()
	}
	return err
}

// unused gives the write number back: nothing was written under it.
func (r *call) unused() {
	if r.seq != 0 && r.conn.seq == r.seq {
		r.conn.seq--
	}
}

// used moves the Conn's write number behind those of so many statements, which count from the request's own. A number
// that may have been used is never used again.
func (r *call) used(statements uint64) {
	if r.atomic {
		statements = 1
	}
	if r.seq != 0 {
		r.conn.seq = max(r.conn.seq, r.seq+statements-1)
	}
}

// results begins the results with their first frame.
func (r *call) results(first *sqlpb.ServerFrame) (*Results, error) {
	results := &Results{call: r, queue: []*sqlpb.ServerFrame{first}, more: true}
	r.conn.open = results
	return results, results.note(first)
}

// canceller sends Cancel when a request's context ends, and cuts the stream off when that does not help.
type canceller struct {
	unhook func() bool

	mu    sync.Mutex // guards what follows
	ctx   context.Context
	ended bool
	grace *time.Timer
}

// start watches ctx for an attempt. The canceller of the attempt before has ended.
func (k *canceller) start(ctx context.Context, c *Conn, id uint64) {
	k.end()
	k.mu.Lock()
	k.ctx, k.ended = ctx, false
	k.mu.Unlock()
	s := c.stream
	k.unhook = context.AfterFunc(ctx, func() { k.cancel(c, s, id) })
}

func (k *canceller) cancel(c *Conn, s Stream, id uint64) {
	k.mu.Lock()
	if k.ended || k.grace != nil {
		k.mu.Unlock()
		return
	}
	k.grace = time.AfterFunc(CancelGrace, func() { s.Close() })
	k.mu.Unlock()
	// A Cancel that comes too late is ignored by the node: it names its request.
	if err := c.send(s, &sqlpb.ClientFrame{Frame: &sqlpb.ClientFrame_Cancel{Cancel: &sqlpb.Cancel{Id: id}}}); err != nil {
		s.Close()
	}
}

// end stops watching: the request has been answered to its end, or its stream is lost.
func (k *canceller) end() {
	if k.unhook != nil {
		k.unhook()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
	if k.grace != nil {
		k.grace.Stop()
		k.grace = nil
	}
}

// cause is why the context that is watched ended; nil if it has not.
func (k *canceller) cause() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ctx == nil {
		return nil
	}
	return causeOf(k.ctx)
}

// causeOf is why ctx has ended; nil if it has not. A deadline that has passed counts before ctx has heard of it: the node may have.
func causeOf(ctx context.Context) error {
	if deadline, has := ctx.Deadline(); ctx.Err() == nil && has && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return context.Cause(ctx)
}

// now cancels the request without an end of its context.
func (k *canceller) now(r *call) {
	if s := r.conn.stream; s != nil {
		k.cancel(r.conn, s, r.id)
	}
}

// arguments converts the arguments of a request.
func arguments(args []any) ([]*sqlpb.Argument, error) {
	list := make([]*sqlpb.Argument, len(args))
	for i, arg := range args {
		argument := new(sqlpb.Argument)
		if named, ok := arg.(sql.NamedArg); ok {
			if named.Name = strings.TrimLeft(named.Name, ":@$"); named.Name == "" {
				return nil, protocolError("argument %d has an empty name", i+1)
			}
			argument.Name, arg = named.Name, named.Value
		}
		value, err := wire.ToValue(arg)
		if err != nil {
			return nil, fmt.Errorf("argument %d: %w", i+1, err)
		}
		argument.Value = value
		list[i] = argument
	}
	return list, nil
}

// isSingle reports whether text surely holds one statement at most. A semicolon counts wherever it stands, in a string
// too, unless only blanks follow: a wrong no is harmless.
func isSingle(text string) bool {
	first := strings.IndexByte(text, ';')
	return first < 0 || strings.TrimLeft(text[first:], "; \t\r\n\f") == ""
}

// isSelect reports whether text is surely one statement that only reads, by its first word. WITH may begin a write, and
// PRAGMA may be one; a wrong no is harmless.
func isSelect(text string) bool {
	text = strings.TrimLeft(text, " \t\r\n\f")
	word := text
	if end := strings.IndexFunc(text, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }); end >= 0 {
		word = text[:end]
	}
	switch strings.ToUpper(word) {
	case "SELECT", "VALUES", "EXPLAIN":
		return isSingle(text)
	}
	return false
}
