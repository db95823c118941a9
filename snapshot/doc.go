// Package snapshot makes page-exact copies of a database and brings them to other nodes.
//
// A copy is taken from one read transaction, page by page through sqlite_dbpage (sqlite.org/dbpage.html), while the writer
// goes on. It is written to a file of its own, so that the transaction ends as soon as the disk allows and not when the
// slowest receiver has it: an open read transaction keeps SQLite's write-ahead log from being used again. Page-exact
// means that rowids, free pages and the layout of trees are those of the source: what SQLite chooses by them (the next rowid,
// the plan of a query) stays equal on all replicas, which a logical copy or VACUUM INTO would not give.
//
//	Take ──> Image ── Manifest, Source ──> (transport) ──> Incoming ── whole, verified, synced ──> the engine installs it
//	                                                          ^ what arrived before (Arrivals), this node's own database
//
// A Manifest names the raft entry that the content stands for and the SHA-256 of each chunk of 1 MiB. A chunk is known by that
// hash and by nothing else, so that it does not matter where it is from: what came of a snapshot that was cut off, of another
// sender and another entry, is in the file that Arrivals keeps; most of a stale replica's snapshot is in its own database,
// because the layout is equal on all. Incoming asks for the rest. For a chunk in whose place it holds something it says
// what (Outline), and gets the blocks of 4 KiB that differ. It refuses a chunk that is not what the manifest says, and is
// complete only when it has all.
//
// What the package does not do: it sends nothing by itself (package db joins it with package transport), it does not decide
// who needs a snapshot (package raft does), it does not say what belongs to which cluster, and it does not know what is in the
// pages.
package snapshot
