package engine

import "strings"

// skipBlank returns what is left of text after white space, comments and semicolons (sqlite.org/lang_comment.html). An
// unfinished block comment reaches to the end, as it does for SQLite.
//
// It is used only where SQLite's own parser does not say it: to see whether anything follows the last statement, and
// to know VACUUM, which the authorizer is not asked about, and PRAGMA, which it is asked about for other statements too.
// Statements are split by the parser.
func skipBlank(text string) string {
	for text != "" {
		switch {
		case strings.IndexByte(" \t\n\f\r;", text[0]) >= 0:
			text = text[1:]
		case strings.HasPrefix(text, "--"):
			_, text, _ = strings.Cut(text, "\n")
		case strings.HasPrefix(text, "/*"):
			_, text, _ = strings.Cut(text[2:], "*/")
		case strings.HasPrefix(text, "\ufeff"):
			text = text[len("\ufeff"):]
		default:
			return text
		}
	}
	return ""
}

// beginsWith reports whether the first statement of text begins with a keyword, given in lower case. Every statement of
// SQLite begins with its keyword.
func beginsWith(text, keyword string) bool {
	text = skipBlank(text)
	if len(text) < len(keyword) || !strings.EqualFold(text[:len(keyword)], keyword) {
		return false
	}
	return len(text) == len(keyword) || !identifierByte(text[len(keyword)])
}

// identifierByte reports whether b continues an unquoted word.
func identifierByte(b byte) bool {
	return b == '_' || b == '$' || b >= 0x80 || '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
}
