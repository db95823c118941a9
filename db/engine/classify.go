package engine

import (
	"errors"
	"fmt"
	"sync"

	"github.com/rsqld/rsqld/db/sqlite"
)

// Class is what a statement is to the cluster.
type Class uint8

const (
	// Empty is white space and comments.
	Empty Class = iota
	// Read changes nothing and may run on a reader of any node.
	Read
	// Write must go through the log.
	Write
)

func (c Class) String() string {
	switch c {
	case Empty:
		return "empty"
	case Read:
		return "read"
	case Write:
		return "write"
	}
	return fmt.Sprintf("Class(%d)", uint8(c))
}

// Piece is one statement of a text.
type Piece struct {
	// SQL is its text, as it stands in the whole.
	SQL   string
	Class Class
	// Parameters are those of the statement, in the order of their numbers.
	Parameters []Parameter
}

// Classify splits a text and says of each statement what it is, up to the first write: what follows that may need the
// tables that it makes, and cannot be prepared yet. The last piece is then a Write whose SQL is the whole rest and whose
// Parameters are those of its first statement.
//
// The error is a *PolicyError for a statement that is refused on every node, and otherwise SQLite's. A statement that
// does not prepare here ("no such table") may prepare on a node that has applied more.
//
// Whether a caller wants rows back says nothing about the class: INSERT … RETURNING is a write.
func (e *Engine) Classify(text string) ([]Piece, error) {
	var pieces []Piece
	for {
		piece, rest, err := e.Next(text)
		if err != nil {
			return pieces, err
		}
		if piece.Class == Write {
			piece.SQL = text
		}
		pieces = append(pieces, piece)
		if piece.Class == Write || rest == "" {
			return pieces, nil
		}
		text = rest
	}
}

// Next returns the first statement of a text and what follows it: the empty string if only comments and semicolons do.
// Errors are those of Classify.
func (e *Engine) Next(text string) (piece Piece, rest string, err error) {
	return e.classifier.next(text)
}

// classifier prepares statements to see what they are, on a connection of its own: on a pool of readers slow reads would
// hold up every write. What it found is kept by text, for one version of the schema.
type classifier struct {
	engine *Engine

	mu     sync.Mutex
	closed bool
	users  *preparer // nil until the first use
	// known holds what was found of texts that were a single statement, under the settings in knownUnder.
	known      map[string]Piece
	knownUnder classKey
	// stale says that the connection may have an older schema in memory.
	stale bool
}

// classKey is what a class depends on besides the text.
type classKey struct {
	schema int64
	limits settings
}

// Limits of what the classifier keeps.
const (
	knownTexts     = 4096
	knownTextBytes = 8 << 10
)

func newClassifier(e *Engine) *classifier { return &classifier{engine: e} }

func (c *classifier) next(text string) (piece Piece, rest string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return Piece{}, "", ErrClosed
	}
	s := c.engine.committed.Load()
	if key := (classKey{s.schemaVersion, s.limits}); c.known == nil || c.knownUnder != key || len(c.known) >= knownTexts {
		c.known, c.knownUnder, c.stale = make(map[string]Piece), key, true
	}
	if len(text) <= knownTextBytes { // a longer one is not even hashed, for it may be the rest of a long script
		if piece, known := c.known[text]; known {
			return piece, "", nil
		}
	}
	if err := c.connect(); err != nil {
		return Piece{}, "", err
	}
	if c.stale {
		s.limits.limit(c.users.conn)
		// SQLite prepares against the schema that the connection has in memory; only a step compares it with the file's.
		if err := c.users.conn.Exec("SELECT 1 FROM sqlite_schema LIMIT 1"); err != nil {
			return Piece{}, "", fmt.Errorf("reading the schema: %w", err)
		}
		c.stale = false
	}
	piece, rest, err = c.classify(text)
	if err == nil && rest == "" && len(text) <= knownTextBytes {
		c.known[text] = piece
	}
	return piece, rest, err
}

func (c *classifier) connect() error {
	if c.users != nil {
		return nil
	}
	conn, err := openReader(c.engine)
	if err != nil {
		return err
	}
	c.users = newPreparer(conn, roleClassifier, func() settings { return c.engine.committed.Load().limits })
	return nil
}

// classify prepares the first statement of text.
func (c *classifier) classify(text string) (Piece, string, error) {
	stmt, rest, err := c.users.prepare(text)
	if err != nil {
		return Piece{}, "", err
	}
	if stmt == nil {
		return Piece{SQL: text, Class: Empty}, "", nil
	}
	defer c.users.done(stmt)
	piece := Piece{SQL: text[:len(text)-len(rest)], Class: classOf(text, stmt, &c.users.facts), Parameters: parameters(stmt)}
	if piece.Class == Write {
		if refusal := c.users.facts.verdict(); refusal != nil {
			return Piece{}, "", refusal
		}
	}
	return piece, rest, nil
}

// classOf says what a prepared statement is. SQLite's own judgement (sqlite3_stmt_readonly) is not enough: it calls
// DROP TRIGGER IF EXISTS a read where the trigger is not there yet, and EXPLAIN INSERT a write. A statement without
// result columns is a write unless it is a PRAGMA that reads.
func classOf(text string, stmt *sqlite.Stmt, f *facts) Class {
	switch {
	case stmt.IsExplain() != 0:
		return Read
	case beginsWith(text, "pragma"):
		if f.pragma == pragmaReads {
			return Read
		}
		return Write
	case stmt.ColumnCount() == 0, !stmt.ReadOnly():
		return Write
	}
	return Read
}

// abandon lets go of the database file, because another one takes its place.
func (c *classifier) abandon() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.disconnect()
}

// disconnect needs c.mu.
func (c *classifier) disconnect() error {
	users := c.users
	c.users, c.known = nil, nil
	if users == nil {
		return nil
	}
	return users.conn.Close()
}

func (c *classifier) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return c.disconnect()
}

// joinClose joins the errors of closing several things.
func joinClose(errs []error) error {
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing the database: %w", err)
	}
	return nil
}
