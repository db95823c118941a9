package replica

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/rsqld/rsqld/raft"
	"github.com/rsqld/rsqld/raft/wal"
)

// Ticks of one election timeout T, and of the interval between heartbeats: T/15 and T/3 (raft.md §2).
const (
	electionTicks  = 15
	heartbeatTicks = 5
)

// DefaultElectionTimeout is T on a local network: elections start 150 to 300 ms after the last sign of a leader.
const DefaultElectionTimeout = 150 * time.Millisecond

// minElectionTimeout keeps a tick at one millisecond or more, what timers of all platforms can keep.
const minElectionTimeout = electionTicks * time.Millisecond

// Log is the part of a *wal.WAL that a replica uses. Append and Mark are called by one goroutine at a time, Entries
// beside them. The replica closes it.
type Log interface {
	Append(writes ...*raft.Write) error
	Mark() error
	Entries(first, last raft.Index, maxBytes int) ([]raft.Entry, error)
	// Behind returns the newest index that may be dropped if the newest bytes of the log are to stay.
	Behind(bytes int64) raft.Index
	// Compact drops entries up to an index, or fewer. It is called beside all others.
	Compact(through raft.Index) error
	// Spare returns why the log cannot make room for what comes, or nil. It takes no time.
	Spare() error
	Close() error
}

// Config is what Open needs. ID, WAL, Machine and Transport are required.
type Config struct {
	// ID is this node. It belongs to the disk that the log is on.
	ID raft.ID
	// Seed draws the election timeouts and the place from which read requests are numbered. Nodes of one cluster, and
	// incarnations of one node, have different seeds.
	Seed uint64
	// WAL is the durable log and Recovered what opening it found. The replica owns WAL from Open on, if Open
	// succeeds, and closes it in Close.
	WAL       Log
	Recovered wal.Recovered
	// Machine and Transport stay the caller's; they must outlive Close.
	Machine   raft.Machine
	Transport raft.Transport
	// Snapshots brings the machine's content to peers that need entries which the log does not hold. With it the machine
	// must be a raft.Snapshotter, and the log is compacted. Nil: the log is kept whole, and what it does not hold nobody gets.
	Snapshots SnapshotTransport
	// ElectionTimeout is T; zero is DefaultElectionTimeout. It scales ticks, heartbeats and every limit of time here,
	// and should be ten round trips or more.
	ElectionTimeout time.Duration
	Clock           Clock
	// Logger receives state changes with the keys node, term, index, peer and err. Nil discards them.
	Logger *slog.Logger
	// OnApplied is called by the applier after each batch with the new applied index. It must not block: the next
	// batch waits for it. Nil is allowed.
	OnApplied func(raft.Index)

	Limits Limits
}

// Limits bound memory and the size of batches. Zero fields take the defaults.
type Limits struct {
	// MaxBatchEntries (1,000) and MaxBatchBytes (4 MiB) bound what one Machine.Apply receives; one entry always fits.
	MaxBatchEntries int
	MaxBatchBytes   int
	// MaxInboxMessages (4,096) and MaxInboxBytes (64 MiB) bound the messages that wait for the loop. What does not
	// fit is dropped and counted in Counters.DroppedMessages, as a network may. Only messages with entries are
	// held against the bytes: votes and heartbeats pass beside a heap of entries.
	MaxInboxMessages int
	MaxInboxBytes    int
	// MaxProposals (8,192) and MaxProposalBytes (64 MiB) bound the proposals that wait for the loop; beyond them
	// Propose answers raft.ErrBusy. One proposal always fits.
	MaxProposals     int
	MaxProposalBytes int
	// MaxEntryBytes (64 MiB) bounds one proposal; a larger one is answered ErrTooLarge. It must not exceed the
	// largest entry that the log takes.
	MaxEntryBytes int
	// MaxReadRounds (4,096) bounds the read rounds that wait for a quorum; beyond it ReadIndex answers raft.ErrBusy.
	MaxReadRounds int
	// MaxAppendBytes (8 MiB) bounds the entries that are merged into one durable record; one write always fits.
	MaxAppendBytes int

	// MaxSnapshots (2) bounds the snapshots that are on their way to peers at the same time; others wait.
	MaxSnapshots int
	// KeepSnapshot (2 min) is how long a snapshot stays whose transfer has failed, for the next attempt.
	KeepSnapshot time.Duration
	// KeepLogBytes (log.keep_bytes, 64 MiB) of the newest entries stay when the log is compacted, for peers that were away
	// for a while. What a peer needs that answers stays beyond that, up to MaxLogBytes (log.max_bytes, 1 GiB).
	KeepLogBytes int64
	// KeepLogTime (log.keep_time) says that younger entries stay too, up to MaxLogBytes. Zero: KeepLogBytes alone counts.
	KeepLogTime time.Duration
	MaxLogBytes int64

	// The limits of the core: entries in one message (1 MiB), messages (256) and bytes (8 MiB) on the way to one
	// peer, bytes proposed and not committed (64 MiB), bytes of settled entries kept in memory (8 MiB).
	MaxMessageBytes     int
	MaxInflightMessages int
	MaxInflightBytes    int
	MaxUncommittedBytes int
	MaxTailBytes        int
}

