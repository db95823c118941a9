package sqlite

import (
	"sync"
	"time"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// Pace keeps a connection that writes much, a checkpointer, from filling the disk's queue: a single sync at the end of a
// gigabyte of writes makes every other sync on the disk wait for a fraction of a second, that of the raft log among
// them.
type Pace struct {
	// Bytes is how much is written to the database file between two syncs.
	Bytes int64
	// Pause is called after each of these with how long it took, and may wait; nil does not. It is called on the
	// connection's goroutine, within SQLite: it must not use the connection and must not panic.
	Pause func(took time.Duration)
}

// A pacedFile is the database file of a connection with a pace.
type pacedFile struct {
	pace  *Pace
	base  *lib.Tsqlite3_io_methods // the methods below
	table uintptr                  // the file's own methods, C memory
	keep  []any                    // closures whose addresses are in table
	// unsynced is how many bytes were written since the last sync.
	unsynced int64
}

// pacedFiles holds every open pacedFile, and with it the closures, by the address of its sqlite3_file.
var pacedFiles sync.Map // uintptr → *pacedFile

// paceFile puts a pacedFile in front of a file that was just opened. Without memory the file stays as it is.
func paceFile(tls *libc.TLS, file uintptr, pace *Pace) {
	p := &pacedFile{pace: pace}
	if p.table = alloc(tls, int(unsafe.Sizeof(lib.Tsqlite3_io_methods{}))); p.table == 0 {
		return
	}
	f := at[lib.Tsqlite3_file](file)
	p.base = at[lib.Tsqlite3_io_methods](f.FpMethods)
	m := at[lib.Tsqlite3_io_methods](p.table)
	*m = *p.base
	write, shut, flush := transferMethod(p.write), closeMethod(p.close), syncMethod(p.sync)
	m.FxWrite, m.FxClose, m.FxSync = pointer(write), pointer(shut), pointer(flush)
	p.keep = append(p.keep, write, shut, flush)
	pacedFiles.Store(file, p)
	f.FpMethods = p.table
}

// write is xWrite. A sync that comes early loses nothing and promises nothing: SQLite's own follows.
func (p *pacedFile) write(tls *libc.TLS, file, buffer uintptr, n int32, offset int64) int32 {
	rc := function[transferMethod](p.base.FxWrite)(tls, file, buffer, n, offset)
	if p.unsynced += int64(n); rc != lib.SQLITE_OK || p.unsynced < p.pace.Bytes {
		return rc
	}
	began := time.Now()
	if rc = p.sync(tls, file, lib.SQLITE_SYNC_NORMAL|lib.SQLITE_SYNC_DATAONLY); rc == lib.SQLITE_OK && p.pace.Pause != nil {
		p.pace.Pause(time.Since(began))
	}
	return rc
}

func (p *pacedFile) sync(tls *libc.TLS, file uintptr, flags int32) int32 {
	rc := function[syncMethod](p.base.FxSync)(tls, file, flags)
	if rc == lib.SQLITE_OK {
		p.unsynced = 0
	}
	return rc
}

func (p *pacedFile) close(tls *libc.TLS, file uintptr) int32 {
	rc := function[closeMethod](p.base.FxClose)(tls, file)
	at[lib.Tsqlite3_file](file).FpMethods = 0
	pacedFiles.Delete(file)
	release(tls, p.table)
	return rc
}
