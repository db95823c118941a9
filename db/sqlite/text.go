package sqlite

import (
	"bytes"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// SQLite's instr(), replace(), trim(), ltrim(), rtrim() and unhex() with a second argument compare each place of one
// argument with the whole of another. For two texts of a megabyte that are made for it a single call takes hours, and
// nothing ends it: neither an interrupt nor a count of steps is looked at before the call is over. As part of an entry of
// a replicated log it would stop every replica, again after each restart. The functions of this file give the same results
// in a time that grows with the sum of the lengths.

// installText overrides the functions. They are what the built-in ones are: deterministic, so that an index may use them,
// and innocuous.
func (c *Conn) installText() error {
	flags := int32(lib.SQLITE_UTF8 | lib.SQLITE_DETERMINISTIC | lib.SQLITE_INNOCUOUS)
	for _, f := range []struct {
		name string
		args int32
		call func(tls *libc.TLS, ctx uintptr, argc int32, argv uintptr)
	}{
		{"instr", 2, instrFunction},
		{"replace", 3, replaceFunction},
		{"trim", 2, trimFunction},
		{"ltrim", 2, ltrimFunction},
		{"rtrim", 2, rtrimFunction},
		{"unhex", 2, unhexFunction},
	} {
		name, done := c.lend(f.name)
		rc := lib.Xsqlite3_create_function_v2(c.tls, c.db, name, f.args, flags, 0, pointer(f.call), 0, 0, 0)
		done()
		if rc != lib.SQLITE_OK {
			return c.failure(rc)
		}
	}
	return nil
}

// argument is the value of argument i: a sqlite3_value*.
func argument(argv uintptr, i int) uintptr { return at[[3]uintptr](argv)[i] }

// textArgument borrows argument i as text. It reports false for NULL, and after an error that is then the call's.
func textArgument(tls *libc.TLS, ctx, argv uintptr, i int) ([]byte, bool) {
	value := argument(argv, i)
	p := lib.Xsqlite3_value_text(tls, value)
	if p != 0 {
		return view(p, int(lib.Xsqlite3_value_bytes(tls, value))), true
	}
	if lib.Xsqlite3_value_type(tls, value) != int32(Null) {
		lib.Xsqlite3_result_error_nomem(tls, ctx)
	}
	return nil, false
}

// bytesArgument borrows the bytes of argument i, those of a blob or of anything else as text.
func bytesArgument(tls *libc.TLS, ctx, argv uintptr, i int) (b []byte, isBlob, ok bool) {
	value := argument(argv, i)
	if Type(lib.Xsqlite3_value_type(tls, value)) != Blob {
		b, ok = textArgument(tls, ctx, argv, i)
		return b, false, ok
	}
	p, n := lib.Xsqlite3_value_blob(tls, value), int(lib.Xsqlite3_value_bytes(tls, value))
	if p == 0 && n > 0 {
		lib.Xsqlite3_result_error_nomem(tls, ctx)
		return nil, true, false
	}
	if n == 0 {
		return nil, true, true
	}
	return view(p, n), true, true
}

// result gives the call a text of n bytes, which fill writes.
func result(tls *libc.TLS, ctx uintptr, n int, t Type, fill func([]byte)) {
	p := lib.Xsqlite3_malloc64(tls, lib.Tsqlite3_uint64(n+1))
	if p == 0 {
		lib.Xsqlite3_result_error_nomem(tls, ctx)
		return
	}
	fill(view(p, n))
	if t == Blob {
		lib.Xsqlite3_result_blob64(tls, ctx, p, lib.Tsqlite3_uint64(n), free)
		return
	}
	lib.Xsqlite3_result_text64(tls, ctx, p, lib.Tsqlite3_uint64(n), free, lib.SQLITE_UTF8)
}

// instrFunction is instr(X, Y): where Y is in X, in characters from 1, or in bytes if both are blobs; 0 is nowhere.
func instrFunction(tls *libc.TLS, ctx uintptr, _ int32, argv uintptr) {
	if lib.Xsqlite3_value_type(tls, argument(argv, 0)) == int32(Null) || lib.Xsqlite3_value_type(tls, argument(argv, 1)) == int32(Null) {
		return
	}
	in, inBlob, ok := bytesArgument(tls, ctx, argv, 0)
	if !ok {
		return
	}
	what, whatBlob, ok := bytesArgument(tls, ctx, argv, 1)
	if !ok {
		return
	}
	lib.Xsqlite3_result_int(tls, ctx, int32(instr(in, what, !inBlob || !whatBlob)))
}

func instr(in, what []byte, text bool) int {
	if len(what) == 0 {
		return 1
	}
	found := -1
	newNeedle(what).each(in, true, func(at int) bool {
		if text && at > 0 && isContinuation(in[at]) {
			return true // in the middle of a character
		}
		found = at
		return false
	})
	if found < 0 || !text {
		return found + 1
	}
	characters := 1
	for _, b := range in[1 : found+1] {
		if !isContinuation(b) {
			characters++
		}
	}
	return characters
}

// isContinuation reports whether b is a byte of a UTF-8 character behind its first.
func isContinuation(b byte) bool { return b&0xc0 == 0x80 }

// replaceFunction is replace(X, Y, Z): X with each Y, from the left, replaced by Z.
func replaceFunction(tls *libc.TLS, ctx uintptr, _ int32, argv uintptr) {
	in, ok := textArgument(tls, ctx, argv, 0)
	if !ok {
		return
	}
	what, ok := textArgument(tls, ctx, argv, 1)
	if !ok {
		return
	}
	if len(what) == 0 || what[0] == 0 {
		result(tls, ctx, len(in), Text, func(b []byte) { copy(b, in) })
		return
	}
	by, ok := textArgument(tls, ctx, argv, 2)
	if !ok {
		return
	}
	needle, count := newNeedle(what), 0
	needle.each(in, false, func(int) bool { count++; return true })
	size := len(in) + count*(len(by)-len(what))
	if size > int(lib.Xsqlite3_limit(tls, lib.Xsqlite3_context_db_handle(tls, ctx), int32(LimitLength), -1)) {
		lib.Xsqlite3_result_error_toobig(tls, ctx)
		return
	}
	result(tls, ctx, size, Text, func(b []byte) {
		done := 0
		needle.each(in, false, func(at int) bool {
			b = b[copy(b, in[done:at]):]
			b = b[copy(b, by):]
			done = at + len(what)
			return true
		})
		copy(b, in[done:])
	})
}

// needle is what is looked for. A short one is compared at each place; for a long one borders holds, for each of its
// prefixes, the length of the longest shorter prefix that is also its suffix (Knuth, Morris, Pratt: Fast pattern matching
// in strings, SIAM J. Comput. 6, 1977), so that no byte that was compared is compared again.
type needle struct {
	bytes   []byte
	borders []int32
}

// shortNeedle is the length up to which comparing at each place is the faster way, and bounded.
const shortNeedle = 32

func newNeedle(b []byte) needle {
	if len(b) <= shortNeedle {
		return needle{bytes: b}
	}
	borders := make([]int32, len(b))
	for i, k := 1, int32(0); i < len(b); i++ {
		for k > 0 && b[i] != b[k] {
			k = borders[k-1]
		}
		if b[i] == b[k] {
			k++
		}
		borders[i] = k
	}
	return needle{b, borders}
}

// each calls visit with each place where the needle begins, from the left, until visit returns false. Places overlap only
// if overlap is set.
func (n needle) each(in []byte, overlap bool, visit func(at int) bool) {
	if n.borders == nil {
		n.eachShort(in, overlap, visit)
		return
	}
	k := 0
	for i, b := range in {
		for k > 0 && b != n.bytes[k] {
			k = int(n.borders[k-1])
		}
		if b == n.bytes[k] {
			k++
		}
		if k < len(n.bytes) {
			continue
		}
		if !visit(i + 1 - k) {
			return
		}
		if k = 0; overlap {
			k = int(n.borders[len(n.bytes)-1])
		}
	}
}

func (n needle) eachShort(in []byte, overlap bool, visit func(at int) bool) {
	step := len(n.bytes)
	if overlap {
		step = 1
	}
	for from := 0; ; from += step {
		at := bytes.Index(in[from:], n.bytes)
		if at < 0 || !visit(from+at) {
			return
		}
		from += at
	}
}
