// Package sqlite3 takes the place of the driver of that name in suites that are written for it: a database "sqlite3" is the
// cluster of the data source name in RSQLD_DSN, whatever file a suite asks for.
package sqlite3

import (
	"database/sql"
	"database/sql/driver"
	"os"

	rsqld "github.com/rsqld/rsqld/db/driver"
)

func init() { sql.Register("sqlite3", &Driver{}) }

// Driver opens connections to the cluster.
type Driver struct{}

// SQLiteDriver is what tools call it.
type SQLiteDriver = Driver

// OpenConnector implements driver.DriverContext.
func (*Driver) OpenConnector(string) (driver.Connector, error) {
	return (&rsqld.Driver{}).OpenConnector(os.Getenv("RSQLD_DSN"))
}

// Open implements driver.Driver.
func (*Driver) Open(string) (driver.Conn, error) { return (&rsqld.Driver{}).Open(os.Getenv("RSQLD_DSN")) }
