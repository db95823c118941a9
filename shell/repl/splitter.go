package repl

import (
	"bytes"
	"fmt"
	"strings"
)

// MaxStatement is the longest statement that a Splitter collects, in bytes. A client frame is at most 32 MiB.
const MaxStatement = 24 << 20

// Statement is one complete SQL statement without the blanks and comments before it.
type Statement struct {
	Text string // with its semicolon, unless the input ended without one
	Line int    // line of its first byte, from 1
}

// Splitter finds the ends of statements in text that comes in pieces. It knows as much of SQL as sqlite3_complete
// does (https://sqlite.org/c3ref/complete.html): quotes, comments, and that a trigger ends at "; END ;". It decides
// only where to cut, never what a statement means; that is the server's business.
//
// Feed adds text, Next takes the complete statements out of it. A Splitter remembers how far it has read, so a long
// script costs one pass.
type Splitter struct {
	buf   []byte
	pos   int // buf[:pos] has been scanned
	start int // first byte of the statement being collected; -1: only blanks and comments so far
	line  int // line of buf[pos], from 1
	begun int // line of buf[start]
	where lexis
	quote byte // what ends the quoted text of lexis inQuote
	shape shape
	limit int // of a statement, in bytes
}

// lexis is what kind of text pos stands in.
type lexis byte

const (
	inCode lexis = iota
	inQuote
	inLineComment
	inBlockComment
)

// shape is how far a statement is known to be a trigger's.
//
//	atStart ─explain→ atExplain ─create→ atCreate ─temp→ atCreate ─trigger→ inHead ─begin→ inBody
//	inBody ─;→ afterSemicolon ─end→ atEnd ─;→ (complete)
//
// Any other word leads from the first three to plain, and back to inBody from the last two.
type shape byte

const (
	atStart shape = iota
	atExplain
	atCreate
	plain // a semicolon ends it
	inHead
	inBody // semicolons end the statements inside
	afterSemicolon
	atEnd
)

// NewSplitter returns a Splitter at line 1.
func NewSplitter() *Splitter { return &Splitter{start: -1, line: 1, limit: MaxStatement} }

// Feed adds text behind what was fed before. A piece should end at the end of a line or of the input: a word or a
// comment mark cut in two is taken for two.
func (s *Splitter) Feed(text string) error {
	if len(s.buf)-max(s.start, 0)+len(text) > s.limit {
		return fmt.Errorf("the statement that begins at line %d is longer than %d MiB: split it, or look for a missing quote or semicolon",
			max(s.begun, 1), s.limit>>20)
	}
	s.buf = append(s.buf, text...)
	return nil
}

// Next takes the next complete statement out. Statements of nothing but a semicolon are left out.
func (s *Splitter) Next() (Statement, bool) {
	for s.pos < len(s.buf) {
		if s.scan() {
			if statement, ok := s.cut(s.pos); ok {
				return statement, true
			}
		}
	}
	s.dropBlank()
	return Statement{}, false
}

// Rest takes out what is left at the end of the input: a statement without its semicolon.
func (s *Splitter) Rest() (Statement, bool) {
	if statement, ok := s.Next(); ok {
		return statement, true
	}
	return s.cut(len(s.buf))
}

// Pending reports whether a statement or comment has begun and not ended.
func (s *Splitter) Pending() bool { return s.start >= 0 || s.where == inBlockComment }

// Line is the line that the next text fed will begin in or continue.
func (s *Splitter) Line() int { return s.line }

// Reset forgets an unfinished statement.
func (s *Splitter) Reset() {
	s.buf, s.pos, s.start = s.buf[:0], 0, -1
	s.where, s.shape = inCode, atStart
}

// cut takes out the statement that ends before end, if there is more to it than blanks and a semicolon.
func (s *Splitter) cut(end int) (Statement, bool) {
	text := ""
	if s.start >= 0 {
		text = strings.TrimRight(string(s.buf[s.start:end]), " \t\r\n\f")
	}
	statement := Statement{text, s.begun}
	s.buf = s.buf[end:]
	s.pos, s.start, s.where, s.shape = 0, -1, inCode, atStart
	return statement, text != "" && text != ";"
}

