package driver

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rsqld/rsqld/transport/identity"
	"github.com/rsqld/rsqld/transport/wire/sqlpb"
)

// DefaultPort is the port of an address that names none.
const DefaultPort = "4001"

// Level says how fresh a read is. The zero Level is the session's own, which is [LevelSession] unless Config says
// otherwise.
type Level string

const (
	// LevelLocal reads whatever the node has.
	LevelLocal Level = "local"
	// LevelSession reads at least what any session of the same [Connector] has seen.
	LevelSession Level = "session"
	// LevelLinearizable reads everything that was acknowledged before the read began.
	LevelLinearizable Level = "linearizable"
	// LevelStrong is LevelLinearizable, read by the leader.
	LevelStrong Level = "strong"
)

var levels = map[Level]sqlpb.Level{
	"": sqlpb.Level_LEVEL_UNSPECIFIED, LevelLocal: sqlpb.Level_LEVEL_LOCAL, LevelSession: sqlpb.Level_LEVEL_SESSION,
	LevelLinearizable: sqlpb.Level_LEVEL_LINEARIZABLE, LevelStrong: sqlpb.Level_LEVEL_STRONG,
}

// Target says which nodes a session prefers. A node of another kind is better than none.
type Target string

const (
	// TargetAny takes the first node that answers, in the order of Config.Addresses. It is the default.
	TargetAny Target = "any"
	// TargetLeader follows the leader: writes take no detour over another node.
	TargetLeader Target = "leader"
	// TargetLearner keeps reads away from the nodes that vote.
	TargetLearner Target = "learner"
)

// Config says how to reach a cluster.
type Config struct {
	// Addresses are host:port of one or more nodes; the others are learned from them.
	Addresses []string
	// Credential is the path of a credential file, read by NewConnector. Cred is used instead if set.
	Credential string
	Cred       *identity.Credential
	// Level is that of requests that name none; empty: LevelSession.
	Level Level
	// Target is TargetAny if empty.
	Target Target
	// Timeout bounds a request whose context has no deadline: the wait for other writers, for a leader, and the run
	// itself. Zero leaves it to the server's default.
	Timeout time.Duration
	// BusyTimeout bounds a transaction's wait for its turn, whatever deadline the context has; zero: DefaultBusyTimeout.
	BusyTimeout time.Duration
	// CommitTimeout bounds Commit of a transaction of database/sql, which has no context; zero: DefaultCommitTimeout.
	CommitTimeout time.Duration
	// Spread makes sessions begin at the addresses in turn instead of all at the first that answers.
	Spread bool
	// MaxStaleness refuses reads at LevelLocal from a node that has not heard of a quorum for longer. Zero: no bound.
	MaxStaleness time.Duration
	// Client is what the program calls itself, for lists of sessions; empty: the name of the executable.
	Client string
}

// ErrConfig is the cause of errors that another configuration or data source name would not have.
var ErrConfig = errors.New("configuration")

// ParseDSN reads a data source name:
//
//	rsqld://host[:port][,host2[:port2]…]/?level=session&cred=FILE&busy_timeout=5s&max_staleness=5s&target=any
//
// rsqld:// and everything after the hosts may be left out. A host is a name, an IPv4 address, or an IPv6 address in
// brackets. busy_timeout is Config.Timeout and Config.BusyTimeout, commit_timeout Config.CommitTimeout. Unknown keys are errors. The error wraps [ErrConfig].
func ParseDSN(dsn string) (Config, error) {
	config, err := parseDSN(dsn)
	if err != nil {
		return Config{}, fmt.Errorf("%w: data source name: %w", ErrConfig, err)
	}
	return config, nil
}

func parseDSN(dsn string) (config Config, err error) {
	rest := dsn
	if scheme, after, has := strings.Cut(dsn, "://"); has {
		if scheme != "rsqld" {
			return config, fmt.Errorf("it begins with %q, not with rsqld://", scheme+"://")
		}
		rest = after
	}
	hosts, query, _ := strings.Cut(rest, "?")
	hosts, path, _ := strings.Cut(hosts, "/")
	if path != "" {
		return config, fmt.Errorf("%q follows the hosts: a cluster has one database, which has no name", "/"+path)
	}
	if at := strings.LastIndexByte(hosts, '@'); at >= 0 {
		// The part before the @ is not repeated: it may hold a password.
		return config, errors.New("user and password are not supported: use a credential file, cred=FILE")
	}
	for host := range strings.SplitSeq(hosts, ",") {
		address, err := parseAddress(host)
		if err != nil {
			return config, err
		}
		config.Addresses = append(config.Addresses, address)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return config, fmt.Errorf("%q is not a list of key=value: %w", query, err)
	}
	for key, value := range values {
		if len(value) > 1 {
			return config, fmt.Errorf("key %q is there %d times", key, len(value))
		}
		if err := config.set(key, value[0]); err != nil {
			return config, err
		}
	}
	return config, nil
}

