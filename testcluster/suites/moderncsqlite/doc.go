// Package sqlite takes the place of the SQLite driver that the tests of other libraries import: what they open by its name is
// rsqld, whatever file they name. Who names another file finds a database without tables. It has nothing else of that driver.
package sqlite
