// Package driver is the client of an rsqld cluster: a database/sql driver with the name "rsqld", and beneath it a typed
// interface for programs that want more than database/sql has.
//
// # Model
//
// A [Connector] stands for a cluster. It keeps one QUIC connection to each node in use and knows the members and the
// leader as far as nodes have told. [Connector.Open] opens a session, a [Conn]: one stream to one node. [Conn.Execute]
// sends a [Request], one or several statements with their arguments, and returns [Results] that stream. database/sql
// uses the same types: sql.Open("rsqld", "rsqld://host/?cred=FILE"), see [ParseDSN], or sql.OpenDB with a Connector.
//
// Values are nil, int64, float64, string and []byte, exactly as SQLite has them. Through database/sql, columns declared
// DATETIME, TIMESTAMP or DATE give time.Time and columns declared BOOLEAN give bool, if they hold one. A time.Time is
// bound as UTC text, 2006-01-02 15:04:05.999999999+00:00.
//
// # Contract
//
// No write happens twice: one that may be sent a second time has the number that it had the first time, by which the
// cluster knows it. The cases:
//
//	what happened                                   what the driver does
//	no node can be reached                          ErrUnreachable; nothing was sent
//	the node was lost before the request was sent   sends it to another node
//	the node shuts down and refuses                 sends it to another node
//	no quorum, "nothing was executed"               sends it again with the same number, for NoQuorumPatience
//	lost after sending, the request only reads      sends it to another node, if no row was handed out yet
//	lost after sending, one write                   sends it again with the same number, for RepeatPatience
//	lost after sending, several writes, not atomic  ErrOutcomeUnknown
//	lost in a transaction                           an error of RetryTransaction, until Rollback or Commit ends it
//	lost while committing                           asks for the answer under the same number, on any node
//	the context ends                                cancels on the node, waits for its word, at most CancelGrace
//
// A request only reads if it says so ([Request.ReadOnly]) or is a single SELECT, VALUES or EXPLAIN. Writes carry the
// session's id and a number that rises from 1; both stay with the Conn when it moves to another node.
//
// All sessions of a Connector share the highest log index that any of them has seen: at [LevelSession], the default, no
// read is older than that, on whatever node. When a Conn had to move, [Conn.Node] tells.
//
// # Transactions
//
// BeginTx of database/sql, [Conn.BeginTransaction], and BEGIN executed as a text of its own begin a transaction. Those that write
// run one at a time in the cluster and wait for each other; a read-only one reads a snapshot of its node. All are strictly
// serializable, whatever isolation level is asked for. [RunTx] runs one again when its error says so. A Conn that goes
// back to its pool with a transaction is rolled back.
//
// The driver returns [database/sql/driver.ErrBadConn] only for a Conn that was closed before: when it is returned,
// database/sql runs the request again.
//
// A Conn runs one request at a time. If another one is sent while Results are open, the rest of those is fetched first
// and kept in memory, up to [MaxBuffered].
//
// # What it does not do
//
// Several statements in one Exec are atomic; there are no two transactions on one Conn.
// There are no users with passwords: a credential file says who the client is. Nothing is cached, and no SQL is parsed
// beyond its first word.
package driver