// dsnKeys are the keys of a data source name.
var dsnKeys = map[string]func(*Config, string) error{
	"level": func(c *Config, value string) error {
		c.Level = Level(value)
		return checkLevel(c.Level)
	},
	"target": func(c *Config, value string) error {
		c.Target = Target(value)
		return checkTarget(c.Target)
	},
	"cred": func(c *Config, value string) error {
		c.Credential = value
		return nil
	},
	"commit_timeout": func(c *Config, value string) error { return setDuration(&c.CommitTimeout, value) },
	"spread": func(c *Config, value string) (err error) {
		if c.Spread, err = strconv.ParseBool(value); err != nil {
			return fmt.Errorf("%q is neither true nor false", value)
		}
		return nil
	},
	"busy_timeout": func(c *Config, value string) error {
		err := setDuration(&c.Timeout, value)
		c.BusyTimeout = c.Timeout
		return err
	},
	"max_staleness": func(c *Config, value string) error { return setDuration(&c.MaxStaleness, value) },
}

func (c *Config) set(key, value string) error {
	set, known := dsnKeys[key]
	if !known {
		var names []string
		for name := range dsnKeys {
			names = append(names, name)
		}
		slices.Sort(names)
		return fmt.Errorf("unknown key %q: did you mean %s? There are %s", key, nearest(key, names), strings.Join(names, ", "))
	}
	if err := set(c, value); err != nil {
		return fmt.Errorf("key %s: %w", key, err)
	}
	return nil
}

func setDuration(d *time.Duration, value string) error {
	parsed, err := time.ParseDuration(value)
	if err != nil || parsed <= 0 {
		return fmt.Errorf("%q is no time above zero like 5s or 500ms", value)
	}
	*d = parsed
	return nil
}

func checkLevel(level Level) error {
	if _, known := levels[level]; !known {
		return fmt.Errorf("level %q is none of local, session, linearizable and strong", level)
	}
	return nil
}

func checkTarget(target Target) error {
	switch target {
	case "", TargetAny, TargetLeader, TargetLearner:
		return nil
	}
	return fmt.Errorf("target %q is none of any, leader and learner", target)
}

// parseAddress completes host to host:port.
func parseAddress(text string) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		host, port = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"), DefaultPort
		if strings.Contains(host, ":") != strings.HasPrefix(text, "[") {
			return "", fmt.Errorf("%q is not HOST:PORT", text)
		}
	}
	if host == "" || strings.ContainsAny(host, " []/") {
		return "", fmt.Errorf("%q has no host", text)
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
		return "", fmt.Errorf("%q: %q is no port from 1 to 65535", text, port)
	}
	return net.JoinHostPort(host, port), nil
}

// complete checks the configuration and fills in what was left out. Nothing of c is changed for the caller.
func (c Config) complete() (Config, error) {
	if len(c.Addresses) == 0 {
		return c, errors.New("no address of a node given")
	}
	c.Addresses = slices.Clone(c.Addresses)
	for i, address := range c.Addresses {
		parsed, err := parseAddress(address)
		if err != nil {
			return c, err
		}
		c.Addresses[i] = parsed
	}
	if err := errors.Join(checkLevel(c.Level), checkTarget(c.Target)); err != nil {
		return c, err
	}
	if min(c.Timeout, c.BusyTimeout, c.MaxStaleness, c.CommitTimeout) < 0 {
		return c, fmt.Errorf("a time below zero: timeout %v, busy timeout %v, max_staleness %v, commit timeout %v",
			c.Timeout, c.BusyTimeout, c.MaxStaleness, c.CommitTimeout)
	}
	c.BusyTimeout = cmp.Or(c.BusyTimeout, DefaultBusyTimeout)
	c.CommitTimeout = cmp.Or(c.CommitTimeout, DefaultCommitTimeout)
	if c.Level == "" {
		c.Level = LevelSession
	}
	if c.Target == "" {
		c.Target = TargetAny
	}
	if c.Client == "" && len(os.Args) > 0 {
		c.Client = os.Args[0][strings.LastIndexAny(os.Args[0], `/\`)+1:]
	}
	return c, nil
}

// credential returns the credential, from its file if need be.
func (c Config) credential() (*identity.Credential, error) {
	if c.Cred != nil {
		return c.Cred, nil
	}
	if c.Credential == "" {
		return nil, errors.New("no credential: set cred=FILE; the first node of a cluster writes admin.pem into its data directory")
	}
	return identity.LoadCredential(c.Credential)
}

// nearest returns the name with the smallest edit distance from word. There is at least one name.
func nearest(word string, names []string) string {
	return slices.MinFunc(names, func(a, b string) int { return distance(word, a) - distance(word, b) })
}

// distance counts the bytes to insert, delete or replace to make b of a (Wagner and Fischer, 1974).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
