// Package gorm uses gorm, by its dialect for SQLite, in the ways that its documentation shows: gorm's own tests are in no module.
package gorm
