package dump

import (
	"bytes"
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rsqld/rsqld/db/sqlite"
)

// appendLiteral appends a value as SQL text that gives the same value again.
func appendLiteral(dst []byte, v sqlite.Value) []byte {
	switch v.Type {
	case sqlite.Integer:
		if v.Int == math.MinInt64 { // the parser takes the digits for a real before it sees the sign
			return append(dst, "(-9223372036854775807-1)"...)
		}
		return strconv.AppendInt(dst, v.Int, 10)
	case sqlite.Float:
		return appendReal(dst, v.Float)
	case sqlite.Text:
		return appendText(dst, v.Bytes)
	case sqlite.Blob:
		return appendBlob(dst, v.Bytes)
	}
	return append(dst, "NULL"...)
}

// realDigits are as many as tell every two float64 apart.
const realDigits = 17

// appendReal appends a real. It always has a point or an exponent: without one it would be an integer.
func appendReal(dst []byte, f float64) []byte {
	switch {
	case math.IsInf(f, 1):
		return append(dst, "9.0e+999"...)
	case math.IsInf(f, -1):
		return append(dst, "-9.0e+999"...)
	}
	from := len(dst)
	dst = strconv.AppendFloat(dst, f, 'g', realDigits, 64)
	if short := strconv.FormatFloat(f, 'g', -1, 64); len(short) <= shortDigits {
		dst = append(dst[:from], short...)
	}
	if !bytes.ContainsAny(dst[from:], ".e") {
		dst = append(dst, ".0"...)
	}
	return dst
}

// shortDigits bounds the literals that SQLite surely reads as the nearest float64: a few digits less than it counts
// with.
const shortDigits = 15

// appendText appends a text. One that would not survive a line of a script, or is no UTF-8, is written by its bytes:
// sqlite3 takes CR LF for a line end.
func appendText(dst, text []byte) []byte {
	if bytes.ContainsAny(text, "\x00\r") || !utf8.Valid(text) {
		return append(appendBlob(append(dst, "CAST("...), text), " AS TEXT)"...)
	}
	dst = append(dst, '\'')
	for {
		quote := bytes.IndexByte(text, '\'')
		if quote < 0 {
			return append(append(dst, text...), '\'')
		}
		dst = append(append(dst, text[:quote]...), "''"...)
		text = text[quote+1:]
	}
}

func appendBlob(dst, blob []byte) []byte {
	return append(hex.AppendEncode(append(dst, "X'"...), blob), '\'')
}

// quoteName is a name as SQL text.
func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// quoteText is a text as SQL text.
func quoteText(text string) string { return string(appendText(nil, []byte(text))) }
