package sqlite

import (
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// defaultProgressSteps is how often, in steps of the virtual machine, SQLite looks for an interrupt that arrived as a
// statement began. It has no measurable cost.
const defaultProgressSteps = 1000

// hooks are the caller's functions that SQLite calls while a statement runs.
//
// The callbacks are made once per connection and find the present function here: a caller may set another before every
// statement.
type hooks struct {
	update   func(Update)
	progress func() bool
	commit   func(frames int)
	allow    func() bool

	updateCallback   func(tls *libc.TLS, arg uintptr, op int32, db, table uintptr, rowid int64)
	progressCallback func(tls *libc.TLS, arg uintptr) int32
	commitCallback   func(tls *libc.TLS, arg, db, name uintptr, frames int32) int32
	allowCallback    func(tls *libc.TLS, arg uintptr) int32
}

// installHooks makes the callbacks. The progress callback is always there: it is what delivers an interrupt that
// SQLite itself forgot because it came just before the first step.
func (c *Conn) installHooks() {
	c.hooks.updateCallback = func(_ *libc.TLS, _ uintptr, op int32, _, table uintptr, rowid int64) {
		c.hooks.update(Update{Op: Op(op), RowID: rowid, table: table})
	}
	c.hooks.progressCallback = func(*libc.TLS, uintptr) int32 {
		if c.interrupted.Load() || c.hooks.progress != nil && c.hooks.progress() {
			return 1
		}
		return 0
	}
	c.hooks.commitCallback = func(_ *libc.TLS, _, _, _ uintptr, frames int32) int32 {
		c.hooks.commit(int(frames))
		return lib.SQLITE_OK
	}
	c.hooks.allowCallback = func(*libc.TLS, uintptr) int32 {
		if c.hooks.allow() {
			return 0
		}
		return 1
	}
	c.setProgress(defaultProgressSteps)
}

func (c *Conn) setProgress(n int) {
	lib.Xsqlite3_progress_handler(c.tls, c.db, int32(n), pointer(c.hooks.progressCallback), 0)
}

// Update is one change of a row, as the update hook sees it. It is valid only within the hook.
type Update struct {
	Op    Op    // OpInsert, OpUpdate or OpDelete
	RowID int64 // after the change, or of the deleted row
	table uintptr
}

// Table is the name of the table.
func (u Update) Table() string { return goString(u.table) }

// SetUpdateHook sets the function that is called for each row inserted, updated or deleted, in rowid tables, also by
// triggers, foreign keys and virtual tables; nil removes it. It is not called for WITHOUT ROWID tables, for rows
// replaced by a conflict clause, and for DELETE without WHERE, which empties the table at once
// (https://sqlite.org/c3ref/update_hook.html). It must not use the connection, other than LastInsertRowID and the
// like, and must not panic.
func (c *Conn) SetUpdateHook(hook func(Update)) {
	if c.db == 0 {
		return
	}
	c.hooks.update = hook
	if hook == nil {
		lib.Xsqlite3_update_hook(c.tls, c.db, 0, 0)
		return
	}
	lib.Xsqlite3_update_hook(c.tls, c.db, pointer(c.hooks.updateCallback), 0)
}

// SetCommitHook sets the function that is called after each commit of this connection that wrote to the WAL, with the
// number of frames in it (https://sqlite.org/c3ref/wal_hook.html); nil removes it. PRAGMA wal_autocheckpoint and this
// hook replace each other. It must not use the connection and must not panic.
func (c *Conn) SetCommitHook(hook func(frames int)) {
	if c.db == 0 {
		return
	}
	c.hooks.commit = hook
	if hook == nil {
		lib.Xsqlite3_wal_hook(c.tls, c.db, 0, 0)
		return
	}
	lib.Xsqlite3_wal_hook(c.tls, c.db, pointer(c.hooks.commitCallback), 0)
}

// SetCommitGuard sets the function that is asked before each commit of a transaction that wrote; nil removes it. When it
// returns false the transaction is rolled back instead, and the statement fails with CodeConstraintCommitHook
// (https://sqlite.org/c3ref/commit_hook.html). It must not use the connection and must not panic.
func (c *Conn) SetCommitGuard(allow func() bool) {
	if c.db == 0 {
		return
	}
	c.hooks.allow = allow
	if allow == nil {
		lib.Xsqlite3_commit_hook(c.tls, c.db, 0, 0)
		return
	}
	lib.Xsqlite3_commit_hook(c.tls, c.db, pointer(c.hooks.allowCallback), 0)
}

// SetProgress sets the function that is called after about every n steps of a statement's program; when it returns
// true the statement ends with CodeInterrupt. n < 1 or a nil function removes it. It must not use the connection other
// than TopLevel, and must not panic.
//
// The steps of a run are counted from 0: the same program on the same rows makes the same number of calls, whatever
// ran before.
func (c *Conn) SetProgress(n int, f func() bool) {
	if c.db == 0 {
		return
	}
	if n < 1 || f == nil {
		n, f = defaultProgressSteps, nil
	}
	c.hooks.progress = f
	c.setProgress(n)
}

// TopLevel tells, within a progress callback, whether the steps are those of the statement whose Step runs, and not of
// statements nested in it (FTS5, R-tree, loading the schema), of internal SQL or of the compiler. Only these do all
// replicas count alike: the others depend on what a connection has in memory.
func (c *Conn) TopLevel() bool { return c.stepping && c.handle().FnVdbeExec == 1 }
