package repl

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jedib0t/go-pretty/v6/text"
)

// fail tells the person of an error, once, and says whether the script goes on: it returns nil, errReported,
// errInterrupted or an *Exit. The name is that of the script; empty where the person sees the text anyway.
func (s *Shell) fail(statement Statement, name string, err error) error {
	var exit *Exit
	switch {
	case err == nil || errors.As(err, &exit) || errors.Is(err, errReported):
		return err
	case errors.Is(err, errInterrupted):
		if found := (*Error)(nil); errors.As(err, &found) {
			s.report(statement, name, found)
		}
		return errInterrupted
	}
	s.report(statement, name, err)
	s.failures++
	if s.keep {
		return nil
	}
	return errReported
}

// report prints an error: what was wrong, where, the source line with a caret below it, and what to do.
//
//	error: no such column: nme
//	  at setup.sql:3
//	  select nme from users
//	         ^
//	hint: did you mean users.name?
func (s *Shell) report(statement Statement, name string, err error) {
	message, found := err.Error(), (*Error)(nil)
	errors.As(err, &found)
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", s.paint(text.FgRed, "error:"), visibleText(message, ""))
	offset := -1
	if found != nil && found.Class == ClassSQL {
		offset = locate(statement.Text, found)
	}
	if name != "" && statement.Line > 0 {
		line := statement.Line
		if offset >= 0 {
			line += strings.Count(statement.Text[:offset], "\n")
		}
		fmt.Fprintf(&b, "  at %s:%d\n", name, line)
	}
	if offset >= 0 {
		source, column := sourceLine(statement.Text, offset)
		fmt.Fprintf(&b, "  %s\n  %s^\n", source, strings.Repeat(" ", column))
	}
	if found != nil {
		hint := s.hint(found)
		if s.Client.Transaction() == TransactionFailed {
			hint = "ROLLBACK; ends the transaction, of which nothing remains"
		}
		if hint != "" {
			fmt.Fprintf(&b, "%s %s\n", s.paint(text.FgCyan, "hint:"), hint)
		}
	}
	fmt.Fprint(s.Stderr, b.String())
}

func (s *Shell) paint(color text.Color, word string) string {
	if !s.Color {
		return word
	}
	return text.Colors{color}.Sprint(word)
}

// named finds the name that an error message of SQLite is about.
var named = []struct {
	kind    string
	pattern *regexp.Regexp
}{
	{"column", regexp.MustCompile(`^no such column: (.+)$`)},
	{"column", regexp.MustCompile(`^table \S+ has no column named (.+)$`)},
	{"column", regexp.MustCompile(`^ambiguous column name: (.+)$`)},
	{"table", regexp.MustCompile(`^no such (?:table|view): (.+)$`)},
	{"function", regexp.MustCompile(`^no such function: (.+)$`)},
	{"keyword", regexp.MustCompile(`^near "(.+)": syntax error$`)},
}

// subject is the kind and name that a message is about, without a schema or table before the name.
func subject(message string) (kind, name string) {
	for _, n := range named {
		if m := n.pattern.FindStringSubmatch(message); m != nil {
			name = m[1]
			if n.kind != "keyword" {
				name = name[strings.LastIndexByte(name, '.')+1:]
			}
			return n.kind, name
		}
	}
	return "", ""
}

// locate is the byte offset of an error in the statement's text, -1 if it has none. SQLite does not know the place of
// every name it misses; where the name stands in the text only once, that is the place.
func locate(sql string, err *Error) int {
	if err.Offset >= 0 && err.Offset < len(sql) {
		return err.Offset
	}
	_, name := subject(err.Message)
	if name == "" {
		return -1
	}
	pattern, bad := regexp.Compile(`(?i)\b` + regexp.QuoteMeta(name) + `\b`)
	if bad != nil {
		return -1
	}
	if found := pattern.FindAllStringIndex(sql, 2); len(found) == 1 {
		return found[0][0]
	}
	return -1
}

// sourceColumns is how much of a long source line is shown around its error.
const sourceColumns = 100

// sourceLine is the line of sql around offset, cut to a readable length, and the column of offset in it.
func sourceLine(sql string, offset int) (line string, column int) {
	begin := strings.LastIndexByte(sql[:offset], '\n') + 1
	before, after := sql[begin:offset], sql[offset:]
	if end := strings.IndexByte(after, '\n'); end >= 0 {
		after = after[:end]
	}
	head, tail := []rune(before), []rune(strings.TrimRight(after, " \r"))
	mark, rest := "", ""
	if len(head) > sourceColumns*2/3 {
		head, mark = head[len(head)-sourceColumns*2/3:], "…"
	}
	if len(head)+len(tail) > sourceColumns {
		tail, rest = tail[:sourceColumns-len(head)], "…"
	}
	shown := mark + oneLine(string(head))
	return shown + oneLine(string(tail)) + rest, text.StringWidthWithoutEscSequences(shown)
}

func oneLine(part string) string {
	return visibleText(strings.ReplaceAll(part, "\t", " "), "")
}

// advice is what a person can do about each class of error.
var advice = map[Class]string{
	ClassBusy:           "another write is in the way; nothing was executed, so it is safe to try again",
	ClassNoQuorum:       "nothing was executed; .nodes shows who can be reached, and .level local still reads",
	ClassOutcomeUnknown: "the write may or may not have happened: look before you repeat it",
	ClassStale:          "this node is behind what the session has seen; try again, or .level local for what it has",
	ClassTooLarge:       "split the statement into smaller ones",
	ClassDenied:         "",
	ClassCancelled:      "the statement was stopped, and nothing of it remains",
	ClassShuttingDown:   "the node is stopping; try again, and another node will answer",
	ClassProtocol:       "",
}

// hint is what to do about an error; empty if nobody knows.
func (s *Shell) hint(err *Error) string {
	if err.Class != ClassSQL {
		return advice[err.Class]
	}
	kind, name := subject(err.Message)
	name = strings.Trim(name, "\"`[]'")
	near := ""
	switch kind {
	case "":
		return ""
	case "keyword":
		near = strings.ToUpper(Nearest(name, keywords))
		if strings.EqualFold(near, name) {
			return ""
		}
	default:
		s.refresh(context.Background(), kind == "function")
		near = s.schema.nearest(kind, name)
	}
	if near == "" {
		return ""
	}
	return "did you mean " + near + "?"
}
