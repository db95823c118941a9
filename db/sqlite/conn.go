package sqlite

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// Conn is one connection to one database file.
//
// It belongs to one goroutine at a time: the caller orders its uses. Only Interrupt may be called at any moment.
type Conn struct {
	tls *libc.TLS
	db  uintptr // sqlite3*; 0 after Close
	mem uintptr // the connection's C block, see the layout below
	vfs *vfs    // nil with neither clock, pace nor faults

	cache      *cache
	statements map[*Stmt]struct{} // every statement not finalized, cached ones too

	authorizer authorizer
	hooks      hooks

	// stepping is true while lib runs the statement of a caller's Step: see TopLevel.
	stepping bool

	// interrupted is set by Interrupt and taken back by whoever delivers it.
	interrupted atomic.Bool
	// lifetime orders Interrupt before or after the end of db. It guards ended only; it is never held while a
	// statement runs.
	lifetime sync.Mutex
	ended    bool
}

// The layout of a connection's C block. One goroutine uses a connection, so that one block serves every call.
const (
	slotA       = 0  // result slots of 8 bytes: a handle, or a count
	slotB       = 8  //
	variadic    = 16 // arguments of a variadic function, up to 4
	randomState = 48 // uint64: the generator's state
	scratch     = 64 // copies of names, texts and blobs on their way into SQLite
	scratchSize = 16 << 10
	blockSize   = scratch + scratchSize
)

// open holds every open connection, and with it the closures whose addresses lib has: they stay reachable for Go until
// Close, whatever the connection's user forgets.
var open sync.Map // *Conn → struct{}

// Open opens the database file at path, or a private database in memory for ":memory:". path is a file name, not a
// URI. The caller must Close the connection.
func Open(path string, o Options) (*Conn, error) {
	if err := library(); err != nil {
		return nil, err
	}
	c := &Conn{tls: libc.NewTLS(), statements: map[*Stmt]struct{}{}}
	size := o.CachedStatements
	if size <= 0 {
		size = DefaultCachedStatements
	}
	c.cache = newCache(size)
	open.Store(c, struct{}{})
	if err := c.open(path, o); err != nil {
		return nil, errors.Join(fmt.Errorf("opening database %q: %w", path, err), c.Close())
	}
	return c, nil
}

// open does the steps of Open; what it leaves undone after an error, Close undoes.
func (c *Conn) open(path string, o Options) error {
	if c.mem = alloc(c.tls, blockSize); c.mem == 0 {
		return errNoMemory
	}
	if o.Clock != nil || o.Fault != nil || o.Pace != nil {
		v, err := registerVFS(c.tls, o)
		if err != nil {
			return err
		}
		c.vfs = v
	}
	if err := c.connect(path, o); err != nil {
		return err
	}
	c.installHooks()
	if err := c.installRandom(rand.Uint64()); err != nil {
		return err
	}
	if o.BoundedText {
		if err := c.installText(); err != nil {
			return err
		}
	}
	return c.configure(o)
}

// connect opens the database handle.
func (c *Conn) connect(path string, o Options) error {
	if i := indexNUL(path); i >= 0 {
		return fmt.Errorf("the path has a NUL byte at offset %d", i)
	}
	name := allocString(c.tls, path)
	defer release(c.tls, name)
	vfsName, err := c.vfsName()
	if err != nil {
		return err
	}
	defer release(c.tls, vfsName)
	if name == 0 {
		return errNoMemory
	}
	rc := lib.Xsqlite3_open_v2(c.tls, name, c.mem+slotA, openFlags(o), vfsName)
	c.db = *at[uintptr](c.mem + slotA)
	if rc != lib.SQLITE_OK {
		return c.failure(rc)
	}
	return nil
}

// vfsName is a C copy of the name of the VFS to open with; the caller releases it. 0 is SQLite's default.
func (c *Conn) vfsName() (uintptr, error) {
	name := baseVFS()
	if c.vfs != nil {
		name = goString(c.vfs.name)
	}
	if name == "" {
		return 0, nil
	}
	p := allocString(c.tls, name)
	if p == 0 {
		return 0, errNoMemory
	}
	return p, nil
}

func openFlags(o Options) int32 {
	flags := int32(lib.SQLITE_OPEN_NOMUTEX | lib.SQLITE_OPEN_EXRESCODE)
	switch {
	case o.ReadOnly:
		return flags | lib.SQLITE_OPEN_READONLY
	case o.Create:
		return flags | lib.SQLITE_OPEN_READWRITE | lib.SQLITE_OPEN_CREATE
	}
	return flags | lib.SQLITE_OPEN_READWRITE
}

