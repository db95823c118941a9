// Package snapshot makes page-exact copies of a database and brings them to other nodes.
//
// A copy is taken from one read transaction, page by page through sqlite_dbpage (sqlite.org/dbpage.html), while the writer
// goes on. It is written to a file of its own, so that the transaction ends as soon as the disk allows and not when the
// slowest receiver has it: an open read transaction keeps SQLite's write-ahead log from being used again. Page-exact
// means that rowids, free pages and the layout of trees are those of the source: what SQLite chooses by them (the next rowid,
// the plan of a query) stays equal on all replicas, which a logical copy or VACUUM INTO would not give.
//
//	Take ──> Image ── Manifest, chunks ──> (transport) ──> Incoming ── whole, verified, synced ──> the engine installs it
//
// A Manifest names the raft entry that the content stands for and the SHA-256 of each chunk of 1 MiB. Incoming takes chunks
// in any order, refuses one that is not what the manifest says, and is complete only when it has all. It answers which
// chunks it lacks, so that a sender sends nothing twice.
//
// What the package does not do: it sends nothing by itself (package db joins it with package transport), it does not decide
// who needs a snapshot (package raft does), it keeps nothing of an incoming copy that was not finished, and it does not
// know what is in the pages.
package snapshot
