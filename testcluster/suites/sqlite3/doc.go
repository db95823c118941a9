// Package sqlite3 takes the place of the driver of that name in suites that are written for it: a database "sqlite3" is the
// cluster of the data source name in RSQLD_DSN, whatever file a suite asks for.
package sqlite3
