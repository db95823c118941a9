package sqlite

import (
	"bytes"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// trimFunction is trim(X, Y): X without the characters of Y at both ends.
func trimFunction(tls *libc.TLS, ctx uintptr, _ int32, argv uintptr) {
	trim(tls, ctx, argv, true, true)
}

// ltrimFunction is ltrim(X, Y).
func ltrimFunction(tls *libc.TLS, ctx uintptr, _ int32, argv uintptr) {
	trim(tls, ctx, argv, true, false)
}

// rtrimFunction is rtrim(X, Y).
func rtrimFunction(tls *libc.TLS, ctx uintptr, _ int32, argv uintptr) {
	trim(tls, ctx, argv, false, true)
}

func trim(tls *libc.TLS, ctx, argv uintptr, left, right bool) {
	in, ok := textArgument(tls, ctx, argv, 0)
	if !ok {
		return
	}
	what, ok := textArgument(tls, ctx, argv, 1)
	if !ok {
		return
	}
	set, ok := newCharacters(what)
	if !ok {
		fail(tls, ctx, "the second argument of trim() is not UTF-8: it has a character of more than 4 bytes")
		return
	}
	if left {
		in = set.trimLeft(in)
	}
	if right {
		in = set.trimRight(in)
	}
	result(tls, ctx, len(in), Text, func(b []byte) { copy(b, in) })
}

// fail gives the call an error.
func fail(tls *libc.TLS, ctx uintptr, message string) {
	p := allocString(tls, message)
	if p == 0 {
		lib.Xsqlite3_result_error_nomem(tls, ctx)
		return
	}
	defer release(tls, p)
	lib.Xsqlite3_result_error(tls, ctx, p, -1)
}

// maxCharacter is the length of the longest character of UTF-8.
const maxCharacter = 4

// characters are those to be trimmed, as SQLite cuts a text into them: a byte from 0xc0 on goes with all the continuation
// bytes behind it, any other byte is alone. Each is at the place where it first was: where two of them fit, the first
// counts, as two may in a text that is no UTF-8.
type characters map[string]int

// newCharacters cuts a text up to its first NUL. It reports false if a character is longer than UTF-8 has any.
func newCharacters(text []byte) (characters, bool) {
	text, _, _ = bytes.Cut(text, []byte{0})
	set := characters{}
	for len(text) > 0 {
		n := 1
		for text[0] >= 0xc0 && n < len(text) && isContinuation(text[n]) {
			if n++; n > maxCharacter {
				return nil, false
			}
		}
		if _, there := set[string(text[:n])]; !there {
			set[string(text[:n])] = len(set)
		}
		text = text[n:]
	}
	return set, true
}

func (set characters) trimLeft(text []byte) []byte {
	for {
		n := set.first(func(n int) []byte { return text[:n] }, len(text))
		if n == 0 {
			return text
		}
		text = text[n:]
	}
}

func (set characters) trimRight(text []byte) []byte {
	for {
		n := set.first(func(n int) []byte { return text[len(text)-n:] }, len(text))
		if n == 0 {
			return text
		}
		text = text[:len(text)-n]
	}
}

// first is the length of the character that fits at one end of a text and is the first in the set; zero is none. end gives
// the n bytes at that end.
func (set characters) first(end func(n int) []byte, most int) int {
	length, place := 0, len(set)
	for n := 1; n <= min(most, maxCharacter); n++ {
		if at, there := set[string(end(n))]; there && at < place {
			length, place = n, at
		}
	}
	return length
}

// unhexFunction is unhex(X, Y): the bytes that the hexadecimal digits of X stand for, where characters of Y may be between
// two pairs of digits; NULL if X holds anything else.
func unhexFunction(tls *libc.TLS, ctx uintptr, _ int32, argv uintptr) {
	in, ok := textArgument(tls, ctx, argv, 0)
	if !ok {
		return
	}
	between, ok := textArgument(tls, ctx, argv, 1)
	if !ok {
		return
	}
	out, ok := unhex(in, between)
	if ok {
		result(tls, ctx, len(out), Blob, func(b []byte) { copy(b, out) })
	}
}

func unhex(in, between []byte) (out []byte, ok bool) {
	in, _, _ = bytes.Cut(in, []byte{0})
	set := map[uint32]bool{}
	for len(between) > 0 {
		var c uint32
		c, between = readCharacter(between)
		set[c] = true
	}
	for {
		for len(in) > 0 && hexDigit(in[0]) < 0 {
			var c uint32
			if c, in = readCharacter(in); !set[c] {
				return nil, false
			}
		}
		if len(in) == 0 {
			return out, true
		}
		if len(in) == 1 || hexDigit(in[1]) < 0 {
			return nil, false
		}
		out = append(out, byte(hexDigit(in[0])<<4|hexDigit(in[1])))
		in = in[2:]
	}
}

func hexDigit(b byte) int {
	switch {
	case '0' <= b && b <= '9':
		return int(b - '0')
	case 'a' <= b && b <= 'f':
		return int(b-'a') + 10
	case 'A' <= b && b <= 'F':
		return int(b-'A') + 10
	}
	return -1
}

// readCharacter decodes the first character as SQLite does, which reads more than UTF-8 allows and takes U+FFFD for what
// it cannot accept.
func readCharacter(text []byte) (c uint32, rest []byte) {
	c, rest = uint32(text[0]), text[1:]
	if c < 0xc0 {
		return c, rest
	}
	c = leadBits(c)
	for len(rest) > 0 && isContinuation(rest[0]) {
		c, rest = c<<6+uint32(rest[0]&0x3f), rest[1:]
	}
	if c < 0x80 || c&0xfffff800 == 0xd800 || c&0xfffffffe == 0xfffe {
		c = 0xfffd
	}
	return c, rest
}

// leadBits are the bits of a first byte that belong to the character.
func leadBits(b uint32) uint32 {
	switch {
	case b < 0xe0:
		return b & 0x1f
	case b < 0xf0:
		return b & 0x0f
	case b < 0xf8:
		return b & 0x07
	case b < 0xfc:
		return b & 0x03
	case b < 0xfe:
		return b & 0x01
	}
	return 0
}
