package engine

import (
	"strings"

	"github.com/rsqld/rsqld/db/sqlite"
)

// windowBytes is how much of a long text is first given to SQLite to prepare one statement of it. Without a window a
// script of n statements would be copied n times.
const windowBytes = 4 << 10

// preparer prepares the statements of users on one connection, in one role. Like the connection it belongs to one
// goroutine at a time.
type preparer struct {
	conn *sqlite.Conn
	// settings returns those that hold now.
	settings func() settings
	// facts are of the statement prepared last. They grow while it steps if SQLite prepares it again.
	facts facts
	// offered counts the bytes of text that were given to SQLite, so that tests see what splitting a script costs.
	offered int
}

func newPreparer(conn *sqlite.Conn, r role, current func() settings) *preparer {
	p := &preparer{conn: conn, settings: current}
	conn.SetAuthorizer(string(r), func(a sqlite.Action) sqlite.Decision {
		return p.facts.authorize(p.settings(), a)
	})
	return p
}

// prepare prepares the first statement of text and returns what follows it: the empty string if only comments do. The
// statement is nil if text holds none; else the caller gives it back by done. The error is a *PolicyError, a *LimitError
// or SQLite's.
//
// A text is split by calling prepare with what follows until nothing does. What each call looks at is bounded by the
// length of its statement, not of the text.
func (p *preparer) prepare(text string) (stmt *sqlite.Stmt, rest string, err error) {
	p.facts = facts{}
	if beginsWith(text, "vacuum") {
		return nil, "", refuseVacuum()
	}
	stmt, rest, err = p.first(text)
	if err == nil {
		return stmt, skipBlank(rest), nil
	}
	if p.facts.refusal != nil {
		err = p.facts.refusal
	}
	return nil, "", p.settings().named(err)
}

// first prepares the first statement of text. A single statement comes from the cache.
func (p *preparer) first(text string) (stmt *sqlite.Stmt, rest string, err error) {
	longest := int(p.settings().maxStatement)
	if _, after, _ := strings.Cut(text, ";"); skipBlank(after) == "" && len(text) <= longest && strings.IndexByte(text, 0) < 0 {
		p.offered += len(text)
		return p.conn.Cached(text)
	}
	for size := windowBytes; ; size *= 4 {
		window := text[:min(size, len(text), longest+len("; "))]
		zero := strings.IndexByte(window, 0)
		if zero >= 0 {
			window = window[:zero]
		}
		p.offered += len(window)
		stmt, rest, err = p.conn.Prepare(window)
		ended := len(window) - len(rest)
		tooLong := &LimitError{SettingMaxStatement, int64(longest), "bytes in one SQL statement"}
		switch {
		case len(strings.TrimSuffix(window[:ended], ";")) > longest:
			err = tooLong
		case len(window) == len(text), err == nil && rest != "":
			// A statement that SQLite ends before the end of the window ends there whatever follows. Any other outcome
			// may be the window's fault.
			return stmt, text[ended:], err
		case zero >= 0:
			err = &PolicyError{"a NUL byte in SQL", "SQLite would read the text only up to it; give the value as an argument"}
		case len(window) > longest:
			err = tooLong
		default:
			err = nil
		}
		if stmt != nil {
			stmt.Release()
		}
		if err != nil {
			return nil, "", err
		}
		p.facts = facts{deferred: p.facts.deferred}
	}
}

// done gives a statement back. One that did something remarkable does not go back to the cache.
func (p *preparer) done(stmt *sqlite.Stmt) {
	if p.facts.remarkable() {
		// The error of the last step, which its caller has had.
		_ = stmt.Finalize()
		return
	}
	stmt.Release()
}

// parameters lists those of a statement.
func parameters(stmt *sqlite.Stmt) []Parameter {
	count := stmt.ParamCount()
	if count == 0 {
		return nil
	}
	list := make([]Parameter, count)
	for i := range list {
		// "?NNN" has a name for SQLite and is a number for us.
		if name := stmt.ParamName(i + 1); name != "" && name[0] != '?' {
			list[i].Name = name[1:]
		}
	}
	return list
}

// columns describes the columns of a statement, nil if it returns no rows.
func columns(stmt *sqlite.Stmt) []Column {
	count := stmt.ColumnCount()
	if count == 0 {
		return nil
	}
	list := make([]Column, count)
	for i := range list {
		list[i] = Column{stmt.ColumnName(i), strings.ToUpper(stmt.ColumnDeclType(i))}
	}
	return list
}
