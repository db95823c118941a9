// Package repl is the SQL shell: it reads statements and dot commands from a person or a script, sends them to a
// cluster one by one, and prints what comes back.
//
// # Model
//
// A Shell works through a Client, which is one session with the cluster. Text goes into a Splitter, which finds where
// each statement ends; a line that begins with a dot outside of a statement is a Command. Results are printed by a
// renderer, one for each of the Modes. Interact serves a person at an Editor, Script a file or a pipe; both run the
// same statements and commands.
//
// # Contract
//
// Results go to Stdout, everything said about them goes to Stderr: errors, hints, warnings, progress. Rows are printed
// as they arrive and are not kept; only box, table and column hold back up to 2,000 of them, to measure their widths.
//
// A Script ends at its first error, Exit code 1, unless Options.KeepGoing is set. An error is one line that says what
// was wrong, then the place in the source, and a hint if there is something to do.
//
// An interrupt (Ctrl-C) ends the statement that runs, on the server too. A script then ends with exit code 130; a
// second interrupt before the statement has ended calls Options.Abort.
//
// A script that begins like a dump of sqlite3 is loaded as one: it is run on a plain database in a temporary file first, and what
// that holds is sent in bounded requests that are all or nothing each, in an order that foreign keys allow. What is wrong with the
// dump is found before the cluster has changed.
//
// .backup and .dump to a file write beside it and give it its name when it is whole.
//
// .import sends the rows of a file in its order, in bounded INSERTs that are all or nothing each. What is loaded when
// it fails is therefore the beginning of the file, and the error says where to go on.
//
// # What it does not do
//
// It does not know SQL beyond the ends of statements and the beginning of a dump, and it decides nothing by what it believes the schema to be:
// completion and hints may be out of date. It never sends a statement a second time; retries that are safe are the
// Client's business. Of a transaction it shows how it stands, in the prompt.
package repl
