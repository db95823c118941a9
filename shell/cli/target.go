package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/pflag"

	"github.com/rsqld/rsqld/shell/repl"
)

const (
	defaultAddress    = "127.0.0.1:4001"
	defaultCredential = "rsqld-data/admin.pem"
	// connectTimeout bounds the time until a session stands.
	connectTimeout = 5 * time.Second
)

// target is the cluster that a command talks to.
type target struct {
	address    string // host:port, several with commas, or a DSN
	credential string // path; empty: not given
	level      string // of reads; empty: not given
}

// flags adds --addr and --cred.
func (t *target) flags(flags *pflag.FlagSet) {
	flags.StringVar(&t.address, "addr", defaultAddress, "node to talk to, `HOST:PORT`, or several with commas")
	flags.StringVar(&t.credential, "cred", "", "`FILE` with the credential (default ./"+defaultCredential+")")
}

// findCredential returns the path of the credential: the one given, or the one in the default data directory.
func (t target) findCredential() (string, error) {
	if t.credential != "" {
		return t.credential, nil
	}
	if _, err := os.Stat(defaultCredential); errors.Is(err, fs.ErrNotExist) {
		return "", usageError("no credential: give one with --cred FILE or RSQLD_CRED; ./%s is not there either"+
			" (the first node of a cluster writes admin.pem into its data directory)", defaultCredential)
	}
	return defaultCredential, nil
}

// dial opens a session and the cluster it belongs to. The caller closes both.
func (e *Environment) dial(ctx context.Context, t target) (cluster, repl.Client, error) {
	cluster, err := e.connect(t)
	if err != nil {
		return nil, nil, asUsage(err)
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	client, err := cluster.Open(ctx)
	if err != nil {
		return nil, nil, errors.Join(usageError("cannot connect to %s: %w", t.address, err), cluster.Close())
	}
	return cluster, client, nil
}

// asUsage gives an error the exit code of usage, unless it has one.
func asUsage(err error) error {
	if x := (*exit)(nil); errors.As(err, &x) {
		return err
	}
	return &exit{exitUsage, err}
}
