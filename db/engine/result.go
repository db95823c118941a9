package engine

import "github.com/rsqld/rsqld/raft"

// MaxResultBytes is how many bytes of packed rows the statements of one entry may return together. What a statement
// returns beyond it is executed and not kept, and StatementResult.RowsDropped says so.
const MaxResultBytes = 1 << 20

// Result is what applying one command came to: the answer to whoever proposed it. Every field but the rows of a SELECT
// is the same on every replica. A Result is never changed after Apply returned it.
type Result struct {
	// Index is the entry's.
	Index raft.Index
	// Err is why the command was refused or rolled back, or nil: a *sqlite.Error, *PolicyError, *LimitError,
	// *ArgumentError or one of the sentinels of this package. It is final: the command had no effect and never will.
	Err error
	// Code and Extended are SQLite's primary and extended result code of Err, zero if there is none.
	Code, Extended int
	// Statement and SQL are which statement of the script failed, from 0, and the one of its texts' statements.
	Statement int
	SQL       string
	// Statements holds one element for each SQL statement executed, empty ones left out; nil if Err is not nil.
	Statements []StatementResult
	// Node is the node id that UseToken gave, which is the same for every use by one public key.
	Node raft.ID
	// Repeated says that the command was not executed: its session has written it before, and this is what it came to, at
	// Index; or it is refused because of what its session has done.
	Repeated bool
	// first is the memory of Statements if there is one, as in most entries.
	first [1]StatementResult
}

func (r *Result) add(s StatementResult) {
	if r.Statements == nil {
		r.Statements = r.first[:0]
	}
	r.Statements = append(r.Statements, s)
}

// StatementResult is what one statement of a script came to.
type StatementResult struct {
	// RowsAffected is sqlite3_changes, zero for a statement that is neither INSERT, UPDATE nor DELETE.
	RowsAffected int64
	// LastInsertID is sqlite3_last_insert_rowid after the statement, zero if no earlier statement of the entry
	// inserted either.
	LastInsertID int64
	// Columns are those of a statement that returns rows (RETURNING, SELECT), else nil.
	Columns []Column
	// Rows holds RowCount rows, packed as package wire describes.
	Rows     []byte
	RowCount int
	// RowsDropped says that the statement returned more rows than MaxResultBytes had room for. The statement was
	// executed whole; Rows holds none of its rows.
	RowsDropped bool
}

// Column describes one column of a result.
type Column struct {
	// Name is the AS name, or what SQLite makes up.
	Name string
	// DeclaredType is the type in upper case as the table declares it, empty for an expression.
	DeclaredType string
}