func (l Limits) withDefaults() Limits {
	for _, field := range []struct {
		limit *int
		value int
	}{
		{&l.MaxBatchEntries, 1000},
		{&l.MaxBatchBytes, 4 << 20},
		{&l.MaxInboxMessages, 4096},
		{&l.MaxInboxBytes, 64 << 20},
		{&l.MaxProposals, 8192},
		{&l.MaxProposalBytes, 64 << 20},
		{&l.MaxEntryBytes, 64 << 20},
		{&l.MaxReadRounds, 4096},
		{&l.MaxAppendBytes, 8 << 20},
		{&l.MaxMessageBytes, 1 << 20},
		{&l.MaxInflightMessages, 256},
		{&l.MaxInflightBytes, 8 << 20},
		{&l.MaxUncommittedBytes, 64 << 20},
		{&l.MaxTailBytes, 8 << 20},
		{&l.MaxSnapshots, 2},
	} {
		*field.limit = cmp.Or(*field.limit, field.value)
	}
	l.KeepSnapshot = cmp.Or(l.KeepSnapshot, 2*time.Minute)
	l.KeepLogBytes = cmp.Or(l.KeepLogBytes, 64<<20)
	l.MaxLogBytes = max(cmp.Or(l.MaxLogBytes, 1<<30), l.KeepLogBytes)
	return l
}

// withDefaults fills what is optional and refuses what cannot work.
func (c Config) withDefaults() (Config, error) {
	c.ElectionTimeout = cmp.Or(c.ElectionTimeout, DefaultElectionTimeout)
	if c.Clock == nil {
		c.Clock = realClock{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Limits = c.Limits.withDefaults()
	switch {
	case c.ID == 0:
		return c, errors.New("configuring a replica: ID is zero")
	case c.WAL == nil, c.Machine == nil, c.Transport == nil:
		return c, errors.New("configuring a replica: WAL, Machine and Transport are required")
	case c.Snapshots != nil && !hasSnapshots(c.Machine):
		return c, errors.New("configuring a replica: Snapshots is given, and the state machine has none")
	case c.ElectionTimeout < minElectionTimeout:
		return c, fmt.Errorf("configuring a replica: election timeout %v is below the least, %v",
			c.ElectionTimeout, minElectionTimeout)
	}
	return c, nil
}

func hasSnapshots(machine raft.Machine) bool {
	_, has := machine.(raft.Snapshotter)
	return has
}

// tick is the time between two calls of Handler.Tick.
func (c Config) tick() time.Duration { return Tick(c.ElectionTimeout) }

func (c Config) core() raft.Config {
	return raft.Config{
		ID:                  c.ID,
		Seed:                c.Seed,
		ElectionTicks:       electionTicks,
		HeartbeatTicks:      heartbeatTicks,
		MaxMessageBytes:     c.Limits.MaxMessageBytes,
		MaxInflightMessages: c.Limits.MaxInflightMessages,
		MaxInflightBytes:    c.Limits.MaxInflightBytes,
		MaxUncommittedBytes: c.Limits.MaxUncommittedBytes,
		MaxTailBytes:        c.Limits.MaxTailBytes,
		Snapshots:           c.Snapshots != nil,
	}
}

// Tick returns the time between two ticks of a replica with this election timeout (zero: DefaultElectionTimeout). It is
// the unit of the times in a raft.Status.
func Tick(electionTimeout time.Duration) time.Duration {
	return cmp.Or(electionTimeout, DefaultElectionTimeout) / electionTicks
}