// configure applies the options' settings.
func (c *Conn) configure(o Options) error {
	for _, v := range o.Configs {
		if err := c.Config(v.Config, v.On); err != nil {
			return err
		}
	}
	for _, v := range o.Limits {
		c.Limit(v.Limit, v.Value)
	}
	for _, p := range o.Pragmas {
		if p.Creation && !o.Create {
			continue
		}
		if err := c.pragma(p); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}

// pragma sets p and, if asked, sees that it took effect.
func (c *Conn) pragma(p Pragma) error {
	if err := c.Exec(p.String()); err != nil || p.Want == "" {
		return err
	}
	got, err := c.text("PRAGMA " + p.Name)
	if err != nil {
		return err
	}
	if !sameSetting(got, p.Want) {
		return fmt.Errorf("the database answers %q, want %q", got, p.Want)
	}
	return nil
}

// text is the first column of the first row of an internal query, "" without a row.
func (c *Conn) text(sql string) (string, error) {
	s, err := c.Internal(sql)
	if err != nil {
		return "", err
	}
	defer s.Release()
	row, err := s.Step()
	if err != nil || !row {
		return "", err
	}
	return s.ColumnText(0), nil
}

// Close finalizes every statement, closes the database and frees everything. A transaction that is open is rolled
// back. The last connection to a file checkpoints its WAL and removes it, unless ConfigNoCheckpointOnClose.
// A second Close does nothing.
func (c *Conn) Close() error {
	c.lifetime.Lock()
	if c.ended {
		c.lifetime.Unlock()
		return nil
	}
	c.ended = true
	c.lifetime.Unlock()

	// A database with a statement left would live on, locks and file included, until that statement ends.
	for s := range c.statements {
		s.finalize()
	}
	var err error
	if c.db != 0 {
		if rc := lib.Xsqlite3_close_v2(c.tls, c.db); rc != lib.SQLITE_OK {
			err = fmt.Errorf("closing database: %w", newError(int(rc), -1, "%s", errorString(c.tls, rc)))
		}
		c.db = 0
	}
	// SQLite uses the VFS until the last file is closed: only now may it go.
	if c.vfs != nil {
		c.vfs.unregister(c.tls)
	}
	release(c.tls, c.mem)
	c.mem = 0
	c.tls.Close()
	open.Delete(c)
	return err
}

// Interrupt makes the statement that runs now end with CodeInterrupt; if none runs, the next Step or Prepare fails
// with it. It is delivered once, and ClearInterrupt takes it back. It may be called from any goroutine, at any time,
// after Close too.
//
// SQLite's own interrupt is lost when it arrives just before a statement starts; this one is not. An interrupted
// write inside a transaction rolls back the whole transaction: never interrupt the connection that applies entries.
func (c *Conn) Interrupt() {
	c.lifetime.Lock()
	defer c.lifetime.Unlock()
	if c.ended {
		return
	}
	c.interrupted.Store(true)
	lib.Xsqlite3_interrupt(c.tls, c.db)
}

// ClearInterrupt forgets an interrupt that was not delivered. A pool of connections calls it, after it made sure that
// no Interrupt is still to come, before it hands the connection to the next user.
func (c *Conn) ClearInterrupt() {
	c.lifetime.Lock()
	defer c.lifetime.Unlock()
	if c.ended {
		return
	}
	c.interrupted.Store(false)
	// SQLite takes its own flag back when a statement starts, but not when one is compiled.
	atomic.StoreInt32(&c.handle().Fu1.FisInterrupted, 0)
}

// Interrupted tells whether an interrupt waits for delivery.
func (c *Conn) Interrupted() bool { return c.interrupted.Load() }

// errInterrupted delivers an interrupt that came while nothing ran.
func (c *Conn) errInterrupted() error {
	if !c.interrupted.Load() {
		return nil
	}
	c.ClearInterrupt()
	return newError(CodeInterrupt, -1, "interrupted")
}

// failure is the Error for the result code of the call just made on this connection.
func (c *Conn) failure(rc int32) error {
	if c.db == 0 {
		return newError(int(rc), -1, "%s", errorString(c.tls, rc))
	}
	extended := lib.Xsqlite3_extended_errcode(c.tls, c.db)
	if extended&0xff != rc&0xff { // lib refused the call itself and left the connection's error alone
		return newError(int(rc), -1, "%s", errorString(c.tls, rc))
	}
	e := newError(int(extended), int(lib.Xsqlite3_error_offset(c.tls, c.db)), "%s", goString(lib.Xsqlite3_errmsg(c.tls, c.db)))
	if e.Code == CodeInterrupt {
		c.ClearInterrupt()
	}
	c.authorizer.explain(e)
	return e
}

// errorString is SQLite's English for a result code.
func errorString(tls *libc.TLS, rc int32) string { return goString(lib.Xsqlite3_errstr(tls, rc)) }
