package engine

import "strings"

// savepointVerb is what is done with a savepoint, as SQLite writes it (sqlite.org/lang_savepoint.html).
type savepointVerb string

const (
	setSavepoint     savepointVerb = "SAVEPOINT"
	releaseSavepoint savepointVerb = "RELEASE"
	rollbackTo       savepointVerb = "ROLLBACK TO"
)

// savepointMove is a statement about a savepoint.
type savepointMove struct {
	verb savepointVerb
	name string
}

// parseSavepoint returns the first statement of text if it is one about a savepoint, and what follows it:
//
//	SAVEPOINT name
//	RELEASE [SAVEPOINT] name
//	ROLLBACK [TRANSACTION] TO [SAVEPOINT] name
//
// SQLite's authorizer tells of these too, but not what follows from them: they are kept from SQLite everywhere else.
func parseSavepoint(text string) (m savepointMove, rest string, is bool) {
	s := words{skipBlank(text)}
	switch {
	case s.keyword("savepoint"):
		m.verb = setSavepoint
	case s.keyword("release"):
		m.verb = releaseSavepoint
		s.optional("savepoint")
	case s.keyword("rollback"):
		m.verb = rollbackTo
		s.keyword("transaction")
		if !s.keyword("to") {
			return savepointMove{}, "", false
		}
		s.optional("savepoint")
	default:
		return savepointMove{}, "", false
	}
	name, named := s.name()
	if !named {
		return savepointMove{}, "", false
	}
	m.name = name
	switch rest := s.blank(); {
	case rest == "":
		return m, "", true
	case rest[0] == ';':
		return m, skipBlank(rest), true
	}
	return savepointMove{}, "", false // SQLite has a better error for it
}

// words reads words of SQL.
type words struct{ text string }

// blank skips white space and comments, but no semicolon.
func (w *words) blank() string {
	for {
		before := w.text
		w.text = strings.TrimLeft(w.text, " \t\n\f\r")
		if strings.HasPrefix(w.text, "--") || strings.HasPrefix(w.text, "/*") {
			// A comment ends before the next semicolon that counts, or with the text.
			if strings.HasPrefix(w.text, "--") {
				_, w.text, _ = strings.Cut(w.text, "\n")
			} else {
				_, w.text, _ = strings.Cut(w.text[2:], "*/")
			}
		}
		if w.text == before {
			return w.text
		}
	}
}

// keyword takes a keyword, given in lower case, if it comes next.
func (w *words) keyword(keyword string) bool {
	text := w.blank()
	if len(text) < len(keyword) || !strings.EqualFold(text[:len(keyword)], keyword) {
		return false
	}
	if len(text) > len(keyword) && identifierByte(text[len(keyword)]) {
		return false
	}
	w.text = text[len(keyword):]
	return true
}

// optional takes a keyword if another word follows it: else it is a name.
func (w *words) optional(keyword string) {
	before := w.text
	if w.keyword(keyword) {
		if rest := w.blank(); rest == "" || rest[0] == ';' {
			w.text = before
		}
	}
}

// name takes a name, quoted in one of SQLite's ways or not (sqlite.org/lang_keywords.html).
func (w *words) name() (string, bool) {
	text := w.blank()
	if text == "" {
		return "", false
	}
	switch quote := text[0]; quote {
	case '"', '\'', '`':
		return w.quoted(text[1:], string(quote))
	case '[':
		name, rest, closed := strings.Cut(text[1:], "]")
		w.text = rest
		return name, closed
	}
	end := 0
	for end < len(text) && identifierByte(text[end]) {
		end++
	}
	w.text = text[end:]
	return text[:end], end > 0 && (text[0] < '0' || text[0] > '9') && text[0] != '$'
}

// quoted takes a name up to its closing quote; a doubled one stands for itself.
func (w *words) quoted(text, quote string) (string, bool) {
	var name strings.Builder
	for {
		part, rest, closed := strings.Cut(text, quote)
		name.WriteString(part)
		if !closed {
			return "", false
		}
		if !strings.HasPrefix(rest, quote) {
			w.text = rest
			return name.String(), true
		}
		name.WriteString(quote)
		text = rest[len(quote):]
	}
}
