package sqlite

import (
	"encoding/binary"
	"sync"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// A walFile is the write-ahead log of a writer, open. SQLite writes each frame of a transaction by two calls, 24 bytes of
// header and the page; the system calls are the larger part of what a small commit costs. A walFile holds frames back
// and writes those of a commit by one call.
//
// Nobody can tell the difference, but for the number of writes:
//
//   - only frames at the end of the log are held. What SQLite writes elsewhere (the log's header, a page written twice in
//     one transaction, the checksums after that) goes through, after what is held;
//   - the page whose header carries the commit mark ends the holding back, in the same call: what is held is never part
//     of a committed transaction. No other connection reads it, and losing it at a kill loses nothing;
//   - every other operation on the file writes what is held first, and reports its error.
//
// The layout of the log is at https://sqlite.org/fileformat2.html#walformat.
type walFile struct {
	file  uintptr                  // the sqlite3_file
	base  *lib.Tsqlite3_io_methods // the methods below
	table uintptr                  // the file's own methods, C memory
	keep  []any                    // closures whose addresses are in table

	// buffer is C memory with room for walRoom bytes. The first n are held; they belong at offset start.
	buffer uintptr
	start  int64
	n      int
	// inFrame says that a frame header was held last, and its page comes next; committing, that it has the commit mark.
	inFrame, committing bool
	// end is where the log ends as far as this connection wrote it: nothing was ever written there or behind, unless
	// before this generation of the log or before the connection. It never falls within a generation: an older frame that
	// is written anew is not taken for a new one.
	end int64
}

const (
	walHeaderSize   = 32
	frameHeaderSize = 24
	walRoom         = 16 * (frameHeaderSize + PageSize) // bytes; a longer transaction takes more writes
)

// The signatures of more file methods (https://sqlite.org/c3ref/io_methods.html).
type (
	sizeMethod    = func(tls *libc.TLS, file, size uintptr) int32
	controlMethod = func(tls *libc.TLS, file uintptr, op int32, arg uintptr) int32
)

// walFiles holds every open walFile, and with it the closures, by the address of its sqlite3_file.
var walFiles sync.Map // uintptr → *walFile

// holdFrames puts a walFile in front of a file that was just opened. Without memory the file stays as it is.
func holdFrames(tls *libc.TLS, file uintptr) {
	w := &walFile{file: file, end: -1}
	w.table = alloc(tls, int(unsafe.Sizeof(lib.Tsqlite3_io_methods{})))
	w.buffer = alloc(tls, walRoom)
	if w.table == 0 || w.buffer == 0 {
		w.free(tls)
		return
	}
	f := at[lib.Tsqlite3_file](file)
	w.base = at[lib.Tsqlite3_io_methods](f.FpMethods)
	m := at[lib.Tsqlite3_io_methods](w.table)
	*m = *w.base
	m.FxClose = keepMethod(w, closeMethod(w.close))
	m.FxRead = keepMethod(w, transferMethod(w.read))
	m.FxWrite = keepMethod(w, transferMethod(w.write))
	m.FxTruncate = keepMethod(w, truncateMethod(w.truncate))
	m.FxSync = keepMethod(w, syncMethod(w.sync))
	m.FxFileSize = keepMethod(w, sizeMethod(w.size))
	m.FxFileControl = keepMethod(w, controlMethod(w.control))
	walFiles.Store(file, w)
	f.FpMethods = w.table
}

// keepMethod is the C view of a method, which stays reachable with w.
func keepMethod[F any](w *walFile, f F) uintptr {
	w.keep = append(w.keep, f)
	return pointer(f)
}

func (w *walFile) free(tls *libc.TLS) {
	release(tls, w.table)
	release(tls, w.buffer)
}

// flush writes what is held. After an error it is gone, as a part of a failed write is.
func (w *walFile) flush(tls *libc.TLS) int32 {
	w.inFrame = false
	if w.n == 0 {
		return lib.SQLITE_OK
	}
	n := int32(w.n)
	w.n = 0
	return function[transferMethod](w.base.FxWrite)(tls, w.file, w.buffer, n, w.start)
}

// write is xWrite.
func (w *walFile) write(tls *libc.TLS, _, buffer uintptr, n int32, offset int64) int32 {
	follows := w.n > 0 && offset == w.start+int64(w.n)
	switch {
	case n == walHeaderSize && offset == 0:
		w.end = 0 // a new generation
	case follows && w.inFrame && w.n+int(n) <= walRoom:
		w.hold(buffer, n, offset)
		w.inFrame = false
		if w.committing {
			return w.flush(tls)
		}
		return lib.SQLITE_OK
	case n == frameHeaderSize && offset == w.end:
		if !follows || w.n+frameHeaderSize+PageSize > walRoom {
			if rc := w.flush(tls); rc != lib.SQLITE_OK {
				return rc
			}
		}
		w.hold(buffer, n, offset)
		w.inFrame = true
		w.committing = binary.BigEndian.Uint32(view(buffer+4, 4)) != 0
		return lib.SQLITE_OK
	}
	if rc := w.flush(tls); rc != lib.SQLITE_OK {
		return rc
	}
	w.end = max(w.end, offset+int64(n))
	return function[transferMethod](w.base.FxWrite)(tls, w.file, buffer, n, offset)
}

// hold adds to what is held.
func (w *walFile) hold(buffer uintptr, n int32, offset int64) {
	if w.n == 0 {
		w.start = offset
	}
	copy(view(w.buffer+uintptr(w.n), int(n)), view(buffer, int(n)))
	w.n += int(n)
	w.end = max(w.end, offset+int64(n))
}

// close is xClose. What is held belongs to a transaction that never committed.
func (w *walFile) close(tls *libc.TLS, file uintptr) int32 {
	rc := function[closeMethod](w.base.FxClose)(tls, file)
	at[lib.Tsqlite3_file](file).FpMethods = 0
	walFiles.Delete(file)
	w.free(tls)
	return rc
}

func (w *walFile) read(tls *libc.TLS, file, buffer uintptr, n int32, offset int64) int32 {
	if rc := w.flush(tls); rc != lib.SQLITE_OK {
		return rc
	}
	return function[transferMethod](w.base.FxRead)(tls, file, buffer, n, offset)
}

func (w *walFile) truncate(tls *libc.TLS, file uintptr, size int64) int32 {
	if rc := w.flush(tls); rc != lib.SQLITE_OK {
		return rc
	}
	return function[truncateMethod](w.base.FxTruncate)(tls, file, size)
}

func (w *walFile) sync(tls *libc.TLS, file uintptr, flags int32) int32 {
	if rc := w.flush(tls); rc != lib.SQLITE_OK {
		return rc
	}
	return function[syncMethod](w.base.FxSync)(tls, file, flags)
}

func (w *walFile) size(tls *libc.TLS, file, size uintptr) int32 {
	if rc := w.flush(tls); rc != lib.SQLITE_OK {
		return rc
	}
	return function[sizeMethod](w.base.FxFileSize)(tls, file, size)
}

func (w *walFile) control(tls *libc.TLS, file uintptr, op int32, arg uintptr) int32 {
	if rc := w.flush(tls); rc != lib.SQLITE_OK {
		return rc
	}
	return function[controlMethod](w.base.FxFileControl)(tls, file, op, arg)
}
