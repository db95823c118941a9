package db

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rsqld/rsqld/db/command"
	"github.com/rsqld/rsqld/db/engine"
	"github.com/rsqld/rsqld/raft/wal"
)

// Defaults and limits of a Node. Each is a field of Config of the same name unless it says otherwise.
const (
	// DefaultListen is the address of a node that was told none.
	DefaultListen = "127.0.0.1:4001"
	// DefaultElectionTimeout is T of raft.md: elections begin after a random time in [T, 2T) without a leader.
	DefaultElectionTimeout = 150 * time.Millisecond
	// DefaultNoLeaderWait is how long after the last contact with a quorum a write is held before it is refused.
	DefaultNoLeaderWait = 500 * time.Millisecond
	// DefaultTimeout bounds the waits of a request that brought no deadline of its own: for a leader, for a quorum, for
	// entries to be applied. The run of a read is bounded by Config.ReaderTimeout.
	DefaultTimeout = 10 * time.Second
	// DefaultMaxStatements bounds the statements of one request.
	DefaultMaxStatements = 10_000
	// DefaultTransactionIdle is how long a transaction may do nothing while another writer waits for its end, and
	// DefaultTransactionTime how long one that writes may be open.
	DefaultTransactionIdle = 5 * time.Second
	DefaultTransactionTime = 30 * time.Second
	// DefaultMaxClockAhead is how far a leader's clock may be ahead of the voters' median.
	DefaultMaxClockAhead = 5 * time.Second
	// JoinTimeout bounds one attempt to join through one address. It is not configurable.
	JoinTimeout = 10 * time.Second
)

// ErrUsage is the cause of errors that another Config would not have.
var ErrUsage = errors.New("usage")

// Config says how to open a Node. Only Data is needed.
type Config struct {
	// Data is the directory that holds everything the node knows. An empty or absent one founds a cluster, or
	// joins one if Join is set.
	Data string
	// Listen is host:port for QUIC (UDP). Port 0 takes a free one.
	Listen string
	// Advertise is the address that peers and clients dial; empty: the one listened on.
	Advertise string
	// Join are addresses of members of the cluster to join. In a directory that already has a node they are where it looks
	// for members while it knows no leader: all may have changed their addresses while they were down.
	Join []string
	// Token is the join token, or @FILE to read it from a file. Ignored in a directory that already has a node.
	Token string
	// Learner joins as a learner that stays one.
	Learner bool
	// Name is what people call the node; empty: n and its id.
	Name string
	// Settings are cluster settings, fixed when the cluster is founded.
	Settings map[string]string

	ElectionTimeout time.Duration
	NoLeaderWait    time.Duration
	Timeout         time.Duration
	// MaxStatements (max_statements) bounds the statements of one request; command.MaxStatements is the most.
	MaxStatements int
	// MaxReaders (sql.max_readers) is how many reads may be open at once on this node, ReaderTimeout (sql.reader_timeout) how
	// long one may run. Zero: the defaults of package engine.
	MaxReaders    int
	ReaderTimeout time.Duration
	// TransactionIdle and TransactionTime are those of the node that leads.
	TransactionIdle, TransactionTime time.Duration
	// MaxClockAhead is how far this node's clock may be ahead of the median of the voters' clocks before it gives out no
	// times and does not lead.
	MaxClockAhead time.Duration

	// LogSegmentBytes is the size of a file of the log; zero: wal.DefaultSegmentSize.
	LogSegmentBytes int64
	// LogKeepBytes (log.keep_bytes) of the newest entries stay in the log for peers that were away for a while;
	// LogMaxBytes (log.max_bytes) is how much stays for peers that answer and need more. Zero: the defaults of
	// replica.Limits. They may differ among nodes.
	LogKeepBytes, LogMaxBytes int64
	// LogKeepTime (log.keep_time) keeps younger entries too, up to LogMaxBytes. Zero: LogKeepBytes alone counts.
	LogKeepTime time.Duration

	// LogFiles is the disk of the log. Nil: the operating system's.
	LogFiles wal.Files
	// Clock is the wall clock that entries are stamped with and peers are told of. Nil: time.Now.
	Clock func() time.Time
	// PacketConn is used instead of a socket of the node's own. The node closes it, and so does an Open that fails.
	PacketConn net.PacketConn
	// Logger gets state changes. Nil: nothing is logged.
	Logger *slog.Logger
}

