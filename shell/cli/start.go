package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/rsqld/rsqld/db"
	"github.com/rsqld/rsqld/raft"
)

const (
	defaultData = "./rsqld-data"
	// closeTimeout bounds how long a node that is told to stop tries to hand leadership over.
	closeTimeout = 10 * time.Second
)

// startOptions are the flags of start that are not fields of db.Config.
type startOptions struct {
	http      string
	settings  []string
	logLevel  *string
	logFormat *string
}

// node is what start needs of a db.Node.
type node interface {
	ID() raft.ID
	Name() string
	Address() string
	Cluster() [16]byte
	Done() <-chan struct{}
	Err() error
	Close(context.Context) error
}

func openNode(ctx context.Context, config db.Config) (node, error) {
	raiseProcessors()
	return db.Open(ctx, config)
}

func startCommand() command {
	return command{
		name: "start", config: true, summary: "run a node: the one of the data directory, a new cluster's first, or with --join a new member",
		define: func(flags *pflag.FlagSet) action {
			var config db.Config
			var o startOptions
			flags.StringVar(&config.Data, "data", defaultData, "`DIR` that holds everything the node knows")
			flags.StringVar(&config.Listen, "listen", db.DefaultListen, "address to listen on, `HOST:PORT`")
			flags.StringVar(&config.Advertise, "advertise", "", "address that others dial, `HOST:PORT` (default the one listened on)")
			flags.StringSliceVar(&config.Join, "join", nil, "members of the cluster to join, or where to look for the others if all have moved, `HOST:PORT,...`")
			flags.StringVar(&config.Token, "token", "", "`TOKEN` to join with, or @FILE to read it from")
			flags.BoolVar(&config.Learner, "learner", false, "join as a learner that does not vote")
			flags.StringVar(&config.Name, "name", "", "what people call the node (default n and its id)")
			flags.Int64Var(&config.LogKeepBytes, "log-keep-bytes", 0, "newest entries that stay in the log for nodes that were away, in `BYTES` (default 64 MiB)")
			flags.DurationVar(&config.LogKeepTime, "log-keep-time", 0, "entries younger than `DURATION` stay in the log too (default: bytes alone count)")
			flags.Int64Var(&config.LogMaxBytes, "log-max-bytes", 0, "most `BYTES` of log, whoever needs more (default 1 GiB)")
			flags.IntVar(&config.MaxReaders, "max-readers", 0, "most reads that are open at once, `N` (default 64)")
			flags.DurationVar(&config.ReaderTimeout, "reader-timeout", 0, "a read may run for `DURATION` (default 30s)")
			flags.IntVar(&config.MaxStatements, "max-statements", 0, "most statements of one request, `N` (default 10000)")
			flags.DurationVar(&config.TransactionIdle, "transaction-idle", 0, "a transaction that does nothing for `DURATION` ends when others wait to write (default 5s)")
			flags.DurationVar(&config.TransactionTime, "transaction-time", 0, "a transaction that writes may be open for `DURATION` (default 30s)")
			flags.StringArrayVar(&o.settings, "set", nil, "a new cluster's setting `KEY=VALUE`, may be repeated")
			o.logLevel = choose(flags, "log-level", "info", "least level that is logged", []string{"debug", "info", "warn", "error"})
			o.logFormat = choose(flags, "log-format", "text", "how log lines look", []string{"text", "json"})
			flags.StringVar(&o.http, "http", "off", "this version serves no HTTP: `off` is all it takes")
			flags.String("config", "", "`FILE` with lines of the form flag = value")
			return func(ctx context.Context, e *Environment, _ []string) error {
				var err error
				if config.Settings, err = parseSettings(o.settings); err != nil {
					return err
				}
				if o.http != "off" {
					return usageError("--http %s: this version serves no HTTP; leave the flag out, or give off", o.http)
				}
				config.Logger = newLogger(e.Stderr, *o.logLevel, *o.logFormat)
				return e.start(ctx, config)
			}
		},
	}
}

func parseSettings(pairs []string) (map[string]string, error) {
	settings := map[string]string{}
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, usageError("--set %q is not of the form KEY=VALUE", pair)
		}
		settings[key] = value
	}
	return settings, nil
}

func newLogger(w io.Writer, level, format string) *slog.Logger {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		panic(err) // a word of the flag's choices
	}
	options := &slog.HandlerOptions{Level: least}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// start runs a node until a signal or its own end. The first signal closes it in good order, the second at once.
func (e *Environment) start(ctx context.Context, config db.Config) error {
	signals, stop := e.Notify(os.Interrupt, syscall.SIGTERM)
	defer stop()
	opening, cancel := context.WithCancel(ctx)
	defer cancel()
	type opened struct {
		node node
		err  error
	}
	result := make(chan opened, 1)
	go func() {
		n, err := e.open(opening, config)
		result <- opened{n, err}
	}()
	var r opened
	select {
	case r = <-result:
	case <-signals:
		cancel()
		if r = <-result; r.err != nil {
			return &exit{code: exitInterrupted}
		}
		return e.closeNode(r.node, signals, config.Logger)
	}
	if r.err != nil {
		return openError(r.err)
	}
	announce(e.Stdout, r.node, config)
	select {
	case <-signals:
		return e.closeNode(r.node, signals, config.Logger)
	case <-r.node.Done():
		why := r.node.Err()
		if why == nil {
			why = errors.New("the node stopped")
		}
		return errors.Join(why, e.closeNode(r.node, signals, config.Logger))
	}
}

// openError gives mistakes of the caller their exit code.
func openError(err error) error {
	if errors.Is(err, db.ErrUsage) {
		return usageError("%s", strings.TrimPrefix(err.Error(), db.ErrUsage.Error()+": "))
	}
	return err
}

// closeNode closes a node; a signal that comes meanwhile ends the program at once.
func (e *Environment) closeNode(n node, signals <-chan os.Signal, log *slog.Logger) error {
	log.Info("stopping", "node", n.ID())
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- n.Close(ctx) }()
	select {
	case err := <-closed:
		return err
	case <-signals:
		e.Exit(exitInterrupted)
		return &exit{code: exitInterrupted}
	}
}

// announce prints what a person needs to know of a node that has started.
func announce(w io.Writer, n node, config db.Config) {
	cluster := n.Cluster()
	fmt.Fprintf(w, "%s\nnode %s (id %d) of cluster %s\n", product(), n.Name(), n.ID(), hex.EncodeToString(cluster[:]))
	fmt.Fprintf(w, "listening on %s, data in %s\n", n.Address(), config.Data)
	credential := filepath.Join(config.Data, "admin.pem")
	if _, err := os.Stat(credential); err != nil {
		credential = "admin.pem" // the first node's, which the person has to bring here
	}
	fmt.Fprintf(w, "open a shell: rsqld sql %s --cred %s\n", n.Address(), credential)
	token := "@" + filepath.Join(config.Data, "join-token")
	if _, err := os.Stat(token[1:]); err != nil {
		token = fmt.Sprintf("$(rsqld token --addr %s --cred %s)", n.Address(), credential)
	}
	fmt.Fprintf(w, "add a node:   rsqld --data n%d --listen %s --join %s --token %s\n", n.ID()+1, nextAddress(n.Address()), n.Address(), token)
}

// nextAddress is an address for one more node: the next port on this machine, or the same port on another one.
func nextAddress(address string) string {
	host, port, err := net.SplitHostPort(address)
	number, bad := strconv.Atoi(port)
	if err != nil || bad != nil {
		return "HOST:PORT"
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return net.JoinHostPort(host, strconv.Itoa(number%65535+1))
	}
	return "HOST:" + port
}
