package cli

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/rsqld/rsqld/db/driver"
	"github.com/rsqld/rsqld/shell/repl"
)

// requestTimeout bounds a request of the shell, unless the data source name says otherwise. It is as long as a node
// lets a reader run; Ctrl-C is shorter.
const requestTimeout = 30 * time.Second

// driverCluster opens sessions by a Connector of the driver.
type driverCluster struct{ connector *driver.Connector }

// connect prepares sessions with a target. Nothing is dialled yet.
func connect(t target) (cluster, error) {
	config, err := driver.ParseDSN(t.address)
	if err != nil {
		return nil, err
	}
	if t.credential != "" || config.Credential == "" {
		if config.Credential, err = t.findCredential(); err != nil {
			return nil, err
		}
	}
	if t.level != "" {
		config.Level = driver.Level(t.level)
	}
	if config.Timeout == 0 {
		config.Timeout = requestTimeout
	}
	config.Client = "rsqld"
	connector, err := driver.NewConnector(config)
	if err != nil {
		return nil, err
	}
	return &driverCluster{connector}, nil
}

// readLevel is the level of a target's reads: the one asked for, or the one in its data source name.
func (t target) readLevel() string {
	if t.level != "" {
		return t.level
	}
	config, err := driver.ParseDSN(t.address)
	if err != nil || config.Level == "" {
		return "session" // connect reports a name that cannot be read
	}
	return string(config.Level)
}

// Open opens a session.
func (d *driverCluster) Open(ctx context.Context) (repl.Client, error) {
	conn, err := d.connector.Open(ctx)
	if errors.Is(err, driver.ErrUnreachable) {
		return nil, unreachable{err} // the caller says what could not be reached
	}
	if err != nil {
		return nil, err
	}
	return session{conn}, nil
}

// unreachable is a driver.ErrUnreachable without its first words, which the shell says itself.
type unreachable struct{ error }

func (u unreachable) Error() string {
	return strings.TrimPrefix(u.error.Error(), driver.ErrUnreachable.Error()+": ")
}

func (u unreachable) Unwrap() error { return u.error }

// Close closes what the sessions shared.
func (d *driverCluster) Close() error { return d.connector.Close() }

// session is a repl.Client on a Conn, which finds another node by itself when its own goes away.
type session struct{ conn *driver.Conn }

// Execute runs a request.
func (s session) Execute(ctx context.Context, request repl.Request) (repl.Results, error) {
	return wrap(s.conn.Execute(ctx, driver.Request{SQL: request.SQL, Args: request.Args,
		Level: driver.Level(request.Level), Atomic: request.Atomic, ReadOnly: request.ReadOnly}))
}

// Control asks the node.
func (s session) Control(ctx context.Context, verb string, args ...string) (repl.Results, error) {
	return wrap(s.conn.Control(ctx, verb, args...))
}

// Place is the node that the session is at.
func (s session) Place() repl.Place {
	return repl.Place{Node: s.conn.Node(), Name: s.conn.NodeName(), Address: s.conn.Address(),
		Leader: s.conn.Leads(), Product: s.conn.Product()}
}

// Transaction is how the session's transaction stands.
func (s session) Transaction() repl.Transaction {
	return map[driver.TxState]repl.Transaction{driver.TxOpen: repl.TransactionOpen, driver.TxFailed: repl.TransactionFailed}[s.conn.Transaction()]
}

// Ping asks the node whether it is there, and moves the session if it is not.
func (s session) Ping(ctx context.Context) error { return s.conn.Ping(ctx) }

// Close ends the session.
func (s session) Close() error { return s.conn.Close() }

// results are the driver's, with the shell's types.
type results struct{ *driver.Results }

func wrap(found *driver.Results, err error) (repl.Results, error) {
	if err != nil {
		return nil, translate(err)
	}
	return results{found}, nil
}

// Columns are the present result's.
func (r results) Columns() []repl.Column {
	columns := r.Results.Columns()
	converted := make([]repl.Column, len(columns))
	for i, c := range columns {
		converted[i] = repl.Column(c)
	}
	return converted
}

// Done is the present result's end.
func (r results) Done() repl.Done { return repl.Done(r.Results.Done()) }

// Err is why the results ended early.
func (r results) Err() error { return translate(r.Results.Err()) }

// Close ends the results.
func (r results) Close() error { return translate(r.Results.Close()) }

// translate makes an error of the cluster one that the shell knows; others stay what they are.
func translate(err error) error {
	var found *driver.Error
	if !errors.As(err, &found) {
		return err
	}
	return &repl.Error{Class: repl.Class(found.Class), Code: found.Code, Extended: found.ExtendedCode,
		Message: found.Message, Offset: found.Offset}
}
