package driver

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	"github.com/rsqld/rsqld/transport/wire"
)

func init() { sql.Register("rsqld", &Driver{}) }

// Driver is the database/sql driver "rsqld".
type Driver struct{}

// OpenConnector implements [driver.DriverContext]: it reads a data source name, see [ParseDSN].
func (d *Driver) OpenConnector(name string) (driver.Connector, error) {
	config, err := ParseDSN(name)
	if err != nil {
		return nil, err
	}
	return NewConnector(config)
}

// Open implements [driver.Driver]. The Conn has a Connector to itself, which is closed with it.
func (d *Driver) Open(name string) (driver.Conn, error) {
	opened, err := d.OpenConnector(name)
	if err != nil {
		return nil, err
	}
	connector := opened.(*Connector)
	conn, err := connector.Open(context.Background())
	if err != nil {
		return nil, errors.Join(err, connector.Close())
	}
	return &soleConn{conn}, nil
}

// soleConn is a Conn that owns its Connector.
type soleConn struct{ *Conn }

// Close closes both.
func (c *soleConn) Close() error { return errors.Join(c.Conn.Close(), c.connector.Close()) }

// What database/sql looks for in a connection.
var (
	_ driver.Conn               = (*Conn)(nil)
	_ driver.ConnBeginTx        = (*Conn)(nil)
	_ driver.ConnPrepareContext = (*Conn)(nil)
	_ driver.ExecerContext      = (*Conn)(nil)
	_ driver.NamedValueChecker  = (*Conn)(nil)
	_ driver.Pinger             = (*Conn)(nil)
	_ driver.QueryerContext     = (*Conn)(nil)
	_ driver.SessionResetter    = (*Conn)(nil)
	_ driver.Validator          = (*Conn)(nil)
	_ driver.StmtExecContext    = (*statement)(nil)
	_ driver.StmtQueryContext   = (*statement)(nil)
)

// ExecContext implements [driver.ExecerContext]: all statements of the text are executed, or none.
func (c *Conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	results, err := c.Execute(ctx, Request{SQL: query, Args: fromNamed(args), Atomic: true, Level: levelOf(ctx)})
	if err != nil {
		return nil, err
	}
	var sum result
	for results.NextResult() {
		for results.Next() {
		}
		if done := results.Done(); done.Wrote {
			sum.rows += done.RowsAffected
			sum.id = done.LastInsertID
		}
	}
	if err := results.Err(); err != nil {
		return nil, err
	}
	return sum, results.Close()
}

// result is the rows affected by all statements and the last insert id of the last one that wrote.
type result struct{ id, rows int64 }

// LastInsertId implements [driver.Result].
func (r result) LastInsertId() (int64, error) { return r.id, nil }

// RowsAffected implements [driver.Result].
func (r result) RowsAffected() (int64, error) { return r.rows, nil }

// QueryContext implements [driver.QueryerContext]. Results without columns that come before the first one with columns
// are passed over.
func (c *Conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	results, err := c.Execute(ctx, Request{SQL: query, Args: fromNamed(args), Level: levelOf(ctx)})
	if err != nil {
		return nil, err
	}
	rows := &rows{results: results}
	if err := rows.NextResultSet(); err != nil && err != io.EOF {
		return nil, err
	}
	return rows, nil
}

func fromNamed(args []driver.NamedValue) []any {
	values := make([]any, len(args))
	for i, arg := range args {
		values[i] = arg.Value
		if arg.Name != "" {
			values[i] = sql.NamedArg{Name: arg.Name, Value: arg.Value}
		}
	}
	return values
}

// CheckNamedValue implements [driver.NamedValueChecker]: it takes what [wire.ToValue] takes and [driver.Valuer]s.
func (c *Conn) CheckNamedValue(arg *driver.NamedValue) error {
	if _, isOut := arg.Value.(sql.Out); isOut {
		return errors.New("SQLite has no output parameters: use RETURNING")
	}
	if valuer, is := arg.Value.(driver.Valuer); is {
		value, err := driver.DefaultParameterConverter.ConvertValue(valuer)
		if err != nil {
			return err
		}
		arg.Value = value
	}
	value, err := wire.ToValue(arg.Value)
	if err != nil {
		return fmt.Errorf("argument %d: %w", arg.Ordinal, err)
	}
	arg.Value = wire.FromValue(value)
	return nil
}

// ResetSession implements [driver.SessionResetter]. A transaction that was left open is rolled back.
func (c *Conn) ResetSession(ctx context.Context) error {
	if c.closed {
		return driver.ErrBadConn // nothing was sent: database/sql takes another Conn
	}
	c.level = ""
	if c.tx.state != TxNone { // from BEGIN, which database/sql knows nothing of
		return c.Rollback(ctx)
	}
	return nil
}

// IsValid implements [driver.Validator], which is asked when a Conn goes back to its pool. One that has lost its node is
// valid: it finds another one. One with a transaction from BEGIN is not: its pool closes it, at once, which undoes the transaction.
// Nobody may use it for long, and until ResetSession all others who write would wait.
func (c *Conn) IsValid() bool { return !c.closed && c.tx.state == TxNone }

// Prepare implements [driver.Conn].
func (c *Conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

// PrepareContext implements [driver.ConnPrepareContext]: it asks the node whether the text can be executed. Nodes keep
// prepared statements by their text, so that it makes nothing faster. Inside a transaction nothing is asked.
func (c *Conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	if c.closed {
		return nil, driver.ErrBadConn
	}
	if c.tx.state == TxNone && parseControl(query) == controlNone {
		results, err := c.Control(ctx, "prepare", query)
		if err != nil {
			return nil, err
		}
		if err := results.Close(); err != nil {
			return nil, err
		}
	}
	return &statement{conn: c, query: query}, nil
}

// statement is text to be executed.
type statement struct {
	conn  *Conn
	query string
}

// Close implements [driver.Stmt].
func (s *statement) Close() error { return nil }

// NumInput implements [driver.Stmt]: the node checks the number of arguments.
func (s *statement) NumInput() int { return -1 }

// ExecContext implements [driver.StmtExecContext].
func (s *statement) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.conn.ExecContext(ctx, s.query, args)
}

// QueryContext implements [driver.StmtQueryContext].
func (s *statement) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.conn.QueryContext(ctx, s.query, args)
}

// Exec implements [driver.Stmt].
func (s *statement) Exec(args []driver.Value) (driver.Result, error) {
	return s.ExecContext(context.Background(), toNamed(args))
}

// Query implements [driver.Stmt].
func (s *statement) Query(args []driver.Value) (driver.Rows, error) {
	return s.QueryContext(context.Background(), toNamed(args))
}

func toNamed(args []driver.Value) []driver.NamedValue {
	named := make([]driver.NamedValue, len(args))
	for i, arg := range args {
		named[i] = driver.NamedValue{Ordinal: i + 1, Value: arg}
	}
	return named
}
