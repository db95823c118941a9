// Package snapshot is the room for page-exact copies of the database: reading them from a running node, sending them in
// verified chunks, resuming after a cut, and installing them in a crash-safe order.
//
// In this version a node keeps its whole log and a new node learns everything from it, so nothing is read from or
// installed by this package yet.
package snapshot
