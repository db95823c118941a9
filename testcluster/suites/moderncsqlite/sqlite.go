package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"os"
	"strings"
	"sync"

	rsqld "github.com/rsqld/rsqld/db/driver"
)

func init() { sql.Register("sqlite", new(files)) }

// files is a driver whose files are all the same database.
type files struct {
	mu        sync.Mutex // guards what follows
	connector *rsqld.Connector
	last      string // the file that was opened last
}

// Open implements [driver.Driver].
func (f *files) Open(file string) (driver.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.connector == nil {
		config, err := rsqld.ParseDSN(os.Getenv("RSQLD_DSN"))
		if err != nil {
			return nil, err
		}
		if f.connector, err = rsqld.NewConnector(config); err != nil {
			return nil, err
		}
	}
	if file != f.last {
		if err := f.empty(); err != nil {
			return nil, err
		}
		f.last = file
	}
	opened, err := f.connector.Open(context.Background())
	if err != nil {
		return nil, err
	}
	return &conn{opened}, nil
}

// conn is a connection that hides the tables of rsqld itself from suites that expect no others than theirs.
type conn struct{ *rsqld.Conn }

// listing is how such a suite asks for all tables.
const listing = "SELECT name FROM sqlite_master WHERE type='table'"

// QueryContext implements [driver.QueryerContext].
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if rest, is := strings.CutPrefix(query, listing); is {
		query = listing + ` AND name NOT LIKE '\_rsqld%' ESCAPE '\' AND name NOT LIKE 'sqlite\_stat%' ESCAPE '\'` + rest
	}
	return c.Conn.QueryContext(ctx, query, args)
}

// empty drops all tables and views, children first, as far as the order in which they were made tells.
func (f *files) empty() error {
	conn, err := f.connector.Open(context.Background())
	if err != nil {
		return err
	}
	defer conn.Close()
	results, err := conn.Execute(context.Background(), rsqld.Request{Level: rsqld.LevelLinearizable, SQL: `SELECT 'DROP ' || type || ' ' || quote(name)
		FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE '\_rsqld\_%' ESCAPE '\' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'
		ORDER BY rowid DESC`})
	if err != nil {
		return err
	}
	var drops []string
	for results.NextResult() {
		for results.Next() {
			drops = append(drops, results.Row()[0].(string))
		}
	}
	if err := errors.Join(results.Err(), results.Close()); err != nil {
		return err
	}
	if results, err = conn.Execute(context.Background(), rsqld.Request{SQL: strings.Join(drops, ";"), Atomic: true}); err != nil {
		return err
	}
	return results.Close()
}
