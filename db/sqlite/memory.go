package sqlite

import (
	"sync/atomic"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// This file holds the whole traffic between Go memory and C memory.
//
// C memory is what lib's allocator returns: mapped pages outside the Go heap, which the garbage collector neither
// moves nor frees. An address in it is a uintptr. Go memory is never given to lib, not even for the length of a call:
// a goroutine's stack may move while lib runs.

// allocations counts the blocks that this package holds from lib's allocator. Close brings it back to what it was.
var allocations atomic.Int64

// alloc returns n bytes of zeroed C memory, or 0 when there is none. The block is aligned to 8 bytes.
func alloc(tls *libc.TLS, n int) uintptr {
	p := lib.Xsqlite3_malloc64(tls, lib.Tsqlite3_uint64(n))
	if p != 0 {
		clear(view(p, n))
		allocations.Add(1)
	}
	return p
}

// release gives back what alloc returned. 0 is allowed.
func release(tls *libc.TLS, p uintptr) {
	if p != 0 {
		lib.Xsqlite3_free(tls, p)
		allocations.Add(-1)
	}
}

// allocString returns a NUL-terminated copy of s, or 0 when there is no memory. The caller releases it.
func allocString(tls *libc.TLS, s string) uintptr {
	p := alloc(tls, len(s)+1)
	if p != 0 {
		copy(view(p, len(s)), s)
	}
	return p
}

// view is the n bytes of C memory at p, borrowed: the slice dies with the block.
func view(p uintptr, n int) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(p)), n)
}

// terminated is the NUL-terminated string at p without its NUL, borrowed. A null pointer is an empty string.
func terminated(p uintptr) []byte {
	if p == 0 {
		return nil
	}
	n := 0
	for *(*byte)(unsafe.Pointer(p + uintptr(n))) != 0 {
		n++
	}
	return view(p, n)
}

// goString copies the NUL-terminated string at p.
func goString(p uintptr) string { return string(terminated(p)) }

// at is the value of type T at the C address p.
func at[T any](p uintptr) *T { return (*T)(unsafe.Pointer(p)) }

// pointer is the C view of a Go function: what lib stores and calls back.
//
// The address of a top-level function is valid for ever. That of a closure is valid only while Go can reach the
// closure, and C memory does not count: whoever stores one must keep it.
func pointer[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&f)) }

// function is the reverse of pointer.
func function[F any](p uintptr) F {
	return *(*F)(unsafe.Pointer(&struct{ uintptr }{p}))
}

// free is lib's own destructor for memory that a value takes over.
var free = pointer(lib.Xsqlite3_free)