// dropBlank frees blanks and comments that belong to no statement.
func (s *Splitter) dropBlank() {
	if s.start < 0 {
		s.buf, s.pos = s.buf[:0], 0
	}
}

// scan reads one token, or one piece of a quote or comment, and reports whether a statement ends behind it.
func (s *Splitter) scan() (complete bool) {
	switch s.where {
	case inQuote:
		s.through(string(s.quote))
	case inLineComment:
		s.through("\n")
	case inBlockComment:
		s.through("*/")
	default:
		return s.code()
	}
	return false
}

// through moves behind the next mark, which ends the present lexis, or to the end of the text.
func (s *Splitter) through(mark string) {
	rest := s.buf[s.pos:]
	n := bytes.Index(rest, []byte(mark))
	if n < 0 {
		s.advance(len(rest))
		return
	}
	s.advance(n + len(mark))
	s.where = inCode
}

// advance moves pos over n bytes and counts their lines.
func (s *Splitter) advance(n int) {
	for _, b := range s.buf[s.pos : s.pos+n] {
		if b == '\n' {
			s.line++
		}
	}
	s.pos += n
}

func (s *Splitter) code() (complete bool) {
	rest := s.buf[s.pos:]
	switch b := rest[0]; {
	case b == ' ' || b == '\t' || b == '\n' || b == '\r' || b == '\f':
		s.advance(1)
	case b == '-' && len(rest) > 1 && rest[1] == '-':
		s.advance(2)
		s.where = inLineComment
	case b == '/' && len(rest) > 1 && rest[1] == '*':
		s.advance(2)
		s.where = inBlockComment
	case b == ';':
		s.begin()
		s.advance(1)
		return s.semicolon()
	case b == '\'' || b == '"' || b == '`' || b == '[':
		s.open(b)
	case isWord(b):
		s.begin()
		n := 1
		for n < len(rest) && isWord(rest[n]) {
			n++
		}
		s.word(strings.ToLower(string(rest[:min(n, 16)])))
		s.advance(n)
	default:
		s.begin()
		s.advance(1)
		s.word("")
	}
	return false
}

func (s *Splitter) begin() {
	if s.start < 0 {
		s.start, s.begun = s.pos, s.line
	}
}

// open enters a quotation. A doubled quote inside one closes and opens again, which comes to the same.
func (s *Splitter) open(b byte) {
	s.begin()
	s.word("")
	s.advance(1)
	s.where, s.quote = inQuote, b
	if b == '[' {
		s.quote = ']'
	}
}

func (s *Splitter) semicolon() (complete bool) {
	switch s.shape {
	case inBody, afterSemicolon:
		s.shape = afterSemicolon
		return false
	default:
		return true
	}
}

// word moves shape by a lower-case word; "" is anything that is no word.
func (s *Splitter) word(word string) {
	switch s.shape {
	case atStart:
		switch word {
		case "explain":
			s.shape = atExplain
		case "create":
			s.shape = atCreate
		default:
			s.shape = plain
		}
	case atExplain:
		switch word {
		case "query", "plan":
		case "create":
			s.shape = atCreate
		default:
			s.shape = plain
		}
	case atCreate:
		switch word {
		case "temp", "temporary":
		case "trigger":
			s.shape = inHead
		default:
			s.shape = plain
		}
	case inHead:
		if word == "begin" {
			s.shape = inBody
		}
	case afterSemicolon:
		s.shape = inBody
		if word == "end" {
			s.shape = atEnd
		}
	case atEnd:
		s.shape = inBody
	}
}

// isWord reports whether b can stand in a keyword or name, as SQLite's tokenizer has it.
func isWord(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '_' || b == '$' || b >= 0x80
}
