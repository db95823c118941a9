// Command etcdbench measures proposals a second of this repository's replica (package raft/replica) and of etcd's core
// (go.etcd.io/raft/v3), in turns and in one run, so that what else the machine does meets both.
//
// # What is compared
//
// Three replicas in this process, on one disk. Both have the same log (package raft/wal: real files, one record and one
// sync for all writes that wait), a network that hands messages over in memory, a state machine that does nothing, and
// closed-loop proposers of 100-byte entries. What differs is the core and the loop around it: raft/replica here, and in
// etcd.go a loop that uses etcd's core as well as its documentation says how: asynchronous storage writes, all proposals
// at hand in one message, an append goroutine that merges what waits, an apply goroutine, and for a lone proposer the same
// shortcut that raft/replica takes.
//
// It is a module of its own, so that the product does not depend on etcd. Run it with `make compare`.
//
// # What it does not do
//
// It says nothing about recovery, about a network, or about entries of other sizes.
package main
