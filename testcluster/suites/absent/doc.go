// Package dm takes the place of a driver that a suite imports, of a database that it is not run against.
package dm
