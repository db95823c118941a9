// Package sqlite is a thin binding over modernc.org/sqlite/lib, SQLite translated to Go. It is the only package of the
// program that imports it.
//
// # Model
//
// A [Conn] is one connection to one database file, a [Stmt] one prepared statement of it. A connection and its
// statements belong to one goroutine at a time; SQLite's own mutexes around a connection are off. Only [Conn.Interrupt]
// may be called from elsewhere. Connections to the same file are independent of each other and may run in parallel:
// one writes, the others read.
//
// database/sql has no part in it. It costs twice to four times as much per statement, and neither it nor its driver
// reaches what deterministic execution needs.
//
// # What it controls
//
// Equal entries must give equal rows on every replica, so everything that SQL can ask the machine is in the caller's
// hands, connection by connection:
//
//   - time: a [Clock] in the place of the wall clock, by a VFS of the connection's own;
//   - chance: random() and randomblob() draw from a generator that [Conn.SeedRandom] starts;
//   - memory of the past: [Conn.ResetState] clears last_insert_rowid(), changes() and total_changes();
//   - place: 'localtime' and 'utc' are UTC in the whole process, whatever TZ says;
//   - permission: [Conn.SetAuthorizer] sees every action of a statement before it runs;
//   - effort: [Conn.SetProgress] counts steps, [Conn.TopLevel] says which of them all replicas count alike, and
//     Options.BoundedText keeps single steps on long texts from taking hours.
//
// [SelfTest] proves these on the linked SQLite; the parts behind them are not all promised by its documentation.
// [Fingerprint] is a hash of what could still differ: two nodes with different fingerprints do not belong together.
//
// # Files
//
// On Linux and macOS every connection uses SQLite's unix-excl VFS: locks and wal-index live in process memory, there
// is no -shm file, and another process that opens the file is told that it is locked. Elsewhere the default VFS is
// used, and only the lock of the data directory keeps other processes out.
// A writer's log goes to the disk by one write a commit, see walFile.
// Nothing else in the process may open and close the database file while a connection is open: closing any descriptor
// of a file drops the process's locks on it.
//
// # Memory
//
// SQLite's memory lies outside the Go heap; GOMEMLIMIT does not see it. Go memory is never given to SQLite: texts and
// blobs are copied in, through a buffer of the connection or into a block that SQLite takes over. On the way out
// [Stmt.ColumnRaw] lends SQLite's own bytes, the other readers copy once. A connection that is not closed is a leak:
// there is no finalizer.
//
// # What it does not do
//
// It applies no policy that is not in its [Options]; [WriterOptions], [ReaderOptions] and [CheckpointOptions] are the
// three sets that the program uses. It does not retry, pool connections, parse SQL or convert values. It does not
// check that its caller keeps to one goroutine; the race detector does.
package sqlite
