// Package sim is the room of the deterministic simulator: the real consensus core, event handler and log over
// simulated disks, networks and clocks, driven by one seed.
//
// In this version the event handler of raft/replica is written so that it can be driven that way; the models of disk,
// network and clock are not here yet.
package sim
