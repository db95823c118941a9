package sqlite

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// A vfs is SQLite's view of the operating system for one connection: a copy of the base VFS with the connection's
// clock in the place of the wall clock, and, in tests, with faults before its file operations.
//
// It is registered per connection, not per process, because the clock belongs to one writer: several databases, each
// at its own entry time, live in one process. The copy goes by its own name, but its xOpen passes the *base* VFS on:
// the base recognises by its own name that locks and wal-index live in process memory.
type vfs struct {
	address uintptr // the sqlite3_vfs, C memory
	name    uintptr // its name, C memory
	base    uintptr // registered by SQLite itself, never freed
	clock   *Clock
	fault   FaultFunc
	pace    *Pace
	// refused is the first error of the operating system that TakeRefusal has not returned. It is the connection's goroutine's.
	refused *Error
	keep    []any // closures whose addresses are in the C structure; they live as long as it is registered
}

// vfsNumber makes names unique within the process.
var vfsNumber atomic.Int64

// baseVFS is the name of the VFS that every connection ends in; "" is the platform's default.
//
// unix-excl keeps locks and the wal-index in process memory: no -shm file, no system call for a lock, and any other
// process is locked out. All connections of the process to one file must use it. Elsewhere the default VFS keeps the
// shared memory in a file; other processes are then kept out by the data directory's lock alone.
func baseVFS() string {
	switch runtime.GOOS {
	case "linux", "darwin":
		return "unix-excl"
	}
	return ""
}

// findVFS returns the base VFS.
func findVFS(tls *libc.TLS) (uintptr, error) {
	var name uintptr
	if base := baseVFS(); base != "" {
		if name = allocString(tls, base); name == 0 {
			return 0, errNoMemory
		}
		defer release(tls, name)
	}
	p := lib.Xsqlite3_vfs_find(tls, name)
	if p == 0 {
		return 0, fmt.Errorf("sqlite has no vfs %q", baseVFS())
	}
	return p, nil
}

// registerVFS makes the connection's own VFS. The caller unregisters it after the connection is closed.
func registerVFS(tls *libc.TLS, o Options) (*vfs, error) {
	base, err := findVFS(tls)
	if err != nil {
		return nil, err
	}
	v := &vfs{base: base, clock: o.Clock, fault: o.Fault, pace: o.Pace}
	v.name = allocString(tls, fmt.Sprintf("rsqld-%d", vfsNumber.Add(1)))
	v.address = alloc(tls, int(unsafe.Sizeof(lib.Tsqlite3_vfs{})))
	if v.name == 0 || v.address == 0 {
		v.free(tls)
		return nil, errNoMemory
	}
	v.fill()
	if rc := lib.Xsqlite3_vfs_register(tls, v.address, 0); rc != lib.SQLITE_OK {
		v.free(tls)
		return nil, fmt.Errorf("registering a vfs: result code %d", rc)
	}
	return v, nil
}

// The signatures of the replaced methods (https://sqlite.org/c3ref/vfs.html).
type (
	openMethod = func(tls *libc.TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32
	timeMethod = func(tls *libc.TLS, vfs, out uintptr) int32
)

// fill copies the base and replaces what is the connection's own.
func (v *vfs) fill() {
	p := at[lib.Tsqlite3_vfs](v.address)
	*p = *at[lib.Tsqlite3_vfs](v.base)
	p.FpNext = 0
	p.FzName = v.name

	open := openMethod(v.open)
	p.FxOpen = pointer(open)
	v.keep = append(v.keep, open)
	if v.clock == nil {
		return
	}
	millis, days := timeMethod(v.currentMillis), timeMethod(v.currentDays)
	p.FxCurrentTimeInt64, p.FxCurrentTime = pointer(millis), pointer(days)
	v.keep = append(v.keep, millis, days)
}

// open forwards to the base VFS, by the base's own pointer. The files of a writer are watched, see watchedFile, its log is
// held frame by frame, see walFile, and the database file of a checkpointer is written at a pace, see pacedFile.
func (v *vfs) open(tls *libc.TLS, _, name, file uintptr, flags int32, outFlags uintptr) int32 {
	open := v.openBase
	if v.fault != nil {
		open = v.openFaulty
	}
	rc := open(tls, name, file, flags, outFlags)
	if rc == lib.SQLITE_OK && v.clock != nil && !v.watchFile(tls, name, file) {
		function[closeMethod](at[lib.Tsqlite3_io_methods](at[lib.Tsqlite3_file](file).FpMethods).FxClose)(tls, file)
		at[lib.Tsqlite3_file](file).FpMethods = 0 // SQLite closes no file whose opening failed
		return lib.SQLITE_NOMEM
	}
	switch {
	case rc != lib.SQLITE_OK:
	case v.clock != nil && flags&lib.SQLITE_OPEN_WAL != 0:
		holdFrames(tls, file)
	case v.pace != nil && flags&lib.SQLITE_OPEN_MAIN_DB != 0:
		paceFile(tls, file, v.pace)
	}
	return rc
}

func (v *vfs) openBase(tls *libc.TLS, name, file uintptr, flags int32, outFlags uintptr) int32 {
	open := function[openMethod](at[lib.Tsqlite3_vfs](v.base).FxOpen)
	return open(tls, v.base, name, file, flags, outFlags)
}

// currentMillis is xCurrentTimeInt64: what SQLite calls.
func (v *vfs) currentMillis(_ *libc.TLS, _, out uintptr) int32 {
	*at[int64](out) = v.clock.julianMillis()
	return lib.SQLITE_OK
}

// currentDays is xCurrentTime, the older method: a Julian day number.
func (v *vfs) currentDays(_ *libc.TLS, _, out uintptr) int32 {
	*at[float64](out) = float64(v.clock.julianMillis()) / 86400000
	return lib.SQLITE_OK
}

// unregister takes the VFS away from SQLite. No connection may use it any more.
func (v *vfs) unregister(tls *libc.TLS) {
	lib.Xsqlite3_vfs_unregister(tls, v.address)
	v.free(tls)
}

func (v *vfs) free(tls *libc.TLS) {
	release(tls, v.address)
	release(tls, v.name)
	v.address, v.name, v.keep = 0, 0, nil
}
