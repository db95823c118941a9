package engine

import (
	"errors"
	"fmt"

	"github.com/rsqld/rsqld/db/command"
	"github.com/rsqld/rsqld/db/command/commandpb"
	"github.com/rsqld/rsqld/db/sqlite"
	"github.com/rsqld/rsqld/raft"
)

// decodedEntry is an entry with what its data says.
type decodedEntry struct {
	raft.Entry
	command       *commandpb.Command // nil unless the kind is command
	configuration raft.Configuration
}

// maxKeptEntries is for how many entries memory is kept between two calls of Apply.
const maxKeptEntries = 4096

// decodeEntries decodes the entries after the one applied last. With an error the entries returned are those before the
// one that cannot be executed by this program: they may be applied, and nothing after them. The caller calls
// forgetEntries when they are.
func (e *Engine) decodeEntries(applied raft.Index, entries []raft.Entry) ([]decodedEntry, error) {
	decoded := e.decoded[:0]
	defer func() { e.decoded = decoded }()
	for i, entry := range entries {
		if want := applied + 1 + raft.Index(i); entry.ID.Index != want {
			return decoded, fmt.Errorf("entry %v cannot be applied: the next index is %d", entry.ID, want)
		}
		d, err := decodeEntry(&e.commands, entry)
		if err != nil {
			return decoded, fmt.Errorf("entry %v cannot be applied and nothing after it: %w", entry.ID, err)
		}
		decoded = append(decoded, d)
	}
	return decoded, nil
}

// forgetEntries ends the use of the entries decoded last, whose memory the next ones get.
func (e *Engine) forgetEntries() {
	e.commands.Reset()
	clear(e.decoded)
	if cap(e.decoded) > maxKeptEntries {
		e.decoded = nil
	}
}

func decodeEntry(commands *command.Decoder, entry raft.Entry) (d decodedEntry, err error) {
	d.Entry = entry
	switch entry.Kind {
	case raft.EntryNoop:
	case raft.EntryConfiguration:
		d.configuration, err = raft.DecodeConfiguration(entry.Data)
	case raft.EntryCommand:
		d.command, err = commands.Decode(entry.Data)
	default:
		err = fmt.Errorf("this program does not know the kind %v: upgrade this node", entry.Kind)
	}
	return d, err
}

// errMissingError: the transaction is gone and no statement said why.
var errMissingError = errors.New("SQLite rolled the transaction back without an error")

// command executes one command under its savepoint.
func (w *writer) command(index raft.Index, c *commandpb.Command) (*Result, error) {
	w.state.time = max(w.state.time, c.Time)
	if r, err := w.recall(index, c); r != nil || err != nil {
		return r, err
	}
	// The savepoint makes FTS5 write what it has gathered in the entries before: that must not count as this entry's.
	if err := once(w.own.savepoint); err != nil {
		return nil, err
	}
	w.setContext(c)
	w.meter.beginEntry()
	w.left = leftovers{}
	r := &Result{Index: index}
	before := w.state
	r.Err = w.body(c, r)
	if r.Err == nil {
		r.Err = w.checkForeignKeys()
	}
	if err := w.judge(r); err != nil {
		return nil, err
	}
	if r.Err != nil {
		r.Statements, r.first, r.Node = nil, [1]StatementResult{}, 0
		r.Code, r.Extended = codes(r.Err)
		before.time = w.state.time
		w.state = before
	}
	return r, w.endEntry(r)
}

// body executes what the command says.
func (w *writer) body(c *commandpb.Command, r *Result) (err error) {
	switch body := c.Body.(type) {
	case *commandpb.Command_Script:
		return w.script(body.Script, r)
	case *commandpb.Command_Transaction:
		return w.transaction(body.Transaction, r)
	case *commandpb.Command_Abandon:
		return ErrAbandoned
	case *commandpb.Command_Bootstrap:
		w.changed = true
		return w.bootstrap(body.Bootstrap)
	case *commandpb.Command_Verify:
		w.verify = verification(body.Verify.Id)
		return nil
	case *commandpb.Command_ChangeSettings:
		w.changed = true
		return w.changeSettings(body.ChangeSettings)
	case *commandpb.Command_MintToken:
		w.changed = true
		return w.mintToken(body.MintToken)
	case *commandpb.Command_UseToken:
		w.changed = true
		r.Node, err = w.useToken(r.Index, body.UseToken)
		return err
	case *commandpb.Command_SetMember:
		w.changed = true
		return w.setMember(body.SetMember)
	case *commandpb.Command_Recover:
		w.changed = true
		return w.recover(body.Recover)
	}
	return fmt.Errorf("command %T is not executed by this program", c.Body)
}

// checkForeignKeys refuses an entry that leaves a deferred foreign key violated. SQLite would find it only at the end of
// the batch, and fail innocent entries with it.
func (w *writer) checkForeignKeys() error {
	if !w.has(ingredientForeignKeys) {
		return nil
	}
	violated, err := w.conn.DeferredFKs()
	if err != nil {
		return err
	}
	if violated != 0 {
		return &sqlite.Error{Code: codeForeignKey & 0xff, Extended: codeForeignKey, Message: "FOREIGN KEY constraint failed", Offset: -1}
	}
	w.conn.ClearDeferredFKs() // two parts that add up to nothing would count in the next entry
	return nil
}

// judge returns the error of an entry if it is the environment's.
func (w *writer) judge(r *Result) error {
	killed := w.conn.Autocommit()
	switch {
	case r.Err == nil && killed:
		return errMissingError
	case r.Err == nil || deterministic(r.Err):
		return nil
	case Full(r.Err) && killed:
		return nil // applyKilled finds out
	case Full(r.Err):
		watch := sequenceWatch{}
		if err := watch.look(w.conn); err != nil || watch.full {
			return err
		}
	}
	return r.Err
}

// leftovers are what the statements of an entry leave in the connection.
type leftovers struct {
	// schema: the schema or the statistics were changed, or an attempt was made.
	schema bool
	// virtual: a virtual table was created. SQLite does not tell it of a rollback to a savepoint from before that, and
	// FTS5 would try to write what it has gathered into tables that are gone, at the end of the batch or sooner.
	virtual bool
	// deferred: PRAGMA defer_foreign_keys is set.
	deferred bool
}

func (l *leftovers) add(f *facts) {
	l.schema = l.schema || f.schema
	l.virtual = l.virtual || f.createsVirtual
	l.deferred = l.deferred || f.deferred
}

// endEntry undoes a failed entry and removes what it left in the connection.
func (w *writer) endEntry(r *Result) error {
	if w.conn.Autocommit() {
		return nil // the whole transaction is gone
	}
	if r.Err != nil && w.left.virtual {
		return execInternal(w.conn, "ROLLBACK") // makes the entry a killer
	}
	if r.Err != nil {
		if err := execInternal(w.conn, "ROLLBACK TO _rsqld_entry"); err != nil {
			return err
		}
	}
	if err := once(w.own.release); err != nil {
		return err
	}
	if w.left.deferred {
		if err := w.conn.Exec("PRAGMA defer_foreign_keys=0"); err != nil {
			return err
		}
	}
	if w.left.schema {
		if err := w.forgetSchema(); err != nil {
			return err
		}
		return w.state.loadSchemaVersion(w.conn)
	}
	return nil
}
