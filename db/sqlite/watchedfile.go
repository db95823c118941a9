package sqlite

import (
	"path/filepath"
	"sync"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// A watchedFile is a file of a writer, open: it notes what the operating system refuses, and calls every want of space
// CodeFull.
//
// SQLite does not tell all of it. When it cannot read the statistics of ANALYZE it plans without them; an error within a
// virtual table may become another one, or none; and an error may have rolled the transaction back meanwhile. A replica
// that goes on after that comes to other rows than the rest.
type watchedFile struct {
	name  string
	vfs   *vfs
	base  *lib.Tsqlite3_io_methods // the methods below
	table uintptr                  // the file's own methods, C memory
	keep  []any                    // closures whose addresses are in table
}

// watchedFiles holds every open watchedFile, and with it the closures, by the address of its sqlite3_file.
var watchedFiles sync.Map // uintptr → *watchedFile

// watchFile puts a watchedFile in front of a file that was just opened. It reports false without memory.
func (v *vfs) watchFile(tls *libc.TLS, name, file uintptr) bool {
	w := &watchedFile{name: "a temporary file", vfs: v}
	if name != 0 {
		w.name = filepath.Base(goString(name))
	}
	if w.table = alloc(tls, int(unsafe.Sizeof(lib.Tsqlite3_io_methods{}))); w.table == 0 {
		return false
	}
	f := at[lib.Tsqlite3_file](file)
	w.base = at[lib.Tsqlite3_io_methods](f.FpMethods)
	m := at[lib.Tsqlite3_io_methods](w.table)
	*m = *w.base
	shut, read, write := closeMethod(w.close), transferMethod(w.read), transferMethod(w.write)
	truncate, flush := truncateMethod(w.truncate), syncMethod(w.sync)
	m.FxClose, m.FxRead, m.FxWrite = pointer(shut), pointer(read), pointer(write)
	m.FxTruncate, m.FxSync = pointer(truncate), pointer(flush)
	w.keep = append(w.keep, shut, read, write, truncate, flush)
	watchedFiles.Store(file, w)
	f.FpMethods = w.table
	return true
}

// note keeps the first refusal. A read behind the end of a file is none.
func (w *watchedFile) note(op FaultOp, rc int32) int32 {
	if rc != lib.SQLITE_OK && rc != lib.SQLITE_IOERR_SHORT_READ && w.vfs.refused == nil {
		reason := "the operating system refused it"
		if rc == lib.SQLITE_FULL {
			reason = "the disk is full"
		}
		w.vfs.refused = newError(int(rc), -1, "a %s of %s failed: %s", op, w.name, reason)
	}
	return rc
}

func (w *watchedFile) read(tls *libc.TLS, file, buffer uintptr, n int32, offset int64) int32 {
	return w.note(FaultRead, function[transferMethod](w.base.FxRead)(tls, file, buffer, n, offset))
}

func (w *watchedFile) write(tls *libc.TLS, file, buffer uintptr, n int32, offset int64) int32 {
	rc := function[transferMethod](w.base.FxWrite)(tls, file, buffer, n, offset)
	if rc == lib.SQLITE_IOERR_WRITE && outOfSpace(file) {
		rc = lib.SQLITE_FULL
	}
	return w.note(FaultWrite, rc)
}

func (w *watchedFile) truncate(tls *libc.TLS, file uintptr, size int64) int32 {
	return w.note(FaultTruncate, function[truncateMethod](w.base.FxTruncate)(tls, file, size))
}

func (w *watchedFile) sync(tls *libc.TLS, file uintptr, flags int32) int32 {
	return w.note(FaultSync, function[syncMethod](w.base.FxSync)(tls, file, flags))
}

func (w *watchedFile) close(tls *libc.TLS, file uintptr) int32 {
	rc := function[closeMethod](w.base.FxClose)(tls, file)
	at[lib.Tsqlite3_file](file).FpMethods = 0
	watchedFiles.Delete(file)
	release(tls, w.table)
	return rc
}

// TakeRefusal returns the first error that the operating system gave to this connection since the last call, and forgets
// it; nil is none. A connection that replicates statements asks before it commits, whatever SQLite said: see watchedFile.
// Only connections with a Clock, which are writers, take notes. The result is an *Error.
func (c *Conn) TakeRefusal() error {
	if c.vfs == nil || c.vfs.refused == nil {
		return nil
	}
	refused := c.vfs.refused
	c.vfs.refused = nil
	return refused
}
