// Package testcluster runs whole clusters in one process: real nodes, real data directories and real QUIC over loopback
// sockets, joined by a Network that can lose, delay, double and cut packets per direction. Tests and `rsqld demo` use it.
//
// # Model
//
// A Cluster numbers its nodes from 1; node 1 founded it. Kill stops a node without a word to the others and Restart
// starts it again on its directory and address. Partition cuts the nodes into groups, Heal joins them. Clients reach
// every node whatever is cut between the nodes. Each node's log is on a Disk that can stall, be full or fail, and each has
// a clock that can be set wrong (SetClock).
//
// # What it does not do
//
// A node that is killed here loses nothing that it wrote to a file, synced or not: that is what the tests with real
// processes and, for power loss, the log's own tests with simulated files are for.
package testcluster