// withDefaults fills what was left empty and refuses what cannot work, wrapping ErrUsage.
func (c Config) withDefaults() (Config, error) {
	if c.Data == "" {
		return c, fmt.Errorf("%w: no data directory given", ErrUsage)
	}
	if err := c.checkLimits(); err != nil {
		return c, err
	}
	setDefault(&c.Listen, DefaultListen)
	setDefault(&c.ElectionTimeout, DefaultElectionTimeout)
	setDefault(&c.NoLeaderWait, DefaultNoLeaderWait)
	setDefault(&c.Timeout, DefaultTimeout)
	setDefault(&c.MaxStatements, DefaultMaxStatements)
	setDefault(&c.MaxReaders, engine.DefaultMaxReaders)
	setDefault(&c.ReaderTimeout, engine.DefaultReaderTimeout)
	setDefault(&c.TransactionIdle, DefaultTransactionIdle)
	setDefault(&c.TransactionTime, DefaultTransactionTime)
	setDefault(&c.MaxClockAhead, DefaultMaxClockAhead)
	if c.LogFiles == nil {
		c.LogFiles = wal.OS()
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if err := checkAddress("--listen", c.Listen); err != nil {
		return c, err
	}
	if c.Advertise == "" && c.PacketConn == nil && unspecified(c.Listen) {
		return c, fmt.Errorf("%w: --listen %s is every address of this machine, and peers need one to dial: add --advertise HOST:PORT",
			ErrUsage, c.Listen)
	}
	if c.Advertise != "" {
		if err := checkAddress("--advertise", c.Advertise); err != nil {
			return c, err
		}
	}
	for _, address := range c.Join {
		if err := checkAddress("--join", address); err != nil {
			return c, err
		}
	}
	return c, nil
}

// checkLimits refuses what no default replaces and no node can work with.
func (c Config) checkLimits() error {
	if min(c.ElectionTimeout, c.NoLeaderWait, c.Timeout, c.MaxClockAhead) < 0 || c.MaxStatements < 0 {
		return fmt.Errorf("%w: election timeout %v, no-leader wait %v, timeout %v, max clock ahead %v, max_statements %d: none may be negative",
			ErrUsage, c.ElectionTimeout, c.NoLeaderWait, c.Timeout, c.MaxClockAhead, c.MaxStatements)
	}
	if c.MaxStatements > command.MaxStatements {
		return fmt.Errorf("%w: max_statements %d is too many: one entry holds %d", ErrUsage, c.MaxStatements, command.MaxStatements)
	}
	if c.MaxReaders < 0 || c.ReaderTimeout < 0 {
		return fmt.Errorf("%w: %d readers for %v: none may be negative", ErrUsage, c.MaxReaders, c.ReaderTimeout)
	}
	if min(c.TransactionIdle, c.TransactionTime, c.LogKeepTime) < 0 {
		return fmt.Errorf("%w: idle transactions for %v, transactions for %v, log entries for %v: none may be negative",
			ErrUsage, c.TransactionIdle, c.TransactionTime, c.LogKeepTime)
	}
	if min(c.LogKeepBytes, c.LogMaxBytes) < 0 {
		return fmt.Errorf("%w: %d bytes of the log to keep, %d at most: none may be negative", ErrUsage, c.LogKeepBytes, c.LogMaxBytes)
	}
	if c.LogSegmentBytes != 0 && (c.LogSegmentBytes < wal.MinSegmentSize || c.LogSegmentBytes > wal.MaxSegmentSize) {
		return fmt.Errorf("%w: segments of %d bytes: %d to %d are allowed", ErrUsage, c.LogSegmentBytes, wal.MinSegmentSize, wal.MaxSegmentSize)
	}
	if n := max(len(c.Name), len(c.Advertise)); n > command.MaxNameBytes {
		return fmt.Errorf("%w: a name or an address of %d bytes is too long: %d are allowed", ErrUsage, n, command.MaxNameBytes)
	}
	if !utf8.ValidString(c.Name) {
		return fmt.Errorf("%w: --name %q is not valid UTF-8", ErrUsage, c.Name)
	}
	// Found out here and not by the cluster: its first entry would be refused, and it would never be usable.
	if err := engine.CheckSettings(c.Settings); err != nil {
		return fmt.Errorf("%w: --set: %v", ErrUsage, err)
	}
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func checkAddress(flag, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%w: %s %q is not HOST:PORT", ErrUsage, flag, address)
	}
	number, err := net.LookupPort("udp", port)
	if err != nil {
		return fmt.Errorf("%w: %s %q: %q is not a port", ErrUsage, flag, address, port)
	}
	if number == 0 && flag != "--listen" {
		return fmt.Errorf("%w: %s %q: nobody can dial port 0", ErrUsage, flag, address)
	}
	if host == "" && flag != "--listen" {
		return fmt.Errorf("%w: %s %q has no host", ErrUsage, flag, address)
	}
	return nil
}

// unspecified reports whether the host of address means all addresses of the machine.
func unspecified(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	if host == "" {
		return true
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsUnspecified()
}
