package sqlite

import (
	"path/filepath"
	"sync"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// FaultOp is a file operation that a test can make fail.
type FaultOp uint8

// The operations a FaultFunc is asked about. Reads through a memory map (readers) are not among them.
const (
	FaultOpen FaultOp = iota + 1
	FaultRead
	FaultWrite
	FaultSync
	FaultTruncate
)

// String is the operation's name.
func (op FaultOp) String() string {
	switch op {
	case FaultOpen:
		return "open"
	case FaultRead:
		return "read"
	case FaultWrite:
		return "write"
	case FaultSync:
		return "sync"
	case FaultTruncate:
		return "truncate"
	}
	return "unknown"
}

// A FaultFunc decides before each file operation of a connection whether it fails: it returns an extended result code
// (say CodeFull, or 778 for SQLITE_IOERR_WRITE), or 0 to let the operation through. file is the base name, empty for a
// temporary file; offset and n are bytes, n is the new size for FaultTruncate. It is called on the connection's
// goroutine, within SQLite: it must not use the connection and must not panic. Faults are for tests.
type FaultFunc func(op FaultOp, file string, offset int64, n int) (code int)

// The signatures of the replaced file methods (https://sqlite.org/c3ref/io_methods.html).
type (
	closeMethod    = func(tls *libc.TLS, file uintptr) int32
	transferMethod = func(tls *libc.TLS, file, buffer uintptr, n int32, offset int64) int32
	truncateMethod = func(tls *libc.TLS, file uintptr, size int64) int32
	syncMethod     = func(tls *libc.TLS, file uintptr, flags int32) int32
)

// A faultyFile is an open file of a connection with faults.
type faultyFile struct {
	name  string
	fault FaultFunc
	base  *lib.Tsqlite3_io_methods // the VFS's own table, static in lib
}

// faultyFiles holds every open file of a connection with faults, by the address of its sqlite3_file.
var faultyFiles sync.Map // uintptr → *faultyFile

// faultyMethods holds one copy of each method table met, with the faulty methods in it. A copy is a few words, the
// VFS has a handful of tables, and SQLite may use one until the process ends: they are never freed.
var faultyMethods = struct {
	sync.Mutex
	tables map[uintptr]uintptr // base table → copy
}{tables: map[uintptr]uintptr{}}

// openFaulty opens a file and puts the faulty methods in front of it.
func (v *vfs) openFaulty(tls *libc.TLS, name, file uintptr, flags int32, outFlags uintptr) int32 {
	base := ""
	if name != 0 {
		base = filepath.Base(goString(name))
	}
	if code := v.fault(FaultOpen, base, 0, 0); code != 0 {
		at[lib.Tsqlite3_file](file).FpMethods = 0
		return int32(code)
	}
	rc := v.openBase(tls, name, file, flags, outFlags)
	f := at[lib.Tsqlite3_file](file)
	if rc != lib.SQLITE_OK || f.FpMethods == 0 {
		return rc
	}
	table := faultyTable(tls, f.FpMethods)
	if table == 0 {
		// SQLite closes no file whose opening failed.
		function[closeMethod](at[lib.Tsqlite3_io_methods](f.FpMethods).FxClose)(tls, file)
		f.FpMethods = 0
		return lib.SQLITE_NOMEM
	}
	faultyFiles.Store(file, &faultyFile{name: base, fault: v.fault, base: at[lib.Tsqlite3_io_methods](f.FpMethods)})
	f.FpMethods = table
	return lib.SQLITE_OK
}

// faultyTable is the copy of a method table with the faulty methods in it, 0 when there is no memory.
func faultyTable(tls *libc.TLS, base uintptr) uintptr {
	faultyMethods.Lock()
	defer faultyMethods.Unlock()
	if table, ok := faultyMethods.tables[base]; ok {
		return table
	}
	table := lib.Xsqlite3_malloc64(tls, lib.Tsqlite3_uint64(unsafe.Sizeof(lib.Tsqlite3_io_methods{})))
	if table == 0 {
		return 0
	}
	m := at[lib.Tsqlite3_io_methods](table)
	*m = *at[lib.Tsqlite3_io_methods](base)
	m.FxClose = pointer(faultyClose)
	m.FxRead = pointer(faultyRead)
	m.FxWrite = pointer(faultyWrite)
	m.FxTruncate = pointer(faultyTruncate)
	m.FxSync = pointer(faultySync)
	faultyMethods.tables[base] = table
	return table
}

// faulty is the open file at this address.
func faulty(file uintptr) *faultyFile {
	f, _ := faultyFiles.Load(file)
	return f.(*faultyFile)
}

func faultyClose(tls *libc.TLS, file uintptr) int32 {
	f := faulty(file)
	faultyFiles.Delete(file)
	return function[closeMethod](f.base.FxClose)(tls, file)
}

func faultyRead(tls *libc.TLS, file, buffer uintptr, n int32, offset int64) int32 {
	f := faulty(file)
	if code := f.fault(FaultRead, f.name, offset, int(n)); code != 0 {
		return int32(code)
	}
	return function[transferMethod](f.base.FxRead)(tls, file, buffer, n, offset)
}

func faultyWrite(tls *libc.TLS, file, buffer uintptr, n int32, offset int64) int32 {
	f := faulty(file)
	if code := f.fault(FaultWrite, f.name, offset, int(n)); code != 0 {
		return int32(code)
	}
	return function[transferMethod](f.base.FxWrite)(tls, file, buffer, n, offset)
}

func faultyTruncate(tls *libc.TLS, file uintptr, size int64) int32 {
	f := faulty(file)
	if code := f.fault(FaultTruncate, f.name, 0, int(size)); code != 0 {
		return int32(code)
	}
	return function[truncateMethod](f.base.FxTruncate)(tls, file, size)
}

func faultySync(tls *libc.TLS, file uintptr, flags int32) int32 {
	f := faulty(file)
	if code := f.fault(FaultSync, f.name, 0, 0); code != 0 {
		return int32(code)
	}
	return function[syncMethod](f.base.FxSync)(tls, file, flags)
}
