package repl

import (
	"encoding/hex"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// plainText is a value as csv, tabs and list show it: bytes as they are.
func plainText(v any, null string) string {
	switch v := v.(type) {
	case nil:
		return null
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return realText(v)
	case string:
		return v
	case []byte:
		return string(v)
	default:
		panic("a value that SQLite has no storage class for")
	}
}

// visibleText is a value as box, table, column, line, markdown and html show it: blobs in hexadecimal, and control
// characters in caret notation, so that no row can steer the reader's terminal. Tabs and line ends stay.
func visibleText(v any, null string) string {
	if blob, ok := v.([]byte); ok {
		return blobLiteral(blob)
	}
	text := plainText(v, null)
	if v == nil {
		return text
	}
	if strings.IndexFunc(text, steers) < 0 && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case r < 0x20 && steers(r):
			b.WriteByte('^')
			b.WriteRune(r + '@')
		case r == 0x7f:
			b.WriteString("^?")
		case steers(r):
			b.WriteRune(utf8.RuneError)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// steers reports whether a terminal may act on r instead of showing it: C0 and C1 controls, and the marks that turn
// the direction of text around.
func steers(r rune) bool {
	return r < 0x20 && r != '\t' && r != '\n' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// sqlLiteral is a value as SQL text that gives the same value again.
func sqlLiteral(v any) string {
	switch v := v.(type) {
	case string:
		return "'" + strings.ReplaceAll(v, "'", "''") + "'"
	case []byte:
		return blobLiteral(v)
	case float64:
		if math.IsInf(v, 0) {
			return infinity(v)
		}
	}
	return plainText(v, "NULL")
}

func blobLiteral(blob []byte) string { return "X'" + strings.ToUpper(hex.EncodeToString(blob)) + "'" }

// quoteName is a name as SQL text.
func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// realText is f with as few digits as give the same float64 again, in SQLite's layout: always with a point, and with
// an exponent below 1e-4 and from 1e15 on.
func realText(f float64) string {
	if math.IsInf(f, 0) {
		return strings.TrimPrefix(strconv.FormatFloat(f, 'g', -1, 64), "+")
	}
	text := strconv.FormatFloat(f, 'e', -1, 64)
	mantissa, exponent, _ := strings.Cut(text, "e")
	if e, _ := strconv.Atoi(exponent); e >= -4 && e < 15 {
		text = strconv.FormatFloat(f, 'f', -1, 64)
		if !strings.Contains(text, ".") {
			text += ".0"
		}
		return text
	}
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	return mantissa + "e" + exponent
}

// infinity is a literal that SQLite and JSON readers take for an infinite number.
func infinity(f float64) string {
	if f < 0 {
		return "-9.0e+999"
	}
	return "9.0e+999"
}

const hexDigits = "0123456789abcdef"

// appendJSON appends a value as JSON. Blobs are strings of hexadecimal digits; bytes that are not UTF-8 become U+FFFD.
func appendJSON(dst []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return appendJSONString(dst, v)
	case []byte:
		return append(hex.AppendEncode(append(dst, '"'), v), '"')
	case float64:
		if math.IsInf(v, 0) {
			return append(dst, infinity(v)...)
		}
	}
	return append(dst, plainText(v, "null")...)
}

func appendJSONString(dst []byte, text string) []byte {
	dst = append(dst, '"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\r':
			dst = append(dst, `\r`...)
		case r == '\t':
			dst = append(dst, `\t`...)
		case r < 0x20 || r == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}
