package raft

import "fmt"

// Defaults of the limits in Config.
const (
	DefaultElectionTicks       = 15
	DefaultHeartbeatTicks      = 5
	DefaultMaxMessageBytes     = 1 << 20
	DefaultMaxInflightMessages = 256
	DefaultMaxInflightBytes    = 8 << 20
	DefaultMaxUncommittedBytes = 64 << 20
	DefaultMaxTailBytes        = 8 << 20
	DefaultMaxPendingReads     = 1 << 16
)

// Config says who a Node is and how much it may hold. A zero limit means its default.
type Config struct {
	ID ID
	// Seed makes the node's choices of chance. Two incarnations of one node should have different seeds: read
	// requests are numbered from a place that it decides, so that an answer to a dead incarnation names none of the new.
	Seed uint64
	// ElectionTicks is T: a node campaigns after [T, 2T) ticks without a leader, and a leader without a quorum
	// steps down after T.
	ElectionTicks int
	// HeartbeatTicks is the interval of heartbeats and of repeated requests. It must be less than ElectionTicks.
	HeartbeatTicks int
	// MaxMessageBytes bounds the entries in one Append. One entry always fits.
	MaxMessageBytes int
	// MaxInflightMessages and MaxInflightBytes bound the Appends sent to one peer and not yet acknowledged.
	MaxInflightMessages int
	MaxInflightBytes    int
	// MaxUncommittedBytes bounds what a leader has accepted and not committed. Beyond it Propose answers ErrBusy.
	// One proposal always fits when nothing is waiting.
	MaxUncommittedBytes int
	// MaxTailBytes bounds the durable and committed entries kept in memory. Older ones are asked for by Ready.Load.
	MaxTailBytes int
	// Snapshots says that the driver can bring snapshots to peers (Ready.Snapshot).
	Snapshots bool
	// MaxPendingReads bounds the reads that wait for a confirmation. Beyond it Read answers ErrBusy.
	MaxPendingReads int
}

// withDefaults returns c with every zero limit replaced, or an error for a limit that cannot work.
func (c Config) withDefaults() (Config, error) {
	if c.ID == 0 {
		return c, fmt.Errorf("config: ID is zero")
	}
	for _, limit := range []struct {
		name  string
		value *int
		unset int
	}{
		{"ElectionTicks", &c.ElectionTicks, DefaultElectionTicks},
		{"HeartbeatTicks", &c.HeartbeatTicks, DefaultHeartbeatTicks},
		{"MaxMessageBytes", &c.MaxMessageBytes, DefaultMaxMessageBytes},
		{"MaxInflightMessages", &c.MaxInflightMessages, DefaultMaxInflightMessages},
		{"MaxInflightBytes", &c.MaxInflightBytes, DefaultMaxInflightBytes},
		{"MaxUncommittedBytes", &c.MaxUncommittedBytes, DefaultMaxUncommittedBytes},
		{"MaxTailBytes", &c.MaxTailBytes, DefaultMaxTailBytes},
		{"MaxPendingReads", &c.MaxPendingReads, DefaultMaxPendingReads},
	} {
		if *limit.value < 0 {
			return c, fmt.Errorf("config: %s is %d, must not be negative", limit.name, *limit.value)
		}
		if *limit.value == 0 {
			*limit.value = limit.unset
		}
	}
	if c.HeartbeatTicks >= c.ElectionTicks {
		return c, fmt.Errorf("config: HeartbeatTicks is %d, must be less than ElectionTicks %d",
			c.HeartbeatTicks, c.ElectionTicks)
	}
	return c, nil
}

// TermRun says that entries from First on have Term, up to the next run or the end of the log.
type TermRun struct {
	First Index
	Term  Term
}

// ConfigurationAt is a configuration and the index of the entry that holds it.
type ConfigurationAt struct {
	Index         Index
	Configuration Configuration
}

// Log is what recovery read from the durable log.
type Log struct {
	// Base is the entry before the first one held; zero for a whole log.
	Base EntryID
	// BaseConfiguration is the configuration as of Base.
	BaseConfiguration ConfigurationAt
	// Last is the newest entry, or Base if none is held.
	Last EntryID
	// Runs are the terms of Base.Index+1 … Last.Index, rising in both fields.
	Runs []TermRun
	// Configurations are those of the configuration entries held, rising.
	Configurations []ConfigurationAt
	// Tail holds the newest entries, contiguous up to Last. It may be empty.
	Tail []Entry
}
