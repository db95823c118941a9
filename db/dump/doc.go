// Package dump writes a SQLite database as SQL text, and says how the rows of one can be read and inserted elsewhere.
//
// # Model
//
// A [Schema] is what a database has beside rows: tables, each with the SELECT that reads all that an INSERT has to give
// back, indexes, views and triggers. [Read] reads it from a connection. [Write] writes schema and rows as a script.
//
// The script has the form that sqlite3's .dump has (sqlite.org/cli.html#converting_an_entire_database_to_a_text_file):
// foreign keys off, one transaction. It differs where that form would lose something or needs a writable schema:
//
//	rowids                  written where no column holds them
//	texts                   with a NUL, a CR or bytes that are no UTF-8: CAST(X'…' AS TEXT)
//	reals                   as many digits as give the same number again
//	FTS5, R-tree, geopoly   CREATE VIRTUAL TABLE and INSERTs into it; an index of foreign text is rebuilt
//	FTS5 without content    shadow tables by a writable schema, as sqlite3 does: there is no text to insert
//	order                   tables, indexes, views, virtual tables, triggers
//	statistics              ANALYZE, if there are any
//	user_version and application_id are kept
//
// # Contract
//
// The connection must see one state of the database for as long as Write runs. Write holds one row in memory. What it
// writes gives plain SQLite the same schema, rows and rowids; the layout of the pages is not kept.
//
// # What it does not do
//
// It reads no scripts: SQLite does. Virtual tables of other modules are created and not filled.
package dump
