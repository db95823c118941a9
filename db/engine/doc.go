// Package engine executes the log on SQLite, so that every replica which has applied the same entries holds the same
// rows and gave each entry the same result; and it runs reads beside that.
//
// # Model
//
// An Engine owns one SQLite file. Entries change it, in log order, through one connection (the writer) under
// [Engine.Apply]; nothing else does. SQL text is not rewritten. What SQLite would take from this node is taken from the
// entry instead:
//
//	'now', CURRENT_TIMESTAMP, DEFAULTs     the entry's time, never smaller than the one before
//	localtime                              UTC
//	random(), randomblob()                 a generator seeded by the entry
//	changes(), last_insert_rowid(), …      zero at the beginning of the entry
//	the schema and statistics in memory    read again after an entry that touched them
//	the next rowid after the largest       refused (SQLite would choose at random)
//
// What cannot be made the same everywhere is refused with a [PolicyError], which says what to do instead: other files
// (ATTACH, VACUUM INTO), objects of one connection (TEMP, most PRAGMAs), code of one node (load_extension), transactions
// that reach over entries, and the engine's own tables, whose names begin with _rsqld.
//
// A batch of entries is one SQLite transaction and each entry a savepoint in it; how far the log was applied is a row in
// the same transaction. The file is therefore always an exact prefix of the log, also after a power cut, and says
// itself which: [Engine.Base]. Where batches begin and end has no effect on what an entry does, see type batch.
//
// # Errors
//
// An entry fails in one of two ways, and they are never confused:
//
//   - by itself: a constraint, a syntax error, a refusal, a limit (sql.max_rows, sql.max_steps). It is undone, and its
//     error is its [Result], the same on every replica, for ever.
//   - by this node: the disk is full or broken, memory is short, or the program is older than the entry. Then nothing is
//     recorded, Apply returns the error, and the next call opens the file again and tries anew.
//
// An error that is not known to be of the first kind is of the second. Every result is folded into a hash chain
// ([Engine.Chain]); replicas compare it to find out if one has diverged in spite of all this.
//
// # Reads
//
// [Engine.Next] and [Engine.Classify] say what a text is; whether the caller wants rows back never decides it.
// [Engine.Query] runs one read on a snapshot and streams its rows. Reads run beside Apply and beside each other; they
// end with their context or after Config.ReaderTimeout.
//
// # Files
//
//	<dir>/current            which generation is in use
//	<dir>/1/main.sqlite      plain SQLite, with a -wal beside it while it is open
//
// The write-ahead log is moved into the file in steps that do not stop the writer, see type checkpointer. Commits are
// not synced one by one: the raft log is what makes a write durable, and is replayed from where the file stands.
//
// # Copies
//
// [Engine.Snapshot] copies the file page by page for another replica. [Engine.Backup] makes a plain database of such a copy,
// without the engine's tables and checked by SQLite; [Engine.Copy] does not check it. Entries are applied meanwhile.
//
// # Concurrency
//
// Apply and Base are for one goroutine at a time, the replica's, and exclude each other anyway. Every other method may
// be called from any goroutine beside them; accessors read a copy that is replaced after each batch.
//
// # What it does not do
//
// It does not order, replicate or retry entries and knows no roles: who may write is decided before an entry is
// proposed. It keeps one transaction open at most, and does not see to it that no entry comes in between. It does not truncate
// the raft log.
package engine
